"""Pages, counts and totals of random ledgers, compared with lists in plain Python."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from db.database import Database
from db.filters import ALL_TRANSACTIONS, TransactionFilter, Window
from db.folding import fold
from db.rows import TransactionRow
from db.transactions import pages as statements
from ledger.errors import BadUserInput
from ledger.kinds import RefType, TransactionSource, TransactionType
from resolvers.context import QueryContext
from resolvers.cursors import LedgerCursorWriter, filter_digest
from resolvers.pager import Stretch
from resolvers.reads import accounts, transactions
from resolvers.reads.transactions import transaction_filter, transaction_page
from tests.doses import dose
from tests.resolvers.ledgers import (
    DRAFTS,
    NOW,
    SECOND,
    START,
    ModelPage,
    RowDraft,
    append,
    model_page,
    new_account,
    new_ledger,
    principal,
)

EXAMPLES = settings(
    max_examples=dose(18, 120),
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)

MOMENTS = st.integers(0, 14).map(lambda seconds: START + seconds * SECOND)
SERVICES = st.sampled_from(
    [
        "äÄЖ",
        "ÄÄж",
        "Xa%",
        "_b_",
        "b'\"",
        "\\\\\\",
        "'3\"",
        "xÄ ",
        "x ж",
        "IT'S",
        "%_ x",
        "-Ä%",
        "ж-ä",
        "xbX",
        "Ax ",
        "STRASSE",
        "i̇ß",
        "ΣΑΣ",
    ]
)
RANGES = st.tuples(st.none() | st.integers(-6, 6), st.none() | st.integers(-6, 6))


def ordered(pair: tuple[Any, Any]) -> tuple[Any, Any]:
    return pair if None in pair else (min(pair), max(pair))


ARGUMENTS = {
    "types": st.lists(st.sampled_from(TransactionType), max_size=5),
    "sources": st.lists(st.sampled_from(TransactionSource), max_size=4),
    "created": st.tuples(st.none() | MOMENTS, st.none() | MOMENTS).map(ordered),
    "amount": RANGES.map(ordered),
    "ref_type": st.sampled_from([RefType.GPU_INSTANCE, RefType.VOLUME, RefType.API_USAGE]),
    "ref_id": st.sampled_from(["1", "2", "Ж-Ä%_", "ж-ä%_", 'it\'s "3"', "%"]),
    "search": SERVICES,
}
# Of all filters together hardly a row would be left.
FILTERS = st.lists(st.sampled_from(sorted(ARGUMENTS)), max_size=2, unique=True).flatmap(
    lambda names: st.fixed_dictionaries({name: ARGUMENTS[name] for name in names})
)


def filter_of(given: dict[str, Any]) -> TransactionFilter:
    values = {name: value for name, value in given.items() if name not in {"created", "amount"}}
    for name in ("created", "amount"):
        if name in given:
            values[f"{name}_gte"], values[f"{name}_{'lt' if name == 'created' else 'lte'}"] = given[name]
    return transaction_filter(**values)


def matches(given: dict[str, Any], row: TransactionRow) -> bool:
    gte, lt = given.get("created", (None, None))
    least, most = given.get("amount", (None, None))
    search = fold(given.get("search", ""))
    return (
        ("types" not in given or row.type in given["types"])
        and ("sources" not in given or row.source in given["sources"])
        and (gte is None or row.created_at >= gte)
        and (lt is None or row.created_at < lt)
        and (least is None or row.amount_nanos >= least)
        and (most is None or row.amount_nanos <= most)
        and ("ref_type" not in given or row.ref_type == given["ref_type"])
        and ("ref_id" not in given or row.ref_id == given["ref_id"])
        and (search in fold(row.description) or search in fold(row.ref_id or ""))
    )


@pytest.fixture(params=[2, 1_000], ids=["amounts along the ledger", "amounts sorted"])
def _sorted_amounts(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Statements hold the number, so they are built anew."""

    def forget() -> None:
        statements._page_of_one.cache_clear()
        statements._page_of_each.cache_clear()

    monkeypatch.setattr(statements, "SORTED_AMOUNTS", request.param)
    forget()
    yield
    forget()


@pytest.mark.usefixtures("_sorted_amounts")
@given(drafts=st.lists(DRAFTS, max_size=14), chosen=FILTERS, data=st.data())
@EXAMPLES
async def test_pages_are_slices_of_the_list(
    ledgers: Database, drafts: list[RowDraft], chosen: dict[str, Any], data: st.DataObject
) -> None:
    account_id, rows = await new_ledger(ledgers, drafts)
    row_filter = filter_of(chosen)
    matching = [(row.seq, row) for row in rows if matches(chosen, row)]
    positions = [seq for seq, _ in matching]
    if row_filter == ALL_TRANSACTIONS:
        positions.append(0)  # where the balance of an empty account stood
    writer = LedgerCursorWriter(account_id, filter_digest(row_filter))
    cursors = {0: writer.of_row(0, None)} | {row.seq: writer.of_row(row.seq, row.hash) for row in rows}
    async with ledgers.snapshot() as snapshot:
        context = QueryContext(snapshot, principal(), NOW)
        for _ in range(4):
            after, before = (data.draw(st.sampled_from([None, *positions])) for _ in range(2))
            size = data.draw(st.integers(1, 5))
            oldest = data.draw(st.booleans())
            page = await transaction_page(
                context,
                account_id,
                row_filter,
                first=None if oldest else size,
                last=size if oldest else None,
                after=None if after is None else cursors[after],
                before=None if before is None else cursors[before],
            )
            expected = model_page(matching, Window(size, after, before, oldest), size)
            assert ModelPage(list(page.rows), page.has_next, page.has_previous) == expected
            assert [page.cursor_of(row) for row in page.rows] == [cursors[row.seq] for row in page.rows]
        assert await transactions.transaction_count(context, page) == len(matching)
        amounts = [row.amount_nanos for _, row in matching]
        assert await transactions.transaction_totals(context, page) == (
            account_id,
            len(amounts),
            sum(amount for amount in amounts if amount > 0),
            sum(amount for amount in amounts if amount < 0),
        )


@pytest.mark.usefixtures("_sorted_amounts")
@given(ledgers_drafts=st.lists(st.lists(DRAFTS, max_size=8), min_size=2, max_size=4), chosen=FILTERS, data=st.data())
@settings(EXAMPLES, max_examples=dose(9, 60))
async def test_accounts_read_together_get_the_same_pages_as_alone(
    ledgers: Database, ledgers_drafts: list[list[RowDraft]], chosen: dict[str, Any], data: st.DataObject
) -> None:
    made = dict([await new_ledger(ledgers, drafts) for drafts in ledgers_drafts])
    row_filter = filter_of(chosen)
    size = data.draw(st.integers(1, 4))
    after, before = data.draw(st.none() | st.integers(1, 8)), data.draw(st.none() | st.integers(1, 8))
    window = Window(size + 1, after, before, oldest=data.draw(st.booleans()))
    async with ledgers.snapshot() as snapshot:
        context = QueryContext(snapshot, principal(), NOW)
        pages = await asyncio.gather(
            *(transactions.PAGER.page_in(context, account_id, row_filter, Stretch(window)) for account_id in made)
        )
        counts = await asyncio.gather(*(transactions.transaction_count(context, page) for page in pages))
        totals = await asyncio.gather(*(transactions.transaction_totals(context, page) for page in pages))
    for (account_id, rows), page, count, total in zip(made.items(), pages, counts, totals, strict=True):
        matching = [(row.seq, row) for row in rows if matches(chosen, row)]
        assert list(page.rows) == model_page(matching, window, size).rows
        assert (count, total.account_id, total.row_count) == (len(matching), account_id, len(matching))
        assert total.credits_nanos + total.debits_nanos == sum(row.amount_nanos for _, row in matching)


CORRECTED = (TransactionType.ADMIN_CORRECTION, TransactionSource.ADMIN_CORRECTION)
DRAFT = RowDraft((TransactionType.BONUS, TransactionSource.PROMOTION), 5, False, 1, None, "Signup bonus")


@pytest.mark.parametrize("chosen", [{}, {"types": [TransactionType.BONUS, TransactionType.TOPUP]}, {"amount": (1, 9)}])
async def test_paging_with_after_returns_every_row_once_while_rows_are_posted(
    ledgers: Database, chosen: dict[str, Any]
) -> None:
    account = await new_account(ledgers)
    rows = await append(ledgers, account, [DRAFT] * 23)
    met: list[int] = []
    after: str | None = None
    more = True
    while more:
        async with ledgers.snapshot() as snapshot:
            context = QueryContext(snapshot, principal(), NOW)
            page = await transaction_page(context, account.id, filter_of(chosen), first=4, after=after)
            head = await accounts.account(context, f"acct_{account.id}")
        met += [row.seq for row in page.rows]
        more, after = page.has_next, page.cursor_of(page.rows[-1])
        await append(ledgers, head, [DRAFT] * 3)
    assert met == [row.seq for row in rows][::-1]


@pytest.mark.parametrize("walk", ["before", "after"])
@pytest.mark.parametrize("size", [1, 7, 8, 9])
async def test_paging_with_last_and_first_returns_the_same_rows(ledgers: Database, walk: str, size: int) -> None:
    account_id, rows = await new_ledger(ledgers, [DRAFT] * 8)
    met: list[int] = []
    position: str | None = None
    more = True
    async with ledgers.snapshot() as snapshot:
        while more:
            context = QueryContext(snapshot, principal(), NOW)
            if walk == "after":
                page = await transaction_page(context, account_id, ALL_TRANSACTIONS, first=size, after=position)
                more, position = page.has_next, page.cursor_of(page.rows[-1])
                met += [row.seq for row in page.rows]
            else:
                page = await transaction_page(context, account_id, ALL_TRANSACTIONS, last=size, before=position)
                more, position = page.has_previous, page.cursor_of(page.rows[0])
                met = [row.seq for row in page.rows] + met
    assert met == [row.seq for row in rows]


@pytest.mark.parametrize(
    ("search", "found"),
    [("ЖÄ-", True), ("жä-", True), ("ärger", True), ("ÄRGER", True), ("0%_", True), ("%%%", False), ("r_e", False)],
)
async def test_search_folds_all_scripts_and_has_no_wildcards(ledgers: Database, search: str, found: bool) -> None:
    draft = RowDraft(DRAFT.kind, 1, False, 0, (RefType.VOLUME, "жÄ-100%_"), "Ärger")
    account_id, rows = await new_ledger(ledgers, [draft])
    async with ledgers.snapshot() as snapshot:
        page = await transaction_page(
            QueryContext(snapshot, principal(), NOW), account_id, transaction_filter(search=search)
        )
    assert list(page.rows) == (rows if found else [])


async def test_time_range_includes_its_start_and_excludes_its_end(ledgers: Database) -> None:
    account_id, _ = await new_ledger(ledgers, [DRAFT] * 6)
    row_filter = transaction_filter(created_gte=START + 2 * SECOND, created_lt=START + 5 * SECOND)
    async with ledgers.snapshot() as snapshot:
        context = QueryContext(snapshot, principal(), NOW)
        page = await transaction_page(context, account_id, row_filter)
        assert await transactions.transaction_count(context, page) == 3
    assert [row.seq for row in page.rows] == [4, 3, 2]


@pytest.mark.parametrize(
    "row_filter",
    [
        {},
        {"types": [TransactionType.ADMIN_CORRECTION]},
        {"created_gte": START},
        {"ref_type": RefType.VOLUME, "ref_id": "1"},
    ],
)
@pytest.mark.parametrize("sign", [1, -1])
async def test_sums_beyond_64_bits_are_exact(ledgers: Database, row_filter: dict[str, Any], sign: int) -> None:
    huge = replace(DRAFT, kind=CORRECTED, size=sign * (2**63 - 1), ref=(RefType.VOLUME, "1"))
    account_id, _ = await new_ledger(ledgers, [huge, replace(huge, negative=True), huge])
    async with ledgers.snapshot() as snapshot:
        context = QueryContext(snapshot, principal(), NOW)
        page = await transaction_page(context, account_id, transaction_filter(**row_filter))
        count, totals = await asyncio.gather(
            transactions.transaction_count(context, page), transactions.transaction_totals(context, page)
        )
    most, twice = 2**63 - 1, 2 * (2**63 - 1)
    credits_nanos, debits_nanos = (twice, -most) if sign > 0 else (most, -twice)
    assert (count, totals[1:4]) == (3, (3, credits_nanos, debits_nanos))


async def test_default_page_has_fifty_rows(ledgers: Database) -> None:
    account_id, rows = await new_ledger(ledgers, [DRAFT] * 51)
    async with ledgers.snapshot() as snapshot:
        page = await transaction_page(QueryContext(snapshot, principal(), NOW), account_id, ALL_TRANSACTIONS)
    assert (list(page.rows), page.has_next, page.has_previous) == (rows[:50], True, False)


async def test_balance_cursor_of_an_empty_account_stays_valid(ledgers: Database) -> None:
    account = await new_account(ledgers)
    cursor = accounts.balance_cursor(account)

    async def pages() -> list[tuple[list[int], bool, bool]]:
        async with ledgers.snapshot() as snapshot:
            context = QueryContext(snapshot, principal(), NOW)
            found = [
                await transaction_page(context, account.id, ALL_TRANSACTIONS, after=cursor),
                await transaction_page(context, account.id, ALL_TRANSACTIONS, before=cursor),
            ]
        return [([row.seq for row in page.rows], page.has_next, page.has_previous) for page in found]

    assert await pages() == [([], False, False), ([], False, False)]
    await append(ledgers, account, [DRAFT] * 2)
    assert await pages() == [([], False, True), ([2, 1], False, False)]
    async with ledgers.snapshot() as snapshot:
        newer = await accounts.account(QueryContext(snapshot, principal(), NOW), f"acct_{account.id}")
    cursor = accounts.balance_cursor(newer)
    assert await pages() == [([1], False, True), ([], True, False)]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"first": 0}, "first"),
        ({"first": 1_001}, "first"),
        ({"first": -1}, "first"),
        ({"last": 0}, "last"),
        ({"last": 1_001}, "last"),
        ({"first": 1, "last": 1}, "first and last"),
    ],
)
async def test_page_sizes_out_of_range_are_refused(ledgers: Database, arguments: dict[str, int], named: str) -> None:
    async with ledgers.snapshot() as snapshot:
        with pytest.raises(BadUserInput, match=rf"^{named} "):
            await transaction_page(QueryContext(snapshot, principal(), NOW), 1, ALL_TRANSACTIONS, **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"created_gte": START + SECOND, "created_lt": START}, "createdAt"),
        ({"amount_gte": 2, "amount_lte": 1}, "amount"),
        ({"search": "ab"}, "search"),
        ({"search": "a" * 201}, "search"),
        ({"search": "a\x00b"}, "search"),
        ({"search": "ab\ud800"}, "search"),
        ({"ref_id": ""}, "refId"),
        ({"ref_id": "a" * 201}, "refId"),
        ({"ref_id": "\x00"}, "refId"),
        ({"ref_id": "\udfff"}, "refId"),
    ],
)
def test_invalid_filters_are_refused(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(BadUserInput, match=rf"^{named} "):
        transaction_filter(**arguments)


def test_empty_ranges_and_exact_amounts_are_allowed() -> None:
    assert transaction_filter(created_gte=START, created_lt=START).created_lt == START
    assert transaction_filter(amount_gte=1, amount_lte=1).amount_lte == 1


async def test_all_types_match_every_row_and_an_empty_list_matches_none(ledgers: Database) -> None:
    account_id, rows = await new_ledger(ledgers, [DRAFT] * 3)
    assert transaction_filter(types=list(TransactionType), sources=list(TransactionSource)) == ALL_TRANSACTIONS
    async with ledgers.snapshot() as snapshot:
        context = QueryContext(snapshot, principal(), NOW)
        for row_filter in (transaction_filter(types=[]), transaction_filter(sources=[])):
            page = await transaction_page(context, account_id, row_filter)
            assert (page.rows, page.has_next, page.has_previous) == ((), False, False)
            assert await transactions.transaction_count(context, page) == 0
            assert await transactions.transaction_totals(context, page) == (account_id, 0, 0, 0)
        whole = await transaction_page(context, account_id, ALL_TRANSACTIONS, first=1_000)
    assert list(whole.rows) == rows


@given(drafts=st.lists(DRAFTS, max_size=10), moment=st.integers(-1, 22).map(lambda seconds: START + seconds * SECOND))
@settings(EXAMPLES, max_examples=dose(6, 40))
async def test_balance_as_of_a_time_is_that_after_its_newest_row(
    ledgers: Database, drafts: list[RowDraft], moment: datetime
) -> None:
    account_id, rows = await new_ledger(ledgers, drafts)
    other_id, other_rows = await new_ledger(ledgers, drafts[::2])
    async with ledgers.snapshot() as snapshot:
        context = QueryContext(snapshot, principal(), NOW)
        heads = await asyncio.gather(*(accounts.account(context, f"acct_{one}") for one in (account_id, other_id)))
        found = await asyncio.gather(*(accounts.balance(context, head, moment) for head in heads))
        assert await accounts.balance(context, heads[0], None) == (rows[0].balance_after_nanos if rows else 0)
    assert found == [
        sum(row.amount_nanos for row in ledger if row.created_at <= moment) for ledger in (rows, other_rows)
    ]
