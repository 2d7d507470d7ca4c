"""The Python client with a gateway, and with what goes wrong on the way."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from billing_gateway_client import (
    BillingClient,
    BillingError,
    InsufficientBalance,
    LimitExceeded,
    NotFound,
    Retries,
    Unauthenticated,
    Unavailable,
)
from billing_gateway_client.errors import CLASSES
from billing_gateway_client.operations import (
    BalanceChanges,
    GrantBonus,
    GrantBonusInput,
    OpenHold,
    OpenHoldInput,
    SetSpendLimit,
    SetSpendLimitInput,
    TransactionDetail,
    Viewer,
)
from billing_gateway_client.read_position import POSITION, ReadPosition

from gateway.errors import STATUS
from tests.clients.conftest import ROWS, UNKNOWN, Gateway


def test_no_position_is_sent_after_an_answer_without_one() -> None:
    position = ReadPosition()
    position.note(position.begin(), "10-1")
    assert position.headers == {POSITION: "10-1"}
    before = position.begin()
    position.note(position.begin(), None)
    # What was asked before then has not seen what that answer has.
    position.note(before, "11-1")
    assert position.headers == {}
    position.note(position.begin(), "12-1")
    assert position.headers == {POSITION: "12-1"}


def hold(account: str, amount: str) -> OpenHold:
    start = datetime(2026, 11, 1, tzinfo=UTC)
    return OpenHold(
        input=OpenHoldInput(
            account_id=account,
            ref_type="GPU_INSTANCE",
            ref_id="1",
            amount=Decimal(amount),
            period_start=start,
            period_end=start + timedelta(hours=1),
        )
    )


def bonus(account: str, promotion: str) -> GrantBonus:
    return GrantBonus(input=GrantBonusInput(account_id=account, amount=Decimal("0.50"), promotion=promotion))


async def followed(reader: BillingClient, changes: int) -> list[tuple[str, Decimal]]:
    found = []
    async for event in reader.follow(BalanceChanges()):
        found.append((event.balance_changed.transaction.id, event.balance_changed.balance))
        if len(found) == changes:
            break
    return found


async def test_pages_streams_and_mutations_survive_what_goes_wrong(gateway: Gateway) -> None:
    quick = Retries(first_seconds=0.01)
    async with (
        BillingClient(gateway.url, gateway.manage_key, retries=quick) as reader,
        BillingClient(gateway.url, gateway.service_key, retries=quick) as service,
    ):
        edges = [edge async for edge in reader.transactions(page_size=50)]
        assert [edge.node.description for edge in edges] == [f"Row {number}" for number in range(ROWS, 0, -1)]
        assert {(edge.node.type, edge.node.amount) for edge in edges} == {("ADMIN_CORRECTION", Decimal(1))}
        resumed = [edge async for edge in reader.transactions(after=edges[59].cursor, page_size=50)]
        assert resumed == edges[60:]

        following = asyncio.create_task(followed(reader, 3))
        await asyncio.sleep(0.3)
        given = [(await service.execute(bonus(gateway.account, name))).grant_bonus for name in ("one", "two", "three")]
        number = gateway.account.removeprefix("acct_")
        ids = [f"txn_{number}_{ROWS + one}" for one in (1, 2, 3)]
        assert [one.transactions[0].id for one in given] == ids
        # The first was sent three times with one key: the gateway was busy, and an answer was lost.
        assert [one.replayed for one in given] == [True, False, False]
        assert gateway.troubles.times[1] - gateway.troubles.times[0] >= 1
        balances = [Decimal(text) for text in ("130.50", "131.00", "131.50")]
        assert await asyncio.wait_for(following, 5) == list(zip(ids, balances, strict=True))

        found = (await reader.execute(TransactionDetail(id=ids[0]))).transaction
        assert found is not None
        assert found.created_at.tzinfo == UTC
        with pytest.raises(NotFound):
            await reader.execute(TransactionDetail(id="txn_999_1"))
        with pytest.raises(InsufficientBalance):
            await service.execute(hold(gateway.account, "1000"))
        limit = SetSpendLimitInput(amount=Decimal("0.25"), window="DAY")
        limit_id = (await reader.execute(SetSpendLimit(input=limit))).set_spend_limit.spend_limit.id
        with pytest.raises(LimitExceeded) as refused:
            await service.execute(hold(gateway.account, "1"))
        assert (refused.value.limit, refused.value.remaining) == (limit_id, Decimal("0.25"))
        assert refused.value.resets_at is not None


async def test_refusals_have_classes(gateway: Gateway) -> None:
    assert set(CLASSES) == set(STATUS)
    async with BillingClient(gateway.url, UNKNOWN) as stranger:
        with pytest.raises(Unauthenticated):
            await stranger.execute(Viewer())
        with pytest.raises(Unauthenticated):
            await followed(stranger, 1)
    async with BillingClient("http://127.0.0.1:9", UNKNOWN, retries=Retries(attempts=2, first_seconds=0.01)) as lost:
        with pytest.raises(Unavailable):
            await lost.execute(Viewer())
    assert issubclass(Unavailable, BillingError)
