"""An S3 server on this machine, which keeps its objects in memory."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from s3fs.core import S3FileSystem

from tests.gateway.served import awaited

BUCKET: Final = "billing"
REGION: Final = "eu-central-1"
SECRET: Final = "not-to-be-seen-anywhere"
_ADDRESS: Final = re.compile(r"Running on (http://\S+)")


class ObjectStorage:
    def __init__(self, url: str, process: subprocess.Popen[Any]) -> None:
        self.url = url
        self.process = process
        """Stop it by SIGSTOP for storage that takes connections and does not answer."""
        self.files = S3FileSystem(skip_instance_cache=True, use_listings_cache=False)
        self.files.mkdir(BUCKET, region_name=REGION)


@contextmanager
def started(folder: Path, patch: pytest.MonkeyPatch) -> Iterator[ObjectStorage]:
    """Starts a server with an empty bucket. The variables `AWS_…` of this process lead to it."""
    log = folder / "storage.log"
    with log.open("w") as output:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        url = awaited(lambda: _ADDRESS.search(log.read_text()))[1]
        for name in [name for name in os.environ if name.startswith(("AWS_", "FSSPEC_"))]:
            patch.delenv(name)
        for name, value in (
            ("ACCESS_KEY_ID", "AKIATESTS"),
            ("SECRET_ACCESS_KEY", SECRET),
            ("DEFAULT_REGION", REGION),
            ("ENDPOINT_URL", url),
            ("CONFIG_FILE", os.devnull),
            ("SHARED_CREDENTIALS_FILE", os.devnull),
            ("EC2_METADATA_DISABLED", "true"),
        ):
            patch.setenv(f"AWS_{name}", value)
        S3FileSystem.clear_instance_cache()
        yield ObjectStorage(url, process)
    finally:
        process.kill()
        process.wait()
        S3FileSystem.clear_instance_cache()
