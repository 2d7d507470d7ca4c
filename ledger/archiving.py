"""Archiving: copies an account's oldest rows to the archive, moves them there, and compares it with the ledger.

Each file has a fixed number of rows that follow the file before it, and their hashes continue its chain, so a file that
was copied is never written again. The ledger keeps its rows until they are moved: a file is then read back from the
storage, compared with the ledger, and noted as a proof, and its rows leave the database in short transactions.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Final

from db.archive.errors import ArchiveDamaged, ArchiveUnavailable
from db.archive.lease import FIRST_MOVE_SECONDS
from db.archive.moving import (
    Ends,
    first_proof_time,
    lock_ends,
    proofs_of,
    put_proof,
    remove_rows,
    restore_rows,
)
from db.archive.parquet import opened, parquet_of
from db.archive.reading import file_of_proof
from db.archive.store import ArchiveFile, ArchiveStore, file_of
from db.connections.borders import ProofRow
from db.database import Database, WriteConnection
from db.recount.ledger_rows import rows_after
from db.rows import TransactionRow
from db.schema_version import require_program
from ledger.chain import GENESIS, row_hash
from ledger.ids import account_id_text, transaction_id_text
from ledger.posting import Clock, utc_now

FILE_ROWS: Final = 50_000
"""Rows of a file. A page reads the files that it reaches, so a file is small. Each is an object of the storage, so a
file is not tiny."""

_ROWS_AT_ONCE: Final = 5_000

MOVED_AT_ONCE: Final = 2_000
"""Rows that leave the database, or come back, in one transaction. The account is locked meanwhile."""

MOVES_ROWS: Final = "0018"
"""The version of the first program that reads archived rows."""


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
    def __init__(
        self,
        database: Database,
        store: ArchiveStore,
        file_rows: int = FILE_ROWS,
        clock: Clock = utc_now,
        first_move_seconds: float = FIRST_MOVE_SECONDS,
    ) -> None:
        """`first_move_seconds` is the time from the first proof of the database to its first move."""
        self._first_move_seconds = first_move_seconds
        self._database = database
        self._store = store
        self._file_rows = file_rows
        self._clock = clock

    async def copy(self, account_id: int, before: datetime) -> AsyncIterator[ArchiveFile]:
        """Copies the rows from before the time that fill whole files. Yields each file that it has written.

        Raises ArchiveError. A process that is killed leaves whole files only.
        """
        files = await self._files(account_id)
        last_seq, previous = 0, GENESIS
        if files:
            last_seq = files[-1].last_seq
            previous = (await asyncio.to_thread(_rows_of, self._store, files[-1]))[-1].hash
        while len(rows := await self._next_rows(account_id, last_seq, before)) == self._file_rows:
            previous = _chain_end(previous, rows)
            yield await asyncio.to_thread(self._write, rows)
            last_seq = rows[-1].seq

    async def _files(self, account_id: int) -> list[ArchiveFile]:
        """Returns the account's files in the order of their rows: for rows that have a proof, the file that it names.

        Raises ArchiveError.
        """
        proven = [file_of_proof(proof) for proof in await proofs_of(self._database, account_id)]
        stored = await asyncio.to_thread(self._store.files, account_id)
        last_seq = proven[-1].last_seq if proven else 0
        return [*proven, *(file for file in stored if file.first_seq > last_seq)]

    async def _next_rows(self, account_id: int, seq: int, before: datetime) -> list[TransactionRow]:
        """Reads the rows of the next file; fewer if the ledger has no more that are old enough."""
        rows: list[TransactionRow] = []
        end = seq + self._file_rows
        while seq < end:
            found = await rows_after(self._database.read_live, account_id, seq, end, _ROWS_AT_ONCE)
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
        """Compares every row of the account's files with the ledger, and with the proofs of rows that were moved.
        Returns how many rows are the same.

        Raises ArchiveError for the first file that is missing, was changed, or differs from the ledger.
        """
        previous, count = GENESIS, 0
        proofs = {proof.first_seq: proof for proof in await proofs_of(self._database, account_id)}
        for file in await self._files(account_id):
            border = await self._archived_seq(account_id)
            rows = await asyncio.to_thread(_rows_of, self._store, file)
            proof = _proof_of(file, previous, rows)
            if proofs.get(file.first_seq, proof) != proof:
                raise ArchiveDamaged(f"the archive's file {file.name} has other rows than its proof says")
            previous = _chain_end(previous, rows)
            await self._compare(file, rows, border)
            count += len(rows)
        return count

    async def _compare(self, file: ArchiveFile, rows: Sequence[TransactionRow], border: int) -> None:
        """Compares the file's rows after the border with the ledger. Raises ArchiveDamaged if they differ, and
        ArchiveUnavailable if the account has left for another shard."""
        read, live = self._database.read_live, [row for row in rows if row.seq > border]
        for start in range(0, len(live), _ROWS_AT_ONCE):
            part = live[start : start + _ROWS_AT_ONCE]
            first, last = part[0].seq, part[-1].seq
            stored = await rows_after(read, file.account_id, first - 1, last, len(part))
            if [one.row for one in stored] == part:
                continue
            async with self._database.write() as connection:
                now = (await self._locked(connection, file.account_id)).archived_seq
            if now > border:
                # Another run has moved rows meanwhile, after it had compared them.
                await self._compare(file, rows, now)
                return
            account = account_id_text(file.account_id)
            msg = f"rows {first} to {last} of {account} differ between the archive and the ledger"
            raise ArchiveDamaged(msg)

    async def _archived_seq(self, account_id: int) -> int:
        border = await self._database.border_of(account_id)
        return 0 if border is None else border.archived_seq

    async def move(self, account_id: int, before: datetime) -> AsyncIterator[ArchiveFile]:
        """Copies rows as `copy` does, and removes those of whole files from the database. Yields each file whose rows
        have left it. The account's newest row stays.

        Raises ArchiveError. A process that is killed loses nothing: another one continues from the border.
        """
        async for _ in self.copy(account_id, before):
            pass
        border, previous = await self._archived_seq(account_id), GENESIS
        proofs = {proof.first_seq: proof for proof in await proofs_of(self._database, account_id)}
        for file in await self._files(account_id):
            if file.last_seq <= border:
                previous = proofs[file.first_seq].last_hash
                continue
            rows = await asyncio.to_thread(_rows_of, self._store, file)
            if rows[-1].created_at >= before or not await self._move_file(file, previous, rows, border):
                return
            previous = rows[-1].hash
            yield file

    async def _move_file(self, file: ArchiveFile, previous: bytes, rows: Sequence[TransactionRow], border: int) -> bool:
        """Removes the rows of the file that are after the border. False if the newest row is among them, or the account
        has left for another shard."""
        _chain_end(previous, rows)
        await self._compare(file, rows, border)
        async with self._database.write() as connection:
            ends = await lock_ends(connection, file.account_id)
            if ends is None or ends.head_seq <= file.last_seq:
                return False
            await connection.run_sync(require_program, MOVES_ROWS)
            await put_proof(connection, _proof_of(file, previous, rows), self._clock())
        await self._wait_for_leases()
        while await self._remove_some(file):
            pass
        return True

    async def _wait_for_leases(self) -> None:
        """Waits until no process takes it for certain that the archive is empty (`db/archive/lease.py`)."""
        first = await first_proof_time(self._database)
        assert first is not None, "the file's proof is stored"
        seconds = self._first_move_seconds - (self._clock() - first).total_seconds()
        if seconds > 0:
            await asyncio.sleep(seconds)

    async def _remove_some(self, file: ArchiveFile) -> bool:
        """Removes the next rows of the file in one transaction. False if it has no more in the database."""
        async with self._database.write() as connection:
            ends = await self._locked(connection, file.account_id)
            last_seq = min(ends.archived_seq + MOVED_AT_ONCE, file.last_seq)
            if last_seq <= ends.archived_seq:
                return False
            removed = await remove_rows(connection, file.account_id, ends.archived_seq, last_seq)
            if removed != last_seq - ends.archived_seq:
                msg = f"rows before {transaction_id_text(file.account_id, last_seq + 1)} are missing in the ledger"
                raise ArchiveDamaged(msg)
        return last_seq < file.last_seq

    @staticmethod
    async def _locked(connection: WriteConnection, account_id: int) -> Ends:
        ends = await lock_ends(connection, account_id)
        if ends is None:
            raise ArchiveUnavailable(f"{account_id_text(account_id)} was moved to another shard meanwhile: try again")
        return ends

    async def restore(self, account_id: int) -> AsyncIterator[ArchiveFile]:
        """Writes all archived rows to the database again, the newest first, as they were. Yields each file whose rows
        are back. Files and proofs stay.

        Raises ArchiveError. A process that is killed loses nothing: another one continues from the border.
        """
        while (border := await self._database.border_of(account_id)) is not None:
            proof = border.proofs[-1]
            file = file_of_proof(proof)
            rows = await asyncio.to_thread(_rows_of, self._store, file)
            if _proof_of(file, proof.previous_hash, rows) != proof:
                raise ArchiveDamaged(f"the archive's file {file.name} has other rows than its proof says")
            _chain_end(proof.previous_hash, rows)
            while await self._restore_some(file, rows):
                pass
            yield file

    async def _restore_some(self, file: ArchiveFile, rows: Sequence[TransactionRow]) -> bool:
        """Writes the rows of the file that are next to the border in one transaction. False if it has no more."""
        async with self._database.write() as connection:
            ends = await self._locked(connection, file.account_id)
            end = ends.archived_seq + 1 - file.first_seq
            if not 0 < end <= len(rows):
                return False
            await restore_rows(connection, rows[max(end - MOVED_AT_ONCE, 0) : end])
        return end > MOVED_AT_ONCE


def _proof_of(file: ArchiveFile, previous: bytes, rows: Sequence[TransactionRow]) -> ProofRow:
    return ProofRow(
        file.account_id,
        file.first_seq,
        file.last_seq,
        rows[0].created_at,
        rows[-1].created_at,
        previous,
        rows[-1].hash,
        bytes.fromhex(file.sha256),
    )
