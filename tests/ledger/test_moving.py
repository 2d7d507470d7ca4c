"""Rows that were moved to the archive are read as before, verified, and come back as they were."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import exc, text

from db.archive import lease, reading
from db.archive.errors import ArchiveDamaged, ArchiveUnavailable, RowsArchived
from db.archive.reading import LedgerArchive
from db.archive.store import ArchiveStore
from db.charges import charge_pages
from db.connections.readers import WriteReader
from db.connections.snapshots import Read, Wanted
from db.database import Database, DatabaseOptions
from db.errors import TransactionConflict
from db.feed.follower import AfterArchived
from db.filters import ChargeFilter, TransactionFilter, Window
from db.finding import rows_of_objects
from db.period_figures import kind_sums, period_ends
from db.position import Position
from db.resources import resource_counts, resource_pages, resource_totals
from db.rows import TransactionRow
from db.runway import crossing_holds
from db.schema_version import migrate, require_program
from db.transactions.by_id import hashes_by_id, transactions_by_id
from db.transactions.pages import transaction_pages
from db.transactions.totals import balances_as_of, transaction_counts, transaction_totals
from db.writes import rows_between
from ledger import archiving as archiving_module
from ledger.archiving import Archiving
from ledger.chain import GENESIS, row_hash
from ledger.kinds import KINDS
from ledger.verification.accounts import verify_account
from tests.doses import dose
from tests.ledger.desk import Desk
from tests.ledger.verification.filled import filled
from tests.ledger_rows import insert_transactions, update_account
from tests.resolvers.ledgers import DRAFTS, NOW, SECOND, START, RowDraft, new_account, rows_of
from tests.resolvers.test_transaction_pages import FILTERS, MOMENTS, filter_of
from tests.statements import watched

_MADE = st.lists(DRAFTS, min_size=4, max_size=14)
_WINDOWS = st.builds(
    Window, st.integers(1, 6), st.none() | st.integers(1, 14), st.none() | st.integers(1, 14), st.booleans()
)
_ASKED = st.lists(st.tuples(FILTERS, _WINDOWS, MOMENTS), min_size=2, max_size=2)
_PLENTY = [RowDraft(KINDS[number % len(KINDS)], 5, False, 1, None, f"x {number} 'Ж'") for number in range(9)]


async def _filled(database: Database, drafts: Sequence[RowDraft]) -> tuple[int, list[TransactionRow]]:
    """Writes a ledger whose hashes are a chain, and its head."""
    account = await new_account(database)
    rows, previous = [], GENESIS
    for row in rows_of(account.id, drafts):
        previous = row_hash(previous, row)
        rows.append(row._replace(hash=previous))
    last = rows[-1]
    head = account._replace(
        head_seq=last.seq, head_at=last.created_at, head_hash=last.hash, balance_nanos=last.balance_after_nanos
    )
    async with database.write() as connection:
        await insert_transactions(connection, rows)
        await update_account(connection, head)
    return account.id, rows


def _archiving(database: Database, folder: Path, file_rows: int) -> Archiving:
    database.archive = LedgerArchive(str(folder))
    return Archiving(database, ArchiveStore(str(folder)), file_rows, lambda: NOW, first_move_seconds=0)


async def _all(files: AsyncIterator[Any]) -> list[int]:
    return [file.last_seq async for file in files]


async def _stored(database: Database) -> list[tuple[Any, ...]]:
    ordered = text("SELECT * FROM transactions ORDER BY account_id, seq")
    return [tuple(row) for row in await database.read_live(ordered, {})]


def _reads(ids: Sequence[int], asked: Sequence[Any]) -> list[Callable[[bool], Read[Any]]]:
    """Returns all reads of ledger rows of these accounts."""
    reads: list[Callable[[bool], Read[Any]]] = []
    for chosen, window, moment in asked:
        row_filter = filter_of(chosen)
        period = (moment, moment + 3 * SECOND)
        kinds = tuple((kind.value, source.value) for kind, source in KINDS)
        of_period = TransactionFilter(kinds, created_gte=period[0], created_lt=period[1])
        resources = [(one, kind, ref) for one in ids for kind, ref in (("volume", "1"), ("gpu_instance", "Ж-Ä%_"))]
        keys = [(one, window.limit + seq) for one in ids for seq in (0, 2, 5)]
        reads += [
            partial(transaction_pages, account_ids=ids, row_filter=row_filter, window=window),
            partial(transaction_counts, account_ids=ids, row_filter=row_filter),
            partial(transaction_totals, account_ids=ids, row_filter=row_filter),
            partial(balances_as_of, account_ids=ids, as_of=moment),
            partial(period_ends, account_ids=ids, period=period),
            partial(kind_sums, account_ids=ids, row_filter=of_period),
            partial(resource_pages, resources=resources, window=window),
            partial(resource_counts, resources=resources),
            partial(resource_totals, resources=resources),
            partial(hashes_by_id, ids=keys),
        ]
    return reads


async def _answers(database: Database, ids: Sequence[int], asked: Sequence[Any]) -> list[Any]:
    async with database.snapshot() as snapshot:
        found = [await snapshot.read(read(snapshot.is_postgresql)) for read in _reads(ids, asked)]
        of_each = [(one, seq) for one in ids for seq in range(15)]
        by_id = await snapshot.read(transactions_by_id(snapshot.is_postgresql, of_each))
        found += [{key: by_id.get(key) for key in of_each}]
        found += [await rows_of_objects(snapshot, one, ["1", "Ж-Ä%_", "none"]) for one in ids]
    async with database.write() as connection:
        found += [await rows_between(connection, one, 2, 7) for one in ids]
    return found


@given(drafts=_MADE, asked=_ASKED, file_rows=st.integers(2, 4), age=st.integers(1, 13), batch=st.integers(1, 4))
@settings(
    max_examples=dose(1, 150),
    phases=[Phase.explicit, Phase.generate],
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
async def test_every_read_answers_as_before(
    database: Database,
    tmp_path_factory: pytest.TempPathFactory,
    drafts: list[RowDraft],
    asked: list[Any],
    file_rows: int,
    age: int,
    batch: int,
) -> None:
    ids = [(await _filled(database, drafts))[0], (await _filled(database, _PLENTY))[0]]
    before, stored = await _answers(database, ids, asked), await _stored(database)
    archiving = _archiving(database, tmp_path_factory.mktemp("archive"), file_rows)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ledger.archiving.MOVED_AT_ONCE", batch)
        patch.setattr("db.archive.reading._PARTS", (1, 2))
        await _all(archiving.move(ids[0], START + age * SECOND))
        assert await _answers(database, ids, asked) == before
        await _all(archiving.move(ids[0], NOW))
        assert await _answers(database, ids, asked) == before
        assert await archiving.check(ids[0]) == len(drafts) // file_rows * file_rows
        # The newest row stays.
        assert len(await _stored(database)) == len(stored) - (len(drafts) - 1) // file_rows * file_rows
        await _all(archiving.restore(ids[0]))
        assert await _stored(database) == stored
        assert await _answers(database, ids, asked) == before
    database.archive.close()


@pytest.fixture
async def moved(database: Database, tmp_path: Path) -> AsyncIterator[tuple[int, list[TransactionRow], Archiving]]:
    """An account whose rows 1 to 6 of 9 were moved, in files of 2."""
    account_id, rows = await _filled(database, _PLENTY)
    archiving = _archiving(database, tmp_path, 2)
    assert await _all(archiving.move(account_id, rows[6].created_at)) == [2, 4, 6]
    yield account_id, rows, archiving
    database.archive.close()


async def _page(database: Database, account_id: int) -> list[TransactionRow]:
    async with database.snapshot() as snapshot:
        read = transaction_pages(snapshot.is_postgresql, [account_id], TransactionFilter(), Window(100))
        return (await snapshot.read(read))[account_id]


async def test_borders_are_not_read_while_it_is_certain_that_no_row_was_moved(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SimpleNamespace(now=1_000.0)
    monkeypatch.setattr(lease, "time", SimpleNamespace(monotonic=lambda: clock.now))
    account_id, rows = await _filled(database, _PLENTY)
    held = database.archive.lease
    assert held is not None

    async def sent_by_page() -> str:
        with watched(database) as sent:
            await _page(database, account_id)
        return " ".join(statement for statement, _ in sent)

    assert "ledger_archives" not in await sent_by_page()
    clock.now += lease.LEASE_SECONDS / 2
    assert "ledger_archives" not in await sent_by_page()
    database.archive = LedgerArchive(str(tmp_path), held)
    archiving = Archiving(database, ArchiveStore(str(tmp_path)), 2, lambda: NOW, first_move_seconds=0)
    assert await _all(archiving.move(account_id, rows[6].created_at)) == [2, 4, 6]
    # It looked when half of the first lease was over. A process that looks no more must still end it.
    clock.now += lease.LEASE_SECONDS
    assert "ledger_archives" in await sent_by_page()
    assert await _page(database, account_id) == rows[::-1]
    database.archive.close()


async def test_first_move_waits_until_no_process_takes_the_archive_for_empty(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    account_id, _ = await _filled(database, _PLENTY)
    database.archive = LedgerArchive(str(tmp_path))
    stored, waits = await _stored(database), []

    async def wait(seconds: float) -> None:
        assert await _stored(database) == stored
        waits.append(seconds)

    monkeypatch.setattr(archiving_module, "asyncio", SimpleNamespace(sleep=wait, to_thread=asyncio.to_thread))
    now = NOW
    archiving = Archiving(database, ArchiveStore(str(tmp_path)), 2, lambda: now)
    assert await anext(archiving.move(account_id, NOW))
    now += timedelta(seconds=lease.FIRST_MOVE_SECONDS)
    assert await _all(archiving.move(account_id, NOW)) == [4, 6, 8]
    assert waits == [lease.FIRST_MOVE_SECONDS]
    assert waits[0] > 2 * lease.LEASE_SECONDS
    database.archive.close()


async def test_the_newest_row_stays(database: Database, tmp_path: Path) -> None:
    account_id, rows = await _filled(database, _PLENTY[:4])
    archiving = _archiving(database, tmp_path, 2)
    assert await _all(archiving.move(account_id, NOW)) == [2]
    assert [row[1] for row in await _stored(database)] == [3, 4]
    assert await archiving.check(account_id) == 4
    assert await _page(database, account_id) == rows[::-1]
    database.archive.close()


async def test_the_guard_lets_only_proven_rows_go(
    database: Database, moved: tuple[int, list[TransactionRow], Archiving]
) -> None:
    account_id, rows, _ = moved
    other = (await _filled(database, _PLENTY))[0]
    stored = await _stored(database)
    for statement in (
        f"DELETE FROM transactions WHERE account_id = {account_id}",
        # A border alone is no proof, and a proof of another account is none.
        f"UPDATE accounts SET archived_seq = 8; DELETE FROM transactions WHERE account_id = {account_id} AND seq = 7",
        f"UPDATE accounts SET archived_seq = 2; DELETE FROM transactions WHERE account_id = {other} AND seq = 1",
        "UPDATE ledger_archives SET last_seq = 8",
        "DELETE FROM ledger_archives",
    ):
        with pytest.raises(exc.DBAPIError, match="append-only"):
            async with database.write() as connection:
                for part in statement.split("; "):
                    await connection.execute(text(part))
    assert await _stored(database) == stored
    # Rows that are back are guarded again, although they have a proof.
    await _all(moved[2].restore(account_id))
    with pytest.raises(exc.DBAPIError, match="DELETE refused"):
        async with database.write() as connection:
            await connection.execute(text(f"DELETE FROM transactions WHERE account_id = {account_id} AND seq = 1"))
    assert await _all(moved[2].move(account_id, rows[6].created_at)) == [2, 4, 6]


async def test_damage_is_an_error_and_never_fewer_rows(
    database: Database, tmp_path: Path, moved: tuple[int, list[TransactionRow], Archiving]
) -> None:
    account_id, rows, archiving = moved
    path = min(tmp_path.rglob("*.parquet"))  # noqa: ASYNC240
    content = path.read_bytes()
    path.write_bytes(content[:40] + bytes([content[40] ^ 1]) + content[41:])
    with pytest.raises(ArchiveDamaged, match="was changed"):
        await _page(database, account_id)
    path.unlink()
    for damaged in (_page(database, account_id), archiving.check(account_id), verify_account(database, account_id)):
        with pytest.raises(ArchiveDamaged, match=r"is missing|has no file for row 1"):
            await damaged
    with pytest.raises(ArchiveDamaged, match="is missing"):
        await _all(archiving.restore(account_id))
    path.write_bytes(content)
    assert await _page(database, account_id) == rows[::-1]


async def test_without_the_archive_only_live_rows_are_answered(
    database: Database, moved: tuple[int, list[TransactionRow], Archiving]
) -> None:
    account_id, rows, _ = moved
    database.archive.close()
    database.archive = LedgerArchive(None)
    with pytest.raises(ArchiveUnavailable, match="set archive_url"):
        await _page(database, account_id)
    async with database.snapshot() as snapshot:
        read = transaction_pages(snapshot.is_postgresql, [account_id], TransactionFilter(), Window(3))
        assert (await snapshot.read(read))[account_id] == rows[:5:-1]


class _Killed(BaseException):
    pass


@pytest.mark.parametrize("step", ["remove_rows", "restore_rows"])
async def test_a_move_that_is_killed_loses_nothing(
    database: Database, tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    account_id, rows = await _filled(database, _PLENTY)
    stored = await _stored(database)
    archiving = _archiving(database, tmp_path, 4)
    monkeypatch.setattr(archiving_module, "MOVED_AT_ONCE", 2)
    done: Callable[..., Any] = getattr(archiving_module, step)
    for turn in range(dose(2, 8)):
        calls = 0

        async def dies(*arguments: Any, turn: int = turn) -> Any:
            nonlocal calls
            calls += 1
            found = await done(*arguments)
            if calls > turn:
                raise _Killed
            return found

        monkeypatch.setattr(archiving_module, step, dies)
        with contextlib.suppress(_Killed):
            await _all(archiving.move(account_id, NOW))
            await _all(archiving.restore(account_id))
        assert await _page(database, account_id) == rows[::-1]
        assert (await verify_account(database, account_id)).rows == len(rows)
    monkeypatch.setattr(archiving_module, step, done)
    await _all(archiving.move(account_id, NOW))
    await _all(archiving.restore(account_id))
    assert await _stored(database) == stored
    database.archive.close()


async def test_two_moves_and_a_check_at_once_agree(
    database: Database, database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archiving_module, "MOVED_AT_ONCE", 1)
    account_id, rows = await _filled(database, _PLENTY)
    await _all(_archiving(database, tmp_path, 4).copy(account_id, NOW))
    other = Database(DatabaseOptions(database_url))
    one, two, third = [_archiving(each, tmp_path, 4) for each in (database, other, other)]
    await asyncio.gather(_all(one.move(account_id, NOW)), third.check(account_id), _all(two.move(account_id, NOW)))
    assert await third.check(account_id) == 8
    assert await _page(database, account_id) == rows[::-1]
    assert [row[1] for row in await _stored(database)] == [9]
    await other.close()
    database.archive.close()


async def test_verification_reads_across_the_border(desk: Desk, tmp_path: Path) -> None:
    database, ledger = desk.database, await filled(desk)
    assert await ledger.faults() == []
    stored = await _stored(database)
    archiving = _archiving(database, tmp_path, 6)
    files = await _all(archiving.move(ledger.busy, desk.now + timedelta(days=1)))
    assert files[:2] == [6, 12]
    assert len(await _stored(database)) == len(stored) - files[-1]
    assert await ledger.faults() == []
    async with database.write() as connection:
        await connection.execute(text("UPDATE charges SET billed_nanos = billed_nanos + 1 WHERE account_id = 1"))
        await connection.execute(text("UPDATE idempotency_keys SET balance_nanos = balance_nanos + 1"))
    kinds = {kind for kind, _ in await ledger.subjects()}
    assert kinds == {"charge", "idempotency"}
    database.archive.close()


async def test_a_read_without_an_answer_is_refused(
    database: Database, moved: tuple[int, list[TransactionRow], Archiving]
) -> None:
    account_id, rows, _ = moved
    count = text("SELECT count(*) FROM transactions")
    early, late = rows[2].created_at, rows[-1].created_at
    async with database.snapshot() as snapshot:
        on = snapshot.is_postgresql
        refused: list[Read[Any]] = [
            charge_pages(on, [account_id], ChargeFilter(opened_gte=early), Window(5)),
            charge_pages(on, [account_id], ChargeFilter(opened_lt=early), Window(5)),
            crossing_holds(on, [account_id], early),
        ]
        for read in refused:
            with pytest.raises(RowsArchived):
                await snapshot.read(read)
        await snapshot.read(charge_pages(on, [account_id], ChargeFilter(opened_gte=late), Window(5)))
        await snapshot.read(crossing_holds(on, [account_id], late))
        with pytest.raises(RowsArchived):
            await snapshot.rows(count)
    with pytest.raises(RowsArchived):
        await database.read(count)


async def test_a_write_notices_rows_that_move_while_it_reads(
    database: Database, moved: tuple[int, list[TransactionRow], Archiving], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not database.is_postgresql:
        pytest.skip("SQLite has one writer")
    account_id, rows, archiving = moved
    reading = WriteReader._rows
    calls = 0

    async def moves_then_reads(reader: WriteReader, wanted: Wanted) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            await _all(archiving.move(account_id, NOW))
        return await reading(reader, wanted)

    monkeypatch.setattr(WriteReader, "_rows", moves_then_reads)
    with pytest.raises(TransactionConflict, match="moved to the archive meanwhile"):
        async with database.write() as connection:
            await rows_between(connection, account_id, 2, 8)
    monkeypatch.undo()
    async with database.write() as connection:
        assert await rows_between(connection, account_id, 2, 8) == rows[1:8]


async def test_a_stream_from_before_the_border_is_refused(
    database: Database, moved: tuple[int, list[TransactionRow], Archiving]
) -> None:
    account_id, rows, _ = moved
    for position in (Position(0), Position(3, rows[2].hash), Position(6, rows[5].hash)):
        follower = await database.changes.follow(account_id, position)
        assert follower is not None
        with pytest.raises(AfterArchived):
            await follower.next()
        follower.close()
    follower = await database.changes.follow(account_id, Position(7, rows[6].hash))
    assert follower is not None
    assert [(await follower.next()).seq, (await follower.next()).seq] == [8, 9]
    follower.close()


async def test_programs_that_read_no_archive_stop_with_the_first_moved_row(
    database: Database, moved: tuple[int, list[TransactionRow], Archiving]
) -> None:
    oldest = text("SELECT oldest_program FROM schema_compatibility")
    assert await database.read_live(oldest, {}) == [("0019",)]
    await migrate(database)
    async with database.write() as connection:
        await connection.run_sync(require_program, "0009")
    assert await database.read_live(oldest, {}) == [("0019",)]


_MOVING = {"archive/moving.py", "archive/whole_ledger.py"}
_EXECUTING = _MOVING | {
    "account_copies.py",  # of accounts without archived rows
    "archive/parquet.py",  # on DuckDB
    "posting/sqlite.py",  # writes rows
    "stripe_credits.py",  # reads rows by a snapshot within the write, and no row elsewhere
    "writes.py",  # likewise
}


def test_reads_that_pass_by_the_borders_are_known() -> None:
    """A snapshot and `Database.read` look at every statement. These files run statements without them."""
    executing, live = set(), set()
    for path in Path("db").rglob("*.py"):
        source = path.read_text()
        names_rows = "tables.transactions" in source or "conditions import ROW" in source
        if names_rows and "connection.execute(" in source:
            executing.add(str(path.relative_to("db")))
        if "read_live(" in source or "WriteReader(" in source.replace("class WriteReader", ""):
            live.add(str(path.relative_to("db")))
    assert executing == _EXECUTING
    # Where accounts are needs no rows of theirs.
    assert live == _MOVING | {"database.py", "moved_accounts.py"}


async def test_a_cancelled_read_fetches_no_further_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other reads wait for the thread that it uses."""
    begun, go_on = threading.Event(), threading.Event()
    fetched: list[int] = []

    def fetch(_files: object, number: int) -> Path:
        fetched.append(number)
        begun.set()
        assert go_on.wait(10)
        return tmp_path

    monkeypatch.setattr(reading, "file_of_proof", lambda number: number)
    monkeypatch.setattr(reading._Files, "path_of", fetch)
    reads = reading.ArchiveReads(str(tmp_path))
    proofs: Any = range(5)
    try:
        read = asyncio.create_task(reads.run({}, lambda archived: archived._open(cast("Any", None), proofs)))
        await asyncio.to_thread(begun.wait, 10)
        read.cancel()
        with pytest.raises(asyncio.CancelledError):
            await read
        go_on.set()
        assert await reads.run({}, lambda _archived: "next") == "next"
        assert fetched == [0]
    finally:
        go_on.set()
        reads.close()
