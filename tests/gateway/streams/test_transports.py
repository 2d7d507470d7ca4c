"""Both transports over the real ledger: rows as they are posted, going on from a cursor, and writes that are not
broken off."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import asyncpg
import pytest

from access.keys import KeyScope, NewKey
from gateway.streams.subscription import answers
from ledger.commands import Entry, Posting, Writer
from ledger.kinds import TransactionType, WriterKind
from tests.gateway.streams.conftest import Gateway, Serve
from tests.gateway.streams.event_client import EventClient, requested
from tests.gateway.streams.socket_client import SocketClient, connected

pytestmark = pytest.mark.one_database

CHANGES = "subscription ($after: String) { balanceChanged(after: $after) { cursor balance } }"
GRANT = "mutation ($input: GrantBonusInput!) { grantBonus(input: $input) { balance } }"


@pytest.fixture
async def gateway(serve: Serve) -> Gateway:
    return await serve(answers=answers)


async def _post(gateway: Gateway, *dollars: int) -> None:
    writer = Writer(WriterKind.OPERATOR, "tests")
    for amount in dollars:
        entry = Entry(TransactionType.ADMIN_CORRECTION, amount * 10**9, "Given")
        await gateway.services.ledger.post(Posting(gateway.account_id, writer, [entry], "post"))


async def test_rows_come_over_both_transports_with_the_same_cursors(gateway: Gateway) -> None:
    await _post(gateway, 1)
    async with connected(gateway) as socket, requested(gateway, CHANGES) as client:
        await socket.subscribe("a", CHANGES)
        got: list[tuple[Any, Any]] = []
        for amount in (0, 10, 100):
            if amount:
                await _post(gateway, amount)
            got.append(((await socket.received())["payload"], await client.next()))
        for payload, (event_id, data) in got:
            assert data == payload
            assert event_id == payload["data"]["balanceChanged"]["cursor"]
        balances = [payload["data"]["balanceChanged"]["balance"] for payload, _ in got]
        assert balances == ["1.00", "11.00", "111.00"]
    assert gateway.metric("billing_event_delay_seconds_count") == 4


async def test_streams_go_on_from_a_cursor_and_the_last_event_id_beats_the_variable(gateway: Gateway) -> None:
    await _post(gateway, 1, 2, 3, 4)
    async with requested(gateway, CHANGES) as client:
        newest, _ = await client.next()
    async with connected(gateway) as socket:
        await socket.subscribe("a", "{ account { transactions(last: 1) { edges { cursor } } } }")
        answer = await socket.received()
        oldest = answer["payload"]["data"]["account"]["transactions"]["edges"][0]["cursor"]
        assert await socket.received() == {"id": "a", "type": "complete"}
        await socket.subscribe("a", CHANGES, variables={"after": oldest})
        replayed = [(await socket.received())["payload"]["data"]["balanceChanged"]["balance"] for _ in range(3)]
        assert replayed == ["3.00", "6.00", "10.00"]
    assert newest is not None
    async with requested(gateway, CHANGES, variables={"after": oldest}, headers={"Last-Event-ID": newest}) as client:
        await _post(gateway, 5)
        _, data = await client.next()
        assert data["data"]["balanceChanged"]["balance"] == "15.00"


@pytest.mark.parametrize("last_event_id", ["nonsense", "é", "a" * 4_000])
async def test_a_last_event_id_that_is_no_cursor_is_told_in_the_stream(gateway: Gateway, last_event_id: str) -> None:
    async with requested(gateway, CHANGES, headers={"Last-Event-ID": last_event_id}) as client:
        _, data = await client.next()
        assert [one["extensions"]["code"] for one in data["errors"]] == ["BAD_CURSOR"]


WIDE = (
    "subscription ($after: String) { balanceChanged(after: $after) { cursor transaction { id "
    + " ".join(f"d{number}: description" for number in range(14))
    + " } } }"
)
MANY_ROWS = 3_000
"""Whose events, of 7,300 bytes, fit into no buffer on the way."""


async def _next_of(client: SocketClient | EventClient) -> Any:
    """The payload of the next event, or its error's extensions."""
    if isinstance(client, EventClient):
        _, payload = await client.next()
        return payload["data"]["balanceChanged"] if "data" in payload else payload["errors"][0]["extensions"]
    message = await client.received()
    if message["type"] == "error":
        return message["payload"][0]["extensions"]
    return message["payload"]["data"]["balanceChanged"]


async def _post_wide(gateway: Gateway, rows: int) -> None:
    writer = Writer(WriterKind.OPERATOR, "tests")
    entry = Entry(TransactionType.ADMIN_CORRECTION, 1, "x" * 500)
    await gateway.services.ledger.post(*(Posting(gateway.account_id, writer, [entry], "post") for _ in range(rows)))


@pytest.mark.parametrize("kind", ["socket", "event stream"])
async def test_one_that_takes_nothing_is_told_where_to_go_on_and_others_miss_nothing(
    gateway: Gateway, kind: str
) -> None:
    await _post_wide(gateway, 1)
    async with (
        connected(gateway) as socket,
        requested(gateway, WIDE, limit=2**20) as stream,
        connected(gateway) as quick,
    ):
        slow: SocketClient | EventClient = socket if kind == "socket" else stream
        if kind == "socket":
            stream.writer.transport.abort()
            await socket.subscribe("slow", WIDE)
        await quick.subscribe("quick", WIDE)
        number_of = {f"txn_{gateway.account_id}_{seq}": seq for seq in range(1, MANY_ROWS + 2)}
        taken = [number_of[(await _next_of(slow))["transaction"]["id"]]]
        if kind == "socket":
            socket.transport.pause_reading()
        seqs = [number_of[(await _next_of(quick))["transaction"]["id"]]]
        for _ in range(MANY_ROWS // 100):
            await _post_wide(gateway, 100)
            seqs += [number_of[(await _next_of(quick))["transaction"]["id"]] for _ in range(100)]
        assert seqs == list(range(1, MANY_ROWS + 2))
        if kind == "socket":
            socket.transport.resume_reading()
        event = await _next_of(slow)
        while "transaction" in event:
            taken.append(number_of[event["transaction"]["id"]])
            cursor, event = event["cursor"], await _next_of(slow)
        assert event == {"code": "LAGGED", "cursor": cursor}
        assert taken == list(range(1, len(taken) + 1))
        assert len(taken) < MANY_ROWS - 1_000
    assert gateway.metric("billing_stream_lagged_total") == 1
    async with connected(gateway) as resumed:
        await resumed.subscribe("resumed", WIDE, variables={"after": cursor})
        for seq in range(taken[-1] + 1, MANY_ROWS + 2):
            assert number_of[(await _next_of(resumed))["transaction"]["id"]] == seq


async def test_a_mutation_is_no_query_to_get(gateway: Gateway) -> None:
    async with requested(gateway, GRANT, method="GET") as client:
        assert (client.status, client.headers["allow"]) == (405, "POST")


async def _eventually(look: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await look():  # noqa: ASYNC110  another process's doing
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
@pytest.mark.parametrize("leaves", ["by completion", "by closing the socket", "by closing the event stream"])
async def test_a_mutation_is_finished_though_its_client_has_left(
    gateway: Gateway, database_url: str, leaves: str
) -> None:
    service = (await gateway.keys.create(NewKey(KeyScope.SERVICE, "tests"))).secret
    given = {"accountId": f"acct_{gateway.account_id}", "amount": "5", "promotion": "Hello", "idempotencyKey": "one"}
    # Within a transaction the activity is always that of the first look.
    blocker, watcher = [await asyncpg.connect(database_url) for _ in range(2)]
    transaction = blocker.transaction()
    await transaction.start()
    await blocker.execute("LOCK TABLE transactions IN ACCESS EXCLUSIVE MODE")

    async def is_waiting() -> bool:
        return bool(await watcher.fetchval("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"))

    if leaves == "by closing the event stream":
        headers = {"Authorization": f"Bearer {service}"}
        async with requested(gateway, GRANT, variables={"input": given}, headers=headers):
            await _eventually(is_waiting)
    else:
        async with connected(gateway, service) as client:
            await client.subscribe("a", GRANT, variables={"input": given})
            await _eventually(is_waiting)
            if leaves == "by completion":
                await client.complete("a")
                await client.subscribe("a", "{ viewer { scope } }")
                assert (await client.received())["payload"] == {"data": {"viewer": {"scope": "SERVICE"}}}
    await asyncio.sleep(0.2)
    await transaction.rollback()

    async def is_granted() -> bool:
        return bool(await blocker.fetchval("SELECT count(*) FROM transactions WHERE type = 'bonus'"))

    await _eventually(is_granted)
    await blocker.close()
    await watcher.close()
