"""Accounts that are moved to another shard while Stripe is asked for them: nothing is made or charged twice."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from db.database import Database
from db.errors import AccountMoved
from db.stripe_customers import read_customers_of_account
from ledger.moving import AccountMoves
from ledger.recharges import RechargeSettings
from ledger.stripe.api import StripeApi
from tests.copies import Source
from tests.ledger.desk import usd
from tests.ledger.stripe.attempts import attempts_of
from tests.ledger.stripe.recharger import Recharger
from tests.ledger.stripe.test_top_ups import Counter, new
from tests.shards import databases, formed, new_urls
from tests.stripe_stand_in import StandIn

ALWAYS = RechargeSettings(usd("90000.00"), usd("25.00"), usd("1000.00"))


@pytest.fixture
async def shards(empty_database: Source, tmp_path: Path) -> AsyncIterator[list[Database]]:
    async with new_urls(empty_database, tmp_path, 2) as urls:
        await formed(*urls)
        async with databases(*urls) as made:
            yield made


async def moved(shards: list[Database], account_id: int, number: int) -> None:
    assert shards[0].place is not None
    report = await AccountMoves(shards[0].place.shards, announced_seconds=0).move(account_id, number)
    assert (report.shard, report.faults) == (number, [])


class Meanwhile:
    """Moves the account to the shard with this number while a call of Stripe's API runs: before Stripe gets it, or
    after it was answered."""

    def __init__(self, shards: list[Database], account_id: int, number: int, *, before: bool) -> None:
        self._move = partial(moved, shards, account_id, number)
        self._before = before
        self.calls = 0

    def around(self, call: Any) -> Any:
        async def called(*given: Any) -> Any:
            self.calls += 1
            if self._before:
                await self._move()
            answer = await call(*given)
            if not self._before:
                await self._move()
            return answer

        return called


async def test_a_card_is_charged_once_while_its_account_is_moved(
    shards: list[Database], api: StripeApi, stand_in: StandIn
) -> None:
    rechargers = [Recharger(one, stand_in, api) for one in shards]
    here, charges = 0, 0
    account_id = await rechargers[0].low_account(given=ALWAYS)
    moments = (("_bring_on", True), ("cards_of", True), ("cards_of", False), ("pay", True), ("pay", False))
    for name, before in moments:
        meanwhile = Meanwhile(shards, account_id, 1 - here, before=before)
        asked = api if hasattr(api, name) else rechargers[here].payments
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(asked, name, meanwhile.around(getattr(asked, name)))
            await rechargers[here].payments.run()
        assert meanwhile.calls == 1
        assert await attempts_of(shards[here], account_id) == []
        here, charges = 1 - here, charges + 1
        # Both workers go on.
        for one in rechargers:
            one.now += timedelta(minutes=5)
            await one.payments.run()
        assert list(stand_in.charged().values()) == [2_500] * charges
        await rechargers[0].tell_of_payments()
        assert await rechargers[here].told_states(account_id) == ["succeeded"] * charges
        assert (await rechargers[here].brief(account_id))[1:] == [("auto_recharge", "25.00")] * charges


async def test_a_payment_follows_another_since_the_move_broke_off(
    shards: list[Database], api: StripeApi, stand_in: StandIn
) -> None:
    """An account has one payment in flight, in its copy, too."""
    first, second = [Recharger(one, stand_in, api) for one in shards]
    account_id = await first.low_account(given=ALWAYS)
    await first.payments.run()

    def break_off(step: str) -> None:
        if "copied" in step:
            raise InterruptedError

    assert shards[0].place is not None
    with pytest.raises(InterruptedError):
        await AccountMoves(shards[0].place.shards, announced_seconds=0, tell=break_off).move(account_id, 1)
    assert await first.told_states(account_id) == ["submitted"]
    await first.tell_of_payments()
    await first.payments.run()
    await moved(shards, account_id, 1)
    assert await second.told_states(account_id) == ["submitted", "succeeded"]


async def test_a_customer_is_made_once_while_its_account_is_moved(
    shards: list[Database], api: StripeApi, stand_in: StandIn
) -> None:
    first, second = [Counter(one, api) for one in shards]
    account_id = await second.account()
    meanwhile = Meanwhile(shards, account_id, 0, before=False)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(api, "create_customer", meanwhile.around(api.create_customer))
        with pytest.raises(AccountMoved):
            await second.start(new(account_id))
    assert await read_customers_of_account(shards[1], account_id) == []
    kept = await first.start(new(account_id))
    # A gateway that has not learned of the move asks for the same session.
    started = await second.top_ups.start(new(account_id))
    assert started is not None
    assert started.id == kept.row.session_id
    assert [one.id for one in await read_customers_of_account(shards[0], account_id)] == list(stand_in.customers)
    assert len(stand_in.customers) == 1
