"""The statements of the feed. Each is read by itself: the feed needs no snapshot, rows once seen never change."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import ARRAY, BigInteger, Executable, Select, bindparam, func, select, true

from db import tables
from db.rows import TransactionRow
from db.statements import columns, is_one_of

Read = Callable[[Executable, dict[str, Any]], Awaitable[Sequence[Any]]]

_ACCOUNT = tables.accounts
_ROW = tables.transactions
_ROWS = bindparam("rows", type_=BigInteger())


@lru_cache(maxsize=2)
def _heads_statement(postgresql: bool) -> Select[Any]:
    chosen = is_one_of(_ACCOUNT.c.id, "account_ids", postgresql=postgresql)
    return select(_ACCOUNT.c.id, _ACCOUNT.c.head_seq).where(chosen)


def _following(account: Any, seq: Any) -> Select[Any]:
    return (
        select(*columns(_ROW, TransactionRow))
        .where(_ROW.c.account_id == account, _ROW.c.seq > seq)
        .order_by(_ROW.c.seq)
        .limit(_ROWS)
    )


@lru_cache(maxsize=1)
def _following_one() -> Select[Any]:
    return _following(bindparam("account_id", type_=BigInteger()), bindparam("seq", type_=BigInteger()))


@lru_cache(maxsize=1)
def _following_each() -> Select[Any]:
    """PostgreSQL: of each of the accounts after its own row."""
    arrays = [bindparam(name, type_=ARRAY(BigInteger())) for name in ("account_ids", "seqs")]
    listed = func.unnest(*arrays).table_valued("account_id", "seq", name="listed").render_derived()
    lateral = _following(listed.c.account_id, listed.c.seq).correlate(listed).lateral("one")
    return select(*lateral.c).select_from(listed.join(lateral, true()))


@lru_cache(maxsize=1)
def _newest_statement() -> Select[Any]:
    return (
        select(*columns(_ROW, TransactionRow))
        .where(_ROW.c.account_id == bindparam("account_id", type_=BigInteger()))
        .order_by(_ROW.c.seq.desc())
        .limit(1)
    )


class LedgerReader:
    def __init__(self, read: Read, *, postgresql: bool) -> None:
        self._read = read
        self._postgresql = postgresql

    async def heads(self, account_ids: Collection[int]) -> dict[int, int]:
        """The newest `seq` of each account that exists; 0 without rows."""
        rows = await self._read(_heads_statement(self._postgresql), {"account_ids": list(account_ids)})
        return {row[0]: row[1] for row in rows}

    async def newest(self, account_id: int) -> TransactionRow | None:
        rows = await self._read(_newest_statement(), {"account_id": account_id})
        return TransactionRow._make(rows[0]) if rows else None

    async def following(self, account_id: int, seq: int, rows: int) -> list[TransactionRow]:
        """The account's next rows after the one of this `seq`, in order: at most `rows`."""
        found = await self._read(_following_one(), {"account_id": account_id, "seq": seq, "rows": rows})
        return [TransactionRow._make(row) for row in found]

    async def following_each(self, seqs: Mapping[int, int], rows: int) -> dict[int, list[TransactionRow]]:
        """The next rows of each account after its own `seq`: at most `rows` of each."""
        if not self._postgresql or len(seqs) == 1:
            return {account_id: await self.following(account_id, seq, rows) for account_id, seq in seqs.items()}
        found: dict[int, list[TransactionRow]] = {account_id: [] for account_id in seqs}
        parameters = {"account_ids": list(seqs), "seqs": list(seqs.values()), "rows": rows}
        for row in await self._read(_following_each(), parameters):
            found[row[0]].append(TransactionRow._make(row))
        return found
