"""What subscriptions give out, below the transports: events, cursors, refusals, ends."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck
from hypothesis import given as generated
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from access.keys import KeyScope, Principal
from gateway.commands.options import settings_of
from gateway.graphql_request import GraphQLRequest
from gateway.operations import Refused, execute_operation
from gateway.services import Services, build_services
from gateway.streams import subscription
from gateway.streams.subscription import Ended, EventStream, answers
from ledger.money import format_nanos
from resolvers.cursors import CursorKind, CursorWriter, LedgerCursorWriter
from tests.doses import dose
from tests.ledger.desk import OPERATOR, Desk, api_usage, correction, posting

CHANGES = "subscription ($after: String) { balanceChanged(after: $after) { cursor balance transaction { id amount } } }"
LOW = """
subscription ($threshold: Decimal!, $after: String) {
  lowBalance(threshold: $threshold, after: $after) { cursor balance threshold transaction { id } }
}
"""
RESTORED = (
    "the ledger was restored to another state. Read balance and balanceCursor again, reload the transactions, and"
    " subscribe from the new cursor"
)


@pytest.fixture(params=[True, False], ids=["compiled", "reference"])
async def services(database_url: str, request: pytest.FixtureRequest) -> AsyncIterator[Services]:
    services = build_services(settings_of({"database_url": database_url, "compiled_execution": request.param}))
    yield services
    await services.database.close()


@pytest.fixture
def desk(services: Services) -> Desk:
    return Desk(services.database)


def key_of(account_id: int) -> Principal:
    return Principal(1, "eco_test", KeyScope.READ, account_id, None, None, None)


async def cursor(desk: Desk, account_id: int, seq: int) -> str:
    hashes = [None, *(row.hash for row in await desk.rows(account_id))]
    return LedgerCursorWriter(account_id).of_row(seq, hashes[seq])


def old_cursor(account_id: int, seq: int) -> str:
    """Of version 1, which has no hash."""
    return CursorWriter(CursorKind.LEDGER, account_id).of_seq(seq)


async def opened(
    services: Services, account_id: int, query: str = CHANGES, last_event_id: str | None = None, /, **variables: Any
) -> EventStream:
    return await answers(services, key_of(account_id), GraphQLRequest(query, None, variables), last_event_id)


async def events(stream: EventStream, number: int) -> list[Any]:
    """The data of each of the next."""
    async with asyncio.timeout(20):
        return [json.loads((await anext(stream)).payload)["data"] for _ in range(number)]


async def refusal(services: Services, account_id: int, query: str = CHANGES, **variables: Any) -> tuple[str, str]:
    with pytest.raises(Refused) as refused:
        await opened(services, account_id, query, **variables)
    (error,) = refused.value.errors
    return error["extensions"]["code"], error["message"]


async def test_the_newest_row_first_and_then_live(services: Services, desk: Desk) -> None:
    account_id = await desk.account("2.00")
    stream = await opened(services, account_id)
    first = await anext(stream)
    await desk.post(account_id, api_usage(500_000_000))
    second = await anext(stream)
    assert [json.loads(one.payload) for one in (first, second)] == [
        {
            "data": {
                "balanceChanged": {
                    "cursor": await cursor(desk, account_id, seq),
                    "balance": balance,
                    "transaction": {"id": f"txn_{account_id}_{seq}", "amount": amount},
                }
            }
        }
        for seq, balance, amount in ((1, "2.00", "2.00"), (2, "1.50", "-0.50"))
    ]
    assert [first.id, second.id] == [await cursor(desk, account_id, 1), await cursor(desk, account_id, 2)]
    # Only what was new when it was given out has a delay.
    assert first.committed_at is None
    assert second.committed_at == desk.now


async def test_goes_on_from_a_cursor_and_from_the_transports_own_word(services: Services, desk: Desk) -> None:
    account_id = await desk.account("2.00")
    await desk.ledger.post(*(posting(account_id, api_usage(1)) for _ in range(4)))
    stream = await opened(services, account_id, after=await cursor(desk, account_id, 2))
    ids = [event["balanceChanged"]["transaction"]["id"] for event in await events(stream, 3)]
    assert ids == [f"txn_{account_id}_{seq}" for seq in (3, 4, 5)]
    resumed = await opened(
        services, account_id, CHANGES, await cursor(desk, account_id, 4), after=await cursor(desk, account_id, 2)
    )
    ((change),) = await events(resumed, 1)
    assert change["balanceChanged"]["cursor"] == await cursor(desk, account_id, 5)


async def test_refusals_come_before_the_stream_begins(services: Services, desk: Desk) -> None:
    mine, other = await desk.account("1.00"), await desk.account("1.00")
    assert await refusal(services, mine, after="x") == ("BAD_CURSOR", "after is not a cursor of this API")
    foreign = old_cursor(other, 1)
    assert await refusal(services, mine, after=foreign) == ("BAD_CURSOR", "after is a cursor of another account")
    ahead = f"the after cursor is ahead of the ledger: {RESTORED}"
    assert await refusal(services, mine, after=old_cursor(mine, 2)) == ("BAD_CURSOR", ahead)
    usage = CursorWriter(CursorKind.USAGE, mine).of_seq(1)
    assert await refusal(services, mine, after=usage) == ("BAD_CURSOR", "after is a cursor of another list")
    foreign = f'subscription {{ balanceChanged(accountId: "acct_{other}") {{ cursor }} }}'
    assert await refusal(services, mine, foreign) == ("NOT_FOUND", "there is no such account")
    assert await refusal(services, other + 1) == ("NOT_FOUND", "there is no such account")
    assert (await refusal(services, mine, LOW))[0] == "BAD_USER_INPUT"
    assert (await refusal(services, mine, LOW, threshold="1.0000000001"))[0] == "BAD_USER_INPUT"
    assert (await refusal(services, mine, "subscription { balanceChanged { nothing } }"))[
        0
    ] == "GRAPHQL_VALIDATION_FAILED"
    two = "subscription { a: balanceChanged { cursor } b: balanceChanged { cursor } }"
    assert (await refusal(services, mine, two))[0] == "GRAPHQL_VALIDATION_FAILED"


async def test_refused_subscriptions_leave_nobody_following(services: Services, desk: Desk) -> None:
    account_id = await desk.account("1.00")
    await refusal(services, account_id, after=old_cursor(account_id, 2))
    stream = await opened(services, account_id)
    await stream.aclose()
    assert not services.database.changes._tails


async def test_one_that_falls_behind_is_told_the_cursor(services: Services, desk: Desk) -> None:
    account_id = await desk.account("1.00")
    slow, quick = await opened(services, account_id), await opened(services, account_id)
    await events(slow, 1)
    for _ in range(13):
        await desk.ledger.post(*(posting(account_id, api_usage(1)) for _ in range(100)))
    await events(quick, 1301)
    with pytest.raises(Ended) as ended:
        await anext(slow)
    (error,) = ended.value.errors
    assert error["extensions"] == {"code": "LAGGED", "cursor": await cursor(desk, account_id, 1)}
    resumed = await opened(services, account_id, after=error["extensions"]["cursor"])
    assert len(await events(resumed, 1300)) == 1300
    counted = services.metrics.text().decode().splitlines()
    assert {"billing_stream_lagged_total 1.0", "billing_stream_replays_total 1.0"} <= set(counted)


async def test_the_same_answer_is_made_once(services: Services, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """For all who ask the same of a row; not for those who ask something else."""
    account_id = await desk.account("1.00")
    asked = "subscription ($with: Boolean!) { balanceChanged { cursor transaction @include(if: $with) { id } } }"
    streams = [await opened(services, account_id, asked, None, **{"with": number % 2 == 0}) for number in range(6)]
    made: list[Any] = []
    make = execute_operation

    async def watched(*arguments: Any) -> Any:
        made.append(arguments)
        return await make(*arguments)

    monkeypatch.setattr(subscription, "execute_operation", watched)
    found = await asyncio.gather(*(events(stream, 1) for stream in streams))
    assert [len(one["balanceChanged"]) for (one,) in found] == [2, 1] * 3
    assert len(made) == 2


async def test_the_answer_is_made_for_the_others_when_the_first_leaves(services: Services, desk: Desk) -> None:
    account_id = await desk.account("1.00")
    asked = "subscription { balanceChanged { transaction { corrects { id } } } }"
    first, second = await opened(services, account_id, asked), await opened(services, account_id, asked)
    begun = [asyncio.create_task(anext(one)) for one in (first, second)]
    await asyncio.sleep(0)
    begun[0].cancel()
    assert json.loads((await begun[1]).payload) == {"data": {"balanceChanged": {"transaction": {"corrects": None}}}}


async def test_low_balance_of_an_empty_account(services: Services, desk: Desk) -> None:
    account_id = await desk.account()
    stream = await opened(services, account_id, LOW, threshold="1.00")
    expected = {
        "cursor": await cursor(desk, account_id, 0),
        "balance": "0.00",
        "threshold": "1.00",
        "transaction": None,
    }
    assert await events(stream, 1) == [{"lowBalance": expected}]


STEPS = st.lists(st.integers(-5, 5).filter(bool), min_size=1, max_size=12)


@hypothesis_settings(
    max_examples=dose(5, 15), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@generated(data=st.data())
async def test_low_balance_fires_at_the_edge(services: Services, desk: Desk, data: st.DataObject) -> None:
    """From the beginning of the ledger every crossing is told; from a cursor, those since."""
    account_id = await desk.account()
    for nanos in data.draw(STEPS):
        await desk.post(account_id, correction(nanos), writer=OPERATOR)
    rows = await desk.rows(account_id)
    threshold = data.draw(st.integers(-6, 6))
    begin = data.draw(st.integers(0, len(rows)))
    balances = [0, *(row.balance_after_nanos for row in rows)]
    crossed = [
        seq
        for seq, (before, after) in enumerate(pairwise(balances), start=1)
        if seq > begin and after < threshold <= before
    ]
    stream = await opened(
        services, account_id, LOW, threshold=format_nanos(threshold), after=await cursor(desk, account_id, begin)
    )
    found = [event["lowBalance"] for event in await events(stream, len(crossed))]
    assert [one["transaction"]["id"] for one in found] == [f"txn_{account_id}_{seq}" for seq in crossed]
    assert [one["balance"] for one in found] == [format_nanos(balances[seq]) for seq in crossed]
    # And at the start where no cursor is given, if it is below already.
    await stream.aclose()
    fresh = await opened(services, account_id, LOW, threshold=format_nanos(threshold))
    if balances[-1] < threshold:
        ((first),) = await events(fresh, 1)
        assert first["lowBalance"]["cursor"] == await cursor(desk, account_id, len(rows))
    else:
        await desk.post(account_id, correction(threshold - 1 - balances[-1]), writer=OPERATOR)
        ((first),) = await events(fresh, 1)
        assert first["lowBalance"]["transaction"]["id"] == f"txn_{account_id}_{len(rows) + 1}"
    await fresh.aclose()
