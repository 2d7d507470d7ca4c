"""What clients and operators are told while something is wrong with the database, by real faults."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any, Final

import asyncpg
import pytest
from aiohttp import ClientSession
from aiohttp.test_utils import TestServer
from sqlalchemy import Integer, text
from structlog.testing import capture_logs

from db.database import Database, DatabaseOptions, sqlite_url
from db.health import postgresql as postgresql_health
from db.health import sqlite as sqlite_health
from db.schema_version import migrate
from gateway.app import build_app
from gateway.commands.options import settings_of
from gateway.services import build_services
from tests import postgres
from tests.gateway.mutations.office import Office, opened
from tests.postgres import Postgres
from tests.tmpfs import small_disk

GUARD_SECONDS: Final = 30
_QUERY: Final = "query ($id: ID!) { account(id: $id) { balance transactions { totalCount nodes { id } } } }"
_FINE: Final = dict.fromkeys(("reachable", "schema", "readable", "writable", "disk", "corrupt", "clock"), "ok")


async def _ready(office: Office, purpose: str = "writes") -> tuple[int, dict[str, Any]]:
    async with asyncio.timeout(GUARD_SECONDS):
        async with office.session.get(f"{office.url}/readyz", params={"for": purpose}) as response:
            answer = await response.json()
    assert (response.status == 200) == answer[purpose]
    assert (response.status == 503) == ("error" in answer)
    return response.status, answer


async def _wrong(office: Office, *, reads: bool) -> dict[str, str]:
    """The checks that are not in order; writes are not possible, reads are as said."""
    status, answer = await _ready(office)
    assert (status, answer["writes"], answer["reads"]) == (503, False, reads)
    assert (await _ready(office, "reads"))[0] == (200 if reads else 503)
    return {name: said for name, said in answer["checks"].items() if said != "ok"}


async def _is_fine(office: Office) -> None:
    status, answer = await _ready(office)
    answer["checks"].pop("corrupt")
    assert (status, answer["checks"]) == (200, {name: said for name, said in _FINE.items() if name != "corrupt"})


async def _calls(office: Office, account: str) -> Sequence[tuple[int, str | None]]:
    """(status, code) of a call of each kind."""
    headers = {"Authorization": f"Bearer {office.keys['operator']}"}

    async def rest(path: str) -> tuple[int, str | None]:
        async with office.session.get(f"{office.url}{path}?account={account}", headers=headers) as response:
            return response.status, None if response.status == 200 else (await response.json())["error"]["code"]

    async def graphql(sent: Any) -> tuple[int, str | None]:
        answer = await sent
        return 0, answer["errors"][0]["extensions"]["code"] if "errors" in answer else None

    correction = {"accountId": account, "amount": "1.00", "description": "For a test"}
    async with asyncio.timeout(GUARD_SECONDS):
        found = await asyncio.gather(
            rest("/billing/transactions"),
            rest("/billing/transactions.csv"),
            graphql(office.send(_QUERY, office.keys["operator"], {"id": account})),
            graphql(office.answer("correctBalance", office.keys["operator"], **correction)),
        )
    return tuple(found)


_ANSWERED: Final = ((200, None), (200, None), (0, None), (0, None))
_REFUSED: Final = ((503, "UNAVAILABLE"), (503, "UNAVAILABLE"), (0, "UNAVAILABLE"), (0, "UNAVAILABLE"))


async def _answers_again(office: Office, account: str) -> None:
    async with asyncio.timeout(GUARD_SECONDS):
        while await _calls(office, account) != _ANSWERED:  # noqa: ASYNC110  what is waited for is the server's
            await asyncio.sleep(0.1)


async def test_a_server_that_hangs_is_told_of_at_once(postgres_server: Postgres, postgresql_url: str) -> None:
    async with opened(postgresql_url) as office:
        account = await office.account("1.00")
        assert await _calls(office, account) == _ANSWERED
        await _is_fine(office)
        with postgres_server.frozen(), capture_logs() as logs:
            assert await _calls(office, account) == _REFUSED
            wrong = await _wrong(office, reads=False)
            assert await _calls(office, account) == _REFUSED
        assert wrong["reachable"].startswith("the database d")
        assert not [line for line in logs if "exc_info" in line]
        assert {"event": "request failed", "code": "UNAVAILABLE"}.items() <= next(
            line for line in logs if line["event"] == "request failed"
        ).items()
        await _answers_again(office, account)
        await _is_fine(office)


@asynccontextmanager
async def _table_locked(url: str) -> AsyncIterator[asyncpg.Connection]:
    blocker = await asyncpg.connect(url)
    try:
        async with blocker.transaction():
            await blocker.execute("LOCK TABLE transactions IN ACCESS EXCLUSIVE MODE")
            yield blocker
    finally:
        await blocker.close()


async def test_an_operation_ends_at_its_deadline_and_so_do_its_statements(postgresql_url: str) -> None:
    async with opened(postgresql_url, operation_timeout_seconds=2, lock_timeout_seconds=120) as office:
        account = await office.account("1.00")
        async with _table_locked(postgresql_url) as blocker:
            assert await _calls(office, account) == (
                (400, "QUERY_TOO_COMPLEX"),
                (400, "QUERY_TOO_COMPLEX"),
                (0, "QUERY_TOO_COMPLEX"),
                (0, "UNAVAILABLE"),
            )
            answer = await office.answer(
                "correctBalance", office.keys["operator"], accountId=account, amount="1", description="For a test"
            )
            assert answer["errors"][0]["message"] == (
                "the operation took longer than 2 seconds, and may have been done: repeat it with the same"
                " idempotencyKey"
            )
            # A call of a mutation may share its commit with others, so its statement goes on.
            waiting = (
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
                " AND query LIKE 'SELECT%'"
            )
            async with asyncio.timeout(GUARD_SECONDS):
                while await blocker.fetchval(waiting):  # noqa: ASYNC110  what is waited for is the server's
                    await asyncio.sleep(0.05)
        assert await _calls(office, account) == _ANSWERED


async def test_a_write_on_sqlite_ends_at_its_deadline(sqlite_file_url: str) -> None:
    async with opened(sqlite_file_url, operation_timeout_seconds=3) as office:
        account = await office.account("1.00")
        with _file_locked(sqlite_file_url):
            assert await _calls(office, account) == (*_ANSWERED[:3], (0, "UNAVAILABLE"))
        assert await _calls(office, account) == _ANSWERED


async def _set_read_only(server: Postgres, setting: str) -> None:
    """For all sessions that there are, too."""
    connection = await asyncpg.connect(
        user=server.user,
        database="postgres",
        host=server.host,
        server_settings={"default_transaction_read_only": "off"},
    )
    try:
        await connection.execute(f"ALTER SYSTEM SET default_transaction_read_only = {setting}")
        await connection.execute("SELECT pg_reload_conf()")
    finally:
        await connection.close()


async def test_a_server_that_is_read_only_answers_queries(postgres_server: Postgres, postgresql_url: str) -> None:
    async with opened(postgresql_url) as office:
        await _is_fine(office)
        await _set_read_only(postgres_server, "on")
        try:
            async with asyncio.timeout(GUARD_SECONDS):
                while (await _ready(office))[0] == 200:  # noqa: ASYNC110  what is waited for is the server's
                    await asyncio.sleep(0.05)
            wrong = await _wrong(office, reads=True)
        finally:
            await _set_read_only(postgres_server, "off")
    assert wrong["writable"] == "the database server is read-only"


@asynccontextmanager
async def _unprepared(url: str) -> AsyncIterator[Office]:
    """A gateway on a database where nothing can be written: without keys."""
    services = build_services(settings_of({"database_url": url}))
    async with TestServer(build_app(services)) as server, ClientSession() as session:
        yield Office(services, session, str(server.make_url("")))


async def test_a_standby_answers_queries(postgres_server: Postgres, postgresql_url: str) -> None:
    name = postgresql_url.split("@/")[1].split("?")[0]
    with postgres_server.standby() as standby:
        async with _unprepared(standby.url(name)) as office:
            wrong = await _wrong(office, reads=True)
            await standby.promote()
            async with asyncio.timeout(GUARD_SECONDS):
                while (await _ready(office))[0] == 503:  # noqa: ASYNC110  what is waited for is the server's
                    await asyncio.sleep(0.05)
    assert wrong["writable"] == "the database server is a standby: it takes no writes"


async def test_a_full_disk_of_postgresql(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgresql_health, "DISK_SECONDS", 0.0)
    settings = {**postgres.QUICK, "max_wal_size": "'32MB'", "min_wal_size": "'32MB'"}
    with tempfile.TemporaryDirectory(prefix="billing-disk-") as name:
        # The server runs as a user of its own.
        Path(name).chmod(0o755)  # noqa: ASYNC240
        with small_disk(Path(name) / "disk", 160) as disk, postgres.started(settings, disk.folder) as server:
            url = server.url(await server.new_database())
            database = Database(DatabaseOptions(url))
            await migrate(database)
            await database.close()
            async with opened(url) as office:
                await _is_fine(office)
                disk.fill()
                assert (await _wrong(office, reads=True))["disk"] == "the database's disk is full"
                disk.empty()
                await _is_fine(office)


async def test_readiness_needs_no_connection_of_the_pools(postgres_server: Postgres, postgresql_url: str) -> None:
    async with opened(postgresql_url, pool_size=2, lock_timeout_seconds=60) as office:
        await _is_fine(office)
        database = office.services.database
        async with database.write(), database.write(), database.snapshot() as one, database.snapshot() as other:
            for snapshot in (one, other):
                await snapshot.rows(text("SELECT 1").columns(one=Integer))
            await _is_fine(office)


@asynccontextmanager
async def _sqlite_office(url: str) -> AsyncIterator[Office]:
    async with opened(url) as office:
        await _is_fine(office)
        yield office


def _path(url: str) -> Path:
    return Path(url.removeprefix("sqlite+aiosqlite:///"))


@contextmanager
def _file_locked(url: str) -> Iterator[None]:
    """By another program that writes."""
    with closing(sqlite3.connect(_path(url), isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.rollback()


async def test_a_file_that_stays_locked(sqlite_file_url: str) -> None:
    async with _sqlite_office(sqlite_file_url) as office:
        with _file_locked(sqlite_file_url):
            wrong = await _wrong(office, reads=True)
        assert wrong == {"writable": "the database is locked by another process (SQLITE_BUSY)"}
        await _is_fine(office)


async def test_a_file_on_a_full_disk(sqlite_template: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 8) as disk:
        path = disk.folder / "billing.db"
        shutil.copy(sqlite_template, path)
        async with _sqlite_office(sqlite_url(path)) as office:
            disk.fill()
            assert (await _wrong(office, reads=True))["disk"] == "the database's disk is full"
            disk.empty()
            await _is_fine(office)


async def test_a_file_on_a_disk_that_is_read_only(sqlite_template: Path, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", 8) as disk:
        path = disk.folder / "billing.db"
        shutil.copy(sqlite_template, path)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA journal_mode = DELETE")
        disk.make_read_only()
        async with _unprepared(sqlite_url(path)) as office:
            wrong = await _wrong(office, reads=True)
    assert wrong["writable"].startswith("the database's file or its folder cannot be written")


async def test_a_damaged_file(sqlite_file_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_health, "CORRUPTION_SECONDS", 0.0)
    monkeypatch.setattr(sqlite_health, "CORRUPTION_SHARE", 0)
    path = _path(sqlite_file_url)
    async with _sqlite_office(sqlite_file_url) as office:
        await office.account("1.00")
        assert (await _ready(office))[1]["checks"]["corrupt"] == "ok"
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            (page,) = connection.execute(
                "SELECT rootpage FROM sqlite_master WHERE name = 'idempotency_keys'"
            ).fetchone()
            (size,) = connection.execute("PRAGMA page_size").fetchone()
        with path.open("r+b") as file:
            file.seek((page - 1) * size)
            file.write(b"\x99" * size)
        async with asyncio.timeout(GUARD_SECONDS):
            while (await _ready(office))[0] == 200:  # noqa: ASYNC110  the file is read whole now and then
                await asyncio.sleep(0.05)
        assert (await _wrong(office, reads=False))["corrupt"].startswith("the database's file is damaged")


async def test_readiness_is_asked_for_what_there_is(sqlite_file_url: str) -> None:
    async with opened(sqlite_file_url) as office, office.session.get(f"{office.url}/readyz?for=fun") as response:
        assert (response.status, (await response.json())["error"]["code"]) == (400, "BAD_USER_INPUT")
