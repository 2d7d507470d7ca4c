from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from functools import lru_cache
from operator import attrgetter
from typing import Final

from db.filters import UsageFilter, Window
from db.rows import UsageDayRow
from db.usage import UsageTotalsRow
from ledger.errors import BadUserInput
from ledger.kinds import UsageCategory, UsageOrigin
from resolvers.context import QueryContext
from resolvers.cursors import (
    CursorKind,
    CursorWriter,
    UsagePosition,
    check_cursor,
    filter_digest,
    read_cursor,
    usage_position,
)
from resolvers.pages import ALL, Page, PageProjection, page_rows, window_of
from resolvers.reads.texts import checked_characters

MAX_MODELS: Final = 100
_POSITION: Final = attrgetter("day", "model", "category", "origin")


def usage_filter(
    *,
    day_gte: date | None = None,
    day_lt: date | None = None,
    models: Sequence[str] | None = None,
    categories: Sequence[UsageCategory] | None = None,
    origins: Sequence[UsageOrigin] | None = None,
) -> UsageFilter:
    """Raises BadUserInput for a range that is upside down or a list that is too long."""
    if day_gte is not None and day_lt is not None and day_lt < day_gte:
        raise BadUserInput("day has an invalid range: lt must not be before gte")
    if models is not None and len(models) > MAX_MODELS:
        msg = f"models must name at most {MAX_MODELS} models, not {len(models)}"
        raise BadUserInput(msg)
    return UsageFilter(
        day_gte=day_gte,
        day_lt=day_lt,
        models=None if models is None else tuple(sorted({checked_characters(model, "models") for model in models})),
        categories=None if categories is None else tuple(sorted({one.value for one in categories})),
        origins=None if origins is None else tuple(sorted({one.value for one in origins})),
    )


def _position(text: str | None, argument: str, account_id: int, digest: bytes) -> UsagePosition | None:
    if text is None:
        return None
    cursor = read_cursor(text, argument)
    check_cursor(cursor, argument, CursorKind.USAGE, account_id, digest)
    return usage_position(cursor, argument)


PageKey = tuple[int, UsageFilter]
"""What the totals of a page are of."""


async def usage_page(
    context: QueryContext,
    account_id: int,
    row_filter: UsageFilter,
    *,
    first: int | None = None,
    after: str | None = None,
    last: int | None = None,
    before: str | None = None,
    page_projection: PageProjection = ALL,
) -> Page[UsageDayRow]:
    """Newest first; `after` means older, `before` newer."""
    window = _window(account_id, row_filter, first, after, last, before, page_projection)
    found = await context.loaders.usage_page.load((account_id, (row_filter, window)))
    rows, has_next, has_previous = page_rows(found, window)
    writer = CursorWriter(CursorKind.USAGE, account_id, filter_digest(row_filter))
    if window.unread:
        return Page.unread(account_id, row_filter)
    return Page(
        account_id,
        row_filter,
        rows,
        has_next,
        has_previous,
        lambda rows: writer.of_usages(map(_POSITION, rows)),
    )


def prefetch_page(
    context: QueryContext,
    account_id: int,
    row_filter: UsageFilter,
    *,
    first: int | None = None,
    after: str | None = None,
    last: int | None = None,
    before: str | None = None,
    page_projection: PageProjection = ALL,
) -> PageKey:
    """Prefetches the page's rows."""
    window = _window(account_id, row_filter, first, after, last, before, page_projection)
    context.loaders.usage_page.load((account_id, (row_filter, window)))
    return account_id, row_filter


def prefetch_totals(context: QueryContext, page: PageKey) -> None:
    """The count comes along with them."""
    context.loaders.usage_totals.load(page)


# Asked for twice: by the prefetch and by the resolver.
@lru_cache(maxsize=1_024)
def _window(
    account_id: int,
    row_filter: UsageFilter,
    first: int | None,
    after: str | None,
    last: int | None,
    before: str | None,
    page_projection: PageProjection,
) -> Window:
    digest = filter_digest(row_filter)
    window = window_of(
        first,
        last,
        _position(after, "after", account_id, digest),
        _position(before, "before", account_id, digest),
    )
    return replace(window, columns=page_projection.columns, unread=not page_projection.rows)


async def usage_count(context: QueryContext, page: Page[UsageDayRow]) -> int:
    return (await context.loaders.usage_totals.load((page.account_id, page.row_filter)))[1]


async def usage_totals(context: QueryContext, page: Page[UsageDayRow]) -> UsageTotalsRow:
    return (await context.loaders.usage_totals.load((page.account_id, page.row_filter)))[0]
