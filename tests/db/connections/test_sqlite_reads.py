"""SQLite's reads: several as one statement, whose rows come as JSON, in a thread of the connection."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    Executable,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    bindparam,
    cast,
    func,
    insert,
    literal,
    select,
)
from sqlalchemy import text as sql

from db.connections.snapshots import Read, Snapshot, SnapshotInconsistent, Wanted
from db.database import Database, DatabaseOptions, sqlite_url
from db.errors import DatabaseUnavailable, NumberOutOfRange, StatementTimeout
from db.tables import timestamp

LONGEST_SECONDS: Final = 0.2

_ODD = Table(
    "odd",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("number", BigInteger),
    Column("text", String),
    Column("day", Date),
    Column("moment", timestamp()),
    Column("flag", Boolean),
    Column("bytes", LargeBinary),
)

# Counts for minutes.
_ENDLESS: Final = sql(
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000000) SELECT count(*) FROM n"
).columns(count=Integer)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    options = DatabaseOptions(sqlite_url(tmp_path / "odd.db"), pool_size=2, statement_timeout_seconds=LONGEST_SECONDS)
    opened = Database(options)
    async with opened.write() as connection:
        await connection.run_sync(_ODD.metadata.create_all)
    yield opened
    await opened.close()


# The gateway takes no NUL in a text, as PostgreSQL has none.
TEXTS: Final = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
MOMENTS: Final = st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001
ROWS: Final = st.lists(
    st.tuples(
        st.none() | st.integers(-(2**63), 2**63 - 1),
        st.none() | TEXTS,
        st.none() | st.dates(date(1, 1, 1)),
        st.none() | MOMENTS,
        st.none() | st.booleans(),
        st.none() | st.binary(min_size=1),
    ),
    max_size=20,
)


async def _in_one(snapshot: Snapshot, *wanted: Wanted) -> list[Any]:
    found: list[Any] = await snapshot.read(Read(wanted, list))
    return found


@settings(max_examples=60, deadline=None, derandomize=True)
@given(rows=ROWS)
def test_values_are_read_as_written(rows: list[tuple[Any, ...]], tmp_path_factory: Any) -> None:
    async def run() -> None:
        database = Database(DatabaseOptions(sqlite_url(tmp_path_factory.mktemp("odd") / "odd.db")))
        try:
            names = [column.name for column in _ODD.c]
            written = [(number, *row) for number, row in enumerate(rows)]
            async with database.write() as connection:
                await connection.run_sync(_ODD.metadata.create_all)
                if written:
                    await connection.execute(insert(_ODD), [dict(zip(names, row, strict=True)) for row in written])
            newest_first = Wanted(select(_ODD).order_by(_ODD.c.id.desc()), {})
            some = Wanted(
                select(_ODD.c.text, _ODD.c.id)
                .where(_ODD.c.id.in_(bindparam("ids", expanding=True)), _ODD.c.id < bindparam("before"))
                .order_by(_ODD.c.id),
                {"ids": [0, 3, 5], "before": 5},
            )
            for brief in (False, True):
                async with database.snapshot(brief=brief) as snapshot:
                    assert await _in_one(snapshot, newest_first, some, newest_first) == [
                        written[::-1],
                        [(row[2], row[0]) for row in written if row[0] in {0, 3}],
                        written[::-1],
                    ]
            assert await database.read(newest_first.statement) == written[::-1]
        finally:
            await database.close()

    asyncio.run(run())


async def test_list_parameters_may_have_any_length(database: Database) -> None:
    async with database.write() as connection:
        await connection.execute(insert(_ODD), [{"id": number} for number in range(10)])
    statement = select(_ODD.c.id).where(_ODD.c.id.in_(bindparam("ids", expanding=True))).order_by(_ODD.c.id)
    for ids in ([], [3], [9, 1, 4], list(range(500))):
        assert await database.read(statement, {"ids": ids}) == [(one,) for one in sorted(ids) if one < 10]


async def test_overflowing_sum_fails_only_its_own_read(database: Database) -> None:
    async with database.write() as connection:
        await connection.execute(insert(_ODD), [{"id": number, "number": 2**62} for number in range(3)])
    count: Executable = select(func.count()).select_from(_ODD)
    too_much: Executable = select(func.sum(_ODD.c.number))

    async with database.snapshot() as snapshot:
        counted, summed, again = await asyncio.gather(
            snapshot.rows(count), snapshot.rows(too_much), snapshot.rows(count), return_exceptions=True
        )
        assert await snapshot.rows(count) == [(3,)]
    assert (counted, type(summed), again) == ([(3,)], NumberOutOfRange, [(3,)])

    async with database.snapshot(brief=True) as brief:
        found = await asyncio.gather(brief.rows(count), brief.rows(too_much), return_exceptions=True)
    assert [type(one) for one in found] == [SnapshotInconsistent, SnapshotInconsistent]
    assert brief.inconsistent

    with pytest.raises(NumberOutOfRange):
        await database.read(too_much)


async def test_slow_read_is_interrupted_at_the_time_limit(database: Database) -> None:
    for _ in range(3):
        before = monotonic()
        with pytest.raises(StatementTimeout):
            await database.read(_ENDLESS)
        assert monotonic() - before < LONGEST_SECONDS + 5
    assert await database.read(select(literal(1))) == [(1,)]


async def test_cancelled_read_is_stopped(database: Database) -> None:
    """The pool has two connections: a third read would wait for one that still counts."""
    for _ in range(3):
        reading = asyncio.create_task(database.read(_ENDLESS))
        await asyncio.sleep(LONGEST_SECONDS / 10)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
    assert await database.read(select(literal(1))) == [(1,)]


async def test_read_connections_cannot_write(database: Database) -> None:
    writing = sql("INSERT INTO odd (id) VALUES (1) RETURNING id").columns(id=Integer)
    with pytest.raises(sqlite3.OperationalError):
        await database.read(writing)
    assert await database.read(select(_ODD.c.id)) == []


async def test_invalid_database_file_is_unavailable(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("no database" * 1_000)
    database = Database(DatabaseOptions(sqlite_url(file)))
    with pytest.raises(DatabaseUnavailable):
        await database.read(select(literal(1)))
    await database.close()


async def test_times_and_days_may_be_compared(database: Database) -> None:
    moment = datetime(2026, 11, 28, 12, 0, 0, 123_456, tzinfo=UTC)
    async with database.write() as connection:
        await connection.execute(
            insert(_ODD),
            [{"id": n, "moment": moment + timedelta(seconds=n), "day": date(2026, 11, 27 + n)} for n in (0, 1)],
        )
    later = select(_ODD.c.id, cast(_ODD.c.id, BigInteger)).where(
        _ODD.c.moment > bindparam("moment"), _ODD.c.day == bindparam("day")
    )
    assert await database.read(later, {"moment": moment, "day": date(2026, 11, 28)}) == [(1, 1)]
