"""Feed statements. Each is read by itself: the feed needs no snapshot, because rows never change."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

from sqlalchemy import ARRAY, BigInteger, Executable, Select, and_, bindparam, func, select, true

from db import tables
from db.limit_rows import SpendLimitEventRow
from db.limit_tables import spend_limit_events
from db.position import NO_HASH, Position
from db.rows import TransactionRow
from db.statements import columns, is_one_of

Read = Callable[[Executable, dict[str, Any]], Awaitable[Sequence[Any]]]

_ACCOUNT = tables.accounts
_ROW = tables.transactions
_EVENT = spend_limit_events
_ROWS = bindparam("rows", type_=BigInteger())

MAX_READ_EVENTS: Final = 2_000
"""Spend limit events per read: more than one ledger row can have."""


class LimitEvents(NamedTuple):
    """The spend limit events of consecutive ledger rows."""

    events: tuple[SpendLimitEventRow, ...]
    """In the order of `seq`, limit and percentage."""
    last_seq: int
    """The events up to this row are known."""


@lru_cache(maxsize=2)
def _heads_statement(postgresql: bool) -> Select[Any]:
    chosen = is_one_of(_ACCOUNT.c.id, "account_ids", postgresql=postgresql)
    return select(_ACCOUNT.c.id, _ACCOUNT.c.head_seq, _ACCOUNT.c.head_hash).where(chosen)


def _following(account: Any, seq: Any) -> Select[Any]:
    """Selects rows from this `seq` on. The hash of the first row tells whether the ledger still has the rows read
    before."""
    return (
        select(*columns(_ROW, TransactionRow))
        .where(_ROW.c.account_id == account, _ROW.c.seq >= seq)
        .order_by(_ROW.c.seq)
        .limit(_ROWS)
    )


@lru_cache(maxsize=1)
def _following_one() -> Select[Any]:
    return _following(bindparam("account_id", type_=BigInteger()), bindparam("seq", type_=BigInteger()))


@lru_cache(maxsize=1)
def _following_each() -> Select[Any]:
    """Selects the rows of several accounts, each from its own row on. PostgreSQL only."""
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


@lru_cache(maxsize=1)
def _hash_statement() -> Select[Any]:
    account_id, seq = (bindparam(name, type_=BigInteger()) for name in ("account_id", "seq"))
    return select(_ROW.c.hash).where(_ROW.c.account_id == account_id, _ROW.c.seq == seq)


@lru_cache(maxsize=1)
def _limit_events_statement() -> Select[Any]:
    """Selects the head and the events of one moment. An account without events has one row."""
    since = and_(_EVENT.c.account_id == _ACCOUNT.c.id, _EVENT.c.seq >= bindparam("seq", type_=BigInteger()))
    return (
        select(_ACCOUNT.c.head_seq, *columns(_EVENT, SpendLimitEventRow))
        .select_from(_ACCOUNT.outerjoin(_EVENT, since))
        .where(_ACCOUNT.c.id == bindparam("account_id", type_=BigInteger()))
        .order_by(_EVENT.c.seq, _EVENT.c.limit_number, _EVENT.c.percent)
        .limit(_ROWS)
    )


@lru_cache(maxsize=1)
def _border_statement() -> Select[Any]:
    return select(_ACCOUNT.c.archived_seq).where(_ACCOUNT.c.id == bindparam("account_id", type_=BigInteger()))


class LedgerReader:
    def __init__(self, read: Read, *, postgresql: bool) -> None:
        self._read = read
        self._postgresql = postgresql

    async def heads(self, account_ids: Collection[int]) -> dict[int, Position]:
        """Returns the position of the newest row of each account that exists."""
        rows = await self._read(_heads_statement(self._postgresql), {"account_ids": list(account_ids)})
        return {row[0]: Position(row[1], row[2] or NO_HASH) for row in rows}

    async def hash_of(self, account_id: int, seq: int) -> bytes | None:
        """Returns the hash of the row; None if there is no such row."""
        rows = await self._read(_hash_statement(), {"account_id": account_id, "seq": seq})
        return rows[0][0] if rows else None

    async def newest(self, account_id: int) -> TransactionRow | None:
        rows = await self._read(_newest_statement(), {"account_id": account_id})
        return TransactionRow._make(rows[0]) if rows else None

    async def limit_events(self, account_id: int, seq: int) -> LimitEvents:
        """Returns the spend limit events of this row and of later rows."""
        parameters = {"account_id": account_id, "seq": seq, "rows": MAX_READ_EVENTS}
        rows = await self._read(_limit_events_statement(), parameters)
        events = tuple(SpendLimitEventRow._make(row[1:]) for row in rows if row[1] is not None)
        if len(rows) < MAX_READ_EVENTS:
            return LimitEvents(events, max([seq, *(row[0] for row in rows[:1])]))
        # The last row may have further events.
        last_seq = events[-1].seq - 1
        return LimitEvents(tuple(event for event in events if event.seq <= last_seq), last_seq)

    async def following(self, account_id: int, position: Position, rows: int) -> list[TransactionRow] | None:
        """Returns the account's next rows after the position, in order, at most `rows`. None if the ledger diverged, or
        if rows that follow were moved to the archive."""
        parameters = {"account_id": account_id, "seq": position.seq, "rows": rows + 1}
        found = await self._read(_following_one(), parameters)
        return _after(position, [TransactionRow._make(row) for row in found], rows)

    async def is_archived(self, account_id: int, position: Position) -> bool:
        """Returns whether the row at the position, or the first row for position 0, is in the archive."""
        rows = await self._read(_border_statement(), {"account_id": account_id})
        return bool(rows) and rows[0][0] >= max(position.seq, 1)

    async def following_each(
        self, positions: Mapping[int, Position], rows: int
    ) -> dict[int, list[TransactionRow] | None]:
        """Returns the same for several accounts, each after its own position."""
        if not self._postgresql or len(positions) == 1:
            return {account_id: await self.following(account_id, at, rows) for account_id, at in positions.items()}
        found: dict[int, list[TransactionRow]] = {account_id: [] for account_id in positions}
        seqs = [position.seq for position in positions.values()]
        parameters = {"account_ids": list(positions), "seqs": seqs, "rows": rows + 1}
        for row in await self._read(_following_each(), parameters):
            found[row[0]].append(TransactionRow._make(row))
        return {account_id: _after(positions[account_id], of_one, rows) for account_id, of_one in found.items()}


def _after(position: Position, found: list[TransactionRow], rows: int) -> list[TransactionRow] | None:
    if position.seq == 0:
        # The rows before were moved to the archive.
        return found[:rows] if not found or found[0].seq == 1 else None
    if not found or found[0].seq != position.seq or not position.is_at(found[0].hash):
        return None
    return found[1:]
