"""Auto-recharge from setting it to the row, with the worker's part in between."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from access.keys import KeyScope, NewKey
from ledger.recharge_payments import RechargePayments
from ledger.stripe.customers import SavedCards
from tests.gateway.mutations.office import RECHARGE, Office, number_of, opened
from tests.gateway.mutations.test_metering import request
from tests.ledger.stripe.till import CUSTOMER
from tests.stripe_objects import body, event
from tests.stripe_stand_in import StandIn, settings, standing_in

BAD = "BAD_USER_INPUT"
GIVEN = {"threshold": "10.00", "amount": "25.00", "dailyLimit": "60.00"}
UNTRIED = {
    "state": "ACTIVE",
    **GIVEN,
    "chargedToday": "0.00",
    "inFlight": False,
    "declines": 0,
    "lastFailure": None,
    "lastFailureAt": None,
    "canCharge": False,
    "blockedBy": "NO_SAVED_CARD",
    "nextTryAt": None,
    "explanation": "Auto-recharge cannot charge now: no card is saved. Add credit once, and Stripe Checkout"
    " saves the card.",
}
OFF = {"state": "OFF", "blockedBy": "OFF", "explanation": "Auto-recharge is off."}
PROMISE = "Auto-recharge adds $25.00 when the balance falls below $10.00."


@pytest.fixture
async def stand_in() -> AsyncIterator[StandIn]:
    async with standing_in() as one:
        yield one


@pytest.fixture
async def office(database_url: str, stand_in: StandIn) -> AsyncIterator[Office]:
    async with opened(database_url, **settings(stand_in)) as office:
        yield office


async def shown(office: Office, account: str, key: str | None = None) -> Any:
    query = f"query ($id: ID!) {{ account(id: $id) {{ autoRecharge {{ {RECHARGE} }} }} }}"
    return (await office.query(query, key, id=account))["account"]["autoRecharge"]


async def have_card(office: Office, stand_in: StandIn, account: str) -> None:
    """The account's customer saves a card, and the worker learns of it."""
    await office.services.stripe_events.link(number_of(account), CUSTOMER)
    stand_in.customers[CUSTOMER] = {"id": CUSTOMER, "object": "customer", "invoice_settings": {}}
    stand_in.cards[CUSTOMER] = ["pm_1"]
    assert office.services.stripe_api is not None
    await SavedCards(office.services.database, office.services.stripe_api, office.clock).run()


async def test_the_setting_is_stored_shown_and_switched_off(office: Office) -> None:
    account = await office.account("20.00")
    key = await office.manager(account)
    assert await shown(office, account) is None
    made = await office.call("setAutoRecharge", key, **GIVEN, idempotencyKey="one")
    assert made == {"transactions": [], "balance": "20.00", "replayed": False, "autoRecharge": UNTRIED}
    assert await shown(office, account, key) == UNTRIED
    off = await office.call("setAutoRecharge", key, enabled=False)
    assert off["autoRecharge"] == UNTRIED | OFF
    # The first call again does nothing, and shows what is.
    again = await office.call("setAutoRecharge", key, **GIVEN, idempotencyKey="one")
    assert (again["replayed"], again["autoRecharge"]["state"]) == (True, "OFF")
    answer = await office.answer("setAutoRecharge", key, **(GIVEN | {"amount": "30.00"}), idempotencyKey="one")
    assert answer["errors"][0]["extensions"]["code"] == "IDEMPOTENCY_CONFLICT"
    assert len(await office.transactions(account)) == 1


async def test_a_low_balance_leads_to_a_charge_and_its_row(office: Office, stand_in: StandIn) -> None:
    account = await office.account("4.00")
    key = await office.manager(account)
    await have_card(office, stand_in, account)
    made = await office.call("setAutoRecharge", key, **GIVEN)
    allowed = {"canCharge": True, "blockedBy": None, "explanation": PROMISE}
    assert made["autoRecharge"] == UNTRIED | allowed
    assert office.services.stripe_api is not None
    worker = RechargePayments(office.services.database, office.services.stripe_api, office.clock)
    stand_in.declines_all = True
    declined = "Your card has insufficient funds. (insufficient_funds)"
    for declines, state in ((1, "ACTIVE"), (2, "ACTIVE"), (3, "STOPPED")):
        await worker.run()
        seen = await shown(office, account, key)
        assert (seen["declines"], seen["state"], seen["lastFailure"]) == (declines, state, declined)
        assert (seen["nextTryAt"] is not None) == (state == "ACTIVE")
        assert seen["blockedBy"] == ("RETRY_LATER" if state == "ACTIVE" else "STOPPED")
        office.now += timedelta(hours=5)
    stand_in.declines_all = False
    await worker.run()
    assert (await shown(office, account))["state"] == "STOPPED"
    await office.call("setAutoRecharge", key, **GIVEN)
    await worker.run()
    seen = await shown(office, account, key)
    assert (seen["inFlight"], seen["chargedToday"], seen["state"]) == (True, "25.00", "ACTIVE")
    (paid,) = [one for one in stand_in.payments.values() if one["status"] == "succeeded"]
    await office.services.stripe_events.receive(body(event("payment_intent.succeeded", paid)))
    seen = await shown(office, account, key)
    assert (seen["inFlight"], seen["chargedToday"], seen["declines"]) == (False, "25.00", 0)
    row = (await office.transactions(account))[-1]
    assert (row["type"], row["amount"], row["balanceAfter"]) == ("AUTO_RECHARGE", "25.00", "29.00")
    assert (seen["lastFailure"], seen["explanation"]) == (None, PROMISE)
    office.now += timedelta(days=1)
    assert (await shown(office, account, key))["chargedToday"] == "0.00"
    await office.call("recordUsage", accountId=account, requests=[request("a", cost="1.00")])
    query = "{ account { runway { rechargesBefore explanation } } }"
    runway = (await office.query(query, key))["account"]["runway"]
    assert runway["rechargesBefore"] is True
    assert runway["explanation"].endswith(" UTC. Auto-recharge charges the card before.")
    # The credit runs out while the balance is still above the threshold, so no card is charged.
    await office.call("authorizeUsage", accountId=account, amount="18.00", ttlSeconds=86_400)
    runway = (await office.query(query, key))["account"]["runway"]
    assert runway["rechargesBefore"] is False
    assert runway["explanation"].endswith(" UTC.")


async def test_the_reason_that_blocks_a_charge_is_named(office: Office, stand_in: StandIn) -> None:
    account, other = await office.account("4.00"), await office.account("4.00")
    key = await office.manager(account)
    await office.call("setAutoRecharge", await office.manager(other), **GIVEN)
    assert office.services.stripe_api is not None
    worker = RechargePayments(office.services.database, office.services.stripe_api, office.clock)

    async def told() -> tuple[str | None, str | None, str]:
        seen = await shown(office, account, key)
        assert seen["canCharge"] == (seen["blockedBy"] is None)
        assert (await shown(office, other))["blockedBy"] == "NO_SAVED_CARD", "it is the account's own"
        return seen["blockedBy"], seen["nextTryAt"], seen["explanation"]

    cannot = "Auto-recharge cannot charge now:"
    await office.call("setAutoRecharge", key, **GIVEN)
    await worker.run()
    assert await told() == ("NO_SAVED_CARD", None, UNTRIED["explanation"])
    await have_card(office, stand_in, account)
    assert await told() == (None, None, PROMISE)
    stand_in.declines_all = True
    await worker.run()
    declined = "Last failure, 1 November 2026, 00:00 UTC: Your card has insufficient funds. (insufficient_funds)."
    later = f"{cannot} it is waiting after a failed payment. Next try: 1 November 2026, 01:00 UTC."
    assert await told() == ("RETRY_LATER", "2026-11-01T01:00:00.000000Z", f"{later} {declined}")
    stand_in.declines_all = False
    office.now += timedelta(hours=1)
    assert await told() == (None, None, f"{PROMISE} {declined}")
    await office.call("setAutoRecharge", key, **(GIVEN | {"dailyLimit": "49.99"}))
    stand_in.payment_status = "processing"
    await worker.run()
    limit = f"{cannot} the daily limit of $49.99 is reached."
    tomorrow = "Next try: 2 November 2026, 00:00 UTC."
    assert await told() == (
        "DAILY_LIMIT_REACHED",
        "2026-11-02T00:00:00.000000Z",
        f"{limit} A payment is in progress. {tomorrow} {declined}",
    )
    (payment,) = [one for one in stand_in.payments.values() if one["status"] == "processing"]
    paid = payment | {"status": "succeeded", "amount_received": 2_500}
    await office.services.stripe_events.receive(body(event("payment_intent.succeeded", paid)))
    assert (await told())[2] == f"{limit} {tomorrow}", "the failure is made good"
    await office.call("suspendAccount", accountId=account, reason="Chargeback")
    assert await told() == ("ACCOUNT_SUSPENDED", None, f"{cannot} the account is suspended.")


async def test_an_account_says_whether_a_card_is_saved(office: Office, stand_in: StandIn) -> None:
    accounts = [await office.account() for _ in range(3)]
    await have_card(office, stand_in, accounts[1])
    found = await office.query("{ accounts { nodes { id hasSavedCard } } }")
    assert found["accounts"]["nodes"] == [
        {"id": account, "hasSavedCard": account == accounts[1]} for account in reversed(accounts)
    ]


async def test_without_stripe_s_key_it_says_that_payments_are_not_set_up(database_url: str) -> None:
    async with opened(database_url) as office:
        account = await office.account()
        made = await office.call("setAutoRecharge", await office.manager(account), **GIVEN)
        assert (made["autoRecharge"]["canCharge"], made["autoRecharge"]["blockedBy"]) == (False, "PAYMENTS_NOT_SET_UP")
        told = "Auto-recharge cannot charge now: card payments are not set up."
        assert (await shown(office, account))["explanation"] == told


@pytest.mark.one_database
@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        ({"threshold": "-1.00"}, BAD, "threshold must be 0.00 to 100000.00"),
        ({"threshold": None}, BAD, "threshold, amount and dailyLimit are required"),
        ({"amount": "4.00"}, BAD, "amount must be 5.00 to 10000.00, not 4.00"),
        ({"amount": "25.005"}, BAD, "amount must be whole cents"),
        ({"dailyLimit": "24.99"}, BAD, "dailyLimit must be at least the amount"),
        ({"dailyLimit": "100000.01"}, BAD, "at most 100000.00"),
        ({"enabled": False}, "CONFLICT", "auto-recharge was never set"),
        ({"accountId": "acct_2"}, "NOT_FOUND", "there is no such account"),
        ({"idempotencyKey": "x" * 256}, BAD, "idempotencyKey must have at most 255 characters"),
    ],
)
async def test_bad_input(office: Office, given: dict[str, Any], code: str, said: str) -> None:
    key = await office.manager(await office.account())
    await office.account()
    refused = await office.refusal("setAutoRecharge", key, **(GIVEN | given))
    assert (refused[0], said in refused[1]) == (code, True), refused


@pytest.mark.parametrize("scope", [KeyScope.READ, KeyScope.SERVICE, KeyScope.OPERATOR])
async def test_setting_needs_a_manage_key(office: Office, scope: KeyScope) -> None:
    account = await office.account()
    number = number_of(account) if scope == KeyScope.READ else None
    key = await office.key(NewKey(scope, "tests", number))
    refused = await office.refusal("setAutoRecharge", key, **GIVEN, accountId=account)
    assert refused == ("FORBIDDEN", "setAutoRecharge requires a manage key")


async def test_a_key_that_was_revoked_sets_nothing(database_url: str) -> None:
    async with opened(database_url, key_cache_seconds=60) as office:
        key = await office.manager(await office.account())
        await office.query("{ viewer { scope } }", key)
        await office.call("revokeApiKey", prefix=key[:12])
        assert (await office.refusal("setAutoRecharge", key, **GIVEN))[0] == "UNAUTHENTICATED"
