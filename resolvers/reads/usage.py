from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from enum import StrEnum
from operator import attrgetter
from typing import Final

from db.filters import UsageFilter
from db.rows import UsageDayRow, UsageFigures
from ledger.errors import BadUserInput
from ledger.kinds import UsageCategory, UsageOrigin
from resolvers.context import QueryContext
from resolvers.cursors import (
    CursorKind,
    CursorWriter,
    UsagePosition,
    decoded_in,
    usage_position,
)
from resolvers.pager import Asked, Pager, Stretch
from resolvers.pages import CursorsOf, Page
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
    """Raises BadUserInput for an invalid range or too many values in a list."""
    check_days(day_gte, day_lt)
    return UsageFilter(
        day_gte=day_gte,
        day_lt=day_lt,
        models=checked_models(models),
        categories=values_of(categories),
        origins=values_of(origins),
    )


def check_days(day_gte: date | None, day_lt: date | None) -> None:
    if day_gte is not None and day_lt is not None and day_lt < day_gte:
        raise BadUserInput("day has an invalid range: lt must not be before gte")


def checked_models(given: Sequence[str] | None) -> tuple[str, ...] | None:
    if given is not None and len(given) > MAX_MODELS:
        msg = f"models must name at most {MAX_MODELS} models, not {len(given)}"
        raise BadUserInput(msg)
    return None if given is None else tuple(sorted({checked_characters(model, "models") for model in given}))


def values_of(given: Sequence[StrEnum] | None) -> tuple[str, ...] | None:
    return None if given is None else tuple(sorted({one.value for one in given}))


def _position(text: str | None, argument: str, account_id: int, digest: bytes) -> UsagePosition | None:
    return decoded_in(text, argument, CursorKind.USAGE, account_id, digest, usage_position)


def _ask(context: QueryContext, account_id: int, row_filter: UsageFilter, stretch: Stretch) -> Asked[UsageDayRow]:
    window = stretch.window
    return Asked(context.loaders.usage_page.load((account_id, (row_filter, window))), window)


def _cursors(account_id: int, digest: bytes) -> CursorsOf[UsageDayRow]:
    writer = CursorWriter(CursorKind.USAGE, account_id, digest)
    return lambda rows: writer.of_usages(map(_POSITION, rows))


_PAGER: Final = Pager(position_in=_position, ask=_ask, cursors=_cursors)

usage_page = _PAGER.page
prefetch_page = _PAGER.prefetch

PageKey = tuple[int, UsageFilter]
"""Identifies the list that totals are for."""


def prefetch_totals(context: QueryContext, page: PageKey) -> None:
    """Prefetches the totals, which include the count."""
    context.loaders.usage_totals.load(page)


async def usage_count(context: QueryContext, page: Page[UsageDayRow]) -> int:
    return (await context.loaders.usage_totals.load((page.account_id, page.row_filter)))[1]


async def usage_totals(context: QueryContext, page: Page[UsageDayRow]) -> UsageFigures:
    return (await context.loaders.usage_totals.load((page.account_id, page.row_filter)))[0]
