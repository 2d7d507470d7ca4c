"""Stripe's events as operators see them, and what they do about those that wait."""

from __future__ import annotations

from dataclasses import dataclass

from db import stripe_events
from db.criteria import StripeEventCriteria
from db.rows import AccountRow, TransactionRow
from db.stripe_events import StripeEventRow
from ledger.acts import Call, Came, once
from ledger.audit import Actor
from ledger.errors import NotFound
from ledger.posting import LedgerTransaction
from ledger.stripe.events import EventState, dismiss_event, link_customer
from resolvers.acts import ActOutcome
from resolvers.context import Reads
from resolvers.cursors import CursorKind, CursorWriter, filter_digest, position_in
from resolvers.pages import Page, page_rows, window_of
from resolvers.writes import Writes


@dataclass(frozen=True, slots=True)
class EventOutcome:
    event: StripeEventRow
    replayed: bool
    transactions: tuple[TransactionRow, ...] = ()


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


async def link(writes: Writes, account_id: str, idempotency_key: str, customer: str) -> ActOutcome:
    writes.require_operator()
    number = writes.account_in_scope(account_id, "accountId")

    async def work(transaction: LedgerTransaction, actor: Actor) -> ActOutcome:
        async def linked() -> Came:
            account = await link_customer(transaction, number, customer, actor)
            return Came(number, account.balance_nanos)

        came = await once(transaction, Call("linkStripeCustomer", idempotency_key, customer, number), linked)
        assert came.balance_nanos is not None
        return ActOutcome(number, came.balance_nanos, came.replayed)

    return await writes.act_as_operator(work)


async def dismiss(writes: Writes, event_id: str, idempotency_key: str, reason: str) -> EventOutcome:
    async def work(transaction: LedgerTransaction, actor: Actor) -> EventOutcome:
        async def dismissed() -> Came:
            await dismiss_event(transaction, event_id, reason, actor)
            return Came(None, None)

        call = Call("dismissStripeEvent", idempotency_key, [event_id, reason])
        came = await once(transaction, call, dismissed)
        event = await stripe_events.locked(transaction.connection, event_id)
        if event is None:
            raise NotFound("there is no such event")
        return EventOutcome(event, came.replayed)

    return await writes.act_as_operator(work)
