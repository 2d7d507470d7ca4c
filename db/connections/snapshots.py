"""Snapshots: the reads of one operation. Concurrent reads are sent together, and all reads see one moment."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Generic, NamedTuple, Protocol, Self, TypeVar

from sqlalchemy import Executable

from db.errors import DatabaseError, translated

MAX_BATCH: Final = 16
"""Maximum number of statements sent as one. Further statements are sent afterwards."""

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
    """The result never changes: the rows exist, and stored rows are never changed or deleted."""


Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Read(Generic[Found]):
    """A request to a snapshot."""

    wanted: Sequence[Wanted]
    made: Callable[[Sequence[Rows]], Found]
    """Computes the result from the rows of each statement."""


class _Asked(NamedTuple):
    read: Read[Any]
    answered: Callable[[Any], None]
    failed: Callable[[Exception], None]


class Reader(Protocol):
    is_postgresql: bool

    async def read(self, batch: Sequence[Wanted]) -> Sequence[Rows | Exception]:
        """Returns the rows of each read."""

    async def close(self) -> None:
        """Gives the connection back."""


class NothingToRead:
    """Refuses all reads. For a snapshot whose answer is already known."""

    is_postgresql = True

    async def read(self, batch: Sequence[Wanted]) -> Sequence[Rows | Exception]:
        msg = f"{len(batch)} reads of a snapshot that has nothing to read"
        raise AssertionError(msg)

    async def close(self) -> None:
        pass


class Snapshot:
    """The reads of one operation. Takes no connection before the first read.

    Reads that are requested in the same iteration of the event loop are sent together, in one statement.
    """

    def __init__(self, reader: Reader) -> None:
        self.is_postgresql = reader.is_postgresql
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

    async def rows(self, statement: Executable, parameters: dict[str, Any] | None = None) -> Rows:
        return await self.read(Read((Wanted(statement, parameters or {}),), _first))

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
        while self._about_to_ask:
            asking, self._about_to_ask = self._about_to_ask, []
            for ask in asking:
                ask()
        asked, self._asked = self._asked, []
        return asked

    async def _read(self) -> None:
        while asked := await self._gathered():
            batch = [wanted for one in asked for wanted in one.read.wanted]
            found = await self._found(batch) if batch else ()
            start = 0
            for one in asked:
                end = start + len(one.read.wanted)
                _answer(one, found[start:end])
                start = end

    async def _found(self, batch: Sequence[Wanted]) -> Sequence[Rows | Exception]:
        if not self.reads or not all(wanted.immutable for wanted in batch):
            self.reads += -(-len(batch) // MAX_BATCH)
        try:
            with translated():
                return await self._reader.read(batch)
        except Exception as error:  # noqa: BLE001  each of the reads gets the error
            self.inconsistent = self.inconsistent or isinstance(error, SnapshotInconsistent)
            self.failure = error
            return [error] * len(batch)

    async def close(self) -> None:
        self._closed = True
        if self._about_to_read is not None:
            self._about_to_read.cancel()
        reading = self._reading
        if reading is not None:
            reading.cancel()
            await asyncio.wait([reading])
        await self._reader.close()


def _answer(asked: _Asked, found: Sequence[Rows | Exception]) -> None:
    rows: list[Rows] = []
    for one in found:
        if isinstance(one, Exception):
            asked.failed(one)
            return
        rows.append(one)
    try:
        asked.answered(asked.read.made(rows))
    except Exception as error:  # noqa: BLE001  the caller reports it
        asked.failed(error)


def _first(found: Sequence[Rows]) -> Rows:
    return found[0]


def _tell(future: asyncio.Future[Found], found: Found) -> None:
    if not future.done():
        future.set_result(found)


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
