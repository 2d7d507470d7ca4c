"""However Stripe's events come to a set of shards, and wherever a process dies between two databases, each account's
ledger ends as in one database."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from db import stripe_events
from db.database import Database, WriteConnection
from ledger.errors import Conflict
from tests.copies import Source
from tests.doses import dose
from tests.ledger.recompute import differences
from tests.ledger.stripe.test_event_orders import CHAPTERS, Story, expected_rows, numbers, written
from tests.ledger.stripe.till import Till
from tests.ledger.test_posting_properties import EXAMPLES
from tests.shards import databases, formed, new_urls
from tests.stripe_objects import Object, body, session


class PowerCut(Exception):
    """The process dies between two transactions."""


class Unsteady(Database):
    may_cut: Callable[[], bool] = staticmethod(lambda: False)

    def _cut(self) -> None:
        if self.may_cut():
            raise PowerCut

    @asynccontextmanager
    async def write(self) -> AsyncIterator[WriteConnection]:
        self._cut()
        async with super().write() as connection:
            yield connection
        self._cut()


@pytest.fixture
async def shards(empty_database: Source, tmp_path: Path) -> AsyncIterator[list[Database]]:
    async with new_urls(empty_database, tmp_path, 2) as urls:
        await formed(*urls)
        async with databases(*urls, build=Unsteady) as made:
            yield made


class Shop:
    """Accounts on both shards, whose events come through shard 0."""

    def __init__(self, shards: list[Database], random: Random) -> None:
        self.tills = [Till(one) for one in shards]
        self.random = random
        self.shards = shards
        self.to_link: list[tuple[int, int, str]] = []
        """After how many deliveries a customer is linked, to which account."""

    def cut(self, share: float) -> None:
        """Has processes die before and after this share of the transactions."""
        for one in self.shards:
            assert isinstance(one, Unsteady)
            one.may_cut = lambda: self.random.random() < share

    async def link(self, delivered: int) -> None:
        for one in list(self.to_link):
            after, account_id, customer = one
            if delivered >= after and await survived(self.tills[0].events.link(account_id, customer)):
                self.to_link.remove(one)

    def wait(self, **more: int) -> None:
        for till in self.tills:
            till.now += timedelta(**more)

    async def deliver(self, deliveries: list[Object]) -> None:
        """Delivers some at once, and those that were not acknowledged again later."""
        self.wait(seconds=self.random.randint(0, 5))
        together = [deliveries.pop() for _ in range(min(len(deliveries), self.random.randint(1, 6)))]
        for one, is_done in zip(
            together,
            await asyncio.gather(*(survived(self.tills[0].events.receive(body(one))) for one in together)),
            strict=True,
        ):
            if not is_done:
                deliveries.insert(self.random.randint(0, len(deliveries)), one)

    async def work(self) -> None:
        for till in self.tills:
            await survived(till.retries.run())


async def survived(work: Awaitable[Any]) -> bool:
    try:
        await work
    except PowerCut:
        return False
    return True


@settings(EXAMPLES, max_examples=dose(4, 60), phases=[Phase.generate])
@given(
    chapters=st.tuples(CHAPTERS, CHAPTERS),
    seed=st.integers(0, 2**32),
    linked_after=st.tuples(*[st.sampled_from([0.0, 0.4, 0.8])] * 2),
    cuts=st.sampled_from([0.0, 0.05, 0.2]),
)
async def test_order_of_events_and_crashes_do_not_change_the_ledgers_of_two_shards(
    shards: list[Database],
    chapters: tuple[list[tuple[object, ...]], list[tuple[object, ...]]],
    seed: int,
    linked_after: tuple[float, float],
    cuts: float,
) -> None:
    random = Random(seed)
    shop = Shop(shards, random)
    accounts = [await till.account() for till in shop.tills]
    stories = [written(f"cus_{next(numbers)}", chapter) for chapter in chapters]
    for till, account_id, story in zip(shop.tills, accounts, stories, strict=True):
        for attempt in story.attempts:
            await till.attempt(account_id, attempt, state="failed", ended_at=till.now)
    told = [one for story in stories for one in story.events]
    deliveries = [one for one in told for _ in range(random.randint(1, 2))]
    random.shuffle(deliveries)
    count = len(deliveries)
    for share, account_id, story in zip(linked_after, accounts, stories, strict=True):
        shop.to_link.append((round(share * count), account_id, story.customer))
    shop.cut(cuts)
    while deliveries:
        await shop.link(count - len(deliveries))
        await shop.deliver(deliveries)
        if random.random() < 0.2:
            await shop.work()
    shop.cut(0)
    await shop.link(count)
    # What is left over is the workers' to do: no event comes again.
    shop.wait(minutes=40)
    for _ in range(3):
        for till in shop.tills:
            await till.retry_all()
    await check(shop, accounts, stories)


async def check(shop: Shop, accounts: list[int], stories: list[Story]) -> None:
    rows = [
        row._asdict() | {"shard": number}
        for number, till in enumerate(shop.tills)
        for row in await stripe_events.newest(till.database, None, 10_000)
    ]
    for number, (till, account_id, story) in enumerate(zip(shop.tills, accounts, stories, strict=True)):
        posted = await till.posted(account_id)
        assert sorted(posted, key=repr) == sorted(expected_rows(story, posted), key=repr)
        assert await differences(till.database) == []
        told = {one["id"]: one for one in story.events}
        kept = [row for row in rows if row["id"] in told]
        assert Counter(row["id"] for row in kept) == Counter(list(told))
        allowed = {"applied", "ignored", *(["needs_attention"] if story.foreign else [])}
        for row in kept:
            of = told[row["id"]]["data"]["object"]
            # No shard knows this payment: the refund may be of any of them.
            is_unknown = of["object"] == "refund" and of["payment_intent"] is None
            assert row["state"] in (["waiting"] if is_unknown else allowed), row
            assert row["account_id"] is None or (row["account_id"], row["shard"]) == (account_id, number)
        with pytest.raises(Conflict, match=f"already linked to acct_{account_id}"):
            await shop.tills[0].events.link(accounts[1 - number], story.customer)


async def test_customers_and_events_from_before_the_set_keep_their_places(
    empty_database: Source, tmp_path: Path
) -> None:
    async with new_urls(empty_database, tmp_path, 2) as urls:
        async with databases(urls[0]) as (alone,):
            till = Till(alone)
            account_id = await till.customer("cus_old")
            await till.tell("checkout.session.completed", session("cs_0", customer="cus_old"), "evt_done")
            await till.tell("checkout.session.completed", session("cs_1", customer="cus_new"), "evt_waiting")
        assert await formed(*urls) == [0, 1]
        assert await formed(*urls) == []
        async with databases(*urls) as made:
            first, second = [Till(one) for one in made]
            other = await second.account()
            with pytest.raises(Conflict, match=f"already linked to acct_{account_id}"):
                await first.events.link(other, "cus_old")
            assert await first.events.link(other, "cus_new") == 1
            for name, customer in (("evt_done", "cus_old"), ("evt_waiting", "cus_new")):
                told = await first.tell("checkout.session.completed", session("cs_0", customer=customer), name)
                assert (told.state, told.is_repeated) == ("applied", True)
            assert await first.brief(account_id) == await second.brief(other) == [("topup", "20.00")]
