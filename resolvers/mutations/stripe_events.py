"""Stripe event mutations: what operators do about events that wait for a person."""

from __future__ import annotations

from dataclasses import dataclass

from db import stripe_events
from db.rows import TransactionRow
from db.stripe_events import StripeEventRow
from ledger.audit import Actor
from ledger.errors import Conflict, NotFound
from ledger.idempotent_calls import CallResult, IdempotentCall, run_once
from ledger.posting import LedgerTransaction
from ledger.stripe.events import dismiss_event, link_customer
from resolvers.mutations.calls import CallOutcome
from resolvers.mutations.context import MutationContext


@dataclass(frozen=True, slots=True)
class EventOutcome:
    event: StripeEventRow
    replayed: bool
    transactions: tuple[TransactionRow, ...] = ()


async def link(context: MutationContext, account_id: str, idempotency_key: str, customer: str) -> CallOutcome:
    context.require_operator()
    if context.first_shard is not None:
        raise Conflict("linkStripeCustomer is not supported with several shards")
    number = context.account_in_scope(account_id, "accountId")

    async def work(transaction: LedgerTransaction, actor: Actor) -> CallOutcome:
        async def linked() -> CallResult:
            account = await link_customer(transaction, number, customer, actor)
            return CallResult(number, account.balance_nanos)

        result = await run_once(
            transaction, IdempotentCall("linkStripeCustomer", idempotency_key, customer, number), linked
        )
        assert result.balance_nanos is not None
        return CallOutcome(number, result.balance_nanos, result.replayed)

    return await context.run_as_operator(work)


async def dismiss(context: MutationContext, event_id: str, idempotency_key: str, reason: str) -> EventOutcome:
    async def work(transaction: LedgerTransaction, actor: Actor) -> EventOutcome:
        async def dismissed() -> CallResult:
            await dismiss_event(transaction, event_id, reason, actor)
            return CallResult(None, None)

        call = IdempotentCall("dismissStripeEvent", idempotency_key, [event_id, reason])
        result = await run_once(transaction, call, dismissed)
        event = await stripe_events.locked(transaction.connection, event_id)
        if event is None:  # pragma: no cover  the call before found it, and events are never deleted
            raise NotFound("there is no such event")
        return EventOutcome(event, result.replayed)

    return await context.run_as_operator(work)
