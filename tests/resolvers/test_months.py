from __future__ import annotations

import pytest

from db import writes
from db.database import Database
from db.rows import MonthlyFiguresRow
from ledger.errors import BadUserInput
from resolvers.context import QueryContext
from resolvers.reads.months import monthly_summaries, monthly_summary, months_until, parse_month
from tests.resolvers.ledgers import NOW, new_account, principal


async def test_months_without_data_are_zeros(ledgers: Database) -> None:
    account, other = await new_account(ledgers), await new_account(ledgers)
    figures = [
        MonthlyFiguresRow(account.id, "2025-12", 1, 2, 3, 4, 5, 6),
        MonthlyFiguresRow(account.id, "2026-11", 10, 20, 30, 40, 50, 60),
        MonthlyFiguresRow(account.id, "2026-12", 7, 7, 7, 7, 7, 7),
        MonthlyFiguresRow(other.id, "2026-10", 9, 9, 9, 9, 9, 9),
    ]
    async with ledgers.write() as connection:
        await writes.add_to_months(connection, figures)
    async with ledgers.snapshot() as snapshot:
        context = QueryContext(snapshot, principal(), NOW)
        year = await monthly_summaries(context, account, None)
        assert [row.month for row in year] == ["2025-12", *(f"2026-{month:02d}" for month in range(1, 12))]
        assert [year[0], year[-1]] == figures[:2]
        assert all(row == MonthlyFiguresRow(account.id, row.month) for row in year[1:-1])
        assert await monthly_summary(context, account, None) == figures[1]
        assert await monthly_summary(context, account, "2026-12") == figures[2]
        assert await monthly_summary(context, account, "0001-01") == MonthlyFiguresRow(account.id, "0001-01")
        assert await monthly_summaries(context, other, 1) == [MonthlyFiguresRow(other.id, "2026-11")]
        assert len(await monthly_summaries(context, other, 120)) == 120


@pytest.mark.parametrize("last", [0, -1, 121])
async def test_number_of_months_out_of_range_is_refused(ledgers: Database, last: int) -> None:
    account = await new_account(ledgers)
    async with ledgers.snapshot() as snapshot:
        with pytest.raises(BadUserInput, match=r"^last must be between 1 and 120 months"):
            await monthly_summaries(QueryContext(snapshot, principal(), NOW), account, last)


def test_months_continue_into_the_year_before() -> None:
    assert months_until(2026, 1, 3) == ("2025-11", "2025-12", "2026-01")


@pytest.mark.parametrize(
    "text", ["2026-1", "2026-13", "2026-00", "0000-01", "2026-11-01", " 2026-11", "٢٠٢٦-11", "", "2026-11\n"]
)
def test_invalid_month_is_refused(text: str) -> None:
    with pytest.raises(BadUserInput, match=r"^a month must look like"):
        parse_month(text)
