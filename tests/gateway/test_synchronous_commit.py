"""Commits that wait for a synchronous standby which is away: nothing is acknowledged that a failover would lose."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest

from db.connections.servers import _END_BACKENDS
from gateway.positions import POSITION
from tests.gateway.mutations.office import Office, document, opened
from tests.pgbouncer import not_pooled
from tests.postgres import Postgres

pytestmark = not_pooled

_WAITING: Final = "FROM pg_stat_activity WHERE wait_event = 'SyncRep'"


@pytest.fixture
async def office(postgresql_url: str) -> AsyncIterator[Office]:
    async with opened(postgresql_url, operation_timeout_seconds=2) as office:
        yield office


async def _comes(server: Postgres, condition: str) -> None:
    for _ in range(1000):
        if await server.fetch_value(condition):
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never came")


@asynccontextmanager
async def _no_standby_answers(server: Postgres) -> AsyncIterator[None]:
    await server.execute("ALTER SYSTEM SET synchronous_standby_names = 'away'")
    await server.execute("SELECT pg_reload_conf()")
    try:
        await _comes(server, "SELECT current_setting('synchronous_standby_names') = 'away'")
        yield
    finally:
        # No commit waits for it any more, so this one must not wait either.
        await server.execute("ALTER SYSTEM RESET synchronous_standby_names")
        await server.execute("SELECT pg_reload_conf()")


async def _sent(office: Office, name: str, given: dict[str, Any]) -> tuple[str | None, str | None, Any]:
    """Returns the code and Retry-After of the answer, and whether it is that of the first call."""
    headers = {"Authorization": f"Bearer {office.right_key(name)}", POSITION: "0-0"}
    body = {"query": document(name, "replayed"), "variables": {"input": given}}
    async with office.session.post(f"{office.url}/graphql", json=body, headers=headers) as response:
        answer = await response.json()
        code = answer["errors"][0]["extensions"]["code"] if "errors" in answer else None
        replayed = None if code else answer["data"][name]["replayed"]
        return code, response.headers.get("Retry-After"), replayed


async def test_a_repeated_call_is_not_acknowledged_before_the_standby_has_it(
    office: Office, postgres_server: Postgres
) -> None:
    account = await office.account()
    grant = {"accountId": account, "amount": "1.00", "promotion": "summer", "idempotencyKey": "grant"}
    new = {"name": "New", "idempotencyKey": "new"}
    calls = [("grantBonus", grant), ("createAccount", new)]
    async with _no_standby_answers(postgres_server):
        first = asyncio.gather(*(_sent(office, *call) for call in calls))
        await _comes(postgres_server, f"SELECT count(*) = 2 {_WAITING}")
        # The gateway leaves them alone, after a time without an answer of the server ...
        pids = await postgres_server.fetch_value(f"SELECT array_agg(pid) {_WAITING}")
        ended = f"SELECT count(*) FROM ({_END_BACKENDS}) AS ended"
        for number, value in enumerate((f"'{set(pids)}'::integer[]", "'{0,0}'::float8[]", "pg_backend_pid()"), 1):
            ended = ended.replace(f"${number}", value)
        await postgres_server.execute(ended)
        assert await postgres_server.fetch_value(f"SELECT count(*) {_WAITING}") == 2
        # ... but whoever administrates the server may end them: then their rows are there for all to see.
        await postgres_server.execute(f"SELECT pg_terminate_backend(pid) {_WAITING}")
        assert await first == [("UNAVAILABLE", "1", None)] * 2
        assert await asyncio.gather(*(_sent(office, *call) for call in calls)) == [("UNAVAILABLE", "1", None)] * 2
    assert await asyncio.gather(*(_sent(office, *call) for call in calls)) == [(None, None, True)] * 2
