"""Moving an account to another shard while it is in use (docs/shards.md).

Its rows are copied and compared while it is used. Then its writes wait: the rest is copied, all of the copy is compared
and its chain recounted, and one transaction of the shard that it leaves says where it is. Until that commit the account
is where it was, and afterwards it is on the other shard, whatever breaks off. A move that was broken off is done by the
same command again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from db import account_copies as copies
from db import stripe_events
from db.account_copies import AT_ONCE, COPIED, LEDGER, CopiedTable, Differences, Read, reader_within
from db.database import Database
from db.errors import LockUnavailable, TransactionConflict
from db.moved_accounts import ANNOUNCED_SECONDS, ARRIVING, LEAVING, PendingMove, put_here
from db.rows import TransactionRow
from db.schema_version import require_program
from db.shards import Shards
from db.tables import accounts, audit_entries
from ledger.audit import COMMAND_LINE, Actor, AuditedAction, note
from ledger.chain import GENESIS, row_hash
from ledger.clock_watch import ClockWatch
from ledger.errors import BadUserInput, Conflict, NotFound
from ledger.ids import account_id_text, transaction_id_text
from ledger.posting import Clock, LedgerTransaction, utc_now
from ledger.verification.accounts import verify_account
from ledger.verification.faults import Fault

FIRST_PROGRAM: Final = "0020"
"""Programs of older versions would look for the account where its id says."""

MAX_PASSES: Final = 5
"""How often the copy is brought up to date before the account's writes wait."""
MAX_STOPS: Final = 10
"""How often the account's lock is tried for."""

_MEANWHILE: Final = "the account was moved meanwhile"

_LEDGER_NAMES: Final = [column.name for column in LEDGER.c]
_OTHERS: Final = tuple(table for table in COPIED if table is not LEDGER)
_ROW: Final = [_LEDGER_NAMES.index(name) for name in TransactionRow._fields]


@dataclass(frozen=True, slots=True)
class Report:
    shard: int
    """The shard that the account is on."""
    rows: int
    """Ledger rows of the account."""
    stopped_seconds: float | None
    """How long its writes waited; None if it was on the shard already."""
    faults: Sequence[Fault]
    """Faults that verification found on the shard. If there are any, the rows on the other one are kept."""


class _Ledger:
    """The copied ledger rows of an account, each read back, compared and recounted."""

    def __init__(self, account_id: int, target: Database) -> None:
        self._account_id = account_id
        self._target = target
        self._read = target.read_live
        self.seq = 0
        self.hash = GENESIS
        self.balance_nanos = 0

    async def follow(self, read: Read) -> int:
        """Copies the rows after those that are copied. Returns how many."""
        before = self.seq
        while True:
            after = (self._account_id, self.seq)
            rows = [tuple(row) for row in await copies.rows_of(read, LEDGER, self._account_id, after)]
            known = [tuple(row) for row in await copies.rows_of(self._read, LEDGER, self._account_id, after)]
            extra = [] if known == rows[: len(known)] else [copies.key_of(LEDGER, row) for row in known]
            missing = rows if extra else rows[len(known) :]
            if extra or missing:
                await self._write(Differences(missing, [], extra))
                known = [tuple(row) for row in await copies.rows_of(self._read, LEDGER, self._account_id, after)]
            if known[: len(rows)] != rows:
                raise Conflict("ledger rows were not copied as they are: try again")
            self._recount(known[: len(rows)])
            if not rows:
                return self.seq - before

    async def _write(self, found: Differences) -> None:
        async with self._target.write() as connection:
            if not await copies.write_differences(connection, LEDGER, self._account_id, found, 0):
                raise Conflict(_MEANWHILE)

    def _recount(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Raises Conflict for a row that does not continue the chain, which `verify` would find as well."""
        for columns in rows:
            row = TransactionRow._make(columns[index] for index in _ROW)
            is_next = row.seq == self.seq + 1 and row.balance_after_nanos == self.balance_nanos + row.amount_nanos
            if not is_next or row_hash(self.hash, row) != row.hash:
                msg = f"{transaction_id_text(row.account_id, row.seq)} does not continue the ledger: run verify"
                raise Conflict(msg)
            self.seq, self.hash, self.balance_nanos = row.seq, row.hash, row.balance_after_nanos


async def _check(account_id: int, read: Read) -> None:
    """Raises Conflict for an account that cannot be moved. `read` reads its shard."""
    if await copies.has_archived_rows(read, account_id):
        raise Conflict("the account cannot be moved: `billing-gateway archive --move` has begun with its rows")


class AccountMoves:
    """Moves accounts, for callers with direct access to the databases of a set."""

    def __init__(
        self,
        shards: Shards[Database],
        clock: Clock = utc_now,
        actor: Actor = COMMAND_LINE,
        *,
        announced_seconds: float | None = None,
        tell: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`announced_seconds` is the time from an announcement until all processes know of it, by default
        ANNOUNCED_SECONDS. `tell` is told how far the move is."""
        self._shards = shards
        self._clock = clock
        self._actor = actor
        self._announced_seconds = ANNOUNCED_SECONDS if announced_seconds is None else announced_seconds
        self._tell = tell

    async def move(self, account_id: int, number: int) -> Report:
        """Moves the account to the shard, or ends a move there that was broken off. To the shard that it is on, it
        takes back a move that has begun.

        Raises NotFound, BadUserInput for an unknown shard, and Conflict if the account cannot be moved.
        """
        if not 0 <= number < len(self._shards.databases):
            raise BadUserInput(f"there is no shard {number}")
        source = await self._shards.moved.find(account_id)
        if await copies.standing(self._shards.databases[source].read_live, account_id) is None:
            raise NotFound(f"there is no account {account_id_text(account_id)}")
        stopped = None
        if source != number:
            stopped = await self._moved(account_id, source, number)
        return await self._finished(account_id, number, stopped)

    async def _moved(self, account_id: int, source: int, number: int) -> float:
        """Moves the account. Returns for how many seconds its writes waited."""
        read = self._shards.databases[source].read_live
        await _check(account_id, read)
        move = await self._announced(account_id, source, number)
        target = self._shards.databases[number]
        ledger = _Ledger(account_id, target)
        for _ in range(MAX_PASSES):
            await self._copy_table(target, account_id, read, source, accounts)
            rows = await ledger.follow(read)
            await self._copy(target, account_id, read, source)
            self._tell(f"{ledger.seq} ledger rows copied")
            if rows < AT_ONCE:
                break
        for tries in range(1, MAX_STOPS + 1):  # pragma: no branch  the last one raises
            try:
                stopped = await self._left(account_id, source, move, ledger)
                break
            except (LockUnavailable, TransactionConflict):
                if tries == MAX_STOPS:
                    raise
                await asyncio.sleep(0.1 * tries)
        await put_here(target, account_id, number, PendingMove(ARRIVING, source, move.moves))
        # Events that wait follow the account: what they wait for is told to its new shard only.
        async with self._shards.databases[source].write() as connection:
            await stripe_events.make_all_due(connection, self._clock())
        async with self._shards.databases[0].write() as connection:
            await copies.count_placed(connection, source, number)
        return stopped

    async def _announced(self, account_id: int, source: int, number: int) -> PendingMove:
        """Announces the move on both shards, and waits until all processes know of it."""
        databases = self._shards.databases
        moves = 1 + max([await copies.moves_of(database.read_live, account_id) for database in databases])
        # A move that has begun elsewhere ends with the first of these: it must not have lost its target before.
        for one, move in (
            (source, PendingMove(LEAVING, number, moves)),
            (number, PendingMove(ARRIVING, source, moves)),
        ):
            async with databases[one].write() as connection:
                await connection.run_sync(require_program, FIRST_PROGRAM)
                await copies.announce(connection, account_id, move)
        await self._note_elsewhere(account_id, source, moves - 1, but={source, number})
        self._tell("announced")
        await asyncio.sleep(self._announced_seconds)
        return PendingMove(LEAVING, number, moves)

    async def _note_elsewhere(self, account_id: int, number: int, moves: int, but: set[int]) -> None:
        """Notes on all other shards where the account is, and ends moves to them that had begun."""
        for other, database in enumerate(self._shards.databases):
            if other not in but:
                async with database.write() as connection:
                    await copies.note_place(connection, account_id, number, max(moves, 1))

    async def _copy(self, target: Database, account_id: int, read: Read, source: int) -> None:
        """Makes the copy of all tables but the ledger what the shard has, as it is read."""
        for table in _OTHERS:
            await self._copy_table(target, account_id, read, source, table)

    async def _copy_table(self, target: Database, account_id: int, read: Read, source: int, table: CopiedTable) -> int:
        """Compares every row with its copy, and copies those that differ. Returns how many did."""
        count = 0
        async for found in copies.differences(read, target.read_live, table, account_id):
            count += found.rows
            async with target.write() as connection:
                if not await copies.write_differences(connection, table, account_id, found, source):
                    raise Conflict(_MEANWHILE)
        return count

    async def _copy_locked(
        self, target: Database, account_id: int, read: Read, source: int, tables: Iterable[CopiedTable]
    ) -> None:
        """Copies rows of a locked account until every row is the same as its copy. Raises Conflict if that does not
        end."""
        left = [table for table in _OTHERS if table in tables]
        for _ in range(MAX_PASSES):
            left = [table for table in left if await self._copy_table(target, account_id, read, source, table)]
            if not left:
                return
        raise Conflict(f"rows of the table {left[0].name} change without a lock of the account: try again")

    async def _left(self, account_id: int, source: int, move: PendingMove, ledger: _Ledger) -> float:
        """Lets the account's writes wait, copies and compares the rest, and lets the account leave its shard."""
        target = self._shards.databases[move.number]
        async with self._shards.databases[source].write() as connection:
            if not await copies.lock_account(connection, account_id):
                raise Conflict(_MEANWHILE)
            if await copies.move_of(reader_within(connection), account_id) != move:
                raise Conflict("another move of the account has begun")
            began = time.monotonic()
            read = reader_within(connection)
            await _check(account_id, read)
            await ledger.follow(read)
            tables = await copies.tables_with_rows(read, account_id)
            tables |= await copies.tables_with_rows(target.read_live, account_id)
            await self._copy_locked(target, account_id, read, source, tables)
            transaction = LedgerTransaction(connection, self._clock, ClockWatch())
            described = f"from shard {source} to shard {move.number}"
            await note(transaction, AuditedAction("moveAccount", self._actor, account_id, description=described))
            await self._copy_locked(target, account_id, read, source, [audit_entries])
            await self._compare(target, account_id, source, ledger)
            await copies.leave(connection, account_id, move, self._clock())
        return time.monotonic() - began

    async def _compare(self, target: Database, account_id: int, source: int, ledger: _Ledger) -> None:
        """Compares the copy of a locked account's head with the copied rows. Raises Conflict."""
        stored = await copies.standing(target.read_live, account_id)
        expected = (source, ledger.seq, ledger.hash if ledger.seq else None, ledger.balance_nanos)
        after = (account_id, ledger.seq)
        if stored != expected or await copies.rows_of(target.read_live, LEDGER, account_id, after):
            raise Conflict("the balance or the newest row differs from the ledger's rows: run verify")

    async def _finished(self, account_id: int, number: int, stopped: float | None) -> Report:
        """Notes on the other shards where the account is, verifies it, and removes its rows from them."""
        databases = self._shards.databases
        async with databases[number].write() as connection:
            await copies.announce(connection, account_id, None)
        moves = await copies.moves_of(databases[number].read_live, account_id)
        await self._note_elsewhere(account_id, number, moves, but={number})
        verified = await verify_account(databases[number], account_id)
        if not verified.faults:
            await self._remove(account_id, number)
        return Report(number, verified.rows, stopped, verified.faults)

    async def _remove(self, account_id: int, number: int) -> None:
        waited = False
        for other, database in enumerate(self._shards.databases):
            if other == number or await copies.standing(database.read_live, account_id) is None:
                continue
            if not waited:
                # Processes that do not know it yet must not find half of the rows.
                await asyncio.sleep(self._announced_seconds)
                waited = True
            removed = await copies.remove_rows(database, account_id)
            self._tell(f"{removed} rows removed from shard {other}")
