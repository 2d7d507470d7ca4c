"""Stripe's events as operators see them."""

from __future__ import annotations

from db import stripe_events
from db.filters import StripeEventFilter
from db.rows import AccountRow
from db.stripe_events import StripeEventRow
from ledger.stripe.events import EventState
from resolvers.context import QueryContext
from resolvers.cursors import CursorKind, CursorWriter, filter_digest, position_in
from resolvers.pages import Page, page_rows, window_of


async def event_page(
    context: QueryContext, state: EventState | None, first: int | None, after: str | None
) -> Page[StripeEventRow]:
    context.require_operator()
    row_filter = StripeEventFilter(None if state is None else state.value)
    digest = filter_digest(row_filter)
    position = position_in(after, "after", CursorKind.STRIPE_EVENTS, 0, digest)
    window = window_of(first, None, position, None)
    found = await stripe_events.event_page(context.snapshot, row_filter.state, limit=window.limit, after=position)
    rows, has_next, has_previous = page_rows(found, window)
    writer = CursorWriter(CursorKind.STRIPE_EVENTS, 0, digest)
    return Page(0, row_filter, rows, has_next, has_previous, lambda rows: writer.of_seqs([row.number for row in rows]))


async def event_count(context: QueryContext, page: Page[StripeEventRow]) -> int:
    row_filter: StripeEventFilter = page.row_filter
    return await stripe_events.event_count(context.snapshot, row_filter.state)


async def account_of(context: QueryContext, event: StripeEventRow) -> AccountRow | None:
    return None if event.account_id is None else await context.loaders.account.load(event.account_id)
