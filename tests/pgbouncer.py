"""A real PgBouncer in transaction mode before the tests' PostgreSQL."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, urlsplit

import pytest

from db.database import Database, DatabaseOptions
from tests.ports import free_port

PROGRAM: Final = shutil.which("pgbouncer")
IS_BEFORE_ALL: Final = "TESTS_THROUGH_POOLER" in os.environ
"""Set by `make test-pooled`."""

not_pooled: Final = pytest.mark.skipif(IS_BEFORE_ALL, reason="a pooler has connections and statements of its own")

_SETTINGS: Final = """
[databases]
* = host={host} user={user}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {size}
max_client_conn = 500
server_lifetime = 5
logfile = {folder}/log
"""


class PgBouncer:
    def __init__(self, port: int) -> None:
        self._port = port

    def url(self, direct_url: str) -> str:
        """Returns the URL by which the pooler leads to the database of `direct_url`."""
        parts = urlsplit(direct_url)
        return f"postgresql://{parts.username}@127.0.0.1:{self._port}{parts.path}"


def _wait_for(process: subprocess.Popen[bytes], port: int) -> None:
    for _ in range(200):
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert process.poll() is None
            time.sleep(0.02)
        else:
            return
    raise AssertionError("PgBouncer did not start")


class _Kept:
    """A PgBouncer that is started again when it ends, as a service manager does.

    Version 1.18 ends itself when a client leaves while its request to cancel a statement is under way
    (github.com/pgbouncer/pgbouncer/issues/801).
    """

    def __init__(self, command: Sequence[str], user: str | None, port: int) -> None:
        self._command = command
        self._user = user
        self._port = port
        self._is_over = threading.Event()
        self._process = self._started()
        self._thread = threading.Thread(target=self._keep)
        self._thread.start()

    def close(self) -> None:
        self._is_over.set()
        # It may be started again at this moment.
        while self._thread.is_alive():
            self._process.terminate()
            self._thread.join(0.5)

    def _keep(self) -> None:
        while self._process.wait() is not None and not self._is_over.is_set():
            self._process = self._started()

    def _started(self) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(self._command, user=self._user, stderr=subprocess.DEVNULL)
        _wait_for(process, self._port)
        return process


@contextmanager
def started(direct_url: str, size: int = 4) -> Iterator[PgBouncer]:
    """Starts one that has `size` connections to each database of the server of `direct_url`."""
    assert PROGRAM is not None
    parts = urlsplit(direct_url)
    host = parse_qs(parts.query)["host"][0]
    with tempfile.TemporaryDirectory(prefix="billing-pgbouncer-", ignore_cleanup_errors=True) as folder:
        # It refuses to run as root, and nobody but the server's user reaches the server's socket.
        user = Path(host).owner() if os.getuid() == 0 else None
        if user is not None:
            shutil.chown(folder, user)
        port = free_port()
        settings = Path(folder) / "pgbouncer.ini"
        settings.write_text(_SETTINGS.format(host=host, user=parts.username, port=port, size=size, folder=folder))
        with closing(_Kept([PROGRAM, "-q", str(settings)], user, port)):
            yield PgBouncer(port)


@contextmanager
def before_all(direct_url: str) -> Iterator[None]:
    """With `make test-pooled`: reaches all databases of this process on the server through a pooler."""
    if not IS_BEFORE_ALL:
        yield
        return
    opened = Database.__init__
    with started(direct_url, size=20) as pooler, pytest.MonkeyPatch.context() as patch:

        def open_pooled(self: Database, options: DatabaseOptions) -> None:
            is_ours = urlsplit(options.url).query == urlsplit(direct_url).query and options.direct_url is None
            url = pooler.url(options.url) if is_ours else options.url
            opened(self, replace(options, url=url, direct_url=options.url) if is_ours else options)

        patch.setattr(Database, "__init__", open_pooled)
        yield
