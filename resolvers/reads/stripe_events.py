"""Stripe's events as operators see them."""

from __future__ import annotations

from db import stripe_events
from db.filters import StripeEventCriteria
from db.rows import AccountRow
from db.stripe_events import StripeEventRow
from ledger.stripe.events import EventState
from resolvers.context import Reads
from resolvers.cursors import CursorKind, CursorWriter, filter_digest, position_in
from resolvers.pages import Page, page_rows, window_of


async def event_page(
    reads: Reads, state: EventState | None, first: int | None, after: str | None
) -> Page[StripeEventRow]:
    reads.require_operator()
    criteria = StripeEventCriteria(None if state is None else state.value)
    digest = filter_digest(criteria)
    position = position_in(after, "after", CursorKind.STRIPE_EVENTS, 0, digest)
    window = window_of(first, None, position, None)
    found = await stripe_events.event_page(reads.snapshot, criteria.state, limit=window.limit, after=position)
    rows, has_next, has_previous = page_rows(found, window)
    writer = CursorWriter(CursorKind.STRIPE_EVENTS, 0, digest)
    return Page(0, criteria, rows, has_next, has_previous, lambda rows: writer.of_seqs([row.number for row in rows]))


async def event_count(reads: Reads, page: Page[StripeEventRow]) -> int:
    criteria: StripeEventCriteria = page.criteria
    return await stripe_events.event_count(reads.snapshot, criteria.state)


async def account_of(reads: Reads, event: StripeEventRow) -> AccountRow | None:
    return None if event.account_id is None else await reads.loaders.account.load(event.account_id)
