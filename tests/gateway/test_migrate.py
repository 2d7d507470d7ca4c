"""`billing-gateway migrate` with databases that an operator confused: it refuses before it writes to any of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from db.connections.urls import driver_url
from db.database import sqlite_url
from ledger.accounts import Accounts
from tests.copies import Source
from tests.gateway.command_line import run
from tests.postgres import Postgres
from tests.shards import databases, formed, new_urls

_TABLES = {
    "sqlite": "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name",
    "postgresql": "SELECT relname::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'",
}


@pytest.fixture
async def urls(empty_database: Source, tmp_path: Path) -> AsyncIterator[list[str]]:
    """URLs of three databases with tables."""
    async with new_urls(empty_database, tmp_path, 3) as made:
        yield made


@pytest.fixture
async def empty(backend: str, tmp_path: Path, postgres_server: Postgres) -> AsyncIterator[list[str]]:
    """URLs of two databases without tables."""
    if backend == "sqlite":
        yield [sqlite_url(tmp_path / f"empty{number}.db") for number in range(2)]
        return
    names = [await postgres_server.new_database() for _ in range(2)]
    yield [postgres_server.url(name) for name in names]
    for name in names:
        await postgres_server.drop(name)


async def executed(url: str, *statements: str) -> None:
    """Through no connection of the gateway, which would change a file."""
    engine = create_async_engine(driver_url(url))
    async with engine.begin() as connection:
        for statement in statements:
            await connection.execute(text(statement))
    await engine.dispose()


def content(url: str) -> bytes:
    """The file of a SQLite database; empty if there is none."""
    file = Path(driver_url(url).database or "")
    return file.read_bytes() if url.startswith("sqlite") and file.exists() else b""


async def tables(url: str) -> set[str]:
    parsed = driver_url(url)
    backend = parsed.get_backend_name()
    if backend == "sqlite" and not content(url):
        return set()
    engine = create_async_engine(parsed)
    async with engine.connect() as connection:
        found = {row[0] for row in await connection.execute(text(_TABLES[backend]))}
    await engine.dispose()
    return found


async def refused(*given: str) -> str:
    flags = ("--shards", " ".join(given[1:])) if given[1:] else ()
    return await asyncio.to_thread(run, "migrate", *flags, url=given[0], status=1)


@pytest.mark.parametrize(
    "statements",
    [
        ("CREATE TABLE orders (id integer)",),
        # Another program with the same tool, which numbers its versions in the same way.
        ("CREATE TABLE alembic_version (version_num varchar(32))", "INSERT INTO alembic_version VALUES ('0001')"),
        ("CREATE TABLE alembic_version (version_num varchar(32))", "INSERT INTO alembic_version VALUES ('e1f2')"),
    ],
    ids=["tables", "known version", "unknown version"],
)
async def test_tables_of_another_program_stay_alone(empty: list[str], statements: tuple[str, ...]) -> None:
    ours, foreign = empty
    await executed(foreign, *statements)
    before = await tables(foreign)
    file = content(foreign)
    assert "the database's tables are not those of this program" in await refused(foreign)
    assert "shard 1: the database's tables are not those of this program" in await refused(ours, foreign)
    assert [await tables(url) for url in (ours, foreign)] == [set(), before]
    # The journal mode, too.
    assert content(foreign) == file


async def test_databases_of_other_sets_and_releases_stay_as_they_are(urls: list[str], empty: list[str]) -> None:
    await formed(*urls[:2])
    assert "the database is shard 1 of a set" in await refused(urls[1])
    assert "shard 1 belongs to a set, but that of shard 0 does not" in await refused(empty[0], urls[1])
    assert "shard 1 was named as shard 0" in await refused(urls[1], urls[0])
    assert "shard 1 of the set is another database" in await refused(urls[0], empty[0])

    # Staging's database among production's.
    async with databases(urls[2]) as (staging,):
        await Accounts(staging).create("Staging")
    assert "only an empty one can join a set" in await refused(*urls[:2], urls[2])
    assert "only an empty one can join a set" in await refused(empty[0], urls[2])

    await executed(urls[1], "UPDATE schema_compatibility SET oldest_program = '9998'")
    await executed(urls[1], "UPDATE alembic_version SET version_num = '9999'")
    assert "shard 1: the database's tables are of version 9999, newer" in await refused(empty[0], urls[1])
    assert [await tables(url) for url in empty] == [set(), set()]


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
async def test_one_database_by_two_names_is_not_two_shards(empty: list[str], tmp_path: Path) -> None:
    folder = empty[0].split("host=")[1]
    (tmp_path / "same").symlink_to(folder)
    assert "shard 0 and shard 1 are the same database" in await refused(
        empty[0], empty[0].replace(folder, str(tmp_path / "same"))
    )
    assert await tables(empty[0]) == set()
    # Tables of extensions are nobody's.
    await executed(
        empty[0], "CREATE TABLE spatial_ref_sys (id integer)", "ALTER EXTENSION plpgsql ADD TABLE spatial_ref_sys"
    )
    assert "now have version" in await asyncio.to_thread(run, "migrate", url=empty[0])


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
async def test_a_standby_is_named_as_one(empty: list[str], urls: list[str], postgres_server: Postgres) -> None:
    with postgres_server.standby() as standby:
        replica = standby.url(urls[1].split("/")[3].split("?")[0])
        assert "shard 1: the database is a standby, which takes no writes" in await refused(empty[0], replica)
    assert await tables(empty[0]) == set()
