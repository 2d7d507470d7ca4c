"""Auto-recharge against the stand-in: one payment in flight, charged once whatever happens, and credited by events."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Final

import pytest

from db.database import Database
from ledger.errors import Conflict
from ledger.recharge_payments import SETTLED, RechargePayments
from ledger.recharges import MAX_DECLINES, NO_CARD, RechargeSettings, succeed
from ledger.stripe.api import Payment, StripeApi
from ledger.stripe.failures import StripeRefused
from tests.ledger.desk import OPERATOR, correction, usd
from tests.ledger.stripe.recharger import SETTINGS, Recharger
from tests.ledger.stripe.till import CUSTOMER
from tests.stripe_objects import payment_method
from tests.stripe_stand_in import Fault, StandIn, stripe_hangs

MINUTE = timedelta(minutes=1)


@pytest.fixture
def recharger(database: Database, stand_in: StandIn, api: StripeApi) -> Recharger:
    return Recharger(database, stand_in, api)


async def test_low_balance_is_charged_once_and_credited_only_by_the_event(recharger: Recharger) -> None:
    account_id = await recharger.low_account()
    for _ in range(3):
        await recharger.payments.run()
    (attempt,) = await recharger.attempts(account_id)
    assert recharger.stand_in.charged() == {attempt.id: 2_500}
    assert (attempt.state, attempt.payment_method) == ("submitted", "pm_1")
    assert await recharger.brief(account_id) == [("admin_correction", "4.00")]
    await recharger.tell_of_payments()
    assert (await recharger.brief(account_id))[1:] == [("auto_recharge", "25.00")]
    assert await recharger.told_states(account_id) == ["succeeded"]
    await recharger.payments.run()
    assert len(recharger.stand_in.charged()) == 1


@pytest.mark.parametrize(
    ("balance", "given"),
    [
        ("10.00", SETTINGS),
        ("0.00", RechargeSettings(0, usd("25.00"), usd("60.00"))),
    ],
)
async def test_balance_at_the_threshold_is_not_charged(
    recharger: Recharger, balance: str, given: RechargeSettings
) -> None:
    account_id = await recharger.low_account(balance, given)
    await recharger.payments.run()
    assert await recharger.attempts(account_id) == []
    assert recharger.stand_in.asked == []


async def test_a_suspended_account_is_not_charged(recharger: Recharger) -> None:
    account_id = await recharger.low_account()
    await recharger.change_status(account_id, "suspended")
    await recharger.payments.run()
    await recharger.payments._start(account_id)
    assert await recharger.attempts(account_id) == []
    await recharger.change_status(account_id, "active")
    await recharger.payments.run()
    assert await recharger.told_states(account_id) == ["submitted"]


async def test_disabled_auto_recharge_is_not_charged(recharger: Recharger) -> None:
    account_id = await recharger.low_account()
    await recharger.switch_off(account_id)
    await recharger.payments.run()
    assert recharger.stand_in.asked == []
    assert (await recharger.setting(account_id)).state == "off"
    with pytest.raises(Conflict, match="never set"):
        await recharger.switch_off(await recharger.account())


@pytest.mark.parametrize("fault", ["hangs", "hangs_afterwards", "breaks_off", "cut_short", "503", "429", "html"])
@stripe_hangs
async def test_unanswered_call_is_repeated_with_the_same_key(recharger: Recharger, fault: Fault) -> None:
    account_id = await recharger.low_account()
    # The customer and the cards are asked for before.
    recharger.stand_in.faults = ["none", "none", fault]
    await recharger.payments.run()
    assert await recharger.told_states(account_id) == ["started"]
    await recharger.payments.run()
    assert len(recharger.stand_in.asked_for("/v1/payment_intents")) == 1, "not before its time"
    recharger.now += 3 * MINUTE
    await recharger.payments.run()
    (attempt,) = await recharger.attempts(account_id)
    assert attempt.state == "submitted"
    assert [one.key for one in recharger.stand_in.asked_for("/v1/payment_intents")] == [attempt.id] * 2
    assert recharger.stand_in.charged() == {attempt.id: 2_500}


async def test_committed_but_unsent_attempt_is_sent(recharger: Recharger) -> None:
    """The process ended between the commit and the call."""
    account_id = await recharger.low_account()
    await recharger.payments._start(account_id)
    (attempt,) = await recharger.attempts(account_id)
    assert (attempt.state, attempt.sends, recharger.stand_in.asked) == ("started", 0, [])
    await recharger.payments.run()
    assert recharger.stand_in.charged() == {attempt.id: 2_500}


@pytest.mark.parametrize("was_charged", [True, False])
@stripe_hangs
async def test_old_attempt_is_looked_up_at_stripe(recharger: Recharger, was_charged: bool) -> None:
    account_id = await recharger.low_account()
    recharger.stand_in.faults = ["none", "none", "hangs_afterwards" if was_charged else "hangs"]
    await recharger.payments.run()
    recharger.stand_in.forget_keys()
    recharger.now += timedelta(days=2)
    await recharger.payments.run()
    (attempt,) = await recharger.attempts(account_id)
    assert len(recharger.stand_in.asked_for("/v1/payment_intents")) == 1
    if was_charged:
        assert (attempt.state, recharger.stand_in.charged()) == ("submitted", {attempt.id: 2_500})
        return
    assert (attempt.state, attempt.failure) == ("failed", "Stripe could not be reached")
    assert (await recharger.setting(account_id)).declines == 0
    recharger.now += timedelta(hours=2)
    await recharger.payments.run()
    assert await recharger.told_states(account_id) == ["submitted", "failed"]
    assert list(recharger.stand_in.charged().values()) == [2_500]


async def test_repeated_declines_stop_auto_recharge_until_it_is_set_again(recharger: Recharger) -> None:
    account_id = await recharger.low_account()
    recharger.stand_in.declines_all = True
    for number in range(1, MAX_DECLINES + 1):
        await recharger.payments.run()
        # The event tells of the same decline.
        await recharger.tell_of_payments()
        setting = await recharger.setting(account_id)
        assert (setting.declines, setting.state) == (number, "stopped" if number == MAX_DECLINES else "active")
        await recharger.payments.run()
        assert len(recharger.stand_in.payments) == number, "the next one waits"
        recharger.now += timedelta(days=1)
    assert setting.last_failure == "Your card has insufficient funds. (insufficient_funds)"
    assert setting.last_failure_at is not None
    await recharger.payments.run()
    assert len(recharger.stand_in.payments) == MAX_DECLINES
    recharger.stand_in.declines_all = False
    await recharger.set(account_id, SETTINGS)
    await recharger.payments.run()
    await recharger.tell_of_payments()
    assert (await recharger.brief(account_id))[-1] == ("auto_recharge", "25.00")
    assert (await recharger.setting(account_id)).declines == 0


async def test_decline_reported_only_by_the_event_counts(recharger: Recharger) -> None:
    account_id = await recharger.low_account()
    recharger.stand_in.payment_status = "processing"
    await recharger.payments.run()
    (one,) = recharger.made()
    failed = one | {"status": "requires_payment_method", "last_payment_error": {"message": "No funds."}}
    await recharger.tell("payment_intent.payment_failed", failed)
    assert await recharger.told_states(account_id) == ["failed"]
    assert (await recharger.setting(account_id)).last_failure == "No funds."


async def test_payment_without_event_is_looked_up(recharger: Recharger) -> None:
    account_id = await recharger.low_account()
    recharger.stand_in.payment_status = "processing"
    await recharger.payments.run()
    (payment_id,) = recharger.stand_in.payments
    recharger.stand_in.payments[payment_id]["status"] = "canceled"
    recharger.now += 30 * MINUTE
    await recharger.payments.run()
    assert await recharger.told_states(account_id) == ["submitted"]
    recharger.now += timedelta(hours=1)
    await recharger.payments.run()
    assert await recharger.told_states(account_id) == ["failed"]


async def test_daily_limit_applies_until_the_day_ends(recharger: Recharger) -> None:
    account_id = await recharger.low_account("-1000.00")
    recharger.now += timedelta(hours=20)
    for _ in range(4):
        await recharger.payments.run()
        await recharger.tell_of_payments()
        recharger.now += MINUTE
    assert list(recharger.stand_in.charged().values()) == [2_500, 2_500]
    assert (await recharger.setting(account_id)).last_failure == "the daily limit of 60.00 is reached"
    recharger.now += timedelta(hours=3)
    await recharger.payments.run()
    assert len(recharger.stand_in.charged()) == 2
    recharger.now += timedelta(hours=1)
    await recharger.payments.run()
    assert len(recharger.stand_in.charged()) == 3


async def test_missing_card_is_reported(recharger: Recharger) -> None:
    account_id = await recharger.low_account()
    recharger.stand_in.cards.clear()
    await recharger.payments.run()
    assert (await recharger.setting(account_id)).last_failure == NO_CARD
    other = await recharger.account("1.00")
    await recharger.set(other, SETTINGS)
    for _ in range(MAX_DECLINES + 1):
        await recharger.payments.run()
        recharger.now += timedelta(hours=1)
    assert (await recharger.setting(other)).last_failure == NO_CARD
    assert await recharger.attempts(other) == []
    assert recharger.stand_in.payments == {}
    # A card that is not there was not declined. It is charged once it is saved, without a wait.
    setting = await recharger.setting(account_id)
    assert (setting.state, setting.declines) == ("active", 0)
    await recharger.payments.run()
    recharger.stand_in.cards[CUSTOMER] = ["pm_1"]
    await recharger.tell("payment_method.attached", payment_method("pm_1", CUSTOMER))
    assert (await recharger.setting(account_id)).last_failure is None
    await recharger.payments.run()
    assert (await recharger.told_states(account_id))[0] == "submitted"


async def test_card_known_only_to_stripe_is_found_within_an_hour(recharger: Recharger) -> None:
    account_id = await recharger.low_account()
    recharger.stand_in.cards.clear()
    await recharger.payments.run()
    recharger.stand_in.cards[CUSTOMER] = ["pm_1"]
    recharger.now += timedelta(hours=1)
    # The worker's two jobs, in either order.
    await recharger.payments.run()
    await recharger.cards.run()
    await recharger.payments.run()
    assert (await recharger.told_states(account_id))[0] == "submitted"


async def test_customer_with_a_card_is_charged(recharger: Recharger) -> None:
    """As first top-ups at the same time left them behind."""
    account_id = await recharger.low_account()
    recharger.stand_in.cards = {"cus_2": ["pm_2"]}
    recharger.stand_in.customers["cus_2"] = {"id": "cus_2", "object": "customer", "invoice_settings": {}}
    recharger.now += MINUTE
    await recharger.events.link(account_id, "cus_2")
    await recharger.cards.run()
    await recharger.payments.run()
    (made,) = recharger.made()
    assert (made["customer"], await recharger.told_states(account_id)) == ("cus_2", ["submitted"])


async def _suspend(recharger: Recharger, account_id: int) -> None:
    await recharger.change_status(account_id, "suspended")


async def _switch_off(recharger: Recharger, account_id: int) -> None:
    await recharger.switch_off(account_id)


async def _pay_more(recharger: Recharger, account_id: int) -> None:
    await recharger.set(account_id, RechargeSettings(usd("10.00"), usd("50.00"), usd("60.00")))


async def _lower_threshold(recharger: Recharger, account_id: int) -> None:
    await recharger.set(account_id, RechargeSettings(usd("4.00"), usd("25.00"), usd("60.00")))


async def _top_up(recharger: Recharger, account_id: int) -> None:
    await recharger.post(account_id, correction(usd("6.00"), "Topped up"), writer=OPERATOR)


async def _wait_for_tomorrow(recharger: Recharger, _account_id: int) -> None:
    recharger.now = recharger.now.replace(hour=0, minute=0) + timedelta(days=1)


Change = Callable[[Recharger, int], Awaitable[None]]

CHANGES: Final[dict[Change, str]] = {
    _suspend: "the account is suspended",
    _switch_off: "auto-recharge is off",
    _pay_more: "the amount was changed",
    _lower_threshold: "the balance is not below the threshold any more",
    _top_up: "the balance is not below the threshold any more",
    _wait_for_tomorrow: "its day is over",
}
"""What takes the ground from an attempt, and why it is then withdrawn."""


async def _lower_limit(recharger: Recharger, account_id: int) -> None:
    await recharger.set(account_id, RechargeSettings(usd("10.00"), usd("25.00"), usd("30.00")))


@pytest.mark.parametrize("change", CHANGES)
async def test_unsent_attempt_is_withdrawn(recharger: Recharger, change: Change) -> None:
    recharger.now += timedelta(hours=23, minutes=50)
    account_id = await recharger.low_account()
    await recharger.payments._start(account_id)
    await change(recharger, account_id)
    await recharger.payments.run()
    (attempt,) = await recharger.attempts(account_id)
    assert (attempt.state, attempt.failure) == ("failed", CHANGES[change])
    setting = await recharger.setting(account_id)
    assert (setting.declines, setting.last_failure, setting.retry_at) == (0, None, None), "it is nobody's failure"
    assert recharger.stand_in.payments == {}


@pytest.mark.parametrize("change", CHANGES)
async def test_change_during_the_card_lookup_prevents_the_charge(recharger: Recharger, change: Change) -> None:
    recharger.now += timedelta(hours=23, minutes=50)
    account_id = await recharger.low_account()
    recharger.stand_in.meanwhile = lambda: change(recharger, account_id)
    await recharger.payments.run()
    (attempt,) = await recharger.attempts(account_id)
    assert (attempt.state, attempt.failure) == ("failed", CHANGES[change])
    assert recharger.stand_in.payments == {}


@pytest.mark.parametrize("change", CHANGES)
async def test_attempt_with_unknown_outcome_is_not_sent_again(recharger: Recharger, change: Change) -> None:
    """Stripe was asked for it, and never heard of it."""
    recharger.now += timedelta(hours=23, minutes=50)
    account_id = await recharger.low_account()
    recharger.stand_in.faults_of_payments = ["503"]
    await recharger.payments.run()
    sent_at = recharger.now
    recharger.now += 3 * MINUTE
    await change(recharger, account_id)
    await recharger.payments.run()
    # The payment may yet turn up in Stripe's list: nothing is asked for anew.
    assert await recharger.told_states(account_id) == ["started"]
    recharger.now = sent_at + SETTLED
    await recharger.payments.run()
    (attempt,) = await recharger.attempts(account_id)
    assert (attempt.state, attempt.failure) == ("failed", CHANGES[change])
    assert (await recharger.setting(account_id)).declines == 0
    assert recharger.stand_in.charged() == {}


@pytest.mark.parametrize("change", CHANGES)
async def test_unwanted_attempt_that_charged_the_card_is_found(recharger: Recharger, change: Change) -> None:
    """Stripe carried it out, but its answer did not come."""
    recharger.now += timedelta(hours=23, minutes=50)
    account_id = await recharger.low_account()
    recharger.stand_in.faults_of_payments = ["breaks_off"]
    await recharger.payments.run()
    recharger.now += 3 * MINUTE
    await change(recharger, account_id)
    await recharger.payments.run()
    (attempt,) = await recharger.attempts(account_id)
    assert attempt.state == "submitted"
    assert recharger.stand_in.charged() == {attempt.id: 2_500}
    assert len(recharger.stand_in.asked_for("/v1/payment_intents")) == 1
    await recharger.tell_of_payments()
    assert (await recharger.brief(account_id))[-1] == ("auto_recharge", "25.00")


async def test_lowered_limit_applies_to_a_started_attempt(recharger: Recharger) -> None:
    account_id = await recharger.low_account("-100.00")
    await recharger.payments.run()
    await recharger.tell_of_payments()
    recharger.stand_in.faults_of_payments = ["503"]
    await recharger.payments.run()
    await _lower_limit(recharger, account_id)
    recharger.now += SETTLED
    await recharger.payments.run()
    assert [one.failure for one in await recharger.attempts(account_id)] == [
        "the daily limit of 30.00 is reached",
        None,
    ]
    assert list(recharger.stand_in.charged().values()) == [2_500]


async def test_reactivated_account_is_charged_by_the_same_attempt(recharger: Recharger) -> None:
    account_id = await recharger.low_account()
    recharger.stand_in.faults_of_payments = ["503"]
    await recharger.payments.run()
    await _suspend(recharger, account_id)
    recharger.now += 3 * MINUTE
    await recharger.payments.run()
    await recharger.change_status(account_id, "active")
    recharger.now += SETTLED
    await recharger.payments.run()
    (attempt,) = await recharger.attempts(account_id)
    assert recharger.stand_in.charged() == {attempt.id: 2_500}


async def test_key_used_with_other_arguments_is_looked_up(recharger: Recharger) -> None:
    """Such as those of another release of this program."""
    account_id = await recharger.low_account()
    recharger.stand_in.faults_of_payments = ["breaks_off"]
    await recharger.payments.run()
    recharger.stand_in.put_otherwise()
    recharger.now += 3 * MINUTE
    await recharger.payments.run()
    (attempt,) = await recharger.attempts(account_id)
    assert (attempt.state, recharger.stand_in.charged()) == ("submitted", {attempt.id: 2_500})


async def test_two_workers_charge_once(recharger: Recharger, api: StripeApi) -> None:
    account_id = await recharger.low_account()
    other = RechargePayments(recharger.database, api, lambda: recharger.now)
    for _ in range(3):
        await asyncio.gather(*(one.run() for one in (recharger.payments, other) * 3))
    (attempt,) = await recharger.attempts(account_id)
    assert recharger.stand_in.charged() == {attempt.id: 2_500}


@stripe_hangs
async def test_event_may_arrive_before_the_answer(recharger: Recharger) -> None:
    account_id = await recharger.low_account()
    recharger.stand_in.faults = ["none", "none", "hangs_afterwards"]
    await recharger.payments.run()
    await recharger.tell_of_payments()
    assert await recharger.told_states(account_id) == ["succeeded"]
    recharger.now += 5 * MINUTE
    await recharger.post(account_id, correction(-usd("25.00"), "Spent"), writer=OPERATOR)
    await recharger.payments.run()
    assert await recharger.told_states(account_id) == ["submitted", "succeeded"]


async def test_refused_call_fails_the_attempt(recharger: Recharger, monkeypatch: pytest.MonkeyPatch) -> None:
    account_id = await recharger.low_account()

    async def refuse(*_arguments: object) -> None:
        raise StripeRefused("No such payment method")

    monkeypatch.setattr(StripeApi, "pay", refuse)
    await recharger.payments.run()
    (attempt,) = await recharger.attempts(account_id)
    assert (attempt.state, attempt.failure) == ("failed", "No such payment method")


async def test_late_answer_for_an_ended_attempt_changes_nothing(recharger: Recharger) -> None:
    """Stripe's event, or another worker, may come first."""
    account_id = await recharger.low_account()
    await recharger.payments.run()
    (attempt,) = await recharger.attempts(account_id)
    await recharger.tell_of_payments()
    before = await recharger.attempts(account_id), await recharger.setting(account_id)
    for late in (attempt, attempt._replace(id="recharge_unknown")):
        await recharger.payments._conclude(late, Payment("pi_late", "running", None))
        await recharger.payments._postpone(late, MINUTE, "Stripe is busy")
        await recharger.payments._fail(late, "declined")
    assert (await recharger.attempts(account_id), await recharger.setting(account_id)) == before


async def test_payment_of_an_unknown_attempt_ends_no_attempt(recharger: Recharger) -> None:
    async with recharger.database.write() as connection:
        assert await succeed(connection, "recharge_unknown", "pi_1", recharger.now) is None
