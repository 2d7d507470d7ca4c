"""The image of deploy/Dockerfile, built by Buildah, and its programs, run in it without a container engine.

The tests reach no registry of images: the base that the Dockerfile names comes from packages of Debian. It has Python
where the official image has it, with pip and headers. Needs root, Buildah and mmdebstrap.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psutil

from tests.deploy.names import DEPLOY, ROOT

BASE: Final = "docker.io/library/python:3.13-slim"
_RELEASE: Final = "trixie"
_PACKAGES: Final = "ca-certificates,libpython3.13-dev,netbase,python3-pip,python3.13,python3.13-venv,tzdata"
_ARRANGED: Final = (
    'rm -f "$1"/usr/lib/python3*/EXTERNALLY-MANAGED; '
    'for name in python python3 python3.13; do ln -s /usr/bin/python3.13 "$1/usr/local/bin/$name"; done'
)
_MINUTES: Final = 60

VOLUME: Final = "/mnt"

# Mounts that a container with a read-only root has, then the image's user without any capability.
_ENTER: Final = f"""
set -eu
root=$1 volume=$2 user=$3 folder=$4
shift 4
mount --bind "$root" "$root"
mount --bind "$volume" "$root{VOLUME}"
mount -o remount,bind,ro "$root"
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero random urandom; do cp -a "/dev/$device" "$root/dev/"; done
mount -o remount,ro "$root/dev"
exec chroot "$root" setpriv --reuid="${{user%:*}}" --regid="${{user#*:}}" --clear-groups --inh-caps=-all \\
  --bounding-set=-all --no-new-privs env -i -C "$folder" "$@"
"""


def _configuration() -> Iterator[tuple[Path, str]]:
    """Files by which pip and npm of this machine reach their registries, and their places in the build."""
    yield Path("/etc/ssl/certs/ca-certificates.crt"), "/etc/ssl/certs/ca-certificates.crt"
    yield Path("/etc/pip.conf"), "/etc/pip.conf"
    if npm := shutil.which("npm"):
        asked = subprocess.run((npm, "config", "get", "globalconfig"), capture_output=True, text=True, check=True)
        yield Path(asked.stdout.strip()), str(Path("~root/.npmrc").expanduser())


class Store:
    """Buildah's images and containers, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._options = ("--root", str(folder / "images"), "--runroot", str(folder / "run"))

    def call(self, *arguments: str, minutes: float = 5) -> str:
        ran = subprocess.run(
            ("buildah", *self._options, *arguments),
            capture_output=True, text=True, check=False, timeout=minutes * _MINUTES,
        )  # fmt: skip
        assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr[-4000:]
        return ran.stdout.strip()

    def make_base(self) -> None:
        archive = self._folder / "base.tar"
        subprocess.run(
            ("mmdebstrap", "--quiet", "--variant=minbase", f"--include={_PACKAGES}", f"--customize-hook={_ARRANGED}",
             _RELEASE, str(archive)),
            check=True, timeout=10 * _MINUTES,
        )  # fmt: skip
        container = self.call("from", "scratch")
        self.call("add", "--quiet", container, str(archive), "/")
        self.call("config", "--env", "PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", container)
        self.call("commit", "--quiet", "--rm", container, BASE)
        archive.unlink()

    def build(self) -> None:
        mounts = [f"--volume={file}:{place}:ro" for file, place in _configuration() if file.is_file()]
        self.call(
            # Docker's format: that of OCI has no health check.
            "build", "--pull-never", "--isolation=chroot", "--network=host", "--format=docker", *mounts,
            f"--file={DEPLOY / 'Dockerfile'}", "--tag=billing-gateway", str(ROOT),
            minutes=20,
        )  # fmt: skip

    @contextmanager
    def opened(self, volume: Path) -> Iterator[Image]:
        """`volume` is a folder that programs see as `VOLUME`."""
        container = self.call("from", "--pull-never", "localhost/billing-gateway")
        config = json.loads(self.call("inspect", container))["Docker"]["config"]
        try:
            yield Image(Path(self.call("mount", container)), volume, config)
        finally:
            self.call("rm", container)


@dataclass(frozen=True, slots=True)
class Image:
    root: Path
    volume: Path
    config: dict[str, Any]
    """As `docker inspect` shows it: User, Env, WorkingDir, Entrypoint, Cmd, Healthcheck."""

    def _arguments(self, command: tuple[str, ...], settings: dict[str, str]) -> tuple[str, ...]:
        unshared = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", _ENTER, "sh")
        places = (str(self.root), str(self.volume), self.config["User"], self.config["WorkingDir"])
        added = (f"{name}={value}" for name, value in settings.items())
        return (*unshared, *places, *self.config["Env"], *added, *command)

    def call(self, *command: str, **settings: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self._arguments(command, settings), capture_output=True, text=True, check=False, timeout=120
        )  # fmt: skip

    def program(self, *arguments: str, **settings: str) -> str:
        """Returns what the image's program printed."""
        ran = self.call(*self.config["Entrypoint"], *arguments, **settings)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout.strip()

    @contextmanager
    def started(self, arguments: list[str], log: Path, **settings: str) -> Iterator[psutil.Process]:
        """A process that stays, which is the first one of its container as under an engine."""
        command = (*self.config["Entrypoint"], *arguments)
        with log.open("w") as output, subprocess.Popen(
            self._arguments(command, settings), stdout=output, stderr=subprocess.STDOUT
        ) as outer:  # fmt: skip
            try:
                while not (inner := psutil.Process(outer.pid).children()):
                    assert outer.poll() is None, log.read_text()
                yield inner[0]
            finally:
                outer.kill()
