"""Pages and totals of random usage, compared with lists in plain Python."""

from __future__ import annotations

import asyncio
from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db.database import Database
from db.filters import ALL_USAGE, UsageFilter, Window
from db.rows import UsageDayRow
from ledger.errors import BadUserInput
from ledger.kinds import UsageCategory, UsageOrigin
from resolvers.context import QueryContext
from resolvers.cursors import CursorKind, CursorWriter, filter_digest
from resolvers.reads import usage
from resolvers.reads.usage import usage_filter, usage_page
from tests.doses import dose
from tests.resolvers.ledgers import NOW, USAGE_KEYS, ModelPage, UsageKey, model_page, new_usage, principal
from tests.resolvers.test_transaction_pages import EXAMPLES, ordered

DAYS = st.none() | st.dates(date(2026, 9, 30), date(2026, 10, 5))
USAGE = st.dictionaries(USAGE_KEYS, st.integers(0, 2**40), max_size=14)
FILTERS = st.fixed_dictionaries(
    {},
    optional={
        "day": st.tuples(DAYS, DAYS).map(ordered),
        "models": st.lists(st.sampled_from(["a", "b", "B", "ж/Ä", "it's", "%", ""]), max_size=3),
        "categories": st.lists(st.sampled_from(UsageCategory), max_size=3),
        "origins": st.lists(st.sampled_from(UsageOrigin), max_size=2),
    },
)


def filter_of(given: dict[str, Any]) -> UsageFilter:
    values = {name: value for name, value in given.items() if name != "day"}
    gte, lt = given.get("day", (None, None))
    return usage_filter(day_gte=gte, day_lt=lt, **values)


def matches(given: dict[str, Any], row: UsageDayRow) -> bool:
    gte, lt = given.get("day", (None, None))
    return (
        (gte is None or row.day >= gte)
        and (lt is None or row.day < lt)
        and row.model in given.get("models", [row.model])
        and row.category in given.get("categories", [row.category])
        and row.origin in given.get("origins", [row.origin])
    )


@given(days=USAGE, chosen=FILTERS, data=st.data())
@EXAMPLES
async def test_pages_are_slices_of_the_list(
    ledgers: Database, days: dict[UsageKey, int], chosen: dict[str, Any], data: st.DataObject
) -> None:
    account_id, rows = await new_usage(ledgers, days)
    row_filter = filter_of(chosen)
    matching = [(row[1:5], row) for row in rows if matches(chosen, row)]
    positions = st.sampled_from([None, *(position for position, _ in matching)])
    writer = CursorWriter(CursorKind.USAGE, account_id, filter_digest(row_filter))
    async with ledgers.snapshot() as snapshot:
        context = QueryContext(snapshot, principal(), NOW)
        for _ in range(4):
            after, before = data.draw(positions), data.draw(positions)
            size = data.draw(st.integers(1, 5))
            oldest = data.draw(st.booleans())
            page = await usage_page(
                context,
                account_id,
                row_filter,
                first=None if oldest else size,
                last=size if oldest else None,
                after=None if after is None else writer.of_usages([after])[0],
                before=None if before is None else writer.of_usages([before])[0],
            )
            expected = model_page(matching, Window(size, after, before, oldest), size)
            assert ModelPage(list(page.rows), page.has_next, page.has_previous) == expected
            assert [page.cursor_of(row) for row in page.rows] == writer.of_usages(row[1:5] for row in page.rows)
        assert await usage.usage_count(context, page) == len(matching)
        sums = tuple(sum(figures) for figures in zip(*([row[5:] for _, row in matching] or [(0,) * 4]), strict=True))
        assert await usage.usage_totals(context, page) == sums


@given(all_days=st.lists(USAGE, min_size=2, max_size=3), chosen=FILTERS, size=st.integers(1, 4), oldest=st.booleans())
@settings(EXAMPLES, max_examples=dose(6, 40))
async def test_accounts_read_together_get_the_same_pages_as_alone(
    ledgers: Database, all_days: list[dict[UsageKey, int]], chosen: dict[str, Any], size: int, oldest: bool
) -> None:
    made = dict([await new_usage(ledgers, days) for days in all_days])
    sizes = {"last" if oldest else "first": size}
    async with ledgers.snapshot() as snapshot:
        context = QueryContext(snapshot, principal(), NOW)
        pages = await asyncio.gather(
            *(usage_page(context, account_id, filter_of(chosen), **sizes) for account_id in made)  # type: ignore[arg-type]
        )
        counts = await asyncio.gather(*(usage.usage_count(context, page) for page in pages))
    for rows, page, count in zip(made.values(), pages, counts, strict=True):
        matching = [(row[1:5], row) for row in rows if matches(chosen, row)]
        expected = model_page(matching, Window(size, oldest=oldest), size)
        assert (list(page.rows), page.has_next, page.has_previous) == (
            expected.rows,
            expected.has_next,
            expected.has_previous,
        )
        assert count == len(matching)


async def test_paging_with_after_returns_every_day_once(ledgers: Database) -> None:
    days = {(date(2026, 10, 1 + number % 5), f"model-{number}", "chat", "platform"): number for number in range(23)}
    account_id, rows = await new_usage(ledgers, days)
    met: list[UsageDayRow] = []
    after: str | None = None
    more = True
    async with ledgers.snapshot() as snapshot:
        while more:
            page = await usage_page(
                QueryContext(snapshot, principal(), NOW), account_id, ALL_USAGE, first=4, after=after
            )
            met += page.rows
            more, after = page.has_next, page.cursor_of(page.rows[-1])
    assert met == rows


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"day_gte": date(2026, 10, 2), "day_lt": date(2026, 10, 1)}, "day"),
        ({"models": ["m"] * 101}, "models"),
        ({"models": ["good", "b\x00d"]}, "models"),
        ({"models": ["\ud83d"]}, "models"),
    ],
)
def test_invalid_filters_are_refused(arguments: dict[str, Any], named: str) -> None:
    with pytest.raises(BadUserInput, match=rf"^{named} "):
        usage_filter(**arguments)
