"""Every threat of docs/security.md: its probe is sent to a gateway, or the test that holds it is there."""

from __future__ import annotations

import importlib
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import exc, select, text

from db import tables
from db.database import Database, DatabaseOptions, sqlite_url
from tests.gateway.probed_gateway import SECRETS, Names, ProbedGateway, fill, probed_gateway
from tests.gateway.threats.page import GROUPS
from tests.gateway.threats.probes import UNKNOWN_KEY, Held, Probe, query, rows
from tests.postgres import Postgres

ROOT = Path(__file__).parents[2]
PROBES = [probe for group in GROUPS for probe in group.probes()]
HELD = [held for group in GROUPS for held in group.held()]


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def threatened_url(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    if request.param == "postgresql":
        return str(request.getfixturevalue("threatened_postgresql_url"))
    template: Path = request.getfixturevalue("sqlite_template")
    return sqlite_url(Path(shutil.copy(template, tmp_path_factory.mktemp("threatened"))))


@pytest.fixture(scope="module")
async def threatened_postgresql_url(postgres_server: Postgres, postgres_template: str) -> str:
    return postgres_server.url(await postgres_server.new_database(postgres_template))


@pytest.fixture(scope="module")
async def names(threatened_url: str) -> Names:
    return await fill(threatened_url)


@pytest.fixture(scope="module")
def gateway(threatened_url: str, names: Names, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProbedGateway]:
    with probed_gateway(threatened_url, names, tmp_path_factory.mktemp("probed")) as gateway:
        yield gateway


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.name)
def test_threat(gateway: ProbedGateway, probe: Probe) -> None:
    expected, sent = probe.expected, probe.sent.encode(gateway.names)
    answer = gateway.send(sent)
    assert (answer.status, answer.code) == (expected.status, expected.code), answer.whole
    for name, value in expected.headers:
        assert answer.headers[name.lower()] == value.replace("<mine>", gateway.names["mine"])
    assert [name for name in expected.without if name.lower() in answer.headers] == []
    assert (expected.body or "").encode() in answer.body
    assert len(re.findall(rb"HTTP/1\.[01] \d", answer.whole)) == 1
    assert re.fullmatch("[0-9a-f]{16}", answer.headers["x-request-id"])
    log = gateway.new_log()
    assert [secret for secret in gateway.secrets() if secret in log or secret.encode() in answer.whole] == []
    assert {json.loads(line)["level"] for line in log.splitlines()} <= {"info", "warning"}


def test_unknown_revoked_and_expired_keys_get_the_same_answer(gateway: ProbedGateway) -> None:
    sent = [rows(key=key).encode(gateway.names) for key in (UNKNOWN_KEY, "<revoked>", "<expired>")]
    assert len({gateway.send(one).message for one in sent}) == 1


def test_foreign_and_unknown_accounts_get_the_same_answer(gateway: ProbedGateway) -> None:
    for account in ("<theirs>", "acct_999"):
        asked = query("query ($id: ID) { account(id: $id) { id } }", id=account)
        answers = [gateway.send(one.encode(gateway.names)) for one in (asked, rows(f"account={account}"))]
        assert [answer.message.replace(gateway.names["theirs"], "acct_999") for answer in answers] == [
            "there is no such account"
        ] * 2


async def test_the_database_stores_no_secret(threatened_url: str, names: Names) -> None:
    database = Database(DatabaseOptions(threatened_url))
    try:
        stored = [str(row) for table in tables.metadata.sorted_tables for row in await database.read(select(table))]
    finally:
        await database.close()
    assert len(stored) > len(SECRETS)
    assert [name for name in SECRETS if any(names[name] in row for row in stored)] == []


async def test_the_ledger_is_append_only(threatened_url: str, names: Names) -> None:
    database = Database(DatabaseOptions(threatened_url))
    try:
        for statement in ("UPDATE transactions SET amount_nanos = 1", "DELETE FROM transactions"):
            with pytest.raises(exc.DBAPIError, match="append-only"):
                async with database.write() as connection:
                    await connection.execute(text(statement))
    finally:
        await database.close()


@pytest.mark.parametrize("held", HELD, ids=lambda held: held.test.rpartition("::")[2])
def test_the_test_of_a_threat_exists(held: Held) -> None:
    path, function = held.test.split("::")
    module = importlib.import_module(path.removesuffix(".py").replace("/", "."))
    assert function.startswith("test_")
    assert callable(getattr(module, function))


def _documented() -> dict[str, list[str]]:
    parts = re.split(r"^## (.+)\n", (ROOT / "docs/security.md").read_text(), flags=re.MULTILINE)
    tables_by_heading = {}
    for heading, section in zip(parts[1::2], parts[2::2], strict=True):
        lines = [line for line in section.splitlines() if line.startswith("|")]
        if lines:
            assert lines[:2] == ["| threat | probe | answer | test |", "| --- | --- | --- | --- |"]
            tables_by_heading[heading] = lines[2:]
    return tables_by_heading


def test_the_page_has_every_threat_as_it_is_probed() -> None:
    assert _documented() == {group.heading: [threat.row() for threat in group.threats] for group in GROUPS}


def test_every_probe_has_a_name_of_its_own() -> None:
    assert len({probe.name for probe in PROBES}) == len(PROBES)
