"""Checkpoints: daily positions of account heads, by which rows that are cut off later are noticed."""

from __future__ import annotations

from datetime import date

from sqlalchemy import Date, exists, func, literal, select
from sqlalchemy.ext.asyncio import AsyncConnection

from db import tables
from db.integrity_tables import ledger_checkpoints
from db.writes import upsert

_ACCOUNT = tables.accounts
_CHECKPOINT = ledger_checkpoints


async def note_heads(connection: AsyncConnection, day: date, first_id: int, last_id: int) -> int:
    """Stores the heads of these accounts that have moved since their last checkpoint. Returns how many."""
    before = _CHECKPOINT.alias("before")
    of_account = before.c.account_id == _ACCOUNT.c.id
    newest = (
        select(before.c.seq).where(of_account).order_by(before.c.day.desc()).limit(1).correlate(_ACCOUNT)
    ).scalar_subquery()
    heads = select(_ACCOUNT.c.id, literal(day, Date()), _ACCOUNT.c.head_seq, _ACCOUNT.c.head_hash).where(
        _ACCOUNT.c.id.between(first_id, last_id),
        _ACCOUNT.c.shard.is_(None),
        _ACCOUNT.c.head_seq > func.coalesce(newest, 0),
        ~exists().where(of_account, before.c.day >= day).correlate(_ACCOUNT),
    )
    statement = upsert(connection, _CHECKPOINT).from_select(["account_id", "day", "seq", "hash"], heads)
    return (await connection.execute(statement.on_conflict_do_nothing())).rowcount
