"""What a page costs on a long ledger, in PostgreSQL's buffers: the pages of 8 KiB that it looks at.

The bounds are those of a million rows, which `make test-nightly` fills in (`PAGE_COST_ROWS`), and hold from half of it
on. Below, PostgreSQL's generic plans of charges that are filtered by time read up to ten times as much.

The statements are those that the reading functions hand to the driver, explained with the very same parameters,
once planned for their values and once as the generic plan that a prepared statement may end up with.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal

import asyncpg
import pytest
from sqlalchemy import text

from db import accounts, charges, resources, runway, usage
from db.connections.snapshots import Snapshot
from db.database import Database, DatabaseOptions
from db.filters import ALL_CHARGES, ALL_TRANSACTIONS, ALL_USAGE, ChargeFilter, TransactionFilter, Window
from db.transactions import pages, totals
from db.transactions.pages import SORTED_AMOUNTS
from ledger.kinds import KINDS, ChargeState, RefType, TransactionSource, TransactionType
from resolvers.reads.charges import charge_filter
from resolvers.reads.transactions import transaction_filter
from tests.db import bulk_rows
from tests.db.bulk_rows import BIG, BIG_ROWS, DISPUTED_EVERY, FIRST_OTHER, SMALL
from tests.pgbouncer import not_pooled
from tests.postgres import Postgres
from tests.statements import Sent, watched

Planner = Literal["force_custom_plan", "force_generic_plan"]
Read = Callable[[Snapshot], Awaitable[object]]

PAGE: Final = 50

RATIO: Final = 1.2
# Where a page of rows begins and ends in a leaf of the index and in a page of the table is chance, which adds one at
# each end; so does a row that is read ahead, one for each run of an index that is merged.
CHANCE: Final = 4

_T, _S = TransactionType, TransactionSource


def dollars(amount: float) -> int:
    return round(amount * 10**9)


@dataclass(frozen=True)
class Server:
    database: Database
    connection: asyncpg.Connection


@pytest.fixture(scope="module")
async def bulk(postgres_server: Postgres, postgres_template: str) -> AsyncIterator[Server]:
    name = await postgres_server.new_database(postgres_template)
    connection = await asyncpg.connect(user=postgres_server.user, host=postgres_server.host, database=name)
    await bulk_rows.fill(connection)
    await connection.execute("SET jit = off; SET session_replication_role = origin")
    database = Database(DatabaseOptions(postgres_server.url(name)))
    yield Server(database, connection)
    await database.close()
    await connection.close()
    await postgres_server.drop(name)


async def statements_of(database: Database, read: Read) -> list[Sent]:
    """What the read sends to the driver."""
    with watched(database) as sent:
        async with database.snapshot() as snapshot:
            await read(snapshot)
    return sent


def _literal(value: object) -> str:
    if isinstance(value, list):
        return "ARRAY[" + ", ".join(map(_literal, value)) + "]"
    return str(value) if isinstance(value, int) else "'" + str(value).replace("'", "''") + "'"


async def explained(
    connection: asyncpg.Connection, statement: str, parameters: tuple[Any, ...], planner: Planner
) -> dict[str, Any]:
    await connection.execute(f"SET plan_cache_mode = {planner}")
    await connection.execute(f"PREPARE explained AS {statement}")
    try:
        values = f"({', '.join(map(_literal, parameters))})" if parameters else ""
        plan = await connection.fetchval(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) EXECUTE explained{values}")
    finally:
        await connection.execute("DEALLOCATE explained")
    found: dict[str, Any] = json.loads(plan)[0]["Plan"]
    return found


async def buffers(server: Server, read: Read, planner: Planner) -> int:
    total = 0
    for statement, parameters in await statements_of(server.database, read):
        plan = await explained(server.connection, statement, parameters, planner)
        total += plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]
    return total


def page_of(
    account_ids: list[int],
    row_filter: TransactionFilter,
    after: int | None = None,
    *,
    size: int = PAGE,
    oldest: bool = False,
) -> Read:
    window = Window(limit=size + 1, after=after, oldest=oldest)
    return lambda snapshot: snapshot.read(
        pages.transaction_pages(snapshot.is_postgresql, account_ids, row_filter, window)
    )


async def matching(server: Server, condition: str) -> list[int]:
    """The `seq` of every row of the big account under the condition, newest first."""
    found = await server.connection.fetch(
        f"SELECT seq FROM transactions WHERE account_id = {BIG} AND {condition} ORDER BY seq DESC"
    )
    return [row["seq"] for row in found]


@dataclass(frozen=True)
class Filter:
    row_filter: TransactionFilter
    condition: str
    """The same in SQL, for the model."""
    most: int
    """The most buffers that a page of it may read."""

    @property
    def chance(self) -> int:
        return CHANCE + len(self.row_filter.kinds or ())


MIDDLE: Final = datetime(2024, 9, 1, tzinfo=UTC)
LATER: Final = datetime(2025, 3, 1, tzinfo=UTC)
_BETWEEN: Final = "created_at >= '2024-09-01Z' AND created_at < '2025-03-01Z'"

# A run of an index costs its depth (4), a row at most one page of the table, a row met through its `seq` the depth of
# the key on top.
RUN: Final = 4
IN_ORDER: Final = RUN + PAGE + CHANCE
BY_SEQ: Final = (PAGE + 1) * RUN + CHANCE

# Up to 1,001 entries of the index by amount, and the visibility map at every jump from one of its pages to another.
PROBE: Final = 12 + 100
# Where more rows than can be sorted lie in a range of amounts, the next one is 1 in 1,000 rows away at most if
# they are spread evenly: a page of 50 looks at 50,000 entries of the key, of 160 to a leaf.
WALK: Final = PAGE * BIG_ROWS // SORTED_AMOUNTS // 160

FILTERS: Final = {
    "none": Filter(ALL_TRANSACTIONS, "true", 12),
    "one type": Filter(transaction_filter(types=[_T.TOPUP]), "type = 'topup'", IN_ORDER),
    "one common type": Filter(transaction_filter(types=[_T.GPU_USAGE]), "type = 'gpu_usage'", 20),
    "a rare type": Filter(transaction_filter(types=[_T.BONUS]), "type = 'bonus'", IN_ORDER),
    "several types": Filter(
        transaction_filter(types=[_T.TOPUP, _T.AUTO_RECHARGE, _T.REFUND, _T.BONUS]),
        "type IN ('topup', 'auto_recharge', 'refund', 'bonus')",
        5 * RUN + PAGE,
    ),
    "rare types": Filter(
        transaction_filter(types=[_T.BONUS, _T.ADMIN_CORRECTION, _T.CONTRACT_GRANT]),
        "type IN ('bonus', 'admin_correction', 'contract_grant')",
        4 * RUN + PAGE,
    ),
    "all types but one": Filter(
        transaction_filter(types=[kind for kind in _T if kind != _T.TOPUP]), "type <> 'topup'", 11 * RUN + PAGE
    ),
    "a source": Filter(transaction_filter(sources=[_S.METERING]), "source = 'metering'", 2 * RUN + 20),
    "a source of many types": Filter(
        transaction_filter(sources=[_S.STRIPE_WEBHOOK]), "source = 'stripe_webhook'", 5 * RUN + PAGE + CHANCE
    ),
    "a type from a source": Filter(
        transaction_filter(types=[_T.REFUND], sources=[_S.STRIPE_WEBHOOK]),
        "type = 'refund' AND source = 'stripe_webhook'",
        IN_ORDER,
    ),
    "createdAt": Filter(transaction_filter(created_gte=MIDDLE, created_lt=LATER), _BETWEEN, 2 * RUN + 12),
    "createdAt and type": Filter(
        transaction_filter(created_gte=MIDDLE, created_lt=LATER, types=[_T.TOPUP, _T.AUTO_RECHARGE]),
        f"{_BETWEEN} AND type IN ('topup', 'auto_recharge')",
        6 * RUN + IN_ORDER,
    ),
    "amount, wide": Filter(transaction_filter(amount_lte=dollars(-1)), "amount_nanos <= -1e9", BY_SEQ + PROBE),
    "amount, narrow": Filter(
        transaction_filter(amount_gte=dollars(980), amount_lte=dollars(999)),
        "amount_nanos BETWEEN 980e9 AND 999e9",
        BY_SEQ + PROBE,
    ),
    "amount, between": Filter(
        transaction_filter(amount_gte=dollars(950)), "amount_nanos >= 950e9", BY_SEQ + PROBE + WALK
    ),
    "amount, exact": Filter(
        transaction_filter(amount_gte=dollars(50), amount_lte=dollars(50)), "amount_nanos = 50e9", IN_ORDER
    ),
    "amount, exact, of old rows alone": Filter(
        transaction_filter(amount_gte=dollars(-311.11), amount_lte=dollars(-311.11)),
        "amount_nanos = -311.11 * 1e9",
        IN_ORDER,
    ),
    "amount, rare": Filter(transaction_filter(amount_gte=dollars(1001)), "amount_nanos >= 1001e9", BY_SEQ + CHANCE),
    "amount and type": Filter(
        transaction_filter(types=[_T.REFUND], amount_gte=dollars(50)),
        "type = 'refund' AND amount_nanos >= 50e9",
        BY_SEQ + PROBE,
    ),
    "refType": Filter(
        transaction_filter(ref_type=RefType.STRIPE_CHECKOUT_SESSION),
        "ref_type = 'stripe_checkout_session'",
        len(KINDS) * RUN + PAGE,
    ),
    "refType, common": Filter(
        transaction_filter(ref_type=RefType.GPU_INSTANCE), "ref_type = 'gpu_instance'", len(KINDS) * RUN + 20
    ),
    "refType, rare": Filter(
        transaction_filter(ref_type=RefType.STRIPE_REFUND), "ref_type = 'stripe_refund'", len(KINDS) * RUN + PAGE
    ),
    "refType and type": Filter(
        transaction_filter(ref_type=RefType.INFERENCE_INSTANCE, types=[_T.REFUND]),
        "ref_type = 'inference_instance' AND type = 'refund'",
        2 * RUN + PAGE,
    ),
    "refId": Filter(transaction_filter(ref_id="inference_instance-7"), "ref_id = 'inference_instance-7'", IN_ORDER),
    "refType and refId": Filter(
        transaction_filter(ref_type=RefType.INFERENCE_INSTANCE, ref_id="inference_instance-7"),
        "ref_id = 'inference_instance-7'",
        IN_ORDER,
    ),
    "refId and createdAt": Filter(
        transaction_filter(ref_id="inference_instance-7", created_gte=MIDDLE, created_lt=LATER),
        f"{_BETWEEN} AND ref_id = 'inference_instance-7'",
        2 * RUN + IN_ORDER,
    ),
}


async def page_rows(server: Server, condition: str) -> tuple[list[int | None], list[list[int]]]:
    """The cursors of the first, a middle and the last page, and the `seq` of their rows: 50, or a quarter of all."""
    matches = f"FROM transactions WHERE account_id = {BIG} AND {condition}"
    count = await server.connection.fetchval(f"SELECT count(*) {matches}")
    size = min(PAGE, count // 4)
    assert size > 0
    starts = [0, count // 2, count - size]
    cursors, rows = [], []
    for start in starts:
        offset = f"ORDER BY seq DESC OFFSET {max(start - 1, 0)} LIMIT {size + 1}"
        found = [row["seq"] for row in await server.connection.fetch(f"SELECT seq {matches} {offset}")]
        cursors.append(found[0] if start else None)
        rows.append(found[1:] if start else found[:size])
    return cursors, rows


async def three_pages(server: Server, one: Filter, planner: Planner) -> tuple[int, int, int]:
    """Of page 1, one in the middle and the last one, all of the same size."""
    costs = []
    for after, seqs in zip(*await page_rows(server, one.condition), strict=True):
        size = len(seqs)
        window = Window(limit=size + 1, after=after)
        async with server.database.snapshot() as snapshot:
            page = await snapshot.read(pages.transaction_pages(snapshot.is_postgresql, [BIG], one.row_filter, window))
        assert [row.seq for row in page[BIG]][:size] == seqs
        costs.append(await buffers(server, page_of([BIG], one.row_filter, after, size=size), planner))
    return costs[0], costs[1], costs[2]


@pytest.mark.parametrize("planner", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("name", FILTERS)
async def test_cost_of_a_page_does_not_depend_on_its_position(bulk: Server, name: str, planner: Planner) -> None:
    one = FILTERS[name]
    costs = await three_pages(bulk, one, planner)
    assert max(costs) <= one.most, costs
    assert max(costs) <= min(costs) * RATIO + one.chance, costs


@pytest.mark.parametrize("planner", ["force_custom_plan", "force_generic_plan"])
async def test_oldest_rows_cost_no_more_than_newest_rows(bulk: Server, planner: Planner) -> None:
    for name in ("none", "several types", "createdAt and type", "amount, narrow", "refType"):
        row_filter = FILTERS[name].row_filter
        newest = await buffers(bulk, page_of([BIG], row_filter), planner)
        oldest = await buffers(bulk, page_of([BIG], row_filter, oldest=True), planner)
        assert oldest <= newest * RATIO + FILTERS[name].chance, name


@pytest.mark.parametrize("planner", ["force_custom_plan", "force_generic_plan"])
async def test_contradictory_filters_read_no_ledger_rows(bulk: Server, planner: Planner) -> None:
    """Kinds and references go together in any way, and an amount that no row has is known at once."""
    for row_filter, most in (
        (transaction_filter(types=[_T.TOPUP], ref_type=RefType.GPU_INSTANCE), RUN),
        (transaction_filter(types=[_T.GPU_USAGE, _T.REFUND], ref_type=RefType.VOLUME), 3 * RUN),
        (transaction_filter(types=[_T.TOPUP], ref_id="inference_instance-7"), 5_000),
        (transaction_filter(ref_id="no such thing"), RUN),
        (transaction_filter(types=[_T.GPU_USAGE], amount_gte=dollars(1001)), RUN + 50),
        (transaction_filter(types=[]), 0),
        (transaction_filter(created_gte=datetime(2030, 1, 1, tzinfo=UTC)), 2 * RUN),
    ):
        assert await buffers(bulk, page_of([BIG], row_filter), planner) <= most, row_filter


async def test_search_reads_only_rows_from_the_cursor_to_the_end_of_the_page(bulk: Server) -> None:
    """The bound: the pages of the table on which these rows lie, some 20 of them to one, and the key's leaves."""
    disputed = await matching(bulk, "description ILIKE '%disputed%'")
    row_filter = transaction_filter(search="dISPUTED")
    size = 10
    for start in (0, 100, len(disputed) - size - 1):
        after = disputed[start]
        rows = after - disputed[start + size]
        assert rows == size * DISPUTED_EVERY
        pages = await buffers(bulk, page_of([BIG], row_filter, after, size=size - 1), "force_generic_plan")
        assert pages <= rows / 16
        near = page_of([BIG], transaction_filter(search="gpu instance"[:3]), after)
        assert await buffers(bulk, near, "force_generic_plan") <= FILTERS["none"].most
    only_topups = transaction_filter(search="no such text", types=[_T.BONUS])
    assert await buffers(bulk, page_of([BIG], only_topups), "force_generic_plan") <= IN_ORDER


def billing_page(account_id: int) -> Read:
    """The reads of the operation BillingPage."""

    async def read(snapshot: Snapshot) -> None:
        await snapshot.read(accounts.accounts_by_id(snapshot.is_postgresql, [account_id]))
        await snapshot.read(accounts.monthly_figures(snapshot.is_postgresql, [account_id], "2024-11", "2025-10"))
        window = Window(limit=PAGE + 1)
        await snapshot.read(pages.transaction_pages(snapshot.is_postgresql, [account_id], ALL_TRANSACTIONS, window))
        await snapshot.read(usage.usage_pages(snapshot.is_postgresql, [account_id], ALL_USAGE, window))
        await snapshot.read(usage.usage_totals(snapshot.is_postgresql, [account_id], ALL_USAGE))

    return read


@pytest.mark.parametrize("planner", ["force_custom_plan", "force_generic_plan"])
async def test_billing_page_costs_the_same_for_a_short_and_a_long_ledger(bulk: Server, planner: Planner) -> None:
    small, big = [await buffers(bulk, billing_page(account_id), planner) for account_id in (SMALL, BIG)]
    assert big <= small * RATIO, (small, big)
    assert small <= big * RATIO, (small, big)


def runway_of(account_id: int, since: datetime) -> Read:
    async def read(snapshot: Snapshot) -> None:
        await snapshot.read(runway.crossing_holds(snapshot.is_postgresql, [account_id], since))
        await snapshot.read(runway.volume_day_costs(snapshot.is_postgresql, [account_id], None))

    return read


@pytest.mark.parametrize("planner", ["force_custom_plan", "force_generic_plan"])
async def test_runway_reads_the_holds_of_its_window_only(bulk: Server, planner: Planner) -> None:
    """None are open. A hold costs its page at most, and there is one to about eight rows."""
    newest = await bulk.connection.fetchval(f"SELECT max(created_at) FROM transactions WHERE account_id = {BIG}")
    since = newest - timedelta(days=1)
    of_day = f"SELECT count(*) FROM transactions WHERE account_id = {BIG} AND created_at >= $1"
    rows = await bulk.connection.fetchval(of_day, since)
    assert await buffers(bulk, runway_of(BIG, since), planner) <= (rows + runway.MAX_ROWS_BEFORE) // 8 + 20 * RUN


@not_pooled
async def test_repeated_reads_reuse_their_plans(bulk: Server) -> None:
    for _ in range(10):
        async with bulk.database.snapshot() as snapshot:
            await billing_page(BIG)(snapshot)
    statement = text("SELECT sum(custom_plans)::int, sum(generic_plans)::int >= 50 FROM pg_prepared_statements")
    assert [tuple(row) for row in await bulk.database.read(statement)] == [(0, True)]


@pytest.mark.parametrize("planner", ["force_custom_plan", "force_generic_plan"])
async def test_ten_accounts_cost_ten_times_one_account(bulk: Server, planner: Planner) -> None:
    account_ids = [BIG, SMALL, *range(FIRST_OTHER, FIRST_OTHER + 8)]
    for name in ("none", "several types", "amount, narrow", "amount, wide", "createdAt", "refType", "refId"):
        row_filter = FILTERS[name].row_filter
        found = [await buffers(bulk, page_of([account_id], row_filter), planner) for account_id in account_ids]
        together = await buffers(bulk, page_of(account_ids, row_filter), planner)
        assert together <= sum(found) * RATIO, (name, found, together)


@pytest.mark.parametrize("planner", ["force_custom_plan", "force_generic_plan"])
async def test_counts_and_balances_of_a_period_are_look_ups(bulk: Server, planner: Planner) -> None:
    whole = transaction_filter(created_gte=MIDDLE, created_lt=LATER)

    def counts(snapshot: Snapshot) -> Awaitable[object]:
        return snapshot.read(totals.transaction_counts(snapshot.is_postgresql, [BIG], whole))

    def balances(snapshot: Snapshot) -> Awaitable[object]:
        return snapshot.read(totals.balances_as_of(snapshot.is_postgresql, [BIG], MIDDLE))

    async with bulk.database.snapshot() as snapshot:
        assert await snapshot.read(totals.transaction_counts(snapshot.is_postgresql, [BIG], whole)) == {
            BIG: len(await matching(bulk, _BETWEEN))
        }
    assert await buffers(bulk, counts, planner) <= 6 * RUN
    assert await buffers(bulk, balances, planner) <= RUN + 1


def charges_of(
    account_ids: list[int],
    row_filter: ChargeFilter,
    after: int | None = None,
    *,
    size: int = PAGE,
    oldest: bool = False,
) -> Read:
    window = Window(limit=size + 1, after=after, oldest=oldest)
    return lambda snapshot: snapshot.read(charges.charge_pages(snapshot.is_postgresql, account_ids, row_filter, window))


@dataclass(frozen=True)
class ChargeCase:
    row_filter: ChargeFilter
    condition: str
    """The same in SQL, for the model."""

    @property
    def runs(self) -> int:
        return len(self.row_filter.states or "1") * len(self.row_filter.ref_types or "1")

    @property
    def most(self) -> int:
        """A run costs its depth and, where time bounds it, two look-ups; a charge one page of the table."""
        look_ups = (self.row_filter.opened_gte is not None) + (self.row_filter.opened_lt is not None)
        return self.runs * (1 + look_ups) * RUN + PAGE + CHANCE


_OPENED: Final = _BETWEEN.replace("created_at", "opened_at")
_G, _I = RefType.GPU_INSTANCE, RefType.INFERENCE_INSTANCE
CHARGE_FILTERS: Final = {
    "none": ChargeCase(ALL_CHARGES, "true"),
    "a common state": ChargeCase(charge_filter(state=ChargeState.SETTLED), "state = 'settled'"),
    "a state": ChargeCase(charge_filter(state=ChargeState.OPEN), "state = 'open'"),
    "a rare state": ChargeCase(charge_filter(state=ChargeState.EXPIRED), "state = 'expired'"),
    "a common refType": ChargeCase(charge_filter(ref_type=_G), "ref_type = 'gpu_instance'"),
    "a refType of old charges alone": ChargeCase(charge_filter(ref_type=_I), "ref_type = 'inference_instance'"),
    "a rare refType": ChargeCase(charge_filter(ref_type=RefType.VOLUME), "ref_type = 'volume'"),
    "state and refType": ChargeCase(
        charge_filter(state=ChargeState.SETTLED, ref_type=_I), "state = 'settled' AND ref_type = 'inference_instance'"
    ),
    "openedAt": ChargeCase(charge_filter(opened_gte=MIDDLE, opened_lt=LATER), _OPENED),
    "openedAt and state": ChargeCase(
        charge_filter(opened_gte=MIDDLE, opened_lt=LATER, state=ChargeState.SETTLED),
        f"{_OPENED} AND state = 'settled'",
    ),
    "openedAt and refType": ChargeCase(
        charge_filter(opened_gte=MIDDLE, opened_lt=LATER, ref_type=_G), f"{_OPENED} AND ref_type = 'gpu_instance'"
    ),
}


async def matching_charges(server: Server, condition: str) -> list[int]:
    """The `first_seq` of every charge of the big account under the condition, newest first."""
    found = await server.connection.fetch(
        f"SELECT first_seq FROM charges WHERE account_id = {BIG} AND {condition} ORDER BY first_seq DESC"
    )
    return [row["first_seq"] for row in found]


@pytest.mark.parametrize("planner", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("name", CHARGE_FILTERS)
async def test_cost_of_a_page_of_charges_does_not_depend_on_its_position(
    bulk: Server, name: str, planner: Planner
) -> None:
    one = CHARGE_FILTERS[name]
    rows = await matching_charges(bulk, one.condition)
    size = min(PAGE, len(rows) // 4)
    assert size > 0
    costs = []
    for start in (0, len(rows) // 2, len(rows) - size):
        after = rows[start - 1] if start else None
        async with bulk.database.snapshot() as snapshot:
            page = await snapshot.read(
                charges.charge_pages(snapshot.is_postgresql, [BIG], one.row_filter, Window(limit=size, after=after))
            )
        assert [charge.first_seq for charge in page[BIG]] == rows[start : start + size]
        costs.append(await buffers(bulk, charges_of([BIG], one.row_filter, after, size=size), planner))
    costs.append(await buffers(bulk, charges_of([BIG], one.row_filter, size=size, oldest=True), planner))
    assert max(costs) <= one.most, costs
    assert max(costs) <= min(costs) * RATIO + CHANCE + one.runs, costs
    async with bulk.database.snapshot() as snapshot:
        assert await snapshot.read(charges.charge_counts(snapshot.is_postgresql, [BIG], one.row_filter)) == {
            BIG: len(rows)
        }


@pytest.mark.parametrize("planner", ["force_custom_plan", "force_generic_plan"])
async def test_single_charges_and_holds_are_look_ups(bulk: Server, planner: Planner) -> None:
    """However many accounts and rows there are: by resource, first row, opening row and settling row."""
    newest = await matching_charges(bulk, "ref_type = 'gpu_instance'")
    firsts = [(BIG, seq) for seq in newest[:: len(newest) // PAGE]][:PAGE]
    async with bulk.database.snapshot() as snapshot:
        found = (await snapshot.read(charges.charges_by_first_row(snapshot.is_postgresql, firsts))).values()
        opened = await snapshot.read(charges.opened_holds(snapshot.is_postgresql, firsts))
    refs = [charge[:3] for charge in found]
    settling = [(BIG, charge.last_seq) for charge in found]
    assert sorted(opened) == sorted(firsts)
    async with bulk.database.snapshot() as snapshot:
        assert set((await snapshot.read(charges.charges_by_ref(snapshot.is_postgresql, refs))).values()) == set(found)
        assert set((await snapshot.read(charges.settled_holds(snapshot.is_postgresql, settling))).values()) == set(
            opened.values()
        )
    reads: list[Read] = [
        lambda snapshot: snapshot.read(charges.charges_by_ref(snapshot.is_postgresql, refs)),
        lambda snapshot: snapshot.read(charges.charges_by_first_row(snapshot.is_postgresql, firsts)),
        lambda snapshot: snapshot.read(charges.opened_holds(snapshot.is_postgresql, firsts)),
        lambda snapshot: snapshot.read(charges.settled_holds(snapshot.is_postgresql, settling)),
    ]
    for read in reads:
        assert await buffers(bulk, read, planner) <= PAGE * (RUN + 1)
    one = charge_filter(ref_id=refs[0][2])
    assert await buffers(bulk, charges_of([BIG], one), planner) <= len(one.ref_types or ()) * RUN
    assert await buffers(bulk, charges_of([BIG], charge_filter(ref_id="no such thing")), planner) <= 4 * RUN


@pytest.mark.parametrize("planner", ["force_custom_plan", "force_generic_plan"])
async def test_cost_of_rows_is_proportional_to_the_number_of_charges(bulk: Server, planner: Planner) -> None:
    refs = [(BIG, "inference_instance", f"inference_instance-{number}") for number in range(20)]
    window = Window(limit=11)
    cost = await buffers(
        bulk, lambda snapshot: snapshot.read(resources.resource_pages(snapshot.is_postgresql, refs, window)), planner
    )
    assert cost <= len(refs) * (RUN + window.limit + CHANCE)


async def _sqlite_plan(database: Database, read: Read) -> list[str]:
    lines: list[str] = []
    for statement, parameters in await statements_of(database, read):
        async with database.engine.connect() as connection:
            plan = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
            lines += [str(row.detail) for row in plan]
    return lines


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
@pytest.mark.parametrize("name", FILTERS)
async def test_sqlite_reads_every_page_by_an_index(database: Database, name: str) -> None:
    row_filter = FILTERS[name].row_filter
    for after in (None, 500):
        plan = await _sqlite_plan(database, page_of([BIG], row_filter, after))
        assert [line for line in plan if line.startswith("SCAN transactions")] == []
        if row_filter.kinds is None and row_filter.amount_gte is None and row_filter.amount_lte is None:
            assert [line for line in plan if "TEMP B-TREE" in line] == []
    assert any("account_id=?" in line for line in plan)
    if row_filter.ref_id is not None:
        assert any("ix_transactions_ref_id (account_id=? AND ref_id=?" in line for line in plan)


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
async def test_sqlite_finds_charges_and_holds_by_an_index(database: Database) -> None:
    reads = [charges_of([BIG], one.row_filter, after) for one in CHARGE_FILTERS.values() for after in (None, 500)]
    reads += [
        charges_of([BIG], charge_filter(ref_id="x", state=ChargeState.OPEN)),
        lambda snapshot: snapshot.read(charges.charges_by_ref(snapshot.is_postgresql, [(BIG, "volume", "x")])),
        lambda snapshot: snapshot.read(charges.charges_by_first_row(snapshot.is_postgresql, [(BIG, 5)])),
        lambda snapshot: snapshot.read(charges.opened_holds(snapshot.is_postgresql, [(BIG, 5)])),
        lambda snapshot: snapshot.read(charges.settled_holds(snapshot.is_postgresql, [(BIG, 5)])),
        lambda snapshot: snapshot.read(
            resources.resource_pages(snapshot.is_postgresql, [(BIG, "volume", "x")], Window(limit=5))
        ),
    ]
    indexes = ["charges_first_seq (account_id=? AND first_seq=?", "charges_state (account_id=? AND state=?"]
    indexes += ["PRIMARY KEY (account_id=? AND ref_type=? AND ref_id=?", "charges_first_seq (account_id=?"]
    indexes += ["PRIMARY KEY (account_id=? AND hold_seq=?", "settled_seq (account_id=? AND settled_seq=?"]
    indexes += ["transactions_ref_id (account_id=? AND ref_id=?", "transactions_created_at (account_id=?"]
    for read in reads:
        searches = [line for line in await _sqlite_plan(database, read) if re.search(r"charges|holds|transact", line)]
        assert searches
        assert [line for line in searches if not any(index in line for index in indexes)] == []
