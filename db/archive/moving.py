"""Moving: proofs of files, and the transactions in which archived rows leave the table and come back.

The database itself lets a row go only if a proof has it and the account's border, which the same transaction sets, is
not before it (migration 0018).
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import BigInteger, bindparam, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from db import tables
from db.connections.borders import ProofRow
from db.database import Database
from db.integrity_tables import ledger_archives
from db.rows import TransactionRow, values_of_transaction
from db.statements import columns

_ACCOUNT: Final = tables.accounts
_ROW: Final = tables.transactions
_PROOF: Final = ledger_archives

_OF_ACCOUNT: Final = (
    select(*columns(_PROOF, ProofRow))
    .where(_PROOF.c.account_id == bindparam("account_id", type_=BigInteger()))
    .order_by(_PROOF.c.first_seq)
)


async def proofs_of(database: Database, account_id: int) -> list[ProofRow]:
    """Returns the account's proofs, oldest rows first."""
    return [ProofRow._make(row) for row in await database.read_live(_OF_ACCOUNT, {"account_id": account_id})]


_FIRST_PROVEN: Final = select(func.min(_PROOF.c.proven_at))


async def first_proof_time(database: Database) -> datetime | None:
    """Returns when the database got its first proof; None if it has none."""
    [(proven_at,)] = await database.read_live(_FIRST_PROVEN, {})
    found: datetime | None = proven_at
    return found


_FIRST: Final = (
    select(
        _ACCOUNT.c.archived_seq,
        select(func.min(_ROW.c.seq)).where(_ROW.c.account_id == _ACCOUNT.c.id).correlate(_ACCOUNT).scalar_subquery(),
    )
).where(_ACCOUNT.c.id == bindparam("account_id", type_=BigInteger()))


async def border_and_first_row(database: Database, account_id: int) -> tuple[int, int | None]:
    """Returns the newest archived row, and the oldest one that is in the database."""
    [(archived_seq, first_seq)] = await database.read_live(_FIRST, {"account_id": account_id})
    return archived_seq, first_seq


class Ends(NamedTuple):
    archived_seq: int
    head_seq: int


async def lock_ends(connection: AsyncConnection, account_id: int) -> Ends | None:
    """Locks the account, and returns the newest archived row and the newest row; None if it was moved to another
    shard."""
    statement = (
        select(_ACCOUNT.c.archived_seq, _ACCOUNT.c.head_seq)
        .where(_ACCOUNT.c.id == account_id, _ACCOUNT.c.shard.is_(None))
        .with_for_update(key_share=True)
    )
    found = (await connection.execute(statement)).first()
    return None if found is None else Ends._make(found)


async def put_proof(connection: AsyncConnection, proof: ProofRow, now: datetime) -> None:
    """Stores the proof unless its rows have one. The account must be locked."""
    stored = select(_PROOF.c.first_seq).where(
        _PROOF.c.account_id == proof.account_id, _PROOF.c.first_seq == proof.first_seq
    )
    if (await connection.execute(stored)).first() is None:
        await connection.execute(insert(_PROOF).values(**proof._asdict(), proven_at=now))


async def _set_border(connection: AsyncConnection, account_id: int, archived_seq: int) -> None:
    await connection.execute(update(_ACCOUNT).where(_ACCOUNT.c.id == account_id).values(archived_seq=archived_seq))


async def remove_rows(connection: AsyncConnection, account_id: int, archived_seq: int, last_seq: int) -> int:
    """Moves the border of a locked account to `last_seq`, and removes the rows up to there. Returns how many."""
    await _set_border(connection, account_id, last_seq)
    moved = delete(_ROW).where(_ROW.c.account_id == account_id, _ROW.c.seq > archived_seq, _ROW.c.seq <= last_seq)
    return (await connection.execute(moved)).rowcount


async def restore_rows(connection: AsyncConnection, rows: Sequence[TransactionRow]) -> None:
    """Moves the border of a locked account to before these rows, which end at the border, and writes them again."""
    await _set_border(connection, rows[0].account_id, rows[0].seq - 1)
    await connection.execute(insert(_ROW), list(map(values_of_transaction, rows)))
