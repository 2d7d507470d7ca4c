"""Parts that all tests share: both databases, migrated and empty. And how tests are shared out and reported."""

from __future__ import annotations

import gc
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import structlog

from db.database import Database, DatabaseOptions, sqlite_url
from db.schema_version import migrate
from tests import command_processes, compiled_statements, pgbouncer, postgres, replica
from tests.copies import Copies, Source
from tests.doses import IS_NIGHTLY
from tests.module_database import ModuleDatabase
from tests.postgres import Postgres
from tests.scheduling import FileScheduling

PATIENCE_SECONDS = 60
"""What waits for a limit has one of its own: many writers at once on a busy machine wait longer than those of users."""
COUNTED = "counted"
"""The property of a test with what it counted: printed in the end, whichever process ran it."""

# structlog's own format of an exception, in colours and with all local variables, takes seconds.
structlog.configure(
    processors=[
        *structlog.get_config()["processors"][:-1],
        structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
    ]
)

# Tests do not measure speed: on a busy machine, or on mutants, an example may take its time.
hypothesis.settings.register_profile("unhurried", deadline=None)
hypothesis.settings.load_profile("unhurried")


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> FileScheduling:
    return FileScheduling(config, log)


# After `-k` and `-m`, which may have chosen one of the two already.
@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """By day, tests of what is above the database run on one of the two."""
    if IS_NIGHTLY:
        return
    marked = {item.nodeid for item in items if item.get_closest_marker("one_database")}
    second = {one for one in marked if "[postgresql" in one and one.replace("[postgresql", "[sqlite") in marked}
    config.hook.pytest_deselected(items=[item for item in items if item.nodeid in second])
    items[:] = [item for item in items if item.nodeid not in second]


def pytest_collection_finish() -> None:
    # What is imported stays: without this, each full collection looks through all of it.
    gc.collect()
    gc.freeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        for name, value in report.user_properties:
            if name == COUNTED and report.when == "call":
                terminalreporter.write_line(str(value))


@pytest.fixture(scope="session", autouse=True)
def forked_commands() -> Iterator[None]:
    with command_processes.forked():
        yield


@pytest.fixture(scope="session", autouse=True)
def shared_statements() -> Iterator[None]:
    with compiled_statements.shared():
        yield


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Postgres]:
    with (
        postgres.started(postgres.QUICK) as server,
        pgbouncer.before_all(server.url("postgres")),
        replica.of_all(server),
    ):
        yield server


@pytest.fixture(scope="session")
async def postgres_template(postgres_server: Postgres) -> str:
    name = await postgres_server.new_database()
    database = Database(DatabaseOptions(postgres_server.url(name)))
    await migrate(database)
    await database.close()
    return name


@pytest.fixture(scope="session")
async def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("template") / "billing.db"
    database = Database(DatabaseOptions(sqlite_url(path)))
    await migrate(database)
    await database.close()
    return path


@pytest.fixture(params=["sqlite", "postgresql"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
async def lent_database(postgres_server: Postgres, postgres_template: str) -> AsyncIterator[ModuleDatabase]:
    database = ModuleDatabase(postgres_server, postgres_template)
    yield database
    await database.drop()


@pytest.fixture(scope="module")
async def module_database(lent_database: ModuleDatabase) -> AsyncIterator[ModuleDatabase]:
    yield lent_database
    await lent_database.end_module()


@pytest.fixture
async def postgresql_url(module_database: ModuleDatabase) -> AsyncIterator[str]:
    yield await module_database.lend()
    await module_database.take_back()


@pytest.fixture
def sqlite_file_url(sqlite_template: Path, tmp_path: Path) -> str:
    path = tmp_path / "billing.db"
    shutil.copy(sqlite_template, path)
    return sqlite_url(path)


@pytest.fixture
def database_url(backend: str, request: pytest.FixtureRequest) -> str:
    """The URL of a migrated, empty database, once on SQLite and once on PostgreSQL."""
    return str(request.getfixturevalue("sqlite_file_url" if backend == "sqlite" else "postgresql_url"))


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(
        DatabaseOptions(
            database_url,
            statement_timeout_seconds=PATIENCE_SECONDS,
            lock_timeout_seconds=PATIENCE_SECONDS,
            silence_seconds=PATIENCE_SECONDS,
        )
    )
    yield database
    await database.close()


@pytest.fixture
def empty_database(backend: str, request: pytest.FixtureRequest) -> Source:
    if backend == "sqlite":
        return Path(request.getfixturevalue("sqlite_template"))
    return request.getfixturevalue("postgres_server"), str(request.getfixturevalue("postgres_template"))


@pytest.fixture
async def copies(empty_database: Source, tmp_path: Path) -> AsyncIterator[Copies]:
    """For tests that want a database filled alike, at less than it takes to fill it."""
    copies = Copies(empty_database, tmp_path)
    yield copies
    await copies.drop()
