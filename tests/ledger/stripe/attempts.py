"""The attempts at a recharge as the tables have them."""

from __future__ import annotations

from sqlalchemy import select

from db.database import Database
from db.recharges import RechargeAttemptRow
from db.statements import columns
from db.stripe_tables import recharge_attempts


async def attempts_of(database: Database, account_id: int) -> list[RechargeAttemptRow]:
    """Returns them newest first."""
    statement = (
        select(*columns(recharge_attempts, RechargeAttemptRow))
        .where(recharge_attempts.c.account_id == account_id)
        .order_by(recharge_attempts.c.started_at.desc(), recharge_attempts.c.id)
    )
    return [RechargeAttemptRow._make(row) for row in await database.read(statement)]
