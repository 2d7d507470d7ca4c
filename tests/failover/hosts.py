"""Machines of the drill: network namespaces on one bridge, which can be cut off without a word.

All of it lives in a network namespace of the drill's own, so nothing of it reaches another machine, and all of it is
gone when the drill ends.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psutil

BRIDGE: Final = "bridge"
GATEWAY_ADDRESS: Final = "10.77.0.1"
_NOBODY: Final = "02:00:00:00:00:ff"
"""Address of no machine: frames to it are lost."""


def run(*command: str) -> None:
    subprocess.run(command, check=True, timeout=20, stdout=subprocess.DEVNULL)


def lay_network() -> None:
    """For gateways and clients, in the drill's namespace."""
    run("ip", "link", "set", "lo", "up")
    run("ip", "link", "add", BRIDGE, "type", "bridge")
    run("ip", "address", "add", f"{GATEWAY_ADDRESS}/24", "dev", BRIDGE)
    run("ip", "link", "set", BRIDGE, "up")


def _as_user(user: str | None) -> list[str]:
    if user is None:
        return []
    # The interpreter may lie in a folder that only root may enter.
    reading = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    return ["setpriv", f"--reuid={user}", f"--regid={user}", "--init-groups", *reading]


@dataclass
class Host:
    number: int
    folder: Path
    user: str | None
    """Its processes run as this user."""
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._anchor = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        self._within = ["nsenter", "--net", "--target", str(self._anchor.pid)]
        self._lay()

    @property
    def name(self) -> str:
        return f"server{self.number}"

    @property
    def address(self) -> str:
        return f"10.77.0.{10 + self.number}"

    @property
    def _port(self) -> str:
        """Its end at the bridge."""
        return f"to-{self.name}"

    def _lay(self) -> None:
        own = Path("/proc/self/ns/net").stat().st_ino
        while Path(f"/proc/{self._anchor.pid}/ns/net").stat().st_ino == own:
            assert self._anchor.poll() is None
        run(
            *("ip", "link", "add", self._port, "type", "veth"),
            *("peer", "name", "eth0", "netns", str(self._anchor.pid)),
        )
        run("ip", "link", "set", self._port, "master", BRIDGE, "up")
        self._ip("address", "add", f"{self.address}/24", "dev", "eth0")
        self._ip("link", "set", "eth0", "up")
        self._ip("link", "set", "lo", "up")

    def _ip(self, *arguments: str) -> None:
        run(*self._within, "ip", *arguments)

    def start(self, name: str, command: Sequence[str], environment: dict[str, str]) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            options: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log, "cwd": self.folder}
            # It is root's to enter a namespace.
            self.processes[name] = subprocess.Popen(
                [*self._within, *_as_user(self.user), *command], env=environment, **options
            )

    def _ends_with(self, name: str) -> list[psutil.Process]:
        """The process and all that it started, also those that left it, as PostgreSQL does under Patroni."""
        if self.processes[name].poll() is not None:
            return []
        process = psutil.Process(self.processes[name].pid)
        return [*process.children(recursive=True), process]

    def postmaster(self) -> psutil.Process:
        return psutil.Process(int((self.folder / "data" / "postmaster.pid").read_text().split()[0]))

    def kill_postgresql(self) -> None:
        postmaster = self.postmaster()
        _kill([postmaster, *postmaster.children(recursive=True)])

    def kill(self) -> None:
        """As if the machine lost power: everything on it is gone at once."""
        found = [process for name in self.processes for process in self._ends_with(name)]
        # PostgreSQL may be about to start or to stop.
        with contextlib.suppress(FileNotFoundError, psutil.NoSuchProcess):
            postmaster = self.postmaster()
            found += [postmaster, *postmaster.children(recursive=True)]
        _kill(found)
        for process in self.processes.values():
            process.wait(10)

    def cut(self) -> None:
        """Nothing comes from the machine and nothing gets there."""
        run("ip", "link", "set", self._port, "nomaster")

    def heal(self) -> None:
        run("ip", "link", "set", self._port, "master", BRIDGE)

    def cut_from(self, others: Sequence[Host]) -> None:
        """Gateways still reach it."""
        for other in others:
            for one, to in ((self, other), (other, self)):
                one._ip("neighbor", "replace", to.address, "lladdr", _NOBODY, "dev", "eth0", "nud", "permanent")

    def heal_to(self, others: Sequence[Host]) -> None:
        for other in others:
            for one, to in ((self, other), (other, self)):
                one._ip("neighbor", "delete", to.address, "dev", "eth0")


def _kill(processes: Sequence[psutil.Process]) -> None:
    """Stops all first: what one does when another is gone would be too late after a loss of power."""
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for process in processes:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)
