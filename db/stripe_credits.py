"""Stripe credits: what was credited for each object of Stripe. Each object counts once."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import BigInteger, Select, bindparam, func, select, update

from db import tables
from db.archive.past import past_rows
from db.archive.reach import Reach
from db.connections.snapshots import Read, Wanted
from db.database import Database, WriteConnection
from db.statements import columns
from db.stripe_tables import stripe_credits
from db.writes import upsert


class StripeCreditRow(NamedTuple):
    id: str
    account_id: int | None
    """None for a refund that failed before it was credited."""
    is_refund: bool
    payment_intent: str | None
    amount_nanos: int
    created_at: datetime
    failed_at: datetime | None = None


async def claim(connection: WriteConnection, rows: Sequence[StripeCreditRow]) -> set[str]:
    """Claims the objects. Returns the ids that were not credited before; they are now, if the transaction commits.

    Waits for another transaction that claims the same object. Claims in the order of ids, so that two transactions do
    not deadlock.
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
    """Returns the credit for the payment, not for its refunds."""
    table = stripe_credits
    statement = select(*columns(table, StripeCreditRow)).where(
        table.c.payment_intent == payment_intent, table.c.is_refund.is_(False)
    )
    row = (await connection.execute(statement.order_by(table.c.id).limit(1))).one_or_none()
    return None if row is None else StripeCreditRow._make(row)


async def refunded_nanos(connection: WriteConnection, payment_intent: str) -> tuple[int, int]:
    """Returns the known refunded sums of the payment: of all refunds, and of those that have not failed."""
    table = stripe_credits
    amounts = func.coalesce(func.sum(table.c.amount_nanos), 0)
    lasting = func.coalesce(func.sum(table.c.amount_nanos).filter(table.c.failed_at.is_(None)), 0)
    statement = select(amounts, lasting).where(table.c.payment_intent == payment_intent, table.c.is_refund.is_(True))
    known, not_failed = (await connection.execute(statement)).one()
    return int(known), int(not_failed)


async def failed_refunds(connection: WriteConnection, refunds: Sequence[str]) -> set[str]:
    """Returns the ids of refunds that are known to have failed."""
    table = stripe_credits
    statement = select(table.c.id).where(table.c.id.in_(refunds), table.c.failed_at.is_not(None))
    return set((await connection.execute(statement)).scalars())


async def fail_refund(connection: WriteConnection, refund: str, now: datetime) -> StripeCreditRow | None:
    """Marks a known refund as failed and returns it. Returns None if it was already marked."""
    table = stripe_credits
    statement = (
        update(table)
        .where(table.c.id == refund, table.c.failed_at.is_(None))
        .values(failed_at=now)
        .returning(*columns(table, StripeCreditRow))
    )
    row = (await connection.execute(statement)).one_or_none()
    return None if row is None else StripeCreditRow._make(row)


_ROW: Final = tables.transactions

_FIRST_OF_WEBHOOK: Final = (
    select(_ROW.c.seq)
    .where(
        _ROW.c.account_id == bindparam("account_id", type_=BigInteger()),
        _ROW.c.ref_id == bindparam("ref_id"),
        _ROW.c.source == "stripe_webhook",
        _ROW.c.ref_type != "contract",
    )
    .order_by(_ROW.c.seq)
    .limit(1)
)


async def _seqs(
    connection: WriteConnection, statement: Select[tuple[int]], account_id: int, reach: Reach, given: dict[str, Any]
) -> list[int]:
    """Returns the `seq` of each row, oldest first, archived ones too."""
    given = {"account_id": account_id, **given}
    past = past_rows(account_id, reach, Read((Wanted(statement, given),), lambda rows: rows[0]))
    async with Database.snapshot_within(connection) as snapshot:
        return [row[0] for row in await snapshot.rows(statement, given, past)]


async def first_row_of(connection: WriteConnection, account_id: int, ref_id: str) -> int | None:
    """Returns the `seq` of the first row that a webhook wrote for this Stripe object.

    Only rows of the webhook count, because services and operators may also use a Stripe id as ref id.
    """
    found = await _seqs(connection, _FIRST_OF_WEBHOOK, account_id, Reach(), {"ref_id": ref_id})
    return found[0] if found else None


_BY_OPERATORS: Final = (
    select(_ROW.c.seq)
    .where(
        _ROW.c.account_id == bindparam("account_id", type_=BigInteger()),
        _ROW.c.type == "admin_correction",
        _ROW.c.source == "admin_correction",
        _ROW.c.seq > bindparam("seq", type_=BigInteger()),
        _ROW.c.corrects_seq == bindparam("seq", type_=BigInteger()),
    )
    .order_by(_ROW.c.seq)
)


async def corrections_of(connection: WriteConnection, account_id: int, seq: int) -> list[int]:
    """Returns the `seq` of each row by which an operator corrected this row."""
    return await _seqs(connection, _BY_OPERATORS, account_id, Reach(before=seq), {"seq": seq})
