"""Verifies one account on a running system.

Ledger rows never change, so they are read in short steps up to a head that was read before. Whatever changes is
compared in one snapshot, or in an order in which a change between two reads cannot look like a fault.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, NamedTuple

from db.accounts import shard_of_account
from db.archive.errors import RowsArchived
from db.archive.moving import border_and_first_row
from db.archive.whole_ledger import WholeLedger, whole_ledger
from db.connections.borders import Border
from db.database import Database
from db.recount import Read
from db.recount.holds import HoldsOfRows, holds_after, holds_of_rows
from db.recount.ledger_rows import StoredTransaction, account, first_seq_after, first_without_charge, rows_after
from ledger.errors import NotFound
from ledger.ids import account_id_text, transaction_id_text
from ledger.verification.charges import check_charges
from ledger.verification.checkpoints import check_checkpoints
from ledger.verification.costs import check_limits
from ledger.verification.faults import Fault, FaultKind, Faults
from ledger.verification.holds import check_hold, check_row
from ledger.verification.months import changes_of_months, note_changes, recounted_months
from ledger.verification.prices import check_days, check_details, check_hours, check_prices
from ledger.verification.rows import Rows, check_account
from ledger.verification.usage import check_usage

ROWS_AT_ONCE: Final = 500
HOLDS_AT_ONCE: Final = 500
CATCH_UP_ROWS: Final = 5_000
"""Rows that may be written after the head was read: so many are read within the snapshot that compares it."""

UNREADABLE: Final = (ArithmeticError, TypeError, ValueError)
"""Errors that a driver raises for a value that its column cannot have."""


class Verified(NamedTuple):
    account_id: int
    rows: int
    faults: list[Fault]


class _RowUnreadable(Exception):
    """The next row has a value that its column cannot have."""


class AccountVerification:
    def __init__(self, database: Database | WholeLedger, account_id: int) -> None:
        self._database = database
        self._id = account_id
        self.faults = Faults(account_id)
        self.rows = Rows(self.faults)

    async def run(self) -> Verified:
        """Verifies the account. Raises NotFound."""
        async with self._readable("rows"):
            await self.read_rows()
            async with self._database.snapshot() as snapshot:
                await self.compare_head(snapshot.rows)
                note_changes(await self.changes_of_months(snapshot.rows), self.faults)
                await self.check_costs(snapshot.rows)
        async with self._readable("checkpoints"):
            await check_checkpoints(self._database.read, self._id, self.faults)
        async with self._readable("holds"):
            await self._check_holds()
        async with self._readable("charges"):
            await check_charges(self._database, self._id, self.faults)
        async with self._readable("usage"):
            await self._check_usage()
        async with self._readable("usage_hours"):
            await self._check_hours()
        async with self._readable("request_details"):
            await check_details(self._database.read, self._id, self.faults)
        return Verified(self._id, self.rows.count, self.faults.found)

    @asynccontextmanager
    async def _readable(self, what: str) -> AsyncIterator[None]:
        try:
            yield
        except _RowUnreadable as error:
            name = transaction_id_text(self._id, self.rows.seq + 1)
            self.faults.add(FaultKind.UNREADABLE, name, f"the row cannot be read: {error.__cause__!r}")
        except UNREADABLE as error:
            self.faults.add(FaultKind.UNREADABLE, what, f"a row cannot be read: {error!r}")

    async def read_rows(self) -> None:
        """Reads rows up to a head that is only a few rows behind."""
        read = self._database.read
        before = -1
        while self.rows.seq != before:
            before = self.rows.seq
            found = await account(read, self._id)
            if found is None:
                msg = f"there is no account {account_id_text(self._id)}"
                raise NotFound(msg)
            if before > 0 and found.row.head_seq - before <= CATCH_UP_ROWS:
                return
            await self._read_rows(read, found.row.head_seq, in_steps=True)

    async def _read_rows(self, read: Read, last_seq: int, *, in_steps: bool = False) -> None:
        """Reads rows up to `last_seq`. In steps, compares the costs of the hours that the steps have left behind."""
        while rows := await self._next_rows(read, last_seq):
            after, last = self.rows.seq, rows[-1].row.seq
            holds = await holds_of_rows(read, self._id, after, last)
            for stored in rows:
                self._take(stored, holds)
            without = await first_without_charge(read, self._id, after, last)
            if without is not None:
                message = (
                    "the row is of a resource, but its charge is missing, does not include it, or has another API key"
                    " or project"
                )
                self.faults.add(FaultKind.CHARGE, transaction_id_text(self._id, without), message)
            if in_steps:
                await self.rows.hours.compare_earlier_hours(read, self.faults)

    def _take(self, stored: StoredTransaction, holds: HoldsOfRows) -> None:
        """Raises _RowUnreadable."""
        try:
            self.rows.take(stored)
        except UNREADABLE as error:
            raise _RowUnreadable from error
        check_row(stored.row, holds, self.faults)

    async def _next_rows(self, read: Read, last_seq: int) -> list[StoredTransaction]:
        """Reads the next rows, one by one if one of them is unreadable, so that it can be named. Raises
        _RowUnreadable."""
        try:
            return await rows_after(read, self._id, self.rows.seq, last_seq, ROWS_AT_ONCE)
        except UNREADABLE:
            pass
        try:
            return await rows_after(read, self._id, self.rows.seq, last_seq, 1)
        except UNREADABLE as error:
            raise _RowUnreadable from error

    async def compare_head(self, read: Read) -> None:
        """Compares the head. `read` must see one moment."""
        stored = await account(read, self._id)
        assert stored is not None, "accounts are never deleted"
        await self._read_rows(read, stored.row.head_seq)
        beyond = await first_seq_after(read, self._id, stored.row.head_seq)
        check_account(stored, self.rows, beyond, self.faults)

    async def changes_of_months(self, read: Read) -> dict[str, str]:
        """Returns the differences of the stored figures. `read` must see one moment. Call `compare_head` before."""
        postgresql = self._database.is_postgresql
        expected = await recounted_months(read, self._id, self.rows.months, postgresql=postgresql)
        return await changes_of_months(read, self._id, expected)

    async def _check_holds(self) -> None:
        """Checks each hold separately: a hold and the rows that it names are read in one statement."""
        after = 0
        while page := await holds_after(self._database.read, self._id, after, HOLDS_AT_ONCE):
            for stored in page:
                check_hold(stored, self.faults)
            after = page[-1].hold.hold_seq

    async def check_costs(self, read: Read) -> None:
        """Checks the newest costs, and the limits. `read` must see one moment. Call `compare_head` before."""
        await self.rows.hours.compare_rest(read, self.faults)
        await check_limits(read, self._id, self.faults, postgresql=self._database.is_postgresql)

    async def _check_hours(self) -> None:
        read = self._database.read
        await check_prices(read, self._id, self.faults)
        await check_days(read, self._id, self.faults, postgresql=self._database.is_postgresql)
        await check_hours(read, self._id, self.faults)

    async def _check_usage(self) -> None:
        """Checks usage in short steps. Only apparent faults are read again in one snapshot."""
        postgresql = self._database.is_postgresql
        suspected = Faults(self._id)
        await check_usage(self._database.read, self._id, suspected, postgresql=postgresql)
        if suspected.found:
            async with self._database.snapshot() as snapshot:
                await check_usage(snapshot.rows, self._id, self.faults, postgresql=postgresql)


async def verify_account(database: Database, account_id: int) -> Verified:
    """Verifies the account, its archived rows too. Raises NotFound and ArchiveError."""
    while True:
        border = await database.border_of(account_id)
        try:
            found = await _verified(database, account_id, border)
        except RowsArchived:
            found = None
        # Rows that were moved meanwhile would look like missing ones.
        if await database.border_of(account_id) == border:
            assert found is not None, "no row of the account was moved"
            found.faults.extend(await _faults_of_border(database, account_id))
            await _check_shard(database, account_id, found)
            return found


async def _check_shard(database: Database, account_id: int, found: Verified) -> None:
    """Drops the faults of an account that was moved to another shard meanwhile: its rows were removed."""
    shard, was_moved = await shard_of_account(database, account_id)
    if was_moved:
        found.faults.clear()
    elif shard is not None:
        message = f"shard is {shard}, but the account was not moved there"
        found.faults.append(Fault(FaultKind.HEAD, account_id, account_id_text(account_id), message))


async def _faults_of_border(database: Database, account_id: int) -> list[Fault]:
    """Compares the border with the rows that are in the database. A row that is missing at the border is a fault of the
    rows."""
    archived_seq, first_seq = await border_and_first_row(database, account_id)
    if archived_seq == 0 or (archived_seq > 0 and first_seq is not None and first_seq > archived_seq):
        return []
    message = f"archived_seq is {archived_seq}, but the oldest row in the database is {first_seq}"
    return [Fault(FaultKind.SEQ, account_id, account_id_text(account_id), message)]


async def _verified(database: Database, account_id: int, border: Border | None) -> Verified:
    if border is None:
        return await AccountVerification(database, account_id).run()
    async with whole_ledger(database, border) as ledger:
        return await AccountVerification(ledger, account_id).run()
