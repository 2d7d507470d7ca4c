"""Archiving: copies an account's oldest rows to the archive, and compares the archive with the ledger.

The ledger keeps its rows. Each file has a fixed number of rows that follow the file before it, and their hashes
continue its chain, so a file that was copied is never written again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Final

from db.archive.errors import ArchiveDamaged
from db.archive.parquet import opened, parquet_of
from db.archive.store import ArchiveFile, ArchiveStore, file_of
from db.database import Database
from db.recount.ledger_rows import rows_after
from db.rows import TransactionRow
from ledger.chain import GENESIS, row_hash
from ledger.ids import account_id_text, transaction_id_text

FILE_ROWS: Final = 50_000
"""Rows of a file. A page reads the files that it reaches, so a file is small. Each is an object of the storage, so a
file is not tiny."""

_ROWS_AT_ONCE: Final = 5_000


def _chain_end(previous: bytes, rows: Sequence[TransactionRow]) -> bytes:
    """Returns the hash of the last row. Raises ArchiveDamaged if a row does not continue the chain."""
    for row in rows:
        if row_hash(previous, row) != row.hash:
            msg = f"{transaction_id_text(row.account_id, row.seq)} does not continue the chain of hashes"
            raise ArchiveDamaged(msg)
        previous = row.hash
    return previous


def _rows_of(store: ArchiveStore, file: ArchiveFile) -> list[TransactionRow]:
    """Returns the rows of a file. Raises ArchiveDamaged unless they are all that its name says."""
    with opened(store, [file]) as archived:
        rows = archived.all_rows()
    found = [(row.account_id, row.seq) for row in rows]
    if found != [(file.account_id, seq) for seq in range(file.first_seq, file.last_seq + 1)]:
        raise ArchiveDamaged(f"the archive's file {file.name} does not have the rows that its name says")
    return rows


class Archiving:
    def __init__(self, database: Database, store: ArchiveStore, file_rows: int = FILE_ROWS) -> None:
        self._database = database
        self._store = store
        self._file_rows = file_rows

    async def copy(self, account_id: int, before: datetime) -> AsyncIterator[ArchiveFile]:
        """Copies the rows from before the time that fill whole files. Yields each file that it has written.

        Raises ArchiveError. A process that is killed leaves whole files only.
        """
        files = await asyncio.to_thread(self._store.files, account_id)
        last_seq, previous = 0, GENESIS
        if files:
            last_seq = files[-1].last_seq
            previous = (await asyncio.to_thread(_rows_of, self._store, files[-1]))[-1].hash
        while len(rows := await self._next_rows(account_id, last_seq, before)) == self._file_rows:
            previous = _chain_end(previous, rows)
            yield await asyncio.to_thread(self._write, rows)
            last_seq = rows[-1].seq

    async def _next_rows(self, account_id: int, seq: int, before: datetime) -> list[TransactionRow]:
        """Reads the rows of the next file; fewer if the ledger has no more that are old enough."""
        rows: list[TransactionRow] = []
        end = seq + self._file_rows
        while seq < end:
            found = await rows_after(self._database.read, account_id, seq, end, _ROWS_AT_ONCE)
            old = [stored.row for stored in found if stored.row.created_at < before]
            rows += old
            if not found or len(old) < len(found):
                break
            seq = found[-1].row.seq
        return rows

    def _write(self, rows: Sequence[TransactionRow]) -> ArchiveFile:
        content = parquet_of(rows)
        file = file_of(rows[0].account_id, rows[0].seq, rows[-1].seq, content)
        self._store.write(file, content)
        return file

    async def check(self, account_id: int) -> int:
        """Compares every row of the account's files with the ledger. Returns how many rows are the same.

        Raises ArchiveError for the first file that is missing, was changed, or differs from the ledger.
        """
        previous, count = GENESIS, 0
        for file in await asyncio.to_thread(self._store.files, account_id):
            rows = await asyncio.to_thread(_rows_of, self._store, file)
            previous = _chain_end(previous, rows)
            await self._compare(file, rows)
            count += len(rows)
        return count

    async def _compare(self, file: ArchiveFile, rows: Sequence[TransactionRow]) -> None:
        for start in range(0, len(rows), _ROWS_AT_ONCE):
            part = rows[start : start + _ROWS_AT_ONCE]
            read, first, last = self._database.read, part[0].seq, part[-1].seq
            stored = await rows_after(read, file.account_id, first - 1, last, len(part))
            if [one.row for one in stored] != list(part):
                msg = (
                    f"rows {first} to {last} of {account_id_text(file.account_id)} are others in the archive than in"
                    " the ledger"
                )
                raise ArchiveDamaged(msg)
