"""Stripe events, as operators see them."""

from __future__ import annotations

from functools import partial
from operator import attrgetter
from typing import Final

from db import stripe_events
from db.connections.snapshots import Snapshot
from db.filters import StripeEventFilter
from db.rows import AccountRow
from db.stripe_events import StripeEventRow
from ledger.stripe.events import EventState
from resolvers.context import QueryContext
from resolvers.cursors import CursorKind
from resolvers.merged_list import MergedList
from resolvers.pager import NumberedList
from resolvers.pages import Page

_LIST: Final = NumberedList[StripeEventRow](CursorKind.STRIPE_EVENTS, attrgetter("number"), loses_rows=True)
_MERGED: Final = MergedList[StripeEventRow](CursorKind.STRIPE_EVENTS, attrgetter("number"), attrgetter("received_at"))


async def event_page(
    context: QueryContext, state: EventState | None, first: int | None, after: str | None
) -> Page[StripeEventRow]:
    context.require_operator()
    row_filter = StripeEventFilter(None if state is None else state.value)

    async def read(
        snapshot: Snapshot, limit: int, after: int | None, down_to: int | None = None
    ) -> list[StripeEventRow]:
        return await stripe_events.event_page(snapshot, row_filter.state, limit=limit, after=after, down_to=down_to)

    if context.others:
        return await _MERGED.page(context.snapshots, read, first, after, row_filter, context.hosts())
    return await _LIST.page(partial(read, context.snapshot), first, after, row_filter)


async def event_count(context: QueryContext, page: Page[StripeEventRow]) -> int:
    row_filter: StripeEventFilter = page.row_filter
    return sum([await stripe_events.event_count(one, row_filter.state) for one in context.snapshots])


async def account_of(context: QueryContext, event: StripeEventRow) -> AccountRow | None:
    return None if event.account_id is None else await context.loaders.account.load(event.account_id)
