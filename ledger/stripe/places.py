"""Places: the shard that a Stripe event or customer belongs to, in a set of shards (docs/decisions/0017).

Events of customers are applied on the shard of the customer's account, which the directory of shard 0 knows. Events of
payments are applied on the shard of the account whose payment it is: all shards are asked for that account.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import NamedTuple

from db import stripe_customers, stripe_events
from db import stripe_directory as directory
from db.database import Database, WriteConnection
from db.errors import DatabaseError, DatabaseUnavailable
from db.moved_accounts import hold_here
from db.shards import account_shard, databases_of, found_account, number_of, shard_numbered
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


class Payer(NamedTuple):
    number: int
    """A shard that knows the payment. It may have only a copy of the account, or what it left."""
    account_id: int | None
    """None for a refund that failed before its payment was credited."""


async def payer_of(databases: Sequence[Database], names: PaymentNames) -> Payer | None:
    """Returns whose payment it is.

    Raises ShardAway if a shard does not answer and no other knows the payment.
    """

    async def ask(number: int, database: Database) -> Payer | None:
        try:
            known = await directory.read_known_payment(database, names)
        except DatabaseError as error:
            raise ShardAway(number, error) from error
        return None if known is None else Payer(number, known.account_id)

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


async def find_shard(first: Database, notice: Notice) -> int | None:
    """Looks for the shard of the notice's account, as `found_account` does. None if no shard knows what it names.
    Raises ShardAway."""
    names, customer = payment_of(notice), customer_of(notice)
    payer = None if names is None else await payer_of(databases_of(first), names)
    if payer is not None and payer.account_id is None:
        return payer.number
    owner = None if payer is None else payer.account_id
    if owner is None and customer is not None:
        owner = await _owner_of(first, customer)
    return None if owner is None else number_of(await _found(first, owner))


async def _owner_of(first: Database, customer: str) -> int | None:
    try:
        return await directory.read_owner_of_customer(first, customer)
    except DatabaseError as error:
        raise ShardAway(0, error) from error


async def _found(database: Database, account_id: int) -> Database:
    try:
        return await found_account(database, account_id)
    except DatabaseError as error:
        raise ShardAway(number_of(account_shard(database, account_id)), error) from error


async def has_account_of(connection: WriteConnection, notice: Notice | None) -> bool | None:
    """Returns whether the notice's account is on this shard, on which it stays until the transaction ends. None if this
    shard does not know the account."""
    if notice is None:
        return True
    names, customer = payment_of(notice), customer_of(notice)
    if names is None and customer is None:
        return True
    known = None if names is None else await directory.known_payment(connection, names)
    if known is not None and known.account_id is None:
        return True
    account_id = None if known is None else known.account_id
    if account_id is None and customer is not None:
        account_id = await stripe_customers.account_of_customer(connection, customer)
    return None if account_id is None else await hold_here(connection, account_id)


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
    owner = await _owner_of(shard_numbered(database, 0), customer)
    return None if owner is None or await _found(database, owner) is database else owner


def linked_already(customer: str, account_id: int) -> str:
    return f"the customer {customer} is already linked to {account_id_text(account_id)}"


async def shard_that_keeps(first: Database, event_id: str) -> int:
    """Returns the number of the shard that has the event, if any has. Raises Conflict if it is on another one, too."""
    if first.place is None:
        return 0
    number = await directory.read_event_shard(first, event_id) or 0
    for other, database in enumerate(databases_of(first)):
        # A shard that is away settles the event later, as the shard that has it did.
        with contextlib.suppress(DatabaseError):
            if other != number and await stripe_events.is_stored(database, event_id):
                raise Conflict(on_its_way(event_id))
    return number


def on_its_way(event_id: str) -> str:
    return f"the event {event_id} is on its way to the account's shard: try again in a few minutes"
