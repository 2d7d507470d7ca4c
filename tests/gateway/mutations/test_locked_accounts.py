"""An account that somebody has locked, on PostgreSQL: the calls on it wait, and nobody else does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest

from db import writes
from tests.gateway.mutations.office import Office, number_of, opened
from tests.gateway.mutations.test_lifecycles import HOUR_OF_GPU
from tests.gateway.mutations.test_metering import request as usage_request

LOCK_TIMEOUTS: Final = {"long": 60, "short": 1}
"""Seconds: `long` is out of reach of a test that only needs the calls to wait, however busy the machine is."""


@pytest.fixture
async def office(postgresql_url: str, request: pytest.FixtureRequest) -> AsyncIterator[Office]:
    seconds = LOCK_TIMEOUTS[request.param]
    async with opened(
        postgresql_url, lock_timeout_seconds=seconds, database_silence_seconds=seconds, pool_size=3
    ) as office:
        yield office


@asynccontextmanager
async def _locked(office: Office, accounts: list[str]) -> AsyncIterator[None]:
    """As a strict import of these accounts has them, or a person in psql."""
    async with office.services.database.write() as connection:
        await writes.lock_accounts(connection, [number_of(account) for account in accounts])
        yield


def _calls(office: Office, account: str) -> list[Any]:
    """One of every kind that posts or locks the account."""
    mine = {"accountId": account}
    hold = {"refType": "GPU_INSTANCE", "refId": office.new_key(), "amount": "0.01", **HOUR_OF_GPU}
    return [
        office.call("openHold", **mine, **hold),
        office.call("recordUsage", **mine, requests=[usage_request(office.new_key(), cost="0.01")]),
        office.call("grantBonus", **mine, amount="1.00", promotion="summer"),
        office.call("correctBalance", **mine, amount="1.00", description="For a test"),
        office.call("setVolume", **mine, refType="VOLUME", refId=office.new_key(), gib=1, pricePerGibDay="1"),
    ]


async def _is_ready(office: Office) -> bool:
    async with office.session.get(f"{office.url}/readyz") as ready:
        return ready.status == 200


@pytest.mark.parametrize("office", ["long"], indirect=True)
async def test_locked_accounts_delay_no_other_and_their_calls_wait(office: Office) -> None:
    locked = [await office.account("5.00") for _ in range(5)]
    bystander = await office.account("5.00")
    async with _locked(office, locked):
        waiting = [asyncio.create_task(call) for account in locked for call in _calls(office, account)]
        await asyncio.sleep(0.2)
        for call in _calls(office, bystander):
            await call
        # On a busy machine the database may be late to answer a check.
        async with asyncio.timeout(LOCK_TIMEOUTS["long"]):
            while not await _is_ready(office):  # noqa: ASYNC110  another task's
                await asyncio.sleep(0.1)
        assert not any(task.done() for task in waiting)
    await asyncio.gather(*waiting)
    for account in [*locked, bystander]:
        assert [row["amount"] for row in await office.transactions(account)].count("-0.01") == 2


@pytest.mark.parametrize("office", ["short"], indirect=True)
async def test_a_call_on_an_account_that_stays_locked_is_unavailable_and_writes_nothing(office: Office) -> None:
    account = await office.account("5.00")
    async with _locked(office, [account]):
        mine = {"accountId": account, "amount": "1.00"}
        given = {"promotion": "summer"}, {"description": "For a test"}
        calls = zip(("grantBonus", "correctBalance"), given, strict=True)
        answers = await asyncio.gather(
            *(office.answer(name, office.right_key(name), **mine, **more) for name, more in calls)
        )
    assert [answer["errors"][0]["extensions"]["code"] for answer in answers] == ["UNAVAILABLE"] * 2
    assert len(await office.transactions(account)) == 1
