"""The subscription to spend limits: what it sends, from which cursor on, and over which transport."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import HealthCheck
from hypothesis import given as generated
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from db.feed import reading
from db.limit_rows import SpendLimitEventRow
from gateway.commands.options import settings_of
from gateway.services import Services, build_services
from gateway.streams.subscription import answers
from ledger.accounts import locked_account
from ledger.attribution import Attribution
from ledger.limit_settings import LimitSettings, set_limit
from ledger.money import format_nanos
from ledger.posting import LedgerTransaction
from ledger.windows import SpendWindow
from resolvers.cursors import LedgerCursorWriter, Level
from tests.doses import dose
from tests.gateway.streams.conftest import Serve
from tests.gateway.streams.event_client import requested
from tests.gateway.streams.socket_client import connected
from tests.gateway.streams.test_subscription import CHANGES, cursor, events, opened, refusal
from tests.ledger.desk import START, Desk, api_usage, open_hold, posting
from tests.limit_rows import change_limit, insert_rows, limit
from tests.statements import watched

REACHED = """subscription ($after: String) {
  spendLimitReached(after: $after) { cursor percent amount spent limit { id amount deletedAt } transaction { id } }
}"""
NEXT_MONTH = START.replace(month=12)


@dataclass
class Clock:
    now: datetime = START


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=[True, False], ids=["compiled", "reference"])
async def services(database_url: str, request: pytest.FixtureRequest, clock: Clock) -> AsyncIterator[Services]:
    settings = settings_of({"database_url": database_url, "compiled_execution": request.param})
    services = build_services(settings, lambda: clock.now)
    yield services
    await services.database.close()


@pytest.fixture
def desk(services: Services) -> Desk:
    return Desk(services.database)


async def account_with_limits(desk: Desk, numbers: int = 2) -> int:
    """An account with one row and limits that nothing was spent of."""
    account_id = await desk.account("5.00")
    await insert_rows(
        desk.database, *(limit(account_id, number, api_key=f"k{number}") for number in range(1, numbers + 1))
    )
    return account_id


async def reach(desk: Desk, account_id: int, *levels: tuple[int, int, int]) -> None:
    """Posts rows up to the highest `seq`, of which some reach levels: (seq, limit, percent)."""
    await insert_rows(
        desk.database, *(SpendLimitEventRow(account_id, *level, 10**9, level[2] * 10**7) for level in levels)
    )
    missing = max(seq for seq, _, _ in levels) - len(await desk.rows(account_id))
    await desk.ledger.post(*(posting(account_id, api_usage(1)) for _ in range(missing)))


async def reached(stream: Any, number: int) -> list[tuple[str, int, str]]:
    """(id of the limit, percentage, id of the row) of each of the next."""
    found = [one["spendLimitReached"] for one in await events(stream, number)]
    return [(one["limit"]["id"], one["percent"], one["transaction"]["id"]) for one in found]


def named(account_id: int, *levels: tuple[int, int, int]) -> list[tuple[str, int, str]]:
    return [(f"limit_{account_id}_{number}", percent, f"txn_{account_id}_{seq}") for seq, number, percent in levels]


async def test_a_level_is_told_when_a_row_reaches_it(services: Services, desk: Desk) -> None:
    account_id = await account_with_limits(desk)
    with_account = REACHED.replace("percent", "percent account { id balance }", 1)
    stream = await opened(services, account_id, with_account)
    waiting = asyncio.create_task(anext(stream))
    await reach(desk, account_id, (4, 2, 50))
    event = await waiting
    at = await cursor(desk, account_id, 4)
    balance = format_nanos((await desk.rows(account_id))[3].balance_after_nanos)
    assert json.loads(event.payload)["data"]["spendLimitReached"] == {
        "cursor": at,
        "percent": 50,
        "amount": "1.00",
        "spent": "0.50",
        "limit": {"id": f"limit_{account_id}_2", "amount": "1.00", "deletedAt": None},
        "transaction": {"id": f"txn_{account_id}_4"},
        "account": {"id": f"acct_{account_id}", "balance": balance},
    }
    assert (event.id, event.committed_at) == (at, desk.now)
    await reach(desk, account_id, (5, 2, 80), (9, 1, 100))
    assert await reached(stream, 2) == named(account_id, (5, 2, 80), (9, 1, 100))
    await stream.aclose()
    assert not services.database.changes._tails


async def test_streams_resume_from_any_event_with_none_lost_and_none_twice(services: Services, desk: Desk) -> None:
    account_id = await account_with_limits(desk)
    levels = [(2, 1, 50), (2, 1, 80), (2, 2, 50), (3, 2, 80), (6, 1, 100), (6, 2, 100)]
    await reach(desk, account_id, *levels)
    stream = await opened(services, account_id, REACHED, after=await cursor(desk, account_id, 1))
    found = [one["spendLimitReached"] for one in await events(stream, len(levels))]
    for index, event in enumerate(found):
        later = await opened(services, account_id, REACHED, event["cursor"], after=found[0]["cursor"])
        await reach(desk, account_id, (7 + index, 1, index + 1))
        rest = [*levels[index + 1 :], *((7 + one, 1, one + 1) for one in range(index + 1))]
        assert await reached(later, len(rest)) == named(account_id, *rest)
        await later.aclose()
        # Other streams and pages use the cursor as that of its row.
        changes = await opened(services, account_id, CHANGES, after=event["cursor"])
        ((change),) = await events(changes, 1)
        assert change["balanceChanged"]["transaction"]["id"] == f"txn_{account_id}_{levels[index][0] + 1}"
        await changes.aclose()


async def test_streams_begin_with_the_highest_level_of_each_limit(services: Services, desk: Desk) -> None:
    account_id = await account_with_limits(desk, 4)
    await reach(desk, account_id, (2, 1, 50), (3, 1, 80), (4, 2, 50))
    await change_limit(desk.database, account_id, 1, notified_percent=80, spent_nanos=9 * 10**8)
    # It was reached when the limit was set, and no row has an event.
    await change_limit(desk.database, account_id, 3, notified_percent=100, spent_nanos=2 * 10**9)
    await change_limit(desk.database, account_id, 4, notified_percent=100, window_start=START.replace(month=10))
    stream = await opened(services, account_id, REACHED)
    first = await events(stream, 2)
    assert [one["spendLimitReached"] | {"cursor": ""} for one in first] == [
        {
            "cursor": "",
            "percent": percent,
            "amount": "1.00",
            "spent": spent,
            "limit": {"id": f"limit_{account_id}_{number}", "amount": "1.00", "deletedAt": None},
            "transaction": {"id": f"txn_{account_id}_4"},
        }
        for number, percent, spent in ((1, 80, "0.90"), (3, 100, "2.00"))
    ]
    cursors = [one["spendLimitReached"]["cursor"] for one in first]
    assert cursors[1] == await cursor(desk, account_id, 4)
    # The limits that were not told yet are told as they are now; of the others, what rows reached since.
    await reach(desk, account_id, (5, 1, 100), (6, 3, 100), (7, 2, 80))
    await change_limit(desk.database, account_id, 2, notified_percent=80, spent_nanos=8 * 10**8)
    resumed = await opened(services, account_id, REACHED, after=cursors[0])
    assert await reached(resumed, 3) == named(account_id, (7, 2, 80), (7, 3, 100), (5, 1, 100))
    await reach(desk, account_id, (8, 3, 50))
    assert await reached(resumed, 1) == named(account_id, (8, 3, 50))
    # The first stream goes on with what rows reach.
    assert await reached(stream, 4) == named(account_id, (5, 1, 100), (6, 3, 100), (7, 2, 80), (8, 3, 50))


async def test_a_row_that_comes_while_the_stream_opens_is_told_once(services: Services, desk: Desk) -> None:
    """What is told at the start is the state after a row; the events up to that row are not sent again."""
    account_id = await account_with_limits(desk)
    feed = services.database.changes
    follow = feed.follow

    async def follow_and_post(*arguments: Any) -> Any:
        follower = await follow(*arguments)
        await reach(desk, account_id, (2, 1, 50))
        await change_limit(desk.database, account_id, 1, notified_percent=50, spent_nanos=5 * 10**8)
        return follower

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(feed, "follow", follow_and_post)
        stream = await opened(services, account_id, REACHED)
    await reach(desk, account_id, (3, 1, 80))
    assert await reached(stream, 2) == named(account_id, (2, 1, 50), (3, 1, 80))


async def test_an_account_without_rows_has_reached_nothing(services: Services, desk: Desk) -> None:
    account_id = await desk.account()
    await insert_rows(desk.database, limit(account_id, 1))
    stream = await opened(services, account_id, REACHED)
    await reach(desk, account_id, (1, 1, 50))
    assert await reached(stream, 1) == named(account_id, (1, 1, 50))


async def test_an_event_of_a_deleted_limit_has_the_limit(services: Services, desk: Desk) -> None:
    account_id = await account_with_limits(desk)
    await change_limit(desk.database, account_id, 1, notified_percent=50, deleted_at=START)
    stream = await opened(services, account_id, REACHED)
    await reach(desk, account_id, (2, 1, 80))
    ((event),) = await events(stream, 1)
    assert event["spendLimitReached"]["limit"]["deletedAt"] == "2026-11-01T00:00:00.000000Z"


async def test_levels_of_other_windows_are_not_told_at_the_start(services: Services, desk: Desk, clock: Clock) -> None:
    account_id = await account_with_limits(desk, 1)
    await change_limit(desk.database, account_id, 1, notified_percent=50, spent_nanos=5 * 10**8)
    clock.now = NEXT_MONTH
    stream = await opened(services, account_id, REACHED)
    await reach(desk, account_id, (2, 1, 80))
    assert await reached(stream, 1) == named(account_id, (2, 1, 80))


async def test_rows_without_events_are_passed_by_few_reads(services: Services, desk: Desk) -> None:
    """However many rows and subscribers there are: a read tells of all rows up to the newest."""
    account_id = await account_with_limits(desk)
    after = await cursor(desk, account_id, 1)
    await reach(desk, account_id, (400, 1, 50))
    with watched(services.database) as sent:
        streams = [await opened(services, account_id, REACHED, after=after) for _ in range(5)]
        for stream in streams:
            assert await reached(stream, 1) == named(account_id, (400, 1, 50))
    assert len([statement for statement, _ in sent if "JOIN spend_limit_events" in statement]) == 5
    live = [await opened(services, account_id, REACHED, after=await cursor(desk, account_id, 400)) for _ in range(5)]
    waiting = [asyncio.create_task(anext(stream)) for stream in live]
    await asyncio.sleep(0)
    with watched(services.database) as sent:
        await reach(desk, account_id, (401, 1, 80))
        await asyncio.gather(*waiting)
    assert len([statement for statement, _ in sent if "JOIN spend_limit_events" in statement]) == 1


async def test_events_beyond_one_read_are_sent(services: Services, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_READ_EVENTS", 4)
    account_id = await account_with_limits(desk)
    levels = [(seq, number, percent) for seq in (2, 3, 7, 8, 9) for number, percent in ((1, seq), (2, 50), (2, 80))]
    await reach(desk, account_id, *levels)
    stream = await opened(services, account_id, REACHED, after=await cursor(desk, account_id, 1))
    assert await reached(stream, len(levels)) == named(account_id, *levels)


async def test_refusals_come_before_the_stream_begins(services: Services, desk: Desk) -> None:
    mine, other = await account_with_limits(desk), await account_with_limits(desk)
    assert await refusal(services, mine, REACHED, after="x") == ("BAD_CURSOR", "after is not a cursor of this API")
    foreign = await cursor(desk, other, 1)
    code = ("BAD_CURSOR", "after is a cursor of another account")
    assert await refusal(services, mine, REACHED, after=foreign) == code
    for level in (Level(1, 0), Level(1, 50)):
        restored = LedgerCursorWriter(mine).of_level(1, b"\xff" * 32, level)
        assert (await refusal(services, mine, REACHED, after=restored))[0] == "BAD_CURSOR"
        ahead = LedgerCursorWriter(mine).of_level(9, b"\xff" * 32, level)
        assert (await refusal(services, mine, REACHED, after=ahead))[0] == "BAD_CURSOR"
    foreign = f'subscription {{ spendLimitReached(accountId: "acct_{other}") {{ cursor }} }}'
    assert await refusal(services, mine, foreign) == ("NOT_FOUND", "there is no such account")
    assert await refusal(services, other + 1, REACHED) == ("NOT_FOUND", "there is no such account")
    assert not services.database.changes._tails


LEVELS = st.lists(
    st.tuples(st.integers(2, 6), st.integers(1, 3), st.sampled_from([50, 80, 100])),
    min_size=1,
    max_size=14,
    unique=True,
)


@hypothesis_settings(
    max_examples=dose(5, 12), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@generated(levels=LEVELS, data=st.data())
async def test_a_client_that_reconnects_after_each_event_gets_each_once(
    services: Services, desk: Desk, levels: list[tuple[int, int, int]], data: st.DataObject
) -> None:
    account_id = await account_with_limits(desk, 3)
    await reach(desk, account_id, *levels)
    after = await cursor(desk, account_id, 1)
    found: list[tuple[str, int, str]] = []
    while len(found) < len(levels):
        stream = await opened(services, account_id, REACHED, after=after)
        number = data.draw(st.integers(1, len(levels) - len(found)))
        for event in await events(stream, number):
            one = event["spendLimitReached"]
            found.append((one["limit"]["id"], one["percent"], one["transaction"]["id"]))
            after = one["cursor"]
        await stream.aclose()
    assert found == named(account_id, *sorted(levels))


async def test_levels_that_usage_and_holds_reach_are_told(services: Services, desk: Desk) -> None:
    account_id = await desk.account("100.00")
    settings = LimitSettings(Attribution("k"), SpendWindow.MONTH, 10**10)

    async def put(transaction: LedgerTransaction) -> None:
        await set_limit(transaction, await locked_account(transaction, account_id), settings)

    await desk.ledger.within(put)
    stream = await opened(services, account_id, REACHED)
    for attribution, nanos in ((Attribution("other"), 10**10), (settings.scope, 6 * 10**9), (settings.scope, 10**9)):
        await desk.ledger.post(replace(posting(account_id, api_usage(nanos)), attribution=attribution))
    await desk.ledger.post(replace(posting(account_id, open_hold(10**9)), attribution=settings.scope))
    found = await events(stream, 2)
    assert [one["spendLimitReached"] | {"cursor": "", "limit": ""} for one in found] == [
        {
            "cursor": "",
            "percent": percent,
            "amount": "10.00",
            "spent": spent,
            "limit": "",
            "transaction": {"id": f"txn_{account_id}_{seq}"},
        }
        for percent, spent, seq in ((50, "6.00", 3), (80, "8.00", 5))
    ]
    # Whoever comes now is told the highest, and a limit that is lowered fires nothing.
    assert await reached(await opened(services, account_id, REACHED), 1) == named(account_id, (5, 1, 80))
    settings = replace(settings, amount_nanos=8 * 10**9)
    await desk.ledger.within(put)
    assert await reached(await opened(services, account_id, REACHED), 1) == named(account_id, (5, 1, 100))
    desk.now = NEXT_MONTH
    await desk.ledger.post(replace(posting(account_id, api_usage(5 * 10**9)), attribution=settings.scope))
    assert await reached(stream, 1) == named(account_id, (6, 1, 50))


async def test_both_transports_go_on_where_they_were_cut_off(serve: Serve) -> None:
    gateway = await serve(answers)
    database, account_id = gateway.services.database, gateway.account_id
    desk = Desk(database)
    await desk.ledger.post(posting(account_id, api_usage(1)))
    await insert_rows(database, limit(account_id, 1), limit(account_id, 2, api_key="k"))
    after = await cursor(desk, account_id, 1)
    async with requested(gateway, REACHED, variables={"after": after}) as client:
        await reach(desk, account_id, (2, 1, 50), (2, 2, 50), (2, 2, 80))
        event_id, payload = await client.next()
        assert payload["data"]["spendLimitReached"]["cursor"] == event_id
    assert event_id is not None
    async with requested(gateway, REACHED, variables={"after": after}, headers={"Last-Event-ID": event_id}) as client:
        found = [(await client.next())[1]["data"]["spendLimitReached"] for _ in range(2)]
    async with connected(gateway) as socket:
        await socket.subscribe("a", REACHED, variables={"after": event_id})
        assert [(await socket.received())["payload"]["data"]["spendLimitReached"] for _ in range(2)] == found
    async with connected(gateway) as socket:
        await socket.subscribe("a", REACHED, variables={"after": found[0]["cursor"]})
        assert (await socket.received())["payload"]["data"]["spendLimitReached"] == found[1]
        await reach(desk, account_id, (5, 1, 80))
        assert (await socket.received())["payload"]["data"]["spendLimitReached"]["percent"] == 80
    assert [(one["limit"]["id"], one["percent"]) for one in found] == [
        (f"limit_{account_id}_2", 50),
        (f"limit_{account_id}_2", 80),
    ]
