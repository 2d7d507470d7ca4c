"""The image is built, and its programs run in it as under a container engine: make test-image."""

from __future__ import annotations

import io
import os
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pypdf
import pytest
import yaml

from tests.deploy.building import VOLUME, Image, Store
from tests.deploy.names import DEPLOY
from tests.gateway.served import awaited
from tests.ports import free_port

pytestmark = pytest.mark.skipif("IMAGE_BUILT" not in os.environ, reason="IMAGE_BUILT is not set: make test-image")

GRACE_SECONDS = int(
    yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["gateway"]["stop_grace_period"].rstrip("s")
)


@pytest.fixture(scope="module")
def image() -> Iterator[Image]:
    with tempfile.TemporaryDirectory(prefix="billing-image-") as name:
        store, volume = Store(Path(name)), Path(name) / "volume"
        volume.mkdir(mode=0o700)
        store.make_base()
        store.build()
        with store.opened(volume) as image:
            user, group = map(int, image.config["User"].split(":"))
            os.chown(volume, user, group)
            yield image


def _stop(process: psutil.Process) -> float:
    """Returns the seconds that the process took to end after SIGTERM."""
    began = time.monotonic()
    process.terminate()
    awaited(lambda: not process.is_running() or None, 2 * GRACE_SECONDS)
    return time.monotonic() - began


def test_files_of_the_machine_are_not_in_the_image(image: Image) -> None:
    (package,) = (image.root / "opt/billing/lib").glob("python*/site-packages")
    assert [path.name.split(".")[1][:7] for path in (package / "execution").glob("*.so")] == ["cpython"]
    assert {path.name for path in (package / "gateway/static").iterdir() if path.is_dir()} == {"billing", "graphiql"}
    mounted = [image.root / "etc/pip.conf", image.root / "root/.npmrc"]
    assert [path.read_text() for path in mounted if path.exists()] in ([], [""], ["", ""])


def test_a_program_writes_only_to_tmp_and_its_volume(image: Image) -> None:
    def can_write(folder: str) -> bool:
        return image.call("touch", f"{folder}/written").returncode == 0

    assert [can_write(folder) for folder in ("/tmp", VOLUME, "/", "/opt/billing", "/var/tmp", "/dev")] == [
        True, True, False, False, False, False,
    ]  # fmt: skip


def test_the_image_migrates_serves_works_and_archives(image: Image, tmp_path: Path) -> None:
    port, metrics_port = free_port(), free_port()
    settings = {"BILLING_DATABASE_URL": f"sqlite:///{VOLUME}/billing.db", "BILLING_PORT": str(port)}
    image.program("migrate", **settings)
    gateway = image.started(image.config["Cmd"], tmp_path / "gateway.log", BILLING_WORKERS="2", **settings)
    worker = image.started(
        ["worker"], tmp_path / "worker.log", BILLING_WORKER_METRICS_PORT=str(metrics_port), **settings
    )  # fmt: skip
    with gateway as serving, worker as working:
        healthy = image.config["Healthcheck"]["Test"][1:]
        awaited(lambda: image.call(*healthy, **settings).returncode == 0 or None)
        awaited(lambda: '"working"' in (tmp_path / "worker.log").read_text() or None)
        with urllib.request.urlopen(f"http://127.0.0.1:{metrics_port}/healthz", timeout=5) as answer:
            assert answer.status == 200

        account = image.program("accounts", "create", "--name", "日本", **settings)
        key = image.program("keys", "create", "--scope", "read", "--account", account, "--owner", "image", **settings)
        statement = urllib.request.Request(
            f"http://127.0.0.1:{port}/billing/statement.pdf?from=2026-01-01&to=2026-02-01&lang=ja",
            headers={"Authorization": f"Bearer {key}"},
        )  # fmt: skip
        with urllib.request.urlopen(statement, timeout=30) as answer:
            (page,) = pypdf.PdfReader(io.BytesIO(answer.read())).pages
        assert "日本" in page.extract_text()
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/console/", timeout=5) as answer:
            assert b"<html" in answer.read()

        assert image.call("python", "-c", "import duckdb").returncode == 0  # needed only where rows are old enough
        image.program("archive", BILLING_ARCHIVE_URL=f"{VOLUME}/archive", **settings)
        assert image.program("verify", **settings) == "accounts: 1, rows: 0, faults: 0"
        assert max(_stop(serving), _stop(working)) < GRACE_SECONDS
        logs = [(tmp_path / name).read_text() for name in ("gateway.log", "worker.log")]
        assert [log.count('"level":"error"') + log.count("Traceback") for log in logs] == [0, 0]
