"""What of Stripe's was credited: each object once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import func, select

from db import tables
from db.database import WriteConnection
from db.statements import columns
from db.stripe_tables import stripe_credits
from db.writes import upsert


class StripeCreditRow(NamedTuple):
    id: str
    account_id: int
    is_refund: bool
    payment_intent: str | None
    amount_nanos: int
    created_at: datetime


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
