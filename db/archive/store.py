"""Store: the files of the archive, in a folder or in storage that fsspec knows, such as S3.

The name of a file has the range of its rows and the SHA-256 of its bytes. So a file is never changed, one that was
written twice is the same file, and one that was damaged is noticed wherever it is read.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, Final, NamedTuple

from db.archive.errors import ArchiveDamaged, ArchiveUnavailable

_NAME: Final = re.compile(r"(\d{19})-(\d{19})-([0-9a-f]{64})\.parquet")
_LOCAL: Final = frozenset({"file", "local"})

READ_SECONDS: Final = 20.0
"""Maximum time to list or fetch files, tries again included. Shorter than an operation's deadline, so that its client
is told the cause."""
_WRITE_SECONDS: Final = 300.0


class ArchiveFile(NamedTuple):
    account_id: int
    first_seq: int
    last_seq: int
    sha256: str

    @property
    def name(self) -> str:
        return f"acct_{self.account_id}/{self.first_seq:019d}-{self.last_seq:019d}-{self.sha256}.parquet"


def file_of(account_id: int, first_seq: int, last_seq: int, content: bytes) -> ArchiveFile:
    return ArchiveFile(account_id, first_seq, last_seq, hashlib.sha256(content).hexdigest())


def _without_gaps(found: Iterable[ArchiveFile]) -> list[ArchiveFile]:
    """Returns the files from row 1 on. Raises ArchiveDamaged if one is missing between others or repeats rows.

    Two versions of DuckDB may have written the same rows at once: one of their files is enough.
    """
    files: list[ArchiveFile] = []
    for file in sorted(found):
        if files and files[-1][:3] == file[:3]:
            continue
        expected = files[-1].last_seq + 1 if files else 1
        if file.first_seq != expected:
            msg = (
                f"the archive has no file for row {expected} of account {file.account_id}, or several: see {file.name}"
            )
            raise ArchiveDamaged(msg)
        files.append(file)
    return files


def _synced(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_locally(path: Path, content: bytes) -> None:
    """Writes the file so that it exists whole and on the disk, or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # Another process may write the same file.
    with NamedTemporaryFile(dir=path.parent, suffix=".part", delete=False) as part:
        name = Path(part.name)
        try:
            part.write(content)
            part.flush()
            os.fsync(part.fileno())
        except OSError:
            # On a full disk, each try would leave one.
            name.unlink()
            raise
    name.replace(path)
    _synced(path.parent)


@contextmanager
def _available(action: str, but: tuple[type[Exception], ...] = (FileNotFoundError,)) -> Iterator[None]:
    """Raises ArchiveUnavailable, with the action and the cause, for all errors but these.

    Each kind of storage has errors of its own: those of S3 without an answer or without credentials are no OSError.
    """
    try:
        yield
    except but:
        raise
    except TimeoutError as error:
        raise ArchiveUnavailable(f"{action}: the storage did not answer in time") from error
    except CancelledError as error:
        raise ArchiveUnavailable(f"{action}: the program is closing") from error
    except Exception as error:
        raise ArchiveUnavailable(f"{action}: {error}") from error


class ArchiveStore:
    """All methods wait for the storage: call them in a thread."""

    def __init__(self, url: str) -> None:
        """Raises ArchiveUnavailable if no installed package knows such storage."""
        try:
            from fsspec.core import url_to_fs

            with _available("archive_url cannot be opened", but=(ImportError, ValueError)):
                self._files, self._root = url_to_fs(url)
        except (ImportError, ValueError) as error:
            msg = f"archive_url needs the packages of `billing-gateway[archive]`, and s3:// also s3fs: {error}"
            raise ArchiveUnavailable(msg) from error
        protocol: Any = self._files.protocol
        self._is_local = not _LOCAL.isdisjoint((protocol,) if isinstance(protocol, str) else protocol)
        self._calls: set[Future[Any]] = set()
        self._is_closed = False

    def _call(self, seconds: float, method: str, *arguments: Any, **named: Any) -> Any:
        """Calls the storage. Over the network, the call ends after these seconds, and when the store is closed."""
        if not self._files.async_impl:
            return getattr(self._files, method)(*arguments, **named)
        work = getattr(self._files, f"_{method}")(*arguments, **named)
        call = asyncio.run_coroutine_threadsafe(asyncio.wait_for(work, seconds), self._files.loop)
        self._calls.add(call)
        try:
            if self._is_closed:
                call.cancel()
            return call.result()
        finally:
            self._calls.discard(call)

    def close(self) -> None:
        """Ends the calls that wait for storage over the network, from another thread. Later ones fail at once."""
        self._is_closed = True
        for call in tuple(self._calls):
            call.cancel()

    def _path(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"

    def files(self, account_id: int) -> list[ArchiveFile]:
        """Returns the account's files in the order of their rows. Raises ArchiveDamaged if one is missing."""
        folder = self._path(f"acct_{account_id}")
        try:
            with _available(f"the archive's folder {folder} cannot be read"):
                self._files.invalidate_cache()
                paths: Sequence[str] = self._call(READ_SECONDS, "ls", folder, detail=False)
        except FileNotFoundError:
            return []
        names = (_NAME.fullmatch(path.rsplit("/", 1)[-1]) for path in paths)
        return _without_gaps(
            ArchiveFile(account_id, int(name[1]), int(name[2]), name[3]) for name in names if name is not None
        )

    def write(self, file: ArchiveFile, content: bytes) -> None:
        path = self._path(file.name)
        with _available(f"the archive's file {path} cannot be written", but=()):
            if self._is_local:
                _write_locally(Path(path), content)
            else:
                self._call(_WRITE_SECONDS, "pipe_file", path, content)

    def read(self, file: ArchiveFile) -> bytes:
        """Returns the file's bytes. Raises ArchiveDamaged unless they are those that were written."""
        path = self._path(file.name)
        try:
            with _available(f"the archive's file {path} cannot be read"):
                content: bytes = self._call(READ_SECONDS, "cat_file", path)
        except FileNotFoundError as error:
            raise ArchiveDamaged(f"the archive's file {path} is missing") from error
        if hashlib.sha256(content).hexdigest() != file.sha256:
            raise ArchiveDamaged(f"the archive's file {path} was changed: its SHA-256 is not the one in its name")
        return content
