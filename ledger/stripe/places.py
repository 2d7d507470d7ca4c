"""Places: the shard that a Stripe event or customer belongs to, in a set of shards (docs/decisions/0017).

Events of customers are applied on the shard of the customer's account, which the directory of shard 0 knows. Events of
payments are applied on the shard that requested or credited the payment, which all shards are asked for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from db import stripe_customers, stripe_events
from db import stripe_directory as directory
from db.database import Database
from db.errors import DatabaseError, DatabaseUnavailable
from db.shards import account_shard, shard_numbered
from db.stripe_directory import PaymentNames
from ledger.errors import Conflict
from ledger.ids import account_id_text
from ledger.posting import LedgerTransaction
from ledger.stripe.notices import (
    ChargeRefunded,
    Concern,
    ContractPaid,
    CustomerChanged,
    FailedRefund,
    Notice,
    Receipt,
    Recharge,
    RechargeFailed,
    Refund,
    TopUp,
    UnpaidSession,
)
from ledger.stripe.verdicts import Waiting


class ShardAway(DatabaseUnavailable):
    """Another shard than the one that has the event cannot be asked or written to at the moment."""

    def __init__(self, number: int, error: DatabaseError) -> None:
        super().__init__(f"shard {number} is unavailable: {error}")


def customer_of(notice: Notice) -> str | None:
    """Returns the customer by which the notice's shard is found."""
    match notice:
        case TopUp() | UnpaidSession() | ContractPaid() | CustomerChanged() | Receipt():
            return notice.customer
        case Concern() | Refund() | ChargeRefunded():
            return notice.customer
    return None


def payment_of(notice: Notice) -> PaymentNames | None:
    """Returns the payment by which the notice's shard is found, before its customer."""
    match notice:
        case Recharge() | RechargeFailed():
            return PaymentNames(attempt=notice.attempt)
        case Refund() | FailedRefund():
            return PaymentNames(payment_intent=notice.payment_intent, refunds=(notice.id,))
        case ChargeRefunded():
            refunds = [one.id for one in notice.refunds] + [one.id for one in notice.failed_refunds]
            return PaymentNames(payment_intent=notice.payment_intent, refunds=tuple(refunds))
        case Concern(payment_intent=str()):
            return PaymentNames(payment_intent=notice.payment_intent)
    return None


def waits_for_its_shard(notice: Notice | None) -> Waiting | None:
    """Returns why shard 0 must not settle the notice, although no shard knows what it names.

    It would write that the refund failed, but the refund may be credited on another shard.
    """
    if isinstance(notice, FailedRefund) or (isinstance(notice, ChargeRefunded) and notice.failed_refunds):
        reason = f"the payment {notice.payment_intent} that the failed refund would return is not in the ledger yet"
        return Waiting(reason, notice.payment_intent, is_harmless=True)
    return None


async def shard_that_knows(databases: Sequence[Database], names: PaymentNames) -> int | None:
    """Returns the number of the shard that knows the payment.

    Raises ShardAway if a shard does not answer and no other knows the payment.
    """

    async def ask(number: int, database: Database) -> int | None:
        try:
            return number if await directory.knows_payment(database, names) else None
        except DatabaseError as error:
            raise ShardAway(number, error) from error

    asked = [asyncio.create_task(ask(number, database)) for number, database in enumerate(databases)]
    away: ShardAway | None = None
    try:
        for answer in asyncio.as_completed(asked):
            try:
                found = await answer
            except ShardAway as error:
                away = error
            else:
                if found is not None:
                    return found
    finally:
        for task in asked:
            task.cancel()
        await asyncio.gather(*asked, return_exceptions=True)
    if away is not None:
        raise away
    return None


async def claim_customer(transaction: LedgerTransaction, customer: str, account_id: int) -> None:
    """Makes the customer the account's in the whole set, before the account's shard links it. The transaction is on
    shard 0, whose events that wait for the customer become due.

    Raises Conflict if the customer belongs to another account.
    """
    owner = await directory.claim_customer(transaction.connection, customer, account_id)
    if owner != account_id:
        raise Conflict(linked_already(customer, owner))
    await stripe_events.make_due(transaction.connection, customer, transaction.clock())


async def read_owner_elsewhere(database: Database, customer: str) -> int | None:
    """Returns the customer's account, if it is on another shard than this one. Raises ShardAway."""
    if database.place is None or await stripe_customers.is_linked(database, customer):
        return None
    try:
        owner = await directory.read_owner_of_customer(shard_numbered(database, 0), customer)
    except DatabaseError as error:
        raise ShardAway(0, error) from error
    return None if owner is None or account_shard(database, owner) is database else owner


def linked_already(customer: str, account_id: int) -> str:
    return f"the customer {customer} is already linked to {account_id_text(account_id)}"


async def shard_that_keeps(first: Database, event_id: str) -> int:
    """Returns the number of the shard that has the event, if any has. Raises Conflict while two have it."""
    number = 0 if first.place is None else await directory.read_event_shard(first, event_id) or 0
    if number > 0 and await stripe_events.is_stored(first, event_id):
        raise Conflict(on_its_way(event_id))
    return number


def on_its_way(event_id: str) -> str:
    return f"the event {event_id} is on its way to the account's shard: try again in a few minutes"
