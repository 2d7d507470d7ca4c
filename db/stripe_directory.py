"""The directory of Stripe's objects on shard 0: the account of a customer, and the shard of an event.

An entry is written before the shard is used. A customer's entry decides which account it belongs to, and is never
changed. An event's entry changes only if the account was moved before the event was settled.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, NamedTuple

from sqlalchemy import CompoundSelect, bindparam, exists, func, insert, select, union_all, update

from db.database import Database, WriteConnection
from db.keyed_rows import is_postgresql
from db.shard_tables import shard_stripe_customers, shard_stripe_events
from db.statements import is_one_of
from db.stripe_tables import recharge_attempts, stripe_credits, stripe_customers
from db.writes import upsert

_CUSTOMER = shard_stripe_customers
_EVENT = shard_stripe_events


_OWNER: Final = select(_CUSTOMER.c.account_id).where(_CUSTOMER.c.customer == bindparam("customer"))
_SHARD: Final = select(_EVENT.c.number).where(_EVENT.c.id == bindparam("event_id"))


async def owner_of_customer(connection: WriteConnection, customer: str) -> int | None:
    found: int | None = (await connection.execute(_OWNER, {"customer": customer})).scalar_one_or_none()
    return found


async def read_owner_of_customer(first: Database, customer: str) -> int | None:
    """Does the same as `owner_of_customer`, outside a transaction."""
    rows = await first.read(_OWNER, {"customer": customer})
    return int(rows[0][0]) if rows else None


async def claim_customer(connection: WriteConnection, customer: str, account_id: int) -> int:
    """Returns the customer's account: this one, unless another has it."""
    statement = upsert(connection, _CUSTOMER).values(customer=customer, account_id=account_id)
    await connection.execute(statement.on_conflict_do_nothing(index_elements=["customer"]))
    found = await owner_of_customer(connection, customer)
    assert found is not None
    return found


async def list_linked_customers(connection: WriteConnection) -> None:
    """Adds the customers that shard 0 linked before the set was made."""
    linked = stripe_customers.c
    missing = select(linked.id, linked.account_id).where(~exists().where(_CUSTOMER.c.customer == linked.id))
    await connection.execute(insert(_CUSTOMER).from_select(["customer", "account_id"], missing))


async def lock_event(connection: WriteConnection, event_id: str) -> int | None:
    """Locks the event for the whole set. Returns its shard; None if it has none yet."""
    statement = upsert(connection, _EVENT).values(id=event_id).on_conflict_do_nothing(index_elements=["id"])
    await connection.execute(statement)
    found = await connection.execute(_SHARD.with_for_update(), {"event_id": event_id})
    number: int | None = found.scalar_one()
    return number


async def assign_event(connection: WriteConnection, event_id: str, number: int) -> None:
    """Gives a locked event its shard, or the one that its account was moved to."""
    await connection.execute(update(_EVENT).where(_EVENT.c.id == event_id).values(number=number))


async def read_event_shard(first: Database, event_id: str) -> int | None:
    rows = await first.read(_SHARD, {"event_id": event_id})
    return None if not rows else rows[0][0]


@dataclass(frozen=True, slots=True)
class PaymentNames:
    """Ids of Stripe's and of auto-recharge by which an account's shard knows a payment."""

    attempt: str | None = None
    payment_intent: str | None = None
    refunds: tuple[str, ...] = ()


class KnownPayment(NamedTuple):
    account_id: int | None
    """None if only a refund is known, which failed before its payment was credited."""


@lru_cache(maxsize=2)
def _known_statement(postgresql: bool) -> CompoundSelect[Any]:
    attempt, credit, paid = recharge_attempts.c, stripe_credits.c, stripe_credits.alias()
    of_refund = (
        select(paid.c.account_id)
        .where(paid.c.payment_intent == credit.payment_intent, paid.c.is_refund.is_(False))
        .limit(1)
        .scalar_subquery()
    )
    return union_all(
        select(attempt.account_id).where(attempt.id == bindparam("attempt")),
        select(credit.account_id).where(
            credit.payment_intent == bindparam("payment_intent"), credit.is_refund.is_(False)
        ),
        select(func.coalesce(credit.account_id, of_refund)).where(
            is_one_of(credit.id, "refunds", postgresql=postgresql)
        ),
    )


def _given(names: PaymentNames) -> dict[str, Any]:
    return {"attempt": names.attempt, "payment_intent": names.payment_intent, "refunds": list(names.refunds)}


def _known(rows: Sequence[Any]) -> KnownPayment | None:
    return KnownPayment(next((row[0] for row in rows if row[0] is not None), None)) if rows else None


async def known_payment(connection: WriteConnection, names: PaymentNames) -> KnownPayment | None:
    """Returns the account whose payment, or a refund of it, the database knows; None if it knows none of them.

    The rows may be a copy, or be left over: the account may be on another shard.
    """
    statement = _known_statement(is_postgresql(connection))
    return _known((await connection.execute(statement, _given(names))).all())


async def read_known_payment(database: Database, names: PaymentNames) -> KnownPayment | None:
    """Does the same as `known_payment`, outside a transaction."""
    return _known(await database.read(_known_statement(database.is_postgresql), _given(names)))
