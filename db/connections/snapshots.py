"""Snapshots: the reads of one operation. Concurrent reads are sent together, and all reads see one moment."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Generic, NamedTuple, Protocol, Self, TypeVar

from sqlalchemy import Executable

from db.archive.errors import RowsArchived
from db.connections.borders import ANY_BORDER, BORDERS, Border, Borders, accounts_of, borders_of, names_the_ledger
from db.connections.steps import Steps
from db.errors import DatabaseError, translated

MAX_BATCH: Final = 16
"""Maximum number of statements sent as one, besides that of the borders. Further statements are sent afterwards."""

NOT_ANSWERED: Final = "this needs ledger rows that were moved to the archive, and is not answered from there"

Rows = Sequence[Any]


class SnapshotInconsistent(DatabaseError):
    """A snapshot for one round trip was asked for more than one round trip can answer."""


class SnapshotClosed(DatabaseError):
    """A read was requested after the snapshot's end, by code that continues in the background after its operation
    failed."""


class Wanted(NamedTuple):
    statement: Executable
    parameters: dict[str, Any]
    immutable: bool = False
    """The result never changes: the rows exist, and stored rows are never changed. A row that leaves the table for the
    archive is read there."""
    is_border: bool = False
    """Reads borders of archived rows, for the other statements of its batch."""


Found = TypeVar("Found")


class ArchiveLease(Protocol):
    @property
    def is_held(self) -> bool:
        """Whether it is certain that no row was moved to the archive."""

    async def renew(self) -> None:
        """Asks the primary, if the last time is long ago."""


class Archive(Protocol):
    @property
    def lease(self) -> ArchiveLease | None:
        """None if borders are always read."""

    async def run(self, borders: Borders, work: Callable[[Any], Found]) -> Found:
        """Calls `work`, in another thread, with the archived rows of accounts with these borders."""


@dataclass(frozen=True, slots=True)
class Past(Generic[Found]):
    """Adds archived rows to the result of a read."""

    account_ids: Collection[int]
    """The accounts whose rows the read needs."""
    needed: Callable[[Found, Borders], bool]
    """Whether the result of the live rows may lack archived ones."""
    joined: Callable[[Found, Sequence[Rows], Any], Found]
    """Computes the result from that of the live rows, their rows, and the archive (`db.archive.reading.Archived`)."""


@dataclass(frozen=True, slots=True)
class Read(Generic[Found]):
    """A request to a snapshot."""

    wanted: Sequence[Wanted]
    made: Callable[[Sequence[Rows]], Found]
    """Computes the result from the rows of each statement."""
    past: Past[Found] | None = None
    """A read of ledger rows without it is refused for accounts that have archived rows."""


class _Asked(NamedTuple):
    read: Read[Any]
    answered: Callable[[Any], None]
    failed: Callable[[Exception], None]


class Reader(Protocol):
    is_postgresql: bool

    @property
    def holds_connection(self) -> bool:
        """Whether it has a connection between two reads."""

    async def read(self, batch: Sequence[Wanted]) -> Sequence[Rows | Exception]:
        """Returns the rows of each read."""

    async def close(self) -> None:
        """Gives the connection back."""


class NothingToRead:
    """Refuses all reads. For a snapshot whose answer is already known."""

    is_postgresql = True
    holds_connection = False

    async def read(self, batch: Sequence[Wanted]) -> Sequence[Rows | Exception]:
        msg = f"{len(batch)} reads of a snapshot that has nothing to read"
        raise AssertionError(msg)

    async def close(self) -> None:
        pass


def _border_reads(batch: Sequence[_Asked], *, postgresql: bool) -> list[Wanted]:
    """Returns the reads of the borders that the batch's reads of ledger rows need."""
    accounts: set[int] = set()
    any_account = False
    for one in batch:
        for wanted in one.read.wanted:
            if names_the_ledger(wanted.statement, postgresql=postgresql):
                of_one = _accounts(one.read, wanted)
                any_account = any_account or of_one is None
                accounts.update(of_one or ())
    reads = [border_read(None, postgresql=postgresql)] if any_account else []
    return [*reads, border_read(accounts, postgresql=postgresql)] if accounts else reads


def _accounts(read: Read[Any], wanted: Wanted) -> Collection[int] | None:
    """Returns the accounts whose ledger rows the statement reads; None if it may be any."""
    return accounts_of(wanted.parameters) if read.past is None else read.past.account_ids


def border_read(account_ids: Collection[int] | None, *, postgresql: bool) -> Wanted:
    """Returns the read of the borders of these accounts, or of any account."""
    if account_ids is None:
        return Wanted(ANY_BORDER, {}, immutable=True, is_border=True)
    return Wanted(BORDERS[postgresql], {"accounts": sorted(account_ids)}, immutable=True, is_border=True)


class Snapshot:
    """The reads of one operation. Takes no connection before the first read.

    Reads that are requested in the same iteration of the event loop are sent together, in one statement. Reads of
    ledger rows are sent with one of the borders of their accounts; what lies in the archive is added to their results.
    """

    def __init__(self, reader: Reader, archive: Archive | None, *, is_on_replica: bool = False) -> None:
        """Without an archive, the reader sees all rows: no border is read."""
        self.is_postgresql = reader.is_postgresql
        self._archive = archive
        self._is_on_replica = is_on_replica
        self.reads = 0
        """Number of round trips, except those for immutable data after the first."""
        self.inconsistent = False
        """Set if the snapshot needed more than its one round trip. Its results may then be inconsistent."""
        self.failure: Exception | None = None
        """The error of the newest failed read. PostgreSQL commits nothing after an error."""
        self._reader = reader
        self._about_to_ask: list[Callable[[], None]] = []
        self._asked: list[_Asked] = []
        self._about_to_read: asyncio.Handle | None = None
        self._reading: asyncio.Future[None] | None = None
        self._closed = False
        self._holds = 0
        self._released: asyncio.Future[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def before_reading(self, ask: Callable[[], None]) -> None:
        """Calls the function before the next read, so that it can request the keys that it has collected."""
        self._open()
        self._about_to_ask.append(ask)

    def ask(self, read: Read[Found], answered: Callable[[Found], None], failed: Callable[[Exception], None]) -> None:
        """Calls `answered` or `failed` when the read is done."""
        self._open()
        self._asked.append(_Asked(read, answered, failed))

    async def read(self, read: Read[Found]) -> Found:
        found: asyncio.Future[Found] = asyncio.get_running_loop().create_future()
        self.ask(read, lambda one: _tell(found, one), lambda error: _fail(found, error))
        return await found

    async def rows(
        self, statement: Executable, parameters: dict[str, Any] | None = None, past: Past[Rows] | None = None
    ) -> Rows:
        return await self.read(Read((Wanted(statement, parameters or {}),), _first, past))

    async def settled(self) -> None:
        """Waits until all requested reads are answered."""
        if self._about_to_read is not None:
            # The waiting task reads itself, which saves a task.
            self._about_to_read.cancel()
            self._about_to_read = None
            self._reading = reading = asyncio.get_running_loop().create_future()
            try:
                await self._read()
            finally:
                self._reading = None
                if not reading.done():
                    reading.set_result(None)
        elif self._reading is not None:
            await self._reading

    @contextmanager
    def held(self) -> Iterator[None]:
        """Sends nothing within, so that what is requested over several iterations of the event loop is sent together.

        Nothing within may wait for a read.
        """
        self.hold()
        try:
            yield
        finally:
            self.release()

    def hold(self) -> None:
        """Does the same as `held`, until `release` is called."""
        self._holds += 1

    def release(self) -> None:
        self._holds -= 1
        if not self._holds and self._released is not None and not self._released.done():
            self._released.set_result(None)

    async def _until_released(self) -> None:
        while self._holds:
            self._released = asyncio.get_running_loop().create_future()
            await self._released

    def _open(self) -> None:
        if self._closed:
            # A connection taken now would never be given back.
            raise SnapshotClosed("the snapshot is closed")
        if self._reading is None and self._about_to_read is None:
            self._about_to_read = asyncio.get_running_loop().call_soon(self._begin_to_read)

    def _begin_to_read(self) -> None:
        self._about_to_read = None
        self._reading = asyncio.get_running_loop().create_task(self._read_alone())

    async def _read_alone(self) -> None:
        await self._read()
        self._reading = None

    async def _gathered(self) -> list[_Asked]:
        await self._until_released()
        steps = Steps()
        while self._about_to_ask:
            asking, self._about_to_ask = self._about_to_ask, []
            for ask in asking:
                await steps.rest()
                ask()
        asked, self._asked = self._asked, []
        return asked

    async def _read(self) -> None:
        while asked := await self._gathered():
            batch = [wanted for one in asked for wanted in one.read.wanted]
            found, borders = await self._found(asked, batch) if batch else ((), {})
            start = 0
            for one in asked:
                end = start + len(one.read.wanted)
                if borders and self._is_of(one.read, borders):
                    await self._answer_with_archive(one, found[start:end], borders)
                else:
                    _answer(one, found[start:end])
                start = end

    def _is_of(self, read: Read[Any], borders: Borders) -> bool:
        """Returns whether the read is of ledger rows of an account with archived rows."""
        for wanted in read.wanted:
            if names_the_ledger(wanted.statement, postgresql=self.is_postgresql):
                accounts = _accounts(read, wanted)
                if accounts is None or not borders.keys().isdisjoint(accounts):
                    return True
        return False

    async def _answer_with_archive(self, asked: _Asked, found: Sequence[Rows | Exception], borders: Borders) -> None:
        """Answers a read of an account that has archived rows, after adding those that it lacks."""
        past, archive = asked.read.past, self._archive
        assert archive is not None
        if past is None:
            asked.failed(RowsArchived(NOT_ANSWERED))
            return
        of_read = {account_id: borders[account_id] for account_id in past.account_ids if account_id in borders}
        try:
            rows = _all_found(found)
            result = asked.read.made(rows)
            if past.needed(result, of_read):
                result = await archive.run(of_read, lambda archived: past.joined(result, rows, archived))
            asked.answered(result)
        except Exception as error:  # noqa: BLE001  the caller reports it
            asked.failed(error)

    async def _found(
        self, asked: Sequence[_Asked], batch: Sequence[Wanted]
    ) -> tuple[Sequence[Rows | Exception], Borders]:
        if not self.reads or not all(wanted.immutable for wanted in batch):
            self.reads += -(-len(batch) // MAX_BATCH)
        try:
            with translated():
                of_borders = await self._border_reads(asked)
                found = await self._reader.read([*batch, *of_borders])
        except Exception as error:  # noqa: BLE001  each of the reads gets the error
            self.inconsistent = self.inconsistent or isinstance(error, SnapshotInconsistent)
            self.failure = error
            return [error] * len(batch), {}
        return found[: len(batch)], _borders_in(found[len(batch) :])

    async def _border_reads(self, asked: Sequence[_Asked]) -> list[Wanted]:
        statements = (wanted.statement for one in asked for wanted in one.read.wanted)
        names = partial(names_the_ledger, postgresql=self.is_postgresql)
        if self._archive is None or not any(map(names, statements)):
            return []
        lease = self._archive.lease
        # With all connections lent to those that wait for a look, nobody could look.
        if lease is not None and not self._reader.holds_connection:
            with contextlib.suppress(*([DatabaseError] if self._is_on_replica else [])):
                await lease.renew()
        if lease is not None and lease.is_held:
            return []
        return _border_reads(asked, postgresql=self.is_postgresql)

    async def close(self) -> None:
        self._closed = True
        if self._about_to_read is not None:
            self._about_to_read.cancel()
        reading = self._reading
        if reading is not None:
            reading.cancel()
            await asyncio.wait([reading])
        await self._reader.close()


class ShardSnapshots:
    """Snapshots of several databases, which are closed together."""

    def __init__(self, *snapshots: Snapshot) -> None:
        self._snapshots = snapshots

    async def __aenter__(self) -> tuple[Snapshot, ...]:
        return self._snapshots

    async def __aexit__(self, *_: object) -> None:
        if len(self._snapshots) == 1:
            # A task for it would take longer than most of what it does.
            await self._snapshots[0].close()
        else:
            await asyncio.gather(*(one.close() for one in self._snapshots))


def _all_found(found: Sequence[Rows | Exception]) -> list[Rows]:
    """Returns the rows. Raises the first error."""
    rows: list[Rows] = []
    for one in found:
        if isinstance(one, Exception):
            raise one
        rows.append(one)
    return rows


def _answer(asked: _Asked, found: Sequence[Rows | Exception]) -> None:
    try:
        asked.answered(asked.read.made(_all_found(found)))
    except Exception as error:  # noqa: BLE001  the caller reports it
        asked.failed(error)


def _borders_in(found: Sequence[Rows | Exception]) -> Borders:
    """Returns the borders that were read last in a batch. Those of named accounts are whole, and come last."""
    borders: dict[int, Border] = {}
    for rows in found:
        assert not isinstance(rows, Exception), "a read of borders adds nothing up"
        borders |= borders_of(rows)
    return borders


def _first(found: Sequence[Rows]) -> Rows:
    return found[0]


def _tell(future: asyncio.Future[Found], found: Found) -> None:
    if not future.done():
        future.set_result(found)


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
