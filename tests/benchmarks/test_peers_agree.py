"""The peers that the gateway is measured beside answer as it does: nothing is timed here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from benchmarks import agreement
from benchmarks.__main__ import SQLITE_OPERATIONS
from benchmarks.filling import Filled, copy_to_sqlite, fill
from benchmarks.operations import OPERATIONS, Asked, Operation
from benchmarks.peers import handwritten, sql, tutorial
from benchmarks.servers import KINDS, ServerKind
from gateway.app import build_app
from gateway.services import build_services
from gateway.settings import Settings
from tests.postgres import Postgres

ACCOUNTS = 5
ASKED = 4
ON_SQLITE = [operation for operation in OPERATIONS if operation.name in SQLITE_OPERATIONS]
_KINDS = {kind.name: kind for kind in KINDS}


async def _gateway(url: str) -> web.Application:
    return build_app(build_services(Settings.model_validate({"database_url": url, "log_level": "error"})))


Build = Callable[[str], Awaitable[web.Application]]
_BUILDS: dict[str, Build] = {
    "gateway": _gateway,
    "tutorial": tutorial.build,
    "handwritten": handwritten.build,
    "sql": sql.build,
}


@pytest.fixture(scope="module")
async def on_postgresql(postgres_server: Postgres) -> Filled:
    return await fill(
        postgres_server.url(await postgres_server.new_database()), rows=ACCOUNTS * 1_000, accounts=ACCOUNTS
    )


@pytest.fixture(scope="module")
async def on_sqlite(on_postgresql: Filled, tmp_path_factory: pytest.TempPathFactory) -> Filled:
    path: Path = tmp_path_factory.mktemp("benchmarks") / "billing.db"
    return await copy_to_sqlite(on_postgresql, path)


async def _answer(
    client: TestClient[Any, Any], kind: ServerKind, operation: Operation, asked: Asked, filled: Filled
) -> Any:
    path = f"/{operation.name}" if kind.by_path else "/graphql"
    key = filled.operator_key if operation.of_many else filled.account_keys[asked.account - 1]
    body = kind.body(operation, asked, filled, kind.make_cursor(0))
    async with client.post(path, json=body, headers={"Authorization": f"Bearer {key}"}) as response:
        assert response.status == 200
        answer = await response.json()
    assert "errors" not in answer
    return answer["data"]


async def _compare(name: str, operation: Operation, filled: Filled) -> None:
    ours, theirs = _KINDS["gateway"], _KINDS[name]
    async with (
        TestClient(TestServer(await _BUILDS["gateway"](filled.url))) as gateway,
        TestClient(TestServer(await _BUILDS[name](filled.url))) as peer,
    ):
        for asked in operation.asked(filled)[:ASKED]:
            mine = await _answer(gateway, ours, operation, asked, filled)
            other = await _answer(peer, theirs, operation, asked, filled)
            if theirs.exact:
                assert other == mine
            else:
                compared = agreement.by_value(mine, other, name)
                assert compared.alike > compared.left_out


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
@pytest.mark.parametrize("name", ["handwritten", "sql", "tutorial"])
async def test_peers_answer_as_the_gateway_does(name: str, operation: Operation, on_postgresql: Filled) -> None:
    await _compare(name, operation, on_postgresql)


@pytest.mark.parametrize("operation", ON_SQLITE, ids=lambda operation: operation.name)
@pytest.mark.parametrize("name", ["handwritten", "tutorial"])
async def test_peers_answer_as_the_gateway_does_on_sqlite(name: str, operation: Operation, on_sqlite: Filled) -> None:
    await _compare(name, operation, on_sqlite)


async def test_the_filled_ledger_holds_together(on_postgresql: Filled) -> None:
    connection = await asyncpg.connect(on_postgresql.url)
    try:
        rows = await connection.fetch(
            "SELECT id, balance_nanos, head_seq, sum(amount_nanos), count(*), max(seq) FROM accounts"
            " JOIN transactions ON account_id = id GROUP BY id"
        )
        spent = await connection.fetchval("SELECT sum(gross_nanos - refunded_nanos) FROM monthly_figures")
        moved = await connection.fetchval(
            "SELECT -sum(amount_nanos) FROM transactions WHERE source IN ('metering', 'storage_worker')"
        )
    finally:
        await connection.close()
    assert [(row[0], row[1], row[2], row[2]) for row in rows] == [(row[0], row[3], row[4], row[5]) for row in rows]
    assert len(rows) == ACCOUNTS
    assert spent == moved


def test_another_value_is_a_disagreement() -> None:
    ours = {"account": {"id": "acct_1", "name": "A", "balance": "1.50", "months": [{"month": "2026-11"}]}}
    theirs = {"account": {"id": "1", "name": "A", "balance": "1500000000", "months": {"nodes": [{"month": "2026-11"}]}}}
    compared = agreement.by_value(ours, theirs, "postgraphile")
    assert (compared.alike, compared.left_out) == (3, 1)
    theirs["account"]["balance"] = "1500000001"
    with pytest.raises(agreement.Disagreement, match=r"data\.account\.balance is 1\.50 here"):
        agreement.by_value(ours, theirs, "postgraphile")
    with pytest.raises(agreement.Disagreement):
        agreement.to_the_letter(ours, {"account": {"id": "acct_1"}})
