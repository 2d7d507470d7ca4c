"""Pages and counts of random charges, compared with lists in plain Python; and the rows of charges."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db.database import Database
from db.filters import ALL_CHARGES, ChargeFilter, TransactionFilter, Window
from db.rows import ChargeRow
from ledger.errors import BadCursor, BadUserInput, NotFound, QueryTooComplex
from ledger.ids import charge_id_text
from ledger.kinds import RESOURCES, ChargeState, RefType, TransactionSource, TransactionType
from resolvers.context import MAX_NESTED_ROWS, QueryContext
from resolvers.cursors import CursorKind, CursorWriter, filter_digest
from resolvers.reads import charges, transactions
from resolvers.reads.charges import charge_filter, charge_page
from tests.doses import dose
from tests.ledger_rows import insert_charges, update_charge
from tests.resolvers.ledgers import (
    NOW,
    SECOND,
    START,
    ModelPage,
    RowDraft,
    append,
    model_page,
    new_account,
    principal,
)
from tests.resolvers.test_transaction_pages import EXAMPLES, MOMENTS, ordered
from tests.statements import watched

USAGE = (TransactionType.GPU_USAGE, TransactionSource.METERING)
IDS = ["1", "2", "Ж-Ä%_", 'it\'s "3"']


@dataclass(frozen=True)
class ChargeDraft:
    ref: tuple[RefType, str]
    state: ChargeState
    seconds: int
    """After the charge before it."""


CHARGE_DRAFTS = st.lists(
    st.builds(
        ChargeDraft,
        ref=st.tuples(st.sampled_from(sorted(RESOURCES)), st.sampled_from(IDS)),
        state=st.sampled_from(ChargeState),
        seconds=st.integers(0, 2),
    ),
    max_size=12,
    unique_by=lambda draft: draft.ref,
)


async def new_charges(database: Database, drafts: Sequence[ChargeDraft]) -> tuple[int, list[ChargeRow]]:
    """A new account, and its charges newest first: each of a row of its own, and of one more at the end."""
    account = await new_account(database)
    first = [RowDraft(USAGE, 5, False, draft.seconds, draft.ref, "Usage") for draft in drafts]
    rows = await append(database, account, [*first, *(replace(row, seconds=0) for row in first)])
    made = [
        ChargeRow(
            account_id=account.id,
            ref_type=draft.ref[0].value,
            ref_id=draft.ref[1],
            state=draft.state.value,
            held_nanos=5,
            refunded_nanos=2,
            overage_nanos=3,
            billed_nanos=0,
            cycles=1,
            hold_seq=row.seq,
            first_seq=row.seq,
            last_seq=row.seq + len(drafts),
            opened_at=row.created_at,
            closed_at=None,
        )
        for draft, row in zip(drafts, rows[: len(drafts)], strict=True)
    ]
    async with database.write() as connection:
        await insert_charges(connection, made)
    return account.id, made[::-1]


ARGUMENTS = {
    "state": st.sampled_from(ChargeState),
    "ref_type": st.sampled_from([*sorted(RESOURCES), RefType.API_USAGE]),
    "ref_id": st.sampled_from([*IDS, "%"]),
    "opened": st.tuples(st.none() | MOMENTS, st.none() | MOMENTS).map(ordered),
}
FILTERS = st.fixed_dictionaries({}, optional=ARGUMENTS)


def filter_of(given: dict[str, Any]) -> ChargeFilter:
    gte, lt = given.get("opened", (None, None))
    return charge_filter(**{name: one for name, one in given.items() if name != "opened"}, opened_gte=gte, opened_lt=lt)


def matches(given: dict[str, Any], charge: ChargeRow) -> bool:
    gte, lt = given.get("opened", (None, None))
    return (
        charge.state == given.get("state", charge.state)
        and charge.ref_type == given.get("ref_type", charge.ref_type)
        and charge.ref_id == given.get("ref_id", charge.ref_id)
        and (gte is None or charge.opened_at >= gte)
        and (lt is None or charge.opened_at < lt)
    )


@given(drafts=CHARGE_DRAFTS, chosen=FILTERS, data=st.data())
@EXAMPLES
async def test_pages_are_slices_of_the_list(
    ledgers: Database, drafts: list[ChargeDraft], chosen: dict[str, Any], data: st.DataObject
) -> None:
    account_id, made = await new_charges(ledgers, drafts)
    row_filter = filter_of(chosen)
    matching = [(charge.first_seq, charge) for charge in made if matches(chosen, charge)]
    # What was in a list of one state when its cursor was given out may be in another by now.
    known = [charge for charge in made if matches({**chosen, "state": charge.state}, charge)]
    positions = [charge.first_seq for charge in known] if "state" in chosen else [seq for seq, _ in matching]
    writer = CursorWriter(CursorKind.CHARGES, account_id, filter_digest(row_filter))
    async with ledgers.snapshot() as snapshot:
        context = QueryContext(snapshot, principal(), NOW)
        for _ in range(4):
            after, before = (data.draw(st.sampled_from([None, *positions])) for _ in range(2))
            size = data.draw(st.integers(1, 5))
            oldest = data.draw(st.booleans())
            page = await charge_page(
                context,
                account_id,
                row_filter,
                first=None if oldest else size,
                last=size if oldest else None,
                after=None if after is None else writer.of_seq(after),
                before=None if before is None else writer.of_seq(before),
            )
            expected = model_page(matching, Window(size, after, before, oldest), size)
            assert ModelPage(list(page.rows), page.has_next, page.has_previous) == expected
            assert [page.cursor_of(row) for row in page.rows] == [writer.of_seq(row.first_seq) for row in page.rows]
        assert await charges.charge_count(context, page) == len(matching)


@given(all_drafts=st.lists(CHARGE_DRAFTS, min_size=2, max_size=4), chosen=FILTERS, data=st.data())
@settings(EXAMPLES, max_examples=dose(6, 40))
async def test_accounts_read_together_get_the_same_pages_as_alone(
    ledgers: Database, all_drafts: list[list[ChargeDraft]], chosen: dict[str, Any], data: st.DataObject
) -> None:
    made = dict([await new_charges(ledgers, drafts) for drafts in all_drafts])
    row_filter, size, oldest = filter_of(chosen), data.draw(st.integers(1, 4)), data.draw(st.booleans())
    sizes = {"last" if oldest else "first": size}
    async with ledgers.snapshot() as snapshot:
        context = QueryContext(snapshot, principal(), NOW)
        pages = await asyncio.gather(*(charge_page(context, account_id, row_filter, **sizes) for account_id in made))  # type: ignore[arg-type]
        counts = await asyncio.gather(*(charges.charge_count(context, page) for page in pages))
    for rows, page, count in zip(made.values(), pages, counts, strict=True):
        matching = [(row.first_seq, row) for row in rows if matches(chosen, row)]
        assert list(page.rows) == model_page(matching, Window(size, oldest=oldest), size).rows
        assert count == len(matching)


DRAFTS = [ChargeDraft((RefType.GPU_INSTANCE, str(number)), ChargeState.OPEN, 1) for number in range(23)]


async def test_paging_with_after_returns_every_charge_once_while_charges_are_settled(ledgers: Database) -> None:
    """Of all that were open throughout: what is settled meanwhile may be met or not."""
    account_id, made = await new_charges(ledgers, DRAFTS)
    met: list[ChargeRow] = []
    after: str | None = None
    more = True
    while more:
        async with ledgers.snapshot() as snapshot:
            context = QueryContext(snapshot, principal(), NOW)
            page = await charge_page(context, account_id, charge_filter(state=ChargeState.OPEN), first=4, after=after)
        assert page.has_previous == (after is not None)
        met += page.rows
        more, after = page.has_next, page.cursor_of(page.rows[-1])
        async with ledgers.write() as connection:
            await update_charge(connection, page.rows[-1]._replace(state="settled"))
    assert met == made


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"opened_gte": START + SECOND, "opened_lt": START}, "openedAt"),
        ({"ref_id": ""}, "refId"),
        ({"ref_id": "a" * 201}, "refId"),
        ({"ref_id": "\x00"}, "refId"),
    ],
)
def test_invalid_filters_are_refused(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(BadUserInput, match=rf"^{named} "):
        charge_filter(**arguments)


@pytest.mark.parametrize("position", [0, -1, -(2**63), 2**63 - 1])
async def test_impossible_positions_are_refused(ledgers: Database, position: int) -> None:
    account_id, _ = await new_charges(ledgers, DRAFTS[:1])
    row_filter = charge_filter(state=ChargeState.OPEN)
    cursor = CursorWriter(CursorKind.CHARGES, account_id, filter_digest(row_filter)).of_seq(position)
    async with ledgers.snapshot() as snapshot:
        for argument in ("after", "before"):
            with pytest.raises(BadCursor, match=rf"^{argument} is not a cursor"):
                context = QueryContext(snapshot, principal(), NOW)
                await charge_page(context, account_id, row_filter, **{argument: cursor})  # type: ignore[arg-type]


async def test_charge_is_found_only_by_its_first_row(ledgers: Database) -> None:
    account_id, made = await new_charges(ledgers, DRAFTS[:2])
    async with ledgers.snapshot() as snapshot:
        context = QueryContext(snapshot, principal(), NOW)
        found = [await charges.charge(context, charge_id_text(account_id, seq)) for seq in (2, 1)]
        assert found == made
        for text in (
            f"chg_{account_id}_3",
            f"chg_{account_id}_0",
            f"txn_{account_id}_1",
            f"chg_{10**15}_1",
            "chg_",
            "",
        ):
            with pytest.raises(NotFound, match=r"^there is no such charge$"):
                await charges.charge(context, text)


@given(drafts=CHARGE_DRAFTS, data=st.data())
@settings(EXAMPLES, max_examples=dose(6, 40))
async def test_rows_of_a_charge_are_the_account_rows_of_its_resource(
    ledgers: Database, drafts: list[ChargeDraft], data: st.DataObject
) -> None:
    account_id, made = await new_charges(ledgers, drafts)
    window = {"last" if data.draw(st.booleans()) else "first": data.draw(st.integers(1, 3))}
    async with ledgers.snapshot() as snapshot:
        context, alone = QueryContext(snapshot, principal(), NOW), QueryContext(snapshot, principal(), NOW)
        pages = await asyncio.gather(*(charges.charge_transactions(context, charge, **window) for charge in made))  # type: ignore[arg-type]
        counts = await asyncio.gather(*(transactions.transaction_count(context, page) for page in pages))
        totals = await asyncio.gather(*(transactions.transaction_totals(context, page) for page in pages))
        for charge, page, count, total in zip(made, pages, counts, totals, strict=True):
            row_filter = TransactionFilter(ref_type=charge.ref_type, ref_id=charge.ref_id)
            same = await transactions.transaction_page(alone, account_id, row_filter, **window)  # type: ignore[arg-type]
            assert page.rows == same.rows
            assert (page.has_next, page.has_previous) == (same.has_next, same.has_previous)
            assert page.cursors_of(page.rows) == same.cursors_of(same.rows)
            assert count == await transactions.transaction_count(alone, same) == 2
            assert total == await transactions.transaction_totals(alone, same)
            rest = await charges.charge_transactions(alone, charge, after=page.cursor_of(page.rows[-1]))
            before = await charges.charge_transactions(alone, charge, before=page.cursor_of(page.rows[0]))
            seqs = [row.seq for part in (before, page, rest) for row in part.rows]
            assert seqs == [charge.last_seq, charge.first_seq]


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
async def test_reads_of_many_charges_are_combined(ledgers: Database) -> None:
    account_id, made = await new_charges(ledgers, DRAFTS)
    other_id, others = await new_charges(ledgers, DRAFTS[:5])
    async with ledgers.snapshot() as snapshot:
        context = QueryContext(snapshot, principal(), NOW)
        with watched(ledgers) as sent:
            pages = await asyncio.gather(*(charges.charge_transactions(context, one) for one in [*made, *others]))
            await asyncio.gather(*(transactions.transaction_count(context, page) for page in pages))
            await asyncio.gather(*(transactions.transaction_totals(context, page) for page in pages))
            rows = [row for page in pages for row in page.rows]
            found = await asyncio.gather(*(charges.charge_of(context, row) for row in rows))
    assert len(rows) == 2 * (23 + 5)
    assert found == [one for one in [*made, *others] for _ in range(2)]
    assert {row.account_id for row in rows} == {account_id, other_id}
    assert len(sent) == 4, sent


async def test_row_without_resource_has_no_charge(ledgers: Database) -> None:
    account = await new_account(ledgers)
    refs = [None, (RefType.API_USAGE, "1"), (RefType.STRIPE_REFUND, "re_1"), (RefType.VOLUME, "unknown")]
    rows = await append(ledgers, account, [RowDraft(USAGE, 1, False, 0, ref, "Usage") for ref in refs])
    async with ledgers.snapshot() as snapshot:
        context = QueryContext(snapshot, principal(), NOW)
        assert [await charges.charge_of(context, row) for row in rows] == [None] * 4


async def test_nested_lists_have_a_row_limit(ledgers: Database) -> None:
    _, (newest, *_) = await new_charges(ledgers, DRAFTS[:1])
    async with ledgers.snapshot() as snapshot:
        context = QueryContext(snapshot, principal(), NOW)
        for _ in range(MAX_NESTED_ROWS // 1_000):
            await charges.charge_transactions(context, newest, first=1_000)
        with pytest.raises(QueryTooComplex, match=f"more than {MAX_NESTED_ROWS} rows"):
            await charges.charge_transactions(context, newest, first=1)
        with pytest.raises(BadUserInput, match=r"^first must be"):
            await charges.charge_transactions(QueryContext(snapshot, principal(), NOW), newest, first=-1_000)


def test_unset_charge_filters_add_no_conditions() -> None:
    assert charge_filter() == ALL_CHARGES
    assert {charge_filter(state=state) for state in ChargeState}.isdisjoint(
        {charge_filter(ref_type=ref_type) for ref_type in RESOURCES}
    )
