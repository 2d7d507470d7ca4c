"""What the tables must be for a program to serve on them, while a new release is rolled out too."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestServer
from sqlalchemy import text

from db.database import Database, sqlite_url
from db.schema_version import newest
from gateway.app import build_app
from gateway.commands.options import settings_of
from gateway.services import build_services
from tests.gateway.test_commands import ROOT, Server, _command, run_process, servers
from tests.pgbouncer import not_pooled
from tests.postgres import Postgres

__all__ = ["servers"]

MIGRATION = """
import sqlalchemy as sa
from alembic import op

revision = "{version}"
down_revision = "{before}"
branch_labels = None
depends_on = None

OLDEST_PROGRAM = "{oldest}"


def upgrade():
    op.add_column("accounts", sa.Column("column_{version}", sa.String(), nullable=True))
"""


class NewRelease:
    """A copy of the program, which gets one migration more each time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        for package in ("gateway", "schema", "resolvers", "access", "ledger", "db", "execution"):
            shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("static", "__pycache__"))

    def migrate(self, url: str, version: str, before: str, oldest: str) -> str:
        path = self._folder / f"db/migrations/versions/{version}_next.py"
        path.write_text(MIGRATION.format(version=version, before=before, oldest=oldest))
        return self.run(url, "migrate")

    def run(self, url: str, *arguments: str) -> str:
        environment = os.environ | {"BILLING_DATABASE_URL": url}
        command = [sys.executable, "-m", "gateway.cli", *arguments]
        return subprocess.run(
            command, env=environment, cwd=self._folder, capture_output=True, text=True, timeout=60, check=True
        ).stdout


def _worker(url: str) -> subprocess.Popen[str]:
    environment = os.environ | {"BILLING_DATABASE_URL": url}
    return subprocess.Popen(_command("worker"), env=environment, cwd=ROOT, stderr=subprocess.PIPE, text=True)


async def _ready(session: ClientSession, server: Server) -> tuple[int, Any]:
    async with session.get(f"{server.address}/readyz") as response:
        answer = await response.json()
        assert (response.status == 200) == (answer["status"] == "ok") == answer.pop("writes")
        del answer["reads"], answer["checks"]
        return response.status, answer


async def _refused(url: str, *arguments: str) -> str:
    said = await asyncio.to_thread(run_process, *arguments, url=url, status=1)
    assert "Traceback" not in said
    return said


@pytest.mark.one_database
async def test_old_processes_serve_on_until_tables_come_that_they_cannot_work_on(
    database_url: str, servers: list[Server], tmp_path: Path
) -> None:
    new = NewRelease(tmp_path)
    server = Server(database_url)
    servers.append(server)
    worker = _worker(database_url)
    try:
        async with ClientSession() as session:
            await server.ready(session)
            assert await _ready(session, server) == (200, {"status": "ok"})

            await asyncio.to_thread(new.migrate, database_url, "9998", newest(), newest())
            works = (
                f"the database's tables are of version 9998, newer than this program's {newest()},"
                " which can work on them"
            )
            assert await _ready(session, server) == (200, {"status": "ok", "message": works})
            assert await asyncio.to_thread(run_process, "migrate", url=database_url) == f"{works}: nothing to do\n"
            created = ("accounts", "create", "--name", "One")
            assert await asyncio.to_thread(run_process, *created, url=database_url) == "acct_1\n"
            assert await asyncio.to_thread(new.run, database_url, *created) == "acct_2\n"
            assert worker.poll() is None

            await asyncio.to_thread(new.migrate, database_url, "9999", "9998", "9999")
            refused = (
                f"the database's tables are of version 9999, newer than this program's {newest()},"
                " which cannot work on them: update the program"
            )
            status, answer = await _ready(session, server)
            assert (status, answer["error"]["code"], answer["error"]["message"]) == (503, "UNAVAILABLE", refused)
            commands = (("migrate",), ("serve", "--port", "0"), ("accounts", "list"))
            for said in await asyncio.gather(*(_refused(database_url, *one) for one in commands)):
                assert said == f"billing-gateway: {refused} (UNAVAILABLE)\n"
            # The worker looks every few seconds.
            _, said = await asyncio.to_thread(worker.communicate, timeout=30)
            assert worker.returncode == 1
            assert said.splitlines()[-1] == f"billing-gateway: {refused} (UNAVAILABLE)"
    finally:
        worker.kill()
        worker.wait()
    assert await server.stopped() == 0


@contextlib.asynccontextmanager
async def _asked(url: str) -> AsyncIterator[Callable[[], Awaitable[tuple[int, str]]]]:
    """Status and message of `/readyz` of a gateway on that database."""
    settings = settings_of({"database_url": url, "lock_timeout_seconds": 0.2})
    async with TestServer(build_app(build_services(settings))) as server, ClientSession() as session:

        async def ask() -> tuple[int, str]:
            async with session.get(server.make_url("/readyz")) as response:
                answer = await response.json()
            assert answer.keys() == {"status", "error", "reads", "writes", "checks"}
            assert not answer["writes"]
            assert answer["error"]["code"] == "UNAVAILABLE"
            return response.status, answer["error"]["message"]

        yield ask


@pytest.mark.parametrize(
    ("statements", "said"),
    [
        (["UPDATE alembic_version SET version_num = '0001'"], "tables are of version 0001, this program needs "),
        (["DELETE FROM alembic_version"], "the database's tables are not those of this program"),
        (["DROP TABLE alembic_version"], "the database's tables are not those of this program"),
        (["INSERT INTO alembic_version VALUES ('0001')"], "the database's tables are not those of this program"),
    ],
)
async def test_tables_of_another_state_are_not_ready(
    database_url: str, database: Database, statements: list[str], said: str
) -> None:
    async with database.write() as connection:
        for statement in statements:
            await connection.execute(text(statement))
    async with _asked(database_url) as ask:
        status, message = await ask()
    assert status == 503
    assert said in message


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "the database has no tables yet: run `billing-gateway migrate`"),
        (b"", "the database has no tables yet: run `billing-gateway migrate`"),
        (b"no database" * 1_000, "the database's file is not an SQLite database (SQLITE_NOTADB)"),
    ],
)
async def test_a_file_that_is_no_database_is_not_ready(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "billing.db"
    if content is not None:
        path.write_bytes(content)
    async with _asked(sqlite_url(path)) as ask:
        assert await ask() == (503, said)
    assert path.exists() == (content is not None)


@not_pooled
async def test_a_server_that_cannot_answer_is_not_ready(postgres_server: Postgres, postgres_template: str) -> None:
    name = await postgres_server.new_database(postgres_template)
    url = postgres_server.url(name)
    blocker = await asyncpg.connect(url)
    async with _asked(url) as ask:
        async with blocker.transaction():
            await blocker.execute("LOCK TABLE alembic_version")
            assert await ask() == (503, "another transaction holds a lock that this one needs (SQLSTATE 55P03)")
        await blocker.close()
        await postgres_server.drop(name)
        assert (await ask())[0] == 503
        assert await ask() == (503, "the database is unavailable (SQLSTATE 3D000)")
    async with _asked("postgresql://nobody@127.0.0.1:1/billing") as ask:
        assert await ask() == (503, "the database cannot be reached")
