"""A ledger that was restored from a backup has other rows of the same `seq`: no cursor of before goes on there."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from gateway.streams.subscription import answers
from ledger.commands import Entry, Posting, Writer
from ledger.kinds import TransactionType, WriterKind
from resolvers.cursors import CursorKind, CursorWriter
from tests.gateway.streams.conftest import Gateway, Serve
from tests.gateway.streams.event_client import requested
from tests.gateway.streams.socket_client import connected
from tests.ledger.restoring import restore

CHANGES = "subscription ($after: String) { balanceChanged(after: $after) { cursor transaction { description } } }"
LOW = """subscription ($after: String) {
  lowBalance(threshold: "1000.00", after: $after) { cursor transaction { description } }
}"""
REACHED = """subscription ($after: String) {
  spendLimitReached(after: $after) { cursor transaction { description } }
}"""
PAGE = """query ($after: String, $before: String) {
  account {
    balanceCursor
    transactions(first: 2, after: $after, before: $before) {
      edges { cursor node { description } }
      pageInfo { startCursor endCursor }
    }
  }
}"""
WHAT_TO_DO = (
    "the ledger was restored to another state. Read balance and balanceCursor again, reload the transactions, and"
    " subscribe from the new cursor"
)
NO_ROW = f"the row of the after cursor is not in the ledger: {WHAT_TO_DO}"
PREFETCH = f"the after cursor is ahead of the ledger: {WHAT_TO_DO}"


@pytest.fixture
async def gateway(serve: Serve) -> Gateway:
    """Whose subscriptions follow the ledger."""
    return await serve(answers)


async def _post(gateway: Gateway, *descriptions: str) -> None:
    writer = Writer(WriterKind.OPERATOR, "tests")
    for description in descriptions:
        entry = Entry(TransactionType.ADMIN_CORRECTION, 10**9, description)
        await gateway.services.ledger.post(Posting(gateway.account_id, writer, [entry], "post"))


async def _query(gateway: Gateway, query: str = PAGE, **variables: Any) -> Any:
    headers = {"Authorization": f"Bearer {gateway.key}"}
    body = {"query": query, "variables": variables}
    async with gateway.session.post(gateway.url, json=body, headers=headers) as response:
        return await response.json()


async def _balance_cursor(gateway: Gateway) -> str:
    return str((await _query(gateway))["data"]["account"]["balanceCursor"])


def _refusal(errors: Any) -> tuple[str, str]:
    (error,) = errors
    return error["extensions"]["code"], error["message"]


@pytest.mark.parametrize(
    ("new_rows", "message"),
    [(0, PREFETCH), (1, PREFETCH), (2, NO_ROW), (5, NO_ROW)],
    ids=["none", "short of the cursor", "up to the cursor", "beyond the cursor"],
)
async def test_no_subscription_goes_on_from_a_cursor_of_before(gateway: Gateway, new_rows: int, message: str) -> None:
    await _post(gateway, "first", "second", "third")
    old = await _balance_cursor(gateway)
    await restore(gateway.services.database, gateway.account_id, 1)
    await _post(gateway, *(f"other {number}" for number in range(new_rows)))
    async with connected(gateway) as socket:
        for query in (CHANGES, LOW, REACHED):
            await socket.subscribe(query, query, variables={"after": old})
            answer = await socket.received()
            assert (answer["type"], _refusal(answer["payload"])) == ("error", ("BAD_CURSOR", message))
    async with requested(gateway, CHANGES, variables={"after": old}) as client:
        _, payload = await client.next()
        assert _refusal(payload["errors"]) == ("BAD_CURSOR", message)
    async with requested(gateway, CHANGES, headers={"Last-Event-ID": old}) as client:
        _, payload = await client.next()
        assert _refusal(payload["errors"]) == ("BAD_CURSOR", message)
    assert not gateway.services.database.changes._tails
    # What the message says to do.
    async with requested(gateway, CHANGES, variables={"after": await _balance_cursor(gateway)}) as client:
        await _post(gateway, "next")
        _, payload = await client.next()
        assert payload["data"]["balanceChanged"]["transaction"] == {"description": "next"}


@pytest.mark.parametrize(
    "new_rows", [0, 1, 2, 5], ids=["none", "short of the cursor", "up to the cursor", "beyond the cursor"]
)
async def test_a_running_subscription_ends(gateway: Gateway, new_rows: int) -> None:
    await _post(gateway, "first", "second", "third")
    async with connected(gateway) as socket, requested(gateway, CHANGES) as client:
        await socket.subscribe("a", CHANGES)
        event = (await socket.received())["payload"]["data"]["balanceChanged"]
        event_id, _ = await client.next()
        assert event_id == event["cursor"]
        await restore(gateway.services.database, gateway.account_id, 1)
        await _post(gateway, *(f"other {number}" for number in range(new_rows)))
        answer = await socket.received()
        assert (answer["type"], _refusal(answer["payload"])) == ("error", ("BAD_CURSOR", NO_ROW))
        _, payload = await client.next()
        assert _refusal(payload["errors"]) == ("BAD_CURSOR", NO_ROW)
        # Whoever comes now follows the rows that there are.
        await socket.subscribe("b", CHANGES, variables={"after": await _balance_cursor(gateway)})
        await asyncio.sleep(0.1)
        await _post(gateway, "next")
        assert (await socket.received())["payload"]["data"]["balanceChanged"]["transaction"] == {"description": "next"}


@pytest.mark.parametrize("argument", ["after", "before"])
@pytest.mark.parametrize("new_rows", [0, 1, 4])
async def test_no_page_goes_on_from_a_cursor_of_before(gateway: Gateway, argument: str, new_rows: int) -> None:
    await _post(gateway, "first", "second", "third")
    connection = (await _query(gateway))["data"]["account"]["transactions"]
    old = [edge["cursor"] for edge in connection["edges"]]
    assert old == [connection["pageInfo"][name] for name in ("startCursor", "endCursor")]
    kept = (await _query(gateway, after=old[-1]))["data"]["account"]["transactions"]["edges"][0]["cursor"]
    await restore(gateway.services.database, gateway.account_id, 1)
    await _post(gateway, *(f"other {number}" for number in range(new_rows)))
    for cursor in old:
        answer = await _query(gateway, **{argument: cursor})
        expected = f"{argument} is a cursor of a row that is not in the ledger: {WHAT_TO_DO}"
        assert _refusal(answer["errors"]) == ("BAD_CURSOR", expected)
    # The row that the backup had is the same one still.
    found = (await _query(gateway, **{argument: kept}))["data"]["account"]["transactions"]["edges"]
    newer = [f"other {number}" for number in range(new_rows)][::-1][:2]
    assert [edge["node"]["description"] for edge in found] == (newer if argument == "before" else [])


async def test_cursors_of_version_1_are_not_compared(gateway: Gateway) -> None:
    await _post(gateway, "first", "second", "third")
    old = CursorWriter(CursorKind.LEDGER, gateway.account_id).of_seq(2)
    found = (await _query(gateway, after=old))["data"]["account"]["transactions"]["edges"]
    assert [edge["node"]["description"] for edge in found] == ["first"]
    async with connected(gateway) as socket:
        await socket.subscribe("a", CHANGES, variables={"after": old})
        event = (await socket.received())["payload"]["data"]["balanceChanged"]
        assert event["transaction"] == {"description": "third"}
        assert event["cursor"] == await _balance_cursor(gateway)
