"""Lines of CSV that each database builds are to the byte those that Python makes of the same rows."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextvars import copy_context
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import Any, Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from access.keys import KeyScope, Principal
from db import writes
from db.attribution_rows import PricedHourRow, UsageHourRow
from db.csv_lines import Lines, transaction_lines, usage_hour_lines, usage_lines
from db.database import Database, DatabaseOptions
from db.errors import DatabaseUnavailable
from db.filters import ALL_TRANSACTIONS, ALL_USAGE, TransactionFilter, UsageFilter, UsageHourFilter, Window
from db.hours import time_of_hour
from db.rows import TransactionRow, UsageDayRow
from db.usage_writes import FedDay, put_usage_days
from execution import slices
from gateway.rest import exports, transactions, usage, usage_hours
from gateway.rest.price_columns import price_cells
from ledger.chain import format_time
from ledger.ids import account_id_text
from ledger.kinds import SIGN, RefType, TransactionSource, TransactionType, UsageCategory, UsageOrigin
from ledger.money import format_nanos
from ledger.usage_prices import PriceSource, UsagePrice, price_id
from resolvers.context import QueryContext
from resolvers.reads.transactions import transaction_filter
from tests.ledger_rows import insert_transactions
from tests.postgres import Postgres
from tests.request_rows import put_hours, put_price

NOW: Final = datetime(2026, 11, 15, 12, tzinfo=UTC)
OPERATOR: Final = Principal(1, "eco_test", KeyScope.OPERATOR, None, None, None, None)
MAX: Final = 2**63 - 1

EXAMPLES: Final = settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)

TEXTS: Final = (
    st.text("\",'\r\n\t=+-@＝＋－＠ ;\\\x01\x7f\u2028$^*[ab0жß😀", max_size=8)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=12)
    | st.sampled_from(["", " ", '"', '""', "a,b", "'=1", "NULL", "\\N", "\\.", "x" * 500, '",\r\n' * 100])
)
SIZES: Final = (
    st.integers(1, MAX)
    | st.integers(1, 10**9).map(lambda cents: cents * 10**7)
    | st.sampled_from([1, 9, 10, 10**6, 10**7 - 1, 10**7, 10**8, 10**9 - 1, 10**9, 1_250_000_000, MAX - 1, MAX])
)
BALANCES: Final = st.just(0) | SIZES | SIZES.map(lambda size: -size)
# The very first and the very last moment that Python knows are infinities to asyncpg.
FIRST, LAST = datetime(1, 1, 2), datetime(9999, 12, 30)  # noqa: DTZ001
MOMENTS: Final = st.datetimes(FIRST, LAST, timezones=st.just(UTC)) | st.sampled_from(
    [NOW, NOW + timedelta(microseconds=1), NOW + timedelta(milliseconds=500)]
)
REFS: Final = st.tuples(st.sampled_from(RefType), TEXTS)


@dataclass(frozen=True)
class Draft:
    kind: TransactionType
    source: TransactionSource
    size: int
    negative: bool
    balance: int
    at: datetime
    description: str
    actor: str
    ref: tuple[RefType, str] | None
    corrects: int | None
    period: tuple[datetime | None, datetime | None]
    hash: bytes

    def row(self, account_id: int, seq: int) -> TransactionRow:
        sign = SIGN[self.kind] or (-1 if self.negative else 1)
        return TransactionRow(
            account_id=account_id,
            seq=seq,
            created_at=self.at,
            type=self.kind.value,
            amount_nanos=sign * self.size,
            balance_after_nanos=self.balance,
            description=self.description,
            source=self.source.value,
            ref_type=None if self.ref is None else self.ref[0].value,
            ref_id=None if self.ref is None else self.ref[1],
            actor=self.actor,
            corrects_seq=None if self.corrects is None else self.corrects % seq,
            period_start=self.period[0],
            period_end=self.period[1],
            hash=self.hash,
        )


DRAFTS: Final = st.builds(
    Draft,
    kind=st.sampled_from(TransactionType),
    source=st.sampled_from(TransactionSource),
    size=SIZES,
    negative=st.booleans(),
    balance=BALANCES,
    at=MOMENTS,
    description=TEXTS,
    actor=TEXTS,
    ref=st.none() | REFS,
    corrects=st.none() | st.integers(0, 99),
    period=st.tuples(st.none() | MOMENTS, st.none() | MOMENTS),
    hash=st.binary(min_size=32, max_size=32),
)
COUNTS: Final = st.integers(0, MAX)
DAYS: Final = st.dictionaries(
    st.tuples(st.dates(FIRST.date(), LAST.date()), TEXTS, st.sampled_from(UsageCategory), st.sampled_from(UsageOrigin)),
    st.tuples(COUNTS, COUNTS, COUNTS, st.just(0) | SIZES),
    max_size=6,
)
STEPS: Final = st.integers(1, 4)


async def _new_account(database: Database) -> int:
    async with database.write() as connection:
        return (await writes.insert_account(connection, external_id=None, name="Test", created_at=NOW)).id


async def _new_ledger(database: Database, drafts: Sequence[Draft]) -> list[TransactionRow]:
    account_id = await _new_account(database)
    rows = [draft.row(account_id, seq) for seq, draft in enumerate(drafts, 1)]
    async with database.write() as connection:
        await insert_transactions(connection, rows)
    return rows


async def _new_usage(database: Database, days: dict[Any, tuple[int, int, int, int]]) -> list[UsageDayRow]:
    account_id = await _new_account(database)
    rows = [
        UsageDayRow(account_id, day, model, category.value, origin.value, *figures)
        for (day, model, category, origin), figures in days.items()
    ]
    async with database.write() as connection:
        await put_usage_days(connection, [FedDay(row, "rollup") for row in rows])
    return sorted(rows, key=lambda row: (row.day, row.model.encode(), row.category, row.origin))


async def _transaction_lines(
    database: Database, account_id: int, window: Window, row_filter: TransactionFilter = ALL_TRANSACTIONS
) -> Lines | None:
    async with database.snapshot(brief=True) as snapshot:
        return await transaction_lines(snapshot, account_id, row_filter, window)


async def _usage_lines(
    database: Database, account_id: int, window: Window, row_filter: UsageFilter = ALL_USAGE
) -> Lines:
    async with database.snapshot(brief=True) as snapshot:
        return await usage_lines(snapshot, account_id, row_filter, window)


def _expected(rows: Sequence[TransactionRow]) -> bytes:
    return exports.csv_lines(transactions.COLUMNS, map(transactions._cells, rows))


def _usage_cells(row: UsageDayRow) -> exports.Cells:
    return [
        account_id_text(row.account_id),
        row.day.isoformat(),
        row.model,
        row.category,
        row.origin,
        row.calls,
        row.input_tokens,
        row.output_tokens,
        row.input_tokens + row.output_tokens,
        format_nanos(row.cost_nanos),
    ]


def _expected_usage(rows: Sequence[UsageDayRow]) -> bytes:
    return exports.csv_lines(usage.COLUMNS, map(_usage_cells, rows))


def _usage_hour_cells(row: PricedHourRow) -> exports.Cells:
    of_hour = row.usage
    return [
        account_id_text(of_hour.account_id),
        format_time(time_of_hour(of_hour.hour)),
        *of_hour[2:8],
        *of_hour[9:14],
        format_nanos(of_hour.units_nanos),
        format_nanos(of_hour.cost_nanos),
        *price_cells(row.price),
    ]


@given(drafts=st.lists(DRAFTS, min_size=1, max_size=6), limit=STEPS)
@EXAMPLES
async def test_transactions(database: Database, drafts: list[Draft], limit: int) -> None:
    rows = await _new_ledger(database, drafts)
    for before in range(len(rows)):
        step = rows[before : before + limit]
        window = Window(limit, after=len(rows) + 1, before=before, oldest=True)
        lines = await _transaction_lines(database, rows[0].account_id, window)
        assert lines == Lines(_expected(step), len(step), step[-1].seq)


@given(days=DAYS, limit=STEPS)
@EXAMPLES
async def test_usage(database: Database, days: dict[Any, tuple[int, int, int, int]], limit: int) -> None:
    rows = await _new_usage(database, days)
    for start in range(0, len(rows), limit):
        step = rows[start : start + limit]
        before = rows[start - 1][1:5] if start else None
        lines = await _usage_lines(database, rows[0].account_id, Window(limit, before=before, oldest=True))
        assert lines == Lines(_expected_usage(step), len(step), step[-1][1:5])


HOURS: Final = st.dictionaries(
    st.tuples(
        st.integers(0, 5).map(lambda hour: 498_000 + hour) | st.sampled_from([-17_000_000, 70_000_000]),
        TEXTS,
        st.sampled_from(UsageCategory),
        st.sampled_from(UsageOrigin),
        TEXTS,
        TEXTS,
        st.integers(0, 2),
    ),
    st.tuples(*(COUNTS for _ in range(6)), st.just(0) | SIZES),
    max_size=6,
)
_NANOS: Final = st.just(0) | SIZES
PRICES: Final = st.builds(
    UsagePrice,
    *(_NANOS, st.none() | _NANOS, _NANOS, st.none() | _NANOS, _NANOS, _NANOS),
    valid_from=st.none() | MOMENTS,
    valid_until=st.none() | MOMENTS,
    source=st.sampled_from(PriceSource),
)


async def _new_hours(
    database: Database, hours: dict[Any, tuple[int, ...]], prices: Sequence[UsagePrice]
) -> list[PricedHourRow]:
    account_id = await _new_account(database)
    listed = {price_id(price): price.row(account_id) for price in prices}
    ids = [0, *[await put_price(database, account_id, price) for price in dict.fromkeys(prices)]]
    rows = [
        UsageHourRow(account_id, hour, 1, model, category.value, origin.value, api_key, project, 0, *figures)._replace(
            price_id=ids[place % len(ids)]
        )
        for (hour, model, category, origin, api_key, project, place), figures in hours.items()
    ]
    unique = {row[:9]: row for row in rows}
    if unique:
        await put_hours(database, *unique.values())
    texts = itemgetter(3, 4, 5, 6, 7)
    ordered = sorted(unique.values(), key=lambda row: (row[1:3], [one.encode() for one in texts(row)], row.price_id))
    return [PricedHourRow(row, listed.get(row.price_id)) for row in ordered]


@given(hours=HOURS, prices=st.lists(PRICES, max_size=2), limit=STEPS)
@EXAMPLES
async def test_usage_hours(
    database: Database, hours: dict[Any, tuple[int, ...]], prices: list[UsagePrice], limit: int
) -> None:
    rows = await _new_hours(database, hours, prices)
    for start in range(0, len(rows), limit):
        step = rows[start : start + limit]
        before = rows[start - 1].usage[1:9] if start else None
        window = Window(limit, before=before, oldest=True)
        async with database.snapshot(brief=True) as snapshot:
            lines = await usage_hour_lines(snapshot, rows[0].usage.account_id, UsageHourFilter(), window)
        expected = exports.csv_lines(usage_hours.COLUMNS, map(_usage_hour_cells, step))
        assert lines == Lines(expected, len(step), step[-1].usage[1:9])


@pytest.fixture
async def postgresql(postgres_server: Postgres, postgres_template: str) -> AsyncGenerator[Database, None]:
    """A database whose text formats are not those of other servers."""
    name = await postgres_server.new_database(postgres_template)
    for setting in ("datestyle = 'German'", "timezone = 'Asia/Kathmandu'", "bytea_output = 'escape'"):
        await postgres_server.execute(f'ALTER DATABASE "{name}" SET {setting}')
    database = Database(DatabaseOptions(postgres_server.url(name)))
    yield database
    await database.close()


ROWS: Final = [
    Draft(kind, TransactionSource.METERING, 10**7 * (number + 1), False, -number, NOW, f"row {number}, =1", "a",
          (RefType.VOLUME, f"v{number % 3}"), number, (None, NOW), bytes(32))
    for number, kind in enumerate([*TransactionType, *TransactionType])
]  # fmt: skip
FILTERS: Final[list[dict[str, Any]]] = [
    {},
    {"types": []},
    {"types": [TransactionType.REFUND, TransactionType.GPU_USAGE, TransactionType.BONUS]},
    {"created_gte": NOW, "created_lt": NOW + timedelta(days=1)},
    {"amount_gte": -(10**9), "amount_lte": 5 * 10**7},
    {"amount_gte": 2 * 10**7, "amount_lte": 2 * 10**7},
    {"amount_lte": 0, "types": [TransactionType.GPU_USAGE]},
    {"ref_type": RefType.VOLUME},
    {"ref_id": "v1"},
    {"search": "ROW 1"},
]


@pytest.mark.parametrize("chosen", FILTERS, ids=lambda chosen: "+".join(chosen) or "none")
async def test_filters_and_the_servers_settings(postgresql: Database, chosen: dict[str, Any]) -> None:
    rows = await _new_ledger(postgresql, ROWS)
    account_id, row_filter = rows[0].account_id, transaction_filter(**chosen)
    for limit in (3, 100):
        window = Window(limit, after=len(rows), before=1, oldest=True)
        async with postgresql.snapshot() as snapshot:
            found = await QueryContext(snapshot, OPERATOR, NOW).loaders.transaction_page.load(
                (account_id, (row_filter, window))
            )
        lines = await _transaction_lines(postgresql, account_id, window, row_filter)
        assert lines == Lines(_expected(found), len(found), found[-1].seq if found else None)
        assert bool(found) == (chosen != {"types": []})


async def test_usage_and_the_servers_settings(postgresql: Database) -> None:
    day = (NOW.date(), "=model", UsageCategory.CHAT, UsageOrigin.PLATFORM)
    rows = await _new_usage(postgresql, {day: (1, MAX, MAX, 1)})
    lines = await _usage_lines(postgresql, rows[0].account_id, Window(2, oldest=True))
    account = f"acct_{rows[0].account_id}"
    assert lines.text.decode() == (
        f"{account},2026-11-15,'=model,chat,platform,1,{MAX},{MAX},{2 * MAX},0.000000001\r\n"
    )


class Reading:
    """Steps of which each is told when it is read."""

    def __init__(self, count: int, *, each_waits: bool = False) -> None:
        self.begun: list[int] = []
        self.read = [asyncio.Event() for _ in range(count)]
        self.closed = False
        self._each_waits = each_waits

    async def _step(self, number: int) -> Lines:
        self.begun.append(number)
        await self.read[number].wait()
        return Lines(b"%d" % number, 1, number)

    async def steps(self) -> exports.Steps:
        try:
            for number in range(len(self.read)):
                step = asyncio.create_task(self._step(number))
                yield step
                if self._each_waits:
                    await step
        finally:
            self.closed = True


async def _a_while() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_steps_are_read_at_once_and_sent_in_order() -> None:
    reading = Reading(9)
    texts = exports._in_order(reading.steps())
    first = asyncio.ensure_future(anext(texts))
    await _a_while()
    assert reading.begun == list(range(exports.STEPS_AT_ONCE))
    reading.read[1].set()
    await _a_while()
    assert not first.done()
    reading.read[0].set()
    assert await first == b"0"
    for event in reading.read:
        event.set()
    assert [text async for text in texts] == [b"%d" % number for number in range(1, 9)]
    assert reading.begun == list(range(9))
    assert reading.closed


async def test_a_step_that_has_to_wait_for_the_one_before_is_read_while_that_is_sent() -> None:
    reading = Reading(3, each_waits=True)
    texts = exports._in_order(reading.steps())
    reading.read[0].set()
    assert await anext(texts) == b"0"
    await _a_while()
    assert reading.begun == [0, 1]


async def test_reading_ends_with_the_export() -> None:
    reading = Reading(9)
    reading.read[0].set()
    texts = exports._in_order(reading.steps())
    assert await anext(texts) == b"0"
    await texts.aclose()
    assert reading.closed
    assert [task for task in asyncio.all_tasks() if "_step" in repr(task.get_coro())] == []


async def test_an_error_of_a_step_comes_in_its_place() -> None:
    async def fail() -> Lines:
        raise DatabaseUnavailable("gone")

    async def steps() -> exports.Steps:
        for text in (b"0", b"1"):
            yield asyncio.create_task(asyncio.sleep(0, Lines(text, 1, None)))
        for _ in range(2):
            yield asyncio.create_task(fail())

    texts = exports._in_order(steps())
    assert [await anext(texts), await anext(texts)] == [b"0", b"1"]
    with pytest.raises(DatabaseUnavailable):
        await anext(texts)


async def test_lines_are_made_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thousand lines took 40 ms at once, of each of many exports."""
    monkeypatch.setattr(slices, "SLICE_SECONDS", 0.0)
    paused = 0

    async def pause() -> None:
        nonlocal paused
        paused += 1
        await asyncio.sleep(0)

    async def lines() -> bytes:
        slices.pauses_by(pause)
        return await exports.csv_step((), ([number] for number in range(100)))

    text = await asyncio.create_task(lines(), context=copy_context())
    assert text.decode().split() == list(map(str, range(100)))
    assert paused > 100
