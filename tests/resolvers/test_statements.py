"""How many statements reach the driver."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from db.database import Database
from db.filters import ALL_TRANSACTIONS, ALL_USAGE
from ledger.kinds import RefType, TransactionType
from resolvers.context import QueryContext
from resolvers.pages import PageProjection
from resolvers.reads import accounts, months, transactions, usage
from resolvers.reads.transactions import transaction_filter
from tests.resolvers.ledgers import NOW, START, append, new_account, principal
from tests.resolvers.test_transaction_pages import DRAFT
from tests.statements import watched


async def _billing_page(context: QueryContext, account_id: int) -> list[int]:
    row = await accounts.account(context, f"acct_{account_id}")
    row_filter = transaction_filter(
        types=[TransactionType.BONUS, TransactionType.TOPUP], amount_gte=1, created_gte=START - timedelta(days=1)
    )
    page, of_kind, usage_page, *_ = await asyncio.gather(
        transactions.transaction_page(context, row.id, row_filter),
        transactions.transaction_page(context, row.id, transaction_filter(ref_type=RefType.VOLUME)),
        usage.usage_page(context, row.id, ALL_USAGE),
        months.monthly_summary(context, row, None),
        months.monthly_summaries(context, row, 12),
        accounts.balance(context, row, START),
    )
    await asyncio.gather(
        usage.usage_totals(context, usage_page),
        usage.usage_count(context, usage_page),
        transactions.transaction_totals(context, page),
        transactions.transaction_count(context, page),
    )
    assert of_kind.rows == ()
    return [found.seq for found in page.rows]


async def test_ten_accounts_need_as_many_statements_as_one(ledgers: Database) -> None:
    made = [await new_account(ledgers) for _ in range(10)]
    for number, account in enumerate(made):
        await append(ledgers, account, [DRAFT] * number)
    async with ledgers.snapshot() as snapshot:
        with watched(ledgers) as of_one:
            await _billing_page(QueryContext(snapshot, principal(), NOW), made[0].id)
        with watched(ledgers) as of_ten:
            context = QueryContext(snapshot, principal(), NOW)
            found = await asyncio.gather(*(_billing_page(context, account.id) for account in made))
    assert found == [list(range(number, 0, -1)) for number in range(10)]
    # Account, two pages of rows, usage, months, balance then; usage totals, and totals of rows, which tell their
    # count: what is asked for at the same time is one statement; on SQLite, which has no LATERAL, those of ten accounts
    # are more than a batch takes.
    assert len(of_one) == 3
    assert len(of_ten) == (3 if ledgers.is_postgresql else 6)


async def test_corrected_rows_are_read_together(ledgers: Database) -> None:
    account = await new_account(ledgers)
    rows = await append(ledgers, account, [DRAFT] * 5)
    answering = [row._replace(corrects_seq=row.seq - 1) for row in rows[1:]]
    async with ledgers.snapshot() as snapshot:
        context = QueryContext(snapshot, principal(), NOW)
        with watched(ledgers) as sent:
            found = await asyncio.gather(*(transactions.corrected(context, row) for row in [*answering, rows[0]]))
    assert found == [*rows[:-1], None]
    assert len(sent) == 1


@pytest.mark.parametrize("ask_again", [1, 3])
async def test_values_are_read_once(ledgers: Database, ask_again: int) -> None:
    account = await new_account(ledgers)
    async with ledgers.snapshot() as snapshot:
        context = QueryContext(snapshot, principal(), NOW)
        with watched(ledgers) as sent:
            for _ in range(ask_again):
                await accounts.account(context, f"acct_{account.id}")
    assert len(sent) == 1


async def test_unselected_rows_are_not_read(ledgers: Database) -> None:
    account = await new_account(ledgers)
    await append(ledgers, account, [DRAFT] * 3)
    async with ledgers.snapshot() as snapshot:
        context = QueryContext(snapshot, principal(), NOW)
        with watched(ledgers) as sent:
            page = await transactions.transaction_page(
                context, account.id, ALL_TRANSACTIONS, page_projection=PageProjection(rows=False)
            )
        assert sent == []
        assert await transactions.transaction_count(context, page) == 3
    for name in ("rows", "has_next", "has_previous"):
        with pytest.raises(AttributeError, match=name):
            getattr(page, name)
