"""Which account a customer of Stripe's is, and what of Stripe's was credited: each object once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import bindparam, func, select

from db import tables
from db.database import Database, WriteConnection
from db.statements import columns
from db.stripe_tables import stripe_credits, stripe_customers
from db.writes import upsert


class StripeCreditRow(NamedTuple):
    id: str
    account_id: int
    is_refund: bool
    payment_intent: str | None
    amount_nanos: int
    created_at: datetime


async def account_of_customer(connection: WriteConnection, customer: str) -> int | None:
    statement = select(stripe_customers.c.account_id).where(stripe_customers.c.id == customer)
    return (await connection.execute(statement)).scalar_one_or_none()


_CUSTOMER = (
    select(stripe_customers.c.id)
    .where(stripe_customers.c.account_id == bindparam("account_id"))
    .order_by(stripe_customers.c.created_at, stripe_customers.c.id)
    .limit(1)
)


async def customer_of_account(connection: WriteConnection, account_id: int) -> str | None:
    """The account's oldest customer: whose cards pay."""
    return (await connection.execute(_CUSTOMER, {"account_id": account_id})).scalar_one_or_none()


async def read_customer_of_account(database: Database, account_id: int) -> str | None:
    rows = await database.read(_CUSTOMER, {"account_id": account_id})
    return rows[0][0] if rows else None


async def link_customer(connection: WriteConnection, customer: str, account_id: int, now: datetime) -> int:
    """The account that the customer is of: this one, unless it was linked before."""
    statement = upsert(connection, stripe_customers).values(id=customer, account_id=account_id, created_at=now)
    await connection.execute(statement.on_conflict_do_nothing(index_elements=["id"]))
    found = await account_of_customer(connection, customer)
    assert found is not None
    return found


async def claim(connection: WriteConnection, rows: Sequence[StripeCreditRow]) -> set[str]:
    """The ids of those that weren't credited before; now they are, if the transaction commits.

    Where another transaction claims one at the same time, waits for its end. In the order of ids, so that no two wait
    for each other in a circle.
    """
    claimed: set[str] = set()
    for credit in sorted(rows):
        statement = (
            upsert(connection, stripe_credits)
            .values(**credit._asdict())
            .on_conflict_do_nothing(index_elements=["id"])
            .returning(stripe_credits.c.id)
        )
        claimed.update((await connection.execute(statement)).scalars())
    return claimed


async def credited_payment(connection: WriteConnection, payment_intent: str) -> StripeCreditRow | None:
    """What was credited for the payment, refunds of it apart."""
    table = stripe_credits
    statement = select(*columns(table, StripeCreditRow)).where(
        table.c.payment_intent == payment_intent, table.c.is_refund.is_(False)
    )
    row = (await connection.execute(statement.order_by(table.c.id).limit(1))).one_or_none()
    return None if row is None else StripeCreditRow._make(row)


async def refunded_nanos(connection: WriteConnection, payment_intent: str) -> int:
    """What is credited of the payment's refunds already."""
    table = stripe_credits
    statement = select(func.coalesce(func.sum(table.c.amount_nanos), 0)).where(
        table.c.payment_intent == payment_intent, table.c.is_refund.is_(True)
    )
    return int((await connection.execute(statement)).scalar_one())


async def first_row_of(connection: WriteConnection, account_id: int, ref_id: str) -> int | None:
    """The `seq` of the first ledger row that names this object."""
    table = tables.transactions
    statement = (
        select(table.c.seq)
        .where(table.c.account_id == account_id, table.c.ref_id == ref_id)
        .order_by(table.c.seq)
        .limit(1)
    )
    return (await connection.execute(statement)).scalar_one_or_none()
