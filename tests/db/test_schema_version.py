from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, event, exc, select, text
from structlog.testing import capture_logs

from db import (  # noqa: F401  the tables are of the metadata
    attribution_tables,
    company_tables,
    integrity_tables,
    limit_tables,
    stripe_tables,
    tables,
    volume_tables,
)
from db.company_details import CompanyDetailsRow, details_of, put_details
from db.database import Database, DatabaseOptions, sqlite_url
from db.errors import SchemaMismatch
from db.schema_version import Tables, _config, _migrations, check, migrate, newest, oldest_program
from db.stripe_credits import fail_refund
from db.stripe_customers import customers_to_ask, read_customers_of_account
from db.stripe_events import newest as newest_events
from db.stripe_events import waiting_for
from db.tables import metadata
from tests.ledger.desk import START
from tests.postgres import Postgres


async def test_migrations_create_exactly_the_tables(database: Database) -> None:
    def differences(connection: Connection) -> object:
        return compare_metadata(MigrationContext.configure(connection), metadata)

    async with database.engine.connect() as connection:
        assert await connection.run_sync(differences) == []


async def test_migrating_again_changes_nothing(database: Database) -> None:
    current = Tables(newest(), newest())
    assert await migrate(database) == (newest(), current)
    assert await check(database) == current


async def _migrate_to(database: Database, version: str) -> None:
    def upgrade(connection: Connection) -> None:
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, version)

    async with database.write() as connection:
        await connection.run_sync(upgrade)


@pytest.fixture
async def new_database(backend: str, tmp_path: Path, postgres_server: Postgres) -> AsyncIterator[Database]:
    """Without tables."""
    url = sqlite_url(tmp_path / "old.db")
    database = Database(
        DatabaseOptions(url if backend == "sqlite" else postgres_server.url(await postgres_server.new_database()))
    )
    yield database
    await database.close()


def _at(database: Database) -> object:
    """The start, as the columns of the database have it."""
    return START if database.is_postgresql else int(START.timestamp()) * 10**6


async def test_migration_keeps_the_time_of_expired_holds(new_database: Database) -> None:
    database = new_database
    await _migrate_to(database, "0001")
    at = _at(database)
    async with database.write() as connection:
        await connection.execute(text("INSERT INTO accounts (id, name, created_at) VALUES (1, 'One', :at)"), {"at": at})
        await connection.execute(
            text(
                "INSERT INTO holds (account_id, hold_seq, ref_type, ref_id, cycle, held_nanos, month, state,"
                " period_start, period_end, used_nanos, settled_at)"
                " VALUES (1, :seq, 'gpu_instance', :id, 1, 5, '2026-11', :state, :at, :at, 5, :at)"
            ),
            [{"seq": 1, "id": "a", "state": "expired", "at": at}, {"seq": 2, "id": "b", "state": "settled", "at": at}],
        )
    await migrate(database)
    rows = await database.read(select(tables.holds.c.expired_at).order_by(tables.holds.c.hold_seq))
    assert [row[0] for row in rows] == [START, None]


async def test_migration_infers_saved_cards_and_schedules_questions_to_stripe(new_database: Database) -> None:
    database = new_database
    await _migrate_to(database, "0005")
    at = _at(database)
    rows: dict[str, list[tuple[Any, ...]]] = {
        "accounts (id, name, created_at)": [(number, "One", at) for number in (1, 2, 3)],
        "stripe_customers (id, account_id, created_at)": [
            ("cus_1", 1, at),
            # Of two, only a payment tells which one has a card.
            ("cus_2a", 2, at),
            ("cus_2b", 2, at),
            ("cus_3", 3, at),
        ],
        "stripe_credits (id, account_id, is_refund, amount_nanos, created_at)": [
            ("cs_1", 1, False, 5, at),
            ("cs_2", 2, False, 5, at),
            ("in_3", 3, False, 5, at),
        ],
        "recharge_attempts (id, account_id, state, amount_nanos, threshold_nanos, customer, started_at, retry_at,"
        " ended_at, sends)": [("r_2", 2, "succeeded", 5, 5, "cus_2b", at, at, at, 1)],
    }
    async with database.write() as connection:
        for table, values in rows.items():
            names = ", ".join(f":{name}" for name in "abcdefghij"[: len(values[0])])
            given = [dict(zip("abcdefghij", one, strict=False)) for one in values]
            await connection.execute(text(f"INSERT INTO {table} VALUES ({names})"), given)
    await migrate(database)
    asked = await customers_to_ask(database, START, 10)
    assert [(one.id, one.has_card) for one in asked] == [
        ("cus_1", True),
        ("cus_2a", False),
        ("cus_2b", True),
        ("cus_3", False),
    ]
    assert [one.id for one in await read_customers_of_account(database, 2)] == ["cus_2b", "cus_2a"]


async def test_migration_parts_usage_and_cost_by_hour(new_database: Database) -> None:
    database = new_database
    await _migrate_to(database, "0011")
    at = _at(database)
    late = START + timedelta(hours=1, minutes=59, seconds=59)
    last = late if database.is_postgresql else int(late.timestamp()) * 10**6
    days = "(1, :day, 'm', 'chat', 'platform', 3, 20, 7, 1500, :by)"
    row = (
        "INSERT INTO transactions (account_id, seq, created_at, type, amount_nanos, balance_after_nanos, description,"
        " source, ref_type, ref_id, actor, hash)"
        " VALUES (1, :seq, :at, :type, :amount, 0, 'Row', :source, :ref_type, :ref_id, 'eco_x', :hash)"
    )
    rows: list[tuple[str, int, str, str | None, str | None, Any]] = [
        ("topup", 9_000, "stripe_webhook", "stripe_checkout_session", "cs_1", at),
        ("gpu_usage", -500, "metering", "gpu_instance", "g-1", at),
        ("gpu_usage", -70, "metering", "api_usage", "batch-1", at),
        ("gpu_usage", -30, "metering", "api_usage", "batch-2", at),
        ("refund", 200, "metering", "gpu_instance", "g-1", last),
        ("refund", 40, "stripe_webhook", "stripe_refund", "re_1", last),
        ("storage_billing", -11, "storage_worker", "volume", "v-1", last),
    ]
    columns = ("type", "amount", "source", "ref_type", "ref_id", "at")
    async with database.write() as connection:
        await connection.execute(text("INSERT INTO accounts (id, name, created_at) VALUES (1, 'One', :at)"), {"at": at})
        for day, fed_by in (("2026-10-31", "rollup"), ("2026-11-01", "requests")):
            given = date.fromisoformat(day) if database.is_postgresql else day
            await connection.execute(text(f"INSERT INTO usage_days VALUES {days}"), {"day": given, "by": fed_by})
        for seq, one in enumerate(rows, 1):
            given_row = dict(zip(columns, one, strict=True)) | {"seq": seq, "hash": bytes([seq]) * 32}
            await connection.execute(text(row), given_row)
    await migrate(database)
    first = int(START.timestamp()) // 3_600
    hours = await database.read(select(attribution_tables.usage_hours).order_by(attribution_tables.usage_hours.c.hour))
    assert [tuple(hour) for hour in hours] == [
        (1, hour, 24, "m", "chat", "platform", "", "", 0, 3, 20, 0, 7, 0, 0, 1500, imported_nanos)
        for hour, imported_nanos in ((first - 24, 1500), (first, 0))
    ]
    costs = await database.read(select(attribution_tables.cost_hours))
    assert sorted(tuple(cost) for cost in costs) == [
        (1, first, "api_usage", "", "", "", 100, 0),
        (1, first, "gpu_instance", "g-1", "", "", 500, 0),
        (1, first + 1, "gpu_instance", "g-1", "", "", 0, 200),
        (1, first + 1, "volume", "v-1", "", "", 11, 0),
    ]
    kept = await database.read(
        select(tables.transactions.c.seq, tables.transactions.c.hash, tables.transactions.c.api_key)
    )
    assert sorted((seq, bytes(digest), key) for seq, digest, key in kept) == [
        (seq, bytes([seq]) * 32, None) for seq in range(1, len(rows) + 1)
    ]


async def test_migration_adds_company_details(new_database: Database) -> None:
    """An account of version 0012 has none, and can be given some."""
    database = new_database
    await _migrate_to(database, "0012")
    account = "INSERT INTO accounts (id, name, created_at) VALUES (1, 'One', :at)"
    async with database.write() as connection:
        await connection.execute(text(account), {"at": _at(database)})
    await migrate(database)
    row = CompanyDetailsRow(1, "Größe & Co", "Straße 1\nBerlin", None, START)
    async with database.write() as connection:
        assert await details_of(connection, 1) is None
        for each in (row._replace(name="First"), row):
            await put_details(connection, each)
        assert await details_of(connection, 1) == row
    assert row.address_lines == ["Straße 1", "Berlin"]


async def test_migration_keeps_stripe_events_and_credits(new_database: Database) -> None:
    database = new_database
    await _migrate_to(database, "0006")
    at = _at(database)
    async with database.write() as connection:
        await connection.execute(text("INSERT INTO accounts (id, name, created_at) VALUES (1, 'One', :at)"), {"at": at})
        event = (
            "INSERT INTO stripe_events (number, id, type, created_at, received_at, state, reason, waits_for, payload,"
            " attempts, retry_at)"
            " VALUES (:n, :id, 'refund.created', :at, :at, :state, 'why', :waits, :payload, 2, :again)"
        )
        waiting = {"state": "waiting", "waits": "cus_9", "payload": "{}", "again": at}
        done = {"state": "ignored", "waits": None, "payload": None, "again": None}
        given = [{"n": 4, "id": "evt_1", "at": at, **waiting}, {"n": 7, "id": "evt_2", "at": at, **done}]
        await connection.execute(text(event), given)
        credit = (
            "INSERT INTO stripe_credits (id, account_id, is_refund, payment_intent, amount_nanos, created_at)"
            " VALUES ('re_1', 1, :yes, 'pi_1', 5, :at)"
        )
        await connection.execute(text(credit), {"at": at, "yes": True})
    await migrate(database)
    rows = await newest_events(database, None, 10)
    assert [(row.number, row.id, row.state, row.payload, row.attempts) for row in rows] == [
        (7, "evt_2", "ignored", None, 2),
        (4, "evt_1", "waiting", "{}", 2),
    ]
    assert await waiting_for(database, "cus_9") == ["evt_1"]
    async with database.write() as connection:
        failed = await fail_refund(connection, "re_1", START)
        assert failed is not None
        assert (failed.account_id, failed.is_refund, failed.amount_nanos, failed.failed_at) == (1, True, 5, START)


async def test_migration_folds_texts_and_restores_the_guards(new_database: Database) -> None:
    database = new_database
    await _migrate_to(database, "0008")
    at = _at(database)
    account = "INSERT INTO accounts (id, name, external_id, created_at) VALUES (:id, :name, :external, :at)"
    names = [(1, "Straße", "STRASSE"), (2, "Plain", None), (3, "Größe × 2", "İ")]
    row = (
        "INSERT INTO transactions (account_id, seq, created_at, type, amount_nanos, balance_after_nanos, description,"
        " source, ref_type, ref_id, actor, hash) VALUES (:account, :seq, :at, 'gpu_usage', -5, -5, :description,"
        " 'metering', 'gpu_instance', :ref, 'tests', :hash)"
    )
    # In several batches: of three rows one has nothing to fold.
    texts = [("Rack in İstanbul", "132"), ("GPU × 1", "ＧＰＵ"), ("Plain", "Plain")]
    given: list[dict[str, Any]] = [
        {"account": account_id, "seq": seq, "at": at, "description": description, "ref": ref, "hash": bytes(32)}
        for account_id in (1, 3)
        for seq in range(1, 1_501)
        for description, ref in [texts[seq % 3]]
    ]
    async with database.write() as connection:
        for number, name, external in names:
            values = {"id": number, "name": name, "external": external, "at": at}
            await connection.execute(text(account), values)
        await connection.execute(text(row), given)
    await migrate(database)
    found = await database.read(text("SELECT id, name_folded, external_id_folded FROM accounts ORDER BY id"))
    assert [tuple(one) for one in found] == [(1, "strasse", None), (2, None, None), (3, "grösse × 2", "i")]
    found = await database.read(
        text("SELECT account_id, seq, description_folded, ref_id_folded FROM transactions ORDER BY account_id, seq")
    )
    folded = [("rack in istanbul", None), (None, "gpu"), (None, None)]
    assert [tuple(one) for one in found] == [(one["account"], one["seq"], *folded[one["seq"] % 3]) for one in given]
    for statement in ("UPDATE transactions SET description_folded = NULL", "DELETE FROM transactions"):
        with pytest.raises(exc.DBAPIError, match="append-only"):
            async with database.write() as connection:
                await connection.execute(text(statement))


async def test_migration_folds_the_names_of_imported_accounts(new_database: Database) -> None:
    database = new_database
    await _migrate_to(database, "0016")
    account = "INSERT INTO accounts (id, name, external_id, created_at) VALUES (:id, :name, :external, :at)"
    names = [(1, "STRASSE", "STRASSE"), (2, "MÜLLER", "MÜLLER"), (3, "größe", "größe"), (4, "Ж", None)]
    async with database.write() as connection:
        for number, name, external in names:
            values = {"id": number, "name": name, "external": external, "at": _at(database)}
            await connection.execute(text(account), values)
    await migrate(database)
    found = await database.read(text("SELECT name_folded, external_id_folded FROM accounts ORDER BY id"))
    assert [tuple(one) for one in found] == [(None, None), ("müller", "müller"), ("grösse", "grösse"), (None, None)]


async def test_others_read_while_a_migration_waits_for_a_table(new_database: Database) -> None:
    if not new_database.is_postgresql:
        pytest.skip("SQLite's readers never wait")
    await _migrate_to(new_database, "0008")
    read = text("SELECT count(*) FROM transactions")
    with capture_logs() as logs:
        async with new_database.engine.connect() as report:
            await report.execute(text("SELECT count(*) FROM transactions, accounts"))
            migrating = asyncio.create_task(migrate(new_database))
            while not logs:
                # Behind a change of the table that waits as long as it takes, this would wait as well.
                await asyncio.wait_for(new_database.read_live(read, {}), 8)
            assert not migrating.done()
        before, found = await migrating
    assert (before, found.version) == ("0008", newest())
    assert "a table is locked by another transaction: the migration tries again" in {line["event"] for line in logs}


async def _is(database: Database, condition: str) -> bool:
    [(found,)] = await database.read(text(f"SELECT {condition}"))
    return bool(found)


async def _build_beside_writers(database: Database) -> None:
    """The build waits for a transaction that has written to the table. Others write meanwhile."""
    waits = "SELECT FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX CONC%' AND wait_event_type = 'Lock'"
    write = text("LOCK TABLE monthly_figures IN ROW EXCLUSIVE MODE NOWAIT")
    async with database.write() as first:
        await first.execute(write)
        building = asyncio.create_task(migrate(database))
        for _ in range(500):
            if await _is(database, f"EXISTS ({waits})"):
                break
            await asyncio.sleep(0.01)
        async with database.write() as second:
            await second.execute(write)
        assert not building.done()
    await building


async def test_an_index_is_built_while_others_write(new_database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that was left half-built is built anew."""
    database = new_database
    indexes = {"ix_tests": "monthly_figures (month, account_id)"}
    monkeypatch.setattr(_migrations()[-1].module, "CONCURRENT_INDEXES", indexes, raising=False)
    await _migrate_to(database, _migrations()[-2].revision)
    if not database.is_postgresql:
        await migrate(database)
        assert await _is(database, "EXISTS (SELECT 1 FROM sqlite_master WHERE name = 'ix_tests')")
        return
    await _build_beside_writers(database)
    is_valid = "(SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass('ix_tests'))"
    assert await _is(database, is_valid)
    spoil = "UPDATE pg_index SET indisvalid = false WHERE indexrelid = to_regclass('ix_tests')"
    async with database.write() as connection:
        await connection.execute(text(spoil))
    await migrate(database)
    assert await _is(database, is_valid)


_GROWING: Final = {
    "transactions", "charges", "holds", "idempotency_keys", "usage_requests", "usage_days", "monthly_figures",
    "authorizations", "request_details", "usage_hours", "cost_hours", "usage_prices", "audit_entries",
    "recharge_attempts", "stripe_events", "stripe_credits", "idempotent_acts", "api_keys",
}  # fmt: skip
"""Tables that may be large when a migration comes."""
_BEFORE_THE_RULE: Final = [
    ("0014", "ix_api_keys_lasting"),
    ("0014", "ix_api_keys_session_of"),
    ("0014", "ix_recharge_attempts_payment_intent"),
]


async def test_migrations_build_no_index_on_a_table_in_use(new_database: Database) -> None:
    """CONTRIBUTING.md, "Adding a migration"."""
    database = new_database
    if not database.is_postgresql:
        pytest.skip("SQLite has one writer")
    found: list[tuple[str, str]] = []
    in_use: set[str] = set()
    revision = ""

    def note(_connection: Any, _cursor: Any, statement: str, *_others: Any) -> None:
        made = re.match(r"\s*CREATE (?:UNIQUE )?INDEX (\w+) ON (\w+)", statement, re.IGNORECASE)
        if made and made[2] in in_use:
            found.append((revision, made[1]))

    event.listen(database.engine.sync_engine, "before_cursor_execute", note)
    for script in _migrations()[12:]:
        revision = script.revision
        await _migrate_to(database, revision)
        in_use |= _GROWING & {row[0] for row in await database.read(text("SELECT relname FROM pg_class"))}
    assert found == _BEFORE_THE_RULE


async def test_empty_database_error_names_the_migrate_command(tmp_path: Path) -> None:
    database = Database(DatabaseOptions(sqlite_url(tmp_path / "empty.db")))
    with pytest.raises(SchemaMismatch, match="run `billing-gateway migrate`"):
        await check(database)
    await database.close()


async def test_older_tables_error_names_the_migrate_command(database: Database) -> None:
    await _set_version(database, "0001", "0001")
    with pytest.raises(SchemaMismatch, match=f"of version 0001, this program needs {newest()}: run `billing-gateway"):
        await check(database)


async def _set_version(database: Database, version: str, oldest_program: str) -> None:
    """As a program of that version leaves them."""
    async with database.write() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = :v"), {"v": version})
        await connection.execute(text("UPDATE schema_compatibility SET oldest_program = :o"), {"o": oldest_program})


async def test_newer_tables_marked_as_compatible_are_accepted(database: Database) -> None:
    for oldest in (newest(), oldest_program()):
        await _set_version(database, "9999", oldest)
        found = await check(database)
        assert found == Tables("9999", newest())
        assert str(found) == (
            f"the database's tables are of version 9999, newer than this program's {newest()}, which can work on them"
        )
        assert await migrate(database) == ("9999", found)
        assert await check(database) == found


async def test_newer_tables_marked_as_incompatible_are_refused(database: Database) -> None:
    await _set_version(database, "9999", "9998")
    message = f"of version 9999, newer than this program's {newest()}, which cannot work on them: update the program"
    for look in (check, migrate):
        with pytest.raises(SchemaMismatch, match=message):
            await look(database)


@pytest.mark.parametrize(
    "statements",
    [
        ["DROP TABLE schema_compatibility", "UPDATE alembic_version SET version_num = 'a1b2c3'"],
        ["INSERT INTO alembic_version VALUES ('0001')"],
        ["DROP TABLE alembic_version", "CREATE TABLE alembic_version (other varchar(32))"],
    ],
    ids=["unknown version", "two versions", "no version"],
)
async def test_tables_of_another_program_are_refused(database: Database, statements: list[str]) -> None:
    async with database.write() as connection:
        for statement in statements:
            await connection.execute(text(statement))
    for look in (check, migrate):
        with pytest.raises(SchemaMismatch, match="tables are not those of this program"):
            await look(database)


async def test_foreign_table_of_the_same_name_stops_the_migration(
    backend: str, tmp_path: Path, postgres_server: Postgres
) -> None:
    url = sqlite_url(tmp_path / "other.db")
    if backend == "postgresql":
        url = postgres_server.url(await postgres_server.new_database())
    database = Database(DatabaseOptions(url))
    async with database.write() as connection:
        await connection.execute(text("CREATE TABLE accounts (id integer)"))
    with pytest.raises(SchemaMismatch, match="tables are not those of this program"):
        await migrate(database)
    assert await database.read(text("SELECT count(*) FROM accounts")) == [(0,)]
    await database.close()


async def test_migration_stores_the_oldest_compatible_program(database: Database) -> None:
    marked = await database.read(select(tables.schema_compatibility.c.oldest_program))
    assert [row[0] for row in marked] == [oldest_program()]


def test_each_migration_names_the_oldest_compatible_program() -> None:
    """Those since the mark was made; CONTRIBUTING.md says how to choose it."""
    versions = [script.revision for script in _migrations()]
    for script in _migrations()[versions.index("0008") :]:
        named = script.module.OLDEST_PROGRAM
        assert versions.index("0008") <= versions.index(named) <= versions.index(script.revision), script.revision
