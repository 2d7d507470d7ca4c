"""However Stripe's events come to a set of shards, whenever accounts are moved, and wherever a process dies between two
databases, each account's ledger ends as in one database."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from datetime import timedelta
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from db import stripe_events
from db.database import Database, WriteConnection
from db.errors import DatabaseError
from db.shards import found_account, number_of
from db.stripe_directory import claim_customer, read_event_shard
from db.stripe_tables import stripe_credits
from ledger.errors import Conflict
from ledger.moving import AccountMoves
from ledger.stripe.notices import read_event
from ledger.verification.accounts import verify_account
from tests.copies import Source
from tests.doses import dose
from tests.ledger.stripe.test_event_orders import CHAPTERS, Story, expected_rows, numbers, written
from tests.ledger.stripe.till import Till
from tests.ledger.test_posting_properties import EXAMPLES
from tests.shards import databases, formed, new_urls
from tests.stripe_objects import Object, body, charge, event, listing, refund, session

ENDURANCE: Final[ContextVar[float]] = ContextVar("endurance", default=1)
"""How many transactions a process does before it dies, compared with those that take events."""


class PowerCut(Exception):
    """The process dies between two transactions."""


class Unsteady(Database):
    may_cut: Callable[[], bool] = staticmethod(lambda: False)
    meanwhile: Sequence[Callable[[], Awaitable[None]] | None] = ()
    """What others do before each of the next transactions."""

    def _cut(self) -> None:
        if self.may_cut():
            raise PowerCut

    @asynccontextmanager
    async def write(self) -> AsyncIterator[WriteConnection]:
        happens, self.meanwhile = (self.meanwhile[0], self.meanwhile[1:]) if self.meanwhile else (None, ())
        if happens is not None:
            await happens()
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
            one.may_cut = lambda: self.random.random() * ENDURANCE.get() < share

    def cut_after(self, transactions: int) -> None:
        """Has the process die once, after this transaction."""
        calls = count(1)
        for one in self.shards:
            assert isinstance(one, Unsteady)
            one.may_cut = lambda: next(calls) == 2 * transactions

    async def link(self, delivered: int) -> None:
        for one in list(self.to_link):
            after, account_id, customer = one
            if delivered >= after and await survived(self.tills[0].events.link(account_id, customer)):
                self.to_link.remove(one)

    async def move(self, account_id: int, number: int) -> None:
        """Moves the account, or takes a move back that was broken off. A move is many transactions."""
        ENDURANCE.set(20)
        first = self.shards[0]
        assert first.place is not None
        moves = AccountMoves(first.place.shards, lambda: self.tills[0].now, announced_seconds=0)
        await survived(moves.move(account_id, number))

    async def till_of(self, account_id: int) -> Till:
        return self.tills[number_of(await found_account(self.shards[0], account_id))]

    def wait(self, **more: int) -> None:
        for till in self.tills:
            till.now += timedelta(**more)

    async def deliver(self, deliveries: list[Object], move: int | None = None) -> None:
        """Delivers some at once, and those that were not acknowledged again later. Moves the account `move` before, or
        meanwhile."""
        self.wait(seconds=self.random.randint(0, 5))
        moving = asyncio.create_task(asyncio.sleep(0) if move is None else self.move(move, self.random.randint(0, 1)))
        if self.random.random() < 0.5:
            await moving
        together = [deliveries.pop() for _ in range(min(len(deliveries), self.random.randint(1, 6)))]
        for one, is_done in zip(
            together,
            await asyncio.gather(*(survived(self.tills[0].events.receive(body(one))) for one in together)),
            strict=True,
        ):
            if not is_done:
                deliveries.insert(self.random.randint(0, len(deliveries)), one)
        await moving

    async def work(self) -> None:
        for till in self.tills:
            await survived(till.retry_all())


async def survived(work: Awaitable[Any]) -> bool:
    try:
        await work
    except (PowerCut, DatabaseError):
        return False
    return True


@settings(EXAMPLES, max_examples=dose(4, 60), phases=[Phase.generate])
@given(
    chapters=st.tuples(CHAPTERS, CHAPTERS),
    seed=st.integers(0, 2**32),
    linked_after=st.tuples(*[st.sampled_from([0.0, 0.4, 0.8])] * 2),
    cuts=st.sampled_from([0.0, 0.05, 0.2]),
    moves=st.sampled_from([0.0, 0.15, 0.3]),
)
async def test_order_of_events_and_crashes_do_not_change_the_ledgers_of_two_shards(
    shards: list[Database],
    chapters: tuple[list[tuple[object, ...]], list[tuple[object, ...]]],
    seed: int,
    linked_after: tuple[float, float],
    cuts: float,
    moves: float,
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
    told_times = len(deliveries)
    for share, account_id, story in zip(linked_after, accounts, stories, strict=True):
        shop.to_link.append((round(share * told_times), account_id, story.customer))
    shop.cut(cuts)
    while deliveries:
        await shop.link(told_times - len(deliveries))
        await shop.deliver(deliveries, move=random.choice(accounts) if random.random() < moves else None)
        if random.random() < 0.3:
            await shop.work()
    shop.cut(0)
    if moves:
        for account_id in accounts:
            await shop.move(account_id, random.randint(0, 1))
    await shop.link(told_times)
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
    for number, (account_id, story) in enumerate(zip(accounts, stories, strict=True)):
        till = await shop.till_of(account_id)
        posted = await till.posted(account_id)
        assert sorted(posted, key=repr) == sorted(expected_rows(story, posted), key=repr)
        assert (await verify_account(till.database, account_id)).faults == []
        told = {one["id"]: one for one in story.events}
        kept = [row for row in rows if row["id"] in told]
        assert Counter(row["id"] for row in kept) == Counter(list(told))
        allowed = {"applied", "ignored", *(["needs_attention"] if story.foreign else [])}
        for row in kept:
            of = told[row["id"]]["data"]["object"]
            # No shard knows this payment: the refund may be of any of them.
            is_unknown = of["object"] == "refund" and of["payment_intent"] is None
            assert row["state"] in (["waiting"] if is_unknown else allowed), row
            assert row["account_id"] in (None, account_id)
            assert row["shard"] == (await read_event_shard(shop.shards[0], row["id"]) or 0)
        with pytest.raises(Conflict, match=f"already linked to acct_{account_id}"):
            await shop.tills[0].events.link(accounts[1 - number], story.customer)


@pytest.mark.parametrize("then", ["moved_back", "sent_again"])
async def test_an_event_that_waited_follows_its_account_through_crashes(shards: list[Database], then: str) -> None:
    """The retry dies after each of its transactions, and goes on after the account was moved back, or Stripe has
    sent the event again."""
    shop = Shop(shards, Random(0))
    here, tries, doubled, is_cut = 1, 0, 0, True
    account_id = await shop.tills[here].account()
    await shop.tills[0].events.link(account_id, "cus_1")
    while is_cut:
        tries += 1
        name, payment_id = f"evt_refunded_{tries}", f"pi_{tries}"
        back = refund(f"re_{tries}", amount=500, charge=f"ch_{tries}", payment_intent=payment_id)
        of = charge(f"ch_{tries}", customer="cus_1", amount=2_000, refunded=500, payment_intent=payment_id)
        paid = session(f"cs_{tries}", customer="cus_1", payment_intent=payment_id)
        failed = refund(f"re_failed_{tries}", amount=100, charge=f"ch_{tries}", payment_intent=payment_id)
        assert (await shop.tills[0].tell("checkout.session.completed", paid, f"evt_paid_{tries}")).state == "applied"
        await shop.tills[0].tell("refund.failed", failed | {"status": "failed"})
        # The event does not say which refund it is.
        assert (await shop.tills[0].tell("charge.refunded", of, name)).state == "waiting"
        await shop.move(account_id, 1 - here)
        again = await shop.tills[0].tell("checkout.session.completed", paid, f"evt_paid_{tries}")
        assert (again.state, again.is_repeated) == ("applied", True)
        assert (await shop.tills[0].tell("refund.created", failed)).state == "ignored"
        shop.cut_after(tries)
        before = shop.tills[here].events
        learned = before.read(read_event(body(event("charge.refunded", of | {"refunds": listing([back])}))))
        is_cut = not await survived(before.retry(name, learned))
        shop.cut(0)
        if all([await stripe_events.is_stored(one, name) for one in shards]):
            doubled += 1
            with pytest.raises(Conflict, match="is on its way"):
                await shop.tills[0].events.dismiss(name, "No")
        here = here if then == "moved_back" else 1 - here
        if then == "moved_back":
            await shop.move(account_id, here)
        if then == "sent_again":
            await shop.tills[0].tell("charge.refunded", of, name)
        await shop.tills[0].tell("refund.created", back)
        for _ in range(2):
            for till in shop.tills:
                await till.retry_all()
        assert await shop.tills[here].brief(account_id) == [("topup", "20.00"), ("refund", "5.00")] * tries
        rows = [
            (number, row) for number, one in enumerate(shards) for row in await stripe_events.newest(one, None, 100)
        ]
        ((number, state),) = [(number, row.state) for number, row in rows if row.id == name]
        assert (number, state) == (await read_event_shard(shards[0], name), "applied")
        assert Counter(row.id for _, row in rows).most_common(1)[0][1] == 1
    assert tries > 5
    assert doubled == 1
    # Nor does a refund stay that names its payment only.
    credits_left = select(stripe_credits.c.id)
    assert len(await shards[here].read(credits_left)) == 3 * tries
    assert await shards[1 - here].read(credits_left) == []


async def test_an_event_that_comes_back_while_it_is_removed_is_kept(shards: list[Database]) -> None:
    shop = Shop(shards, Random(0))
    account_id = await shop.tills[1].account()
    await shop.tills[0].events.link(account_id, "cus_1")
    of = charge("ch_1", customer="cus_1", amount=2_000, refunded=500, payment_intent="pi_1")
    assert (await shop.tills[0].tell("charge.refunded", of, "evt_1")).state == "waiting"
    await shop.move(account_id, 0)

    async def come_back() -> None:
        await shop.move(account_id, 1)
        await shop.tills[0].retry_all()

    # Of the retry's transactions, the last one removes the event.
    assert isinstance(shards[1], Unsteady)
    shards[1].meanwhile = [None, None, come_back]
    await shop.tills[1].events.retry("evt_1")
    assert not shards[1].meanwhile
    kept = [[row.id for row in await stripe_events.newest(one, None, 100)] for one in shards]
    assert (kept, await read_event_shard(shards[0], "evt_1")) == ([[], ["evt_1"]], 1)
    await shop.tills[0].tell("checkout.session.completed", session("cs_1", customer="cus_1", payment_intent="pi_1"))
    await shop.tills[0].tell("refund.created", refund("re_1", amount=500, charge="ch_1", payment_intent="pi_1"))
    await shop.tills[1].retry_all()
    assert await shop.tills[1].brief(account_id) == [("topup", "20.00"), ("refund", "5.00")]
    assert (await shop.tills[1].event_row("evt_1")).state == "applied"


async def test_an_event_waits_for_a_customer_that_is_claimed_but_not_linked(shards: list[Database]) -> None:
    first, second = [Till(one) for one in shards]
    account_id = await second.account()
    async with shards[0].write() as connection:
        await claim_customer(connection, "cus_1", account_id)
    paid = session("cs_1", customer="cus_1")
    assert (await first.tell("checkout.session.completed", paid, "evt_1")).state == "waiting"
    assert (await second.event_row("evt_1")).waits_for == "cus_1"
    assert await first.events.link(account_id, "cus_1") == 1
    assert await second.brief(account_id) == [("topup", "20.00")]


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
