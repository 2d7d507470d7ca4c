"""The archive answers as the ledger does, and notices every file that is not the one that was written."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import fsspec
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from db.archive.errors import ArchiveDamaged, ArchiveUnavailable
from db.archive.parquet import opened
from db.archive.store import ArchiveFile, ArchiveStore, file_of
from db.connections.snapshots import Read
from db.database import Database
from db.filters import TransactionFilter, Window
from db.rows import TransactionRow
from db.transactions.pages import transaction_pages
from db.transactions.totals import balances_as_of, transaction_counts, transaction_totals
from ledger.archiving import Archiving
from ledger.chain import GENESIS, row_hash
from ledger.kinds import KINDS, RefType
from tests.doses import dose
from tests.ledger_rows import insert_transactions
from tests.resolvers.ledgers import DRAFTS, NOW, START, RowDraft, new_account, rows_of
from tests.resolvers.test_transaction_pages import FILTERS, MOMENTS, filter_of

_DRAFT = RowDraft(KINDS[0], 5, negative=False, seconds=1, ref=(RefType.VOLUME, "Ж-Ä%_"), description="İß 'x' \"y\"\n")


async def _filled(database: Database, drafts: Sequence[RowDraft]) -> tuple[int, list[TransactionRow]]:
    """Writes a ledger whose hashes are a chain."""
    account = await new_account(database)
    rows, previous = [], GENESIS
    for row in rows_of(account.id, drafts):
        previous = row_hash(previous, row)
        rows.append(row._replace(hash=previous))
    async with database.write() as connection:
        await insert_transactions(connection, rows)
    return account.id, rows


async def _copied(archiving: Archiving, account_id: int) -> list[ArchiveFile]:
    return [file async for file in archiving.copy(account_id, NOW)]


def _reads(account_id: int, row_filter: TransactionFilter, window: Window) -> list[Any]:
    """Returns what reads the account's rows, for SQLite or PostgreSQL."""
    return [
        lambda on: transaction_pages(on, [account_id], row_filter, window),
        lambda on: transaction_counts(on, [account_id], row_filter),
        lambda on: transaction_totals(on, [account_id], row_filter),
    ]


_WINDOWS = st.builds(
    Window, st.integers(1, 6), st.none() | st.integers(1, 14), st.none() | st.integers(1, 14), st.booleans()
)


_ASKED = st.lists(st.tuples(FILTERS, _WINDOWS, MOMENTS), min_size=6, max_size=6)


@given(drafts=st.lists(DRAFTS, min_size=2, max_size=14), asked=_ASKED)
@settings(
    max_examples=dose(2, 200),
    phases=[Phase.explicit, Phase.generate],
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
async def test_an_archived_ledger_answers_as_the_ledger_does(
    database: Database, tmp_path: Path, drafts: list[RowDraft], asked: list[tuple[dict[str, Any], Window, Any]]
) -> None:
    account_id, rows = await _filled(database, drafts[: len(drafts) // 2 * 2])
    store = ArchiveStore(str(tmp_path))
    half = len(rows) // 2
    files = await _copied(Archiving(database, store, half), account_id)
    assert [(file.first_seq, file.last_seq) for file in files] == [(1, half), (half + 1, 2 * half)]
    with opened(store, files) as archived:
        assert archived.all_rows() == rows
        assert archived.rows_between(2, 3) == rows[1:3]
        for chosen, window, moment in asked:
            reads = _reads(account_id, filter_of(chosen), window)
            for read in [*reads, lambda on, moment=moment: balances_as_of(on, [account_id], moment)]:
                async with database.snapshot() as snapshot:
                    wanted: Read[Any] = read(database.is_postgresql)
                    expected = await snapshot.read(wanted)
                assert archived.read(read(False)) == expected


async def test_whole_files_of_old_rows_are_copied_once(database: Database, tmp_path: Path) -> None:
    account_id, rows = await _filled(database, [_DRAFT] * 7)
    folder = tmp_path / "archive"
    archiving = Archiving(database, ArchiveStore(str(folder)), 2)
    before_row_6 = rows[5].created_at
    assert [file.last_seq async for file in archiving.copy(account_id, START)] == []
    assert [file.last_seq async for file in archiving.copy(account_id, before_row_6)] == [2, 4]
    assert [file.last_seq async for file in archiving.copy(account_id, NOW)] == [6]
    assert [file.last_seq async for file in archiving.copy(account_id, NOW + timedelta(days=1))] == []
    assert await archiving.check(account_id) == 6
    assert [path.suffix for path in folder.rglob("*") if path.is_file()] == [".parquet"] * 3


async def test_every_damage_is_noticed(database: Database, tmp_path: Path) -> None:
    account_id, _ = await _filled(database, [_DRAFT] * 6)
    store = ArchiveStore(str(tmp_path))
    archiving = Archiving(database, store, 2)
    first, second, last = await _copied(archiving, account_id)
    path = tmp_path / second.name
    content = path.read_bytes()
    path.write_bytes(content[:40] + bytes([content[40] ^ 1]) + content[41:])
    with pytest.raises(ArchiveDamaged, match="was changed"):
        await archiving.check(account_id)
    path.unlink()
    with pytest.raises(ArchiveDamaged, match=f"no file for row 3 of account {account_id}"):
        await archiving.check(account_id)
    with pytest.raises(ArchiveDamaged, match="is missing"), opened(store, [first, second, last]):
        pass
    # A file with another's rows, whose name fits its bytes.
    other = (tmp_path / first.name).read_bytes()
    store.write(second._replace(sha256=first.sha256), other)
    with pytest.raises(ArchiveDamaged, match="does not have the rows that its name says"):
        await archiving.check(account_id)


async def test_a_row_that_breaks_the_chain_is_not_archived(database: Database, tmp_path: Path) -> None:
    account = await new_account(database)
    async with database.write() as connection:
        await insert_transactions(connection, rows_of(account.id, [_DRAFT] * 2))
    with pytest.raises(ArchiveDamaged, match=f"txn_{account.id}_1 does not continue the chain"):
        await _copied(Archiving(database, ArchiveStore(str(tmp_path)), 2), account.id)


async def test_two_copies_at_once_write_the_same_file(database: Database, tmp_path: Path) -> None:
    account_id, rows = await _filled(database, [_DRAFT] * 4)
    archiving = Archiving(database, ArchiveStore(str(tmp_path)), 2)
    one, other = await asyncio.gather(_copied(archiving, account_id), _copied(archiving, account_id))
    # One that comes late goes on after files that are there.
    files = sorted({*one, *other})
    assert [(file.first_seq, file.last_seq) for file in files] == [(1, 2), (3, 4)]
    assert await archiving.check(account_id) == len(rows)
    first = tmp_path / files[0].name
    first.with_name(first.name.replace(files[0].sha256, "f" * 64)).write_bytes(b"of another version of DuckDB")
    assert await archiving.check(account_id) == len(rows)


async def test_other_storage_than_a_folder(database: Database) -> None:
    account_id, rows = await _filled(database, [_DRAFT] * 4)
    store = ArchiveStore("memory://billing/archive")
    try:
        files = await _copied(Archiving(database, store, 2), account_id)
        assert await Archiving(database, store, 2).check(account_id) == 4
        with opened(store, files[1:]) as archived:
            assert archived.all_rows() == rows[2:]
    finally:
        fsspec.filesystem("memory").rm("/billing", recursive=True)


def test_a_full_disk_leaves_no_part_of_a_file(tmp_path: Path) -> None:
    content = b"0123456789" * 1_000
    store, file = ArchiveStore(str(tmp_path)), file_of(7, 1, 2, content)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (5_000, limits[1]))
    try:
        with pytest.raises(ArchiveUnavailable, match="cannot be written"):
            store.write(file, content)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    store.write(file, content)
    assert store.read(store.files(7)[0]) == content


def test_storage_that_nothing_knows_is_refused() -> None:
    with pytest.raises(ArchiveUnavailable, match="archive_url needs the packages"):
        ArchiveStore("nowhere://bucket")
