"""Reading: the archived rows of an account, for reads whose live rows do not suffice.

One read at a time opens files, which bounds the memory of a process. Files that were fetched and compared with their
proofs are kept on the disk for the reads that follow.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import Any, Final, TypeVar

from db.archive.errors import ArchiveUnavailable
from db.archive.lease import Lease
from db.archive.parquet import ArchivedRows, connected
from db.archive.reach import Reach
from db.archive.store import ArchiveFile, ArchiveStore
from db.connections.borders import Border, Borders, ProofRow

Found = TypeVar("Found")

_KEPT_BYTES: Final = 256 * 1024 * 1024
_PARTS: Final = (1, 4)
"""Numbers of files that a page opens at first. After these it opens all that are left."""


def file_of_proof(proof: ProofRow) -> ArchiveFile:
    return ArchiveFile(proof.account_id, proof.first_seq, proof.last_seq, proof.sha256.hex())


class _Files:
    """The files that were read last, on this machine's disk."""

    def __init__(self, store: ArchiveStore) -> None:
        self._store = store
        self._folder = TemporaryDirectory(prefix="billing-archive-")
        self._sizes: OrderedDict[Path, int] = OrderedDict()
        self.away: ArchiveUnavailable | None = None
        """Why the storage did not answer when it was asked last."""

    @cached_property
    def connection(self) -> Any:
        """One for all reads. Raises ArchiveUnavailable."""
        return connected()

    def path_of(self, file: ArchiveFile) -> Path:
        """Returns where the file is. Raises ArchiveError."""
        path = Path(self._folder.name, f"{file.account_id}-{file.first_seq}-{file.sha256}.parquet")
        if path not in self._sizes:
            content = self._read(file)
            path.write_bytes(content)
            self._sizes[path] = len(content)
        self._sizes.move_to_end(path)
        return path

    def _read(self, file: ArchiveFile) -> bytes:
        away = None
        try:
            return self._store.read(file)
        except ArchiveUnavailable as error:
            away = ArchiveUnavailable(str(error))
            raise
        finally:
            self.away = away

    def end_calls(self) -> None:
        self._store.close()

    def forget_oldest(self) -> None:
        while sum(self._sizes.values()) > _KEPT_BYTES:
            path, _ = self._sizes.popitem(last=False)
            path.unlink()

    def close(self) -> None:
        if "connection" in self.__dict__:
            self.connection.close()
        self._folder.cleanup()


class Archived:
    """The archived rows of the accounts with these borders. All methods wait for the storage, and raise
    ArchiveError."""

    def __init__(self, files: _Files, borders: Borders, ended: Event) -> None:
        """`ended` is set when nobody waits for the read any more."""
        self._files = files
        self.borders = borders
        self._ended = ended

    def whole(self, account_id: int, reach: Reach) -> ArchivedRows | None:
        """Returns the account's archived rows in the range; None if there is none. They end when others are opened."""
        border = self.borders.get(account_id)
        proofs = [] if border is None else reach.proofs(border)
        return None if border is None or not proofs else self._open(border, proofs)

    def parts(self, account_id: int, reach: Reach, *, oldest: bool) -> Iterator[ArchivedRows]:
        """Yields the account's archived rows in the range part by part, the newest or the oldest first. A part ends
        when the next one is opened."""
        border = self.borders.get(account_id)
        proofs = [] if border is None else reach.proofs(border)
        sizes = iter(_PARTS)
        while border is not None and proofs:
            size = next(sizes, len(proofs))
            if oldest:
                part, proofs = proofs[:size], proofs[size:]
            else:
                part, proofs = proofs[-size:], proofs[:-size]
            yield self._open(border, part)

    def _open(self, border: Border, proofs: Sequence[ProofRow]) -> ArchivedRows:
        paths = []
        for proof in proofs:
            if self._ended.is_set():
                raise ArchiveUnavailable("the read was cancelled")
            paths.append(self._files.path_of(file_of_proof(proof)))
        return ArchivedRows(self._files.connection, paths, border.archived_seq)


class ArchiveReads:
    """Reads of the storage, one after the other, on a thread of their own: what waits for the storage takes no thread
    from other work."""

    def __init__(self, url: str | None) -> None:
        self.url = url
        self._thread = ThreadPoolExecutor(1, "archive")
        self._newest: Future[Any] | None = None

    @cached_property
    def _files(self) -> _Files:
        """Raises ArchiveUnavailable."""
        if self.url is None:
            raise ArchiveUnavailable("an account has archived rows: set archive_url to where they are")
        return _Files(ArchiveStore(self.url))

    @property
    def _away(self) -> ArchiveUnavailable | None:
        return self._files.away if "_files" in self.__dict__ else None

    async def run(self, borders: Borders, work: Callable[[Archived], Found]) -> Found:
        """Calls `work` when no other read uses the archive. Raises ArchiveError.

        While the storage does not answer, one read at a time waits for it, and others fail at once: each of them keeps
        a connection to the database.
        """
        away = self._away
        if away is not None and self._newest is not None and not self._newest.done():
            raise ArchiveUnavailable(str(away))
        ended = Event()
        self._newest = future = self._thread.submit(self._run, away, borders, work, ended)
        try:
            return await asyncio.wrap_future(future)
        finally:
            # A read that was cancelled must not fetch its other files before those of others.
            ended.set()

    def _run(
        self, known: ArchiveUnavailable | None, borders: Borders, work: Callable[[Archived], Found], ended: Event
    ) -> Found:
        """`known` is why the storage did not answer, as far as was known when the read began to wait."""
        away = self._away
        if away is not None and away is not known:
            raise ArchiveUnavailable(str(away))
        try:
            return work(Archived(self._files, borders, ended))
        finally:
            if "_files" in self.__dict__:
                self._files.forget_oldest()

    def close(self) -> None:
        """Ends the read that waits for storage over the network, and waits for one that uses a folder."""
        if "_files" in self.__dict__:
            self._files.end_calls()
        self._thread.shutdown(cancel_futures=True)
        if "_files" in self.__dict__:
            self._files.close()


class LedgerArchive:
    """The archive of a database."""

    def __init__(self, url: str | None, lease: Lease | None = None) -> None:
        """Without a lease, borders are always read."""
        self.lease = lease
        self._reads = ArchiveReads(url)

    @property
    def is_known(self) -> bool:
        """Whether archived rows can be read."""
        return self._reads.url is not None

    def share(self, other: LedgerArchive) -> None:
        """Reads through the other database's archive, which has the rows of both."""
        self._reads = other._reads

    async def run(self, borders: Borders, work: Callable[[Archived], Found]) -> Found:
        """Calls `work`, which waits for the storage, as `ArchiveReads.run` does."""
        return await self._reads.run(borders, work)

    def close(self) -> None:
        self._reads.close()
