"""Usage requests: requests in full, for as long as they are kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Final

from db.attribution_rows import RequestDetailRow, UsagePriceRow
from db.filters import UsageRequestFilter, Window
from db.rows import TransactionRow
from ledger.errors import BadUserInput
from ledger.kinds import UsageCategory, UsageOrigin
from ledger.texts import REQUEST_ID
from ledger.usage import id_digest
from ledger.usage_prices import NO_PRICE
from resolvers.context import QueryContext
from resolvers.cursors import (
    CursorKind,
    CursorWriter,
    RequestPosition,
    decoded_in,
    request_position,
)
from resolvers.pager import Asked, Pager, Stretch
from resolvers.pages import CursorsOf, Page, PageRows, page_rows
from resolvers.reads.texts import checked_characters
from resolvers.reads.usage import values_of

MAX_VALUES: Final = 100
"""Maximum number of values in each list of a filter."""

_POSITION: Final = attrgetter("at", "digest")
_DIGEST_BYTES: Final = 16


def usage_request_filter(
    *,
    at_gte: datetime | None = None,
    at_lt: datetime | None = None,
    models: Sequence[str] | None = None,
    categories: Sequence[UsageCategory] | None = None,
    origins: Sequence[UsageOrigin] | None = None,
    api_key_ids: Sequence[str] | None = None,
    projects: Sequence[str] | None = None,
    end_users: Sequence[str] | None = None,
) -> UsageRequestFilter:
    """Raises BadUserInput for an invalid range or too many values in a list."""
    if at_gte is not None and at_lt is not None and at_lt < at_gte:
        raise BadUserInput("at has an invalid range: lt must not be before gte")
    return UsageRequestFilter(
        at_gte=at_gte,
        at_lt=at_lt,
        models=_texts(models, "models"),
        categories=values_of(categories),
        origins=values_of(origins),
        api_keys=_texts(api_key_ids, "apiKeyIds"),
        projects=_texts(projects, "projects"),
        end_users=_texts(end_users, "endUsers"),
    )


def _texts(values: Sequence[str] | None, argument: str) -> tuple[str, ...] | None:
    if values is None:
        return None
    if len(values) > MAX_VALUES:
        msg = f"{argument} must have at most {MAX_VALUES} values, not {len(values)}"
        raise BadUserInput(msg)
    return tuple(sorted({checked_characters(value, argument) for value in values}))


def _position(text: str | None, argument: str, account_id: int, digest: bytes) -> RequestPosition | None:
    return decoded_in(text, argument, CursorKind.USAGE_REQUESTS, account_id, digest, request_position)


def _just_before(position: RequestPosition) -> RequestPosition:
    """Returns the last position that is older than this one."""
    at, digest = position
    number = int.from_bytes(digest) - 1
    if number < 0:
        return at - timedelta(microseconds=1), b"\xff" * _DIGEST_BYTES
    return at, number.to_bytes(_DIGEST_BYTES)


class _Asked(Asked[RequestDetailRow]):
    """A page, and whether there are requests before it.

    The cursor's request may have been deleted, with all older ones. It then does not prove that the list begins before
    the page, so the first request from the cursor on is read.
    """

    def __init__(
        self, context: QueryContext, account_id: int, row_filter: UsageRequestFilter, stretch: Stretch
    ) -> None:
        load, window = context.loaders.usage_request_page.load, stretch.window
        super().__init__(load((account_id, (row_filter, window))), window)
        self._newer = None
        if isinstance(window.after, tuple):
            newer = Window(limit=1, before=_just_before(window.after), oldest=True)
            self._newer = load((account_id, (row_filter, newer)))

    async def rows(self) -> PageRows[RequestDetailRow]:
        window, found = self._window, await self._found
        if self._newer is not None and not await self._newer:
            window = replace(window, after=None)
        return page_rows(found, window)


def _cursors(account_id: int, digest: bytes) -> CursorsOf[RequestDetailRow]:
    writer = CursorWriter(CursorKind.USAGE_REQUESTS, account_id, digest)
    return lambda rows: writer.of_requests(map(_POSITION, rows))


_PAGER: Final = Pager(position_in=_position, ask=_Asked, cursors=_cursors)

usage_request_page = _PAGER.page
prefetch_page = _PAGER.prefetch

PageKey = tuple[int, UsageRequestFilter]
"""Identifies the list that a count is for."""


def prefetch_count(context: QueryContext, page: PageKey) -> None:
    context.loaders.usage_request_count.load(page)


async def usage_request_count(context: QueryContext, page: Page[RequestDetailRow]) -> int:
    return await context.loaders.usage_request_count.load((page.account_id, page.row_filter))


def _digest_of(request_id: str) -> bytes | None:
    """Returns None for a text that no request can have as its id."""
    try:
        return id_digest(REQUEST_ID.checked(request_id, "id"))
    except BadUserInput:
        return None


def prefetch_usage_request(context: QueryContext, account_id: int, id: str) -> None:  # noqa: A002  the argument's name
    digest = _digest_of(id)
    if digest is not None:
        context.loaders.usage_request.load((account_id, digest))


async def usage_request(context: QueryContext, account_id: int, request_id: str) -> RequestDetailRow | None:
    """Returns the request with this id, or None if there is none or if it is not kept any longer."""
    digest = _digest_of(request_id)
    return None if digest is None else await context.loaders.usage_request.load((account_id, digest))


async def price_of(context: QueryContext, request: RequestDetailRow) -> UsagePriceRow | None:
    if request.price_id == NO_PRICE:
        return None
    return await context.loaders.usage_price.load((request.account_id, request.price_id))


async def transaction_of(context: QueryContext, request: RequestDetailRow) -> TransactionRow | None:
    if request.seq is None:
        return None
    return await context.loaders.transaction.load((request.account_id, request.seq))
