"""What operators do about Stripe's events that wait for a person."""

from __future__ import annotations

from dataclasses import dataclass

from db import stripe_events
from db.rows import TransactionRow
from db.stripe_events import StripeEventRow
from ledger.audit import Actor
from ledger.errors import NotFound
from ledger.idempotent_calls import Call, Came, once
from ledger.posting import LedgerTransaction
from ledger.stripe.events import dismiss_event, link_customer
from resolvers.mutations.calls import ActOutcome
from resolvers.mutations.context import Writes


@dataclass(frozen=True, slots=True)
class EventOutcome:
    event: StripeEventRow
    replayed: bool
    transactions: tuple[TransactionRow, ...] = ()


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
