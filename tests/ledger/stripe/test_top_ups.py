"""Top-ups from several gateways at once: one customer an account, and one session a call."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

import pytest

from db.database import Database, DatabaseOptions
from db.stripe_customers import read_customers_of_account
from ledger import top_ups
from ledger.errors import IdempotencyConflict, NotFound
from ledger.stripe.api import StripeApi
from ledger.stripe.failures import CallInProgress, StripeRefused, StripeUnavailable
from ledger.top_ups import KeptTopUp, NewTopUp, SessionState, TopUps, keep, state_of
from tests.ledger.desk import usd
from tests.ledger.stripe.till import Till
from tests.stripe_objects import session
from tests.stripe_stand_in import StandIn

ADDRESS = "https://example.com/billing"


def new(account_id: int, key: str = "one", amount: str = "25.00") -> NewTopUp:
    return NewTopUp(account_id, usd(amount), ADDRESS, ADDRESS, key)


class Counter(Till):
    """A gateway that starts top-ups."""

    def __init__(self, database: Database, api: StripeApi) -> None:
        super().__init__(database, api)
        self.top_ups = TopUps(database, api, lambda: self.now)

    async def start(self, given: NewTopUp) -> KeptTopUp:
        """As `createTopUp` does it."""
        started = await self.top_ups.start(given)
        return await self.ledger.within(lambda transaction: keep(transaction, given, started))


@pytest.fixture
def counter(database: Database, api: StripeApi) -> Counter:
    return Counter(database, api)


@pytest.fixture
async def other(database_url: str, api: StripeApi) -> AsyncIterator[Counter]:
    database = Database(DatabaseOptions(database_url))
    yield Counter(database, api)
    await database.close()


async def test_concurrent_first_top_ups_create_one_customer(
    counter: Counter, other: Counter, stand_in: StandIn
) -> None:
    account_id = await counter.account()
    stand_in.seconds = 0.05
    both = (counter, other)
    await asyncio.gather(*(both[number % 2].start(new(account_id, f"key {number}")) for number in range(20)))
    (customer,) = stand_in.customers
    sessions = stand_in.asked_for("/v1/checkout/sessions")
    assert {one.form["customer"] for one in sessions} == {customer}
    assert len({one.key for one in sessions}) == 20
    assert [one.id for one in await read_customers_of_account(counter.database, account_id)] == [customer]
    # Each account has a customer of its own.
    await counter.start(new(await counter.account()))
    assert len(stand_in.customers) == 2


async def test_same_call_to_two_gateways_creates_one_session(
    counter: Counter, other: Counter, stand_in: StandIn
) -> None:
    account_id = await counter.account()
    stand_in.seconds = 0.05
    kept = await asyncio.gather(*(one.start(new(account_id)) for one in (counter, other) * 4))
    assert len({one.row for one in kept}) == 1
    assert [one.is_replayed for one in kept].count(False) == 1
    assert kept[0].row.url == f"https://checkout.stripe.example/c/pay/{kept[0].row.session_id}"


async def test_replay_returns_the_session_after_stripe_forgot_the_key(counter: Counter, stand_in: StandIn) -> None:
    account_id = await counter.account("1.00")
    first = await counter.start(new(account_id))
    stand_in.forget_keys()
    counter.now += timedelta(days=40)
    assert await counter.start(new(account_id)) == replace(first, is_replayed=True)
    assert len(stand_in.asked_for("/v1/checkout/sessions")) == 1
    with pytest.raises(IdempotencyConflict):
        await counter.start(new(account_id, amount="26.00"))
    # Another key, or another account, is another top-up.
    others = [await counter.start(new(account_id, "two")), await counter.start(new(await counter.account()))]
    assert len({first.row.session_id, *(one.row.session_id for one in others)}) == 3


async def test_replay_is_answered_without_stripe(counter: Counter) -> None:
    account_id = await counter.account()
    first = await counter.start(new(account_id))
    counter.top_ups = TopUps(counter.database, None)
    assert (await counter.start(new(account_id))).row == first.row


async def test_interrupted_call_gets_the_same_session_again(counter: Counter, stand_in: StandIn) -> None:
    account_id = await counter.account()
    lost = await counter.top_ups.start(new(account_id))
    assert lost is not None
    kept = await counter.start(new(account_id))
    # The caller was not answered before: to it, this is the first time.
    assert (kept.row.session_id, kept.is_replayed) == (lost.id, False)
    # Nobody was told of a session that was lost before Stripe forgot the key.
    lost = await counter.top_ups.start(new(account_id, "two"))
    assert lost is not None
    stand_in.forget_keys()
    kept = await counter.start(new(account_id, "two"))
    assert (kept.row.session_id != lost.id, kept.is_replayed) == (True, False)


async def test_session_completes_or_expires(counter: Counter) -> None:
    account_id = await counter.account()

    async def state(key: str) -> SessionState:
        return state_of((await counter.start(new(account_id, key))).row, counter.now)

    paid, unpaid, left = [(await counter.start(new(account_id, key))).row for key in ("paid", "unpaid", "left")]
    (customer,) = await read_customers_of_account(counter.database, account_id)
    assert await state("paid") == SessionState.OPEN
    of = session(paid.session_id, customer=customer.id, payment_intent="pi_1")
    await counter.tell("checkout.session.completed", of)
    # A bank transfer arrives days later.
    of = session(unpaid.session_id, customer=customer.id, payment_intent="pi_2", payment_status="unpaid")
    await counter.tell("checkout.session.completed", of)
    counter.now = left.expires_at - timedelta(seconds=1)
    assert [await state(key) for key in ("paid", "unpaid", "left")] == ["complete", "complete", "open"]
    counter.now = left.expires_at
    assert [await state(key) for key in ("paid", "unpaid", "left")] == ["complete", "complete", "expired"]


async def test_a_deleted_customer_is_replaced(counter: Counter, stand_in: StandIn) -> None:
    account_id = await counter.account()
    await counter.start(new(account_id))
    (deleted,) = stand_in.customers
    await counter.tell("customer.deleted", {"id": deleted, "object": "customer"})
    await counter.start(new(account_id, "two"))
    (customer,) = stand_in.customers.keys() - {deleted}
    assert stand_in.asked_for("/v1/checkout/sessions")[-1].form["customer"] == customer
    # What the old one paid is still the account's.
    await counter.tell("checkout.session.completed", session("cs_1", customer=deleted, payment_intent="pi_1"))
    assert await counter.brief(account_id) == [("topup", "20.00")]
    await counter.start(new(account_id, "three"))
    assert len(stand_in.customers) == 2


async def test_refused_customer_is_checked_at_stripe(counter: Counter, stand_in: StandIn) -> None:
    account_id = await counter.account()
    await counter.start(new(account_id))
    (deleted,) = stand_in.customers
    stand_in.customers[deleted] = {"id": deleted, "object": "customer", "deleted": True}
    with pytest.raises(StripeRefused, match="No such customer"):
        await counter.start(new(account_id, "two"))
    await counter.cards.run()
    await counter.start(new(account_id, "three"))
    assert stand_in.asked_for("/v1/checkout/sessions")[-1].form["customer"] != deleted


async def test_unknown_account_error_names_the_account(counter: Counter, stand_in: StandIn) -> None:
    with pytest.raises(NotFound, match="there is no account acct_7"):
        await counter.top_ups.start(new(7))
    assert stand_in.customers == {}


async def test_long_running_call_of_another_process_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(top_ups, "_PAUSES_SECONDS", (0, 0))
    asked: list[int] = []

    async def ask() -> str:
        asked.append(len(asked))
        raise CallInProgress("in progress")

    with pytest.raises(CallInProgress):
        await top_ups._answered(ask)
    assert asked == [0, 1, 2]


async def test_unreadable_answer_counts_as_no_answer(counter: Counter, stand_in: StandIn) -> None:
    account_id = await counter.account()
    stand_in.sessions_expire_at = -1
    with pytest.raises(StripeUnavailable) as refused:
        await counter.start(new(account_id))
    assert refused.value.reason == "expires_at must be a time"
