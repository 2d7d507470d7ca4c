"""Stripe event mutations: what operators do about events that wait for a person."""

from __future__ import annotations

from dataclasses import dataclass

from access.keys import acting_key
from db import stripe_events
from db.database import Database
from db.rows import TransactionRow
from db.shards import found_account
from db.stripe_events import StripeEventRow
from ledger.audit import Actor
from ledger.errors import NotFound
from ledger.idempotent_calls import CallResult, IdempotentCall, has_result, run_once
from ledger.posting import LedgerTransaction
from ledger.stripe.events import claim_before_link, dismiss_event, link_customer
from ledger.stripe.places import shard_that_keeps
from ledger.texts import IDEMPOTENCY_KEY
from resolvers.mutations.calls import CallOutcome
from resolvers.mutations.context import MutationContext


@dataclass(frozen=True, slots=True)
class EventOutcome:
    event: StripeEventRow
    replayed: bool
    transactions: tuple[TransactionRow, ...] = ()


async def link(context: MutationContext, account_id: str, idempotency_key: str, customer: str) -> CallOutcome:
    context.require_operator()
    number = context.account_in_scope(account_id, "accountId")
    call = IdempotentCall("linkStripeCustomer", idempotency_key, customer, number)
    if context.first_shard is not None:
        home = await found_account(context.first_shard, number)
        await _claim_customer(context, home, call, number, customer)

    async def work(transaction: LedgerTransaction, actor: Actor) -> CallOutcome:
        async def linked() -> CallResult:
            account = await link_customer(transaction, number, customer, actor)
            return CallResult(number, account.balance_nanos)

        result = await run_once(transaction, call, linked)
        assert result.balance_nanos is not None
        return CallOutcome(number, result.balance_nanos, result.replayed)

    return await context.run_as_operator(work, number)


async def _claim_customer(
    context: MutationContext, home: Database, call: IdempotentCall, account_id: int, customer: str
) -> None:
    """Claims the customer for the account in the set of shards, unless the call was carried out before."""
    IDEMPOTENCY_KEY.checked(call.idempotency_key, "idempotencyKey")
    if await has_result(home, call):
        return

    async def check(transaction: LedgerTransaction) -> None:
        await acting_key(transaction, context.principal)

    await context.run_before(lambda ledger: claim_before_link(ledger, home, account_id, customer, check))


async def dismiss(context: MutationContext, event_id: str, idempotency_key: str, reason: str) -> EventOutcome:
    context.require_operator()
    call = IdempotentCall("dismissStripeEvent", idempotency_key, [event_id, reason])
    shard: int | None = None
    if context.first_shard is not None:
        shard = await _shard_to_dismiss_on(context, context.first_shard, event_id, call)

    async def work(transaction: LedgerTransaction, actor: Actor) -> EventOutcome:
        async def dismissed() -> CallResult:
            await dismiss_event(transaction, event_id, reason, actor)
            return CallResult(None, None)

        result = await run_once(transaction, call, dismissed)
        event = await stripe_events.locked(transaction.connection, event_id)
        if event is None:  # pragma: no cover  the call before found it, and dismissed events are never deleted
            raise NotFound("there is no such event")
        return EventOutcome(event, result.replayed)

    async def shard_of() -> int | None:
        return shard

    return await context.run_as_operator(work, shard_of=shard_of)


async def _shard_to_dismiss_on(context: MutationContext, first: Database, event_id: str, call: IdempotentCall) -> int:
    """Returns the event's shard. The idempotency key belongs to the whole set, so shard 0 has it, too."""
    number = await shard_that_keeps(first, event_id)
    if number > 0:

        async def claimed() -> CallResult:
            return CallResult(None, None)

        await context.run_before(lambda ledger: ledger.within(lambda transaction: run_once(transaction, call, claimed)))
    return number
