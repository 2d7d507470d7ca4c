"""Adding credit and auto-recharge: for keys that may, with a stand-in for Stripe."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from aiohttp import ClientSession
from playwright.async_api import Page, Route, expect

from access.keys import KeyScope
from db import recharges
from ledger.accounts import Accounts
from ledger.money import parse_nanos
from ledger.top_ups import NewTopUp
from tests.console.conftest import Open, Watched
from tests.console.gateways import Gateway
from tests.stripe_objects import SECRET, body, event, session, signature
from tests.stripe_stand_in import StandIn, settings, standing_in

CHECKOUT: Final = re.compile(r"^https://checkout\.stripe\.example/c/pay/(\w+)$")
PORTAL: Final = re.compile(r"^https://billing\.stripe\.example/p/session/\w+$")


@pytest.fixture
async def stand_in(gateway: Gateway) -> AsyncIterator[StandIn]:
    async with standing_in() as one:
        await gateway.stop()
        gateway.settings = settings(one, stripe_webhook_secrets=SECRET)
        await gateway.start()
        yield one


@pytest.fixture
async def key(gateway: Gateway) -> str:
    return (await gateway.key(KeyScope.MANAGE)).secret


async def at_stripe(page: Page, expected: re.Pattern[str] = CHECKOUT) -> list[str]:
    """Answers for Stripe's page, which the test must not ask for; holds the addresses."""
    visited: list[str] = []

    async def answer(route: Route) -> None:
        visited.append(route.request.url)
        await route.fulfill(content_type="text/html", body="<title>Stripe</title>")

    await page.route(expected, answer)
    return visited


async def tell_paid(gateway: Gateway, paid: dict[str, Any]) -> None:
    text = body(event("checkout.session.completed", paid))
    headers = {"Stripe-Signature": signature(text)}
    url = f"{gateway.url}/webhooks/stripe"
    async with ClientSession() as client, client.post(url, data=text, headers=headers) as response:
        assert response.status == 200


async def test_credit_is_added_by_way_of_stripe(
    gateway: Gateway, open_page: Open, watched: Watched, stand_in: StandIn, key: str
) -> None:
    page = await open_page("?types=topup", key=key)
    visited = await at_stripe(page)
    await page.get_by_role("button", name="Add credit").click()
    dialog = page.get_by_role("dialog", name="Add credit")
    await dialog.get_by_label("Amount in US dollars").fill("4.99")
    await page.keyboard.press("Enter")
    await expect(dialog.get_by_role("alert")).to_have_text("From $5.00 to $10,000.00.")
    await dialog.get_by_label("Amount in US dollars").fill("30.005")
    await page.keyboard.press("Enter")
    await expect(dialog.get_by_role("alert")).to_have_text("Enter an amount in whole cents, such as 25.00.")
    assert stand_in.asked_for("/v1/checkout/sessions") == []
    await dialog.get_by_role("button", name="$50").click()
    await dialog.get_by_role("button", name="Continue to Stripe").click()
    await expect(page).to_have_title("Stripe")
    (asked,) = stand_in.asked_for("/v1/checkout/sessions")
    assert asked.form["line_items[0][price_data][unit_amount]"] == "5000"
    assert asked.form["cancel_url"] == f"{gateway.url}/console/?types=topup"
    found = CHECKOUT.match(visited[0])
    assert found is not None
    watched.addresses.remove(visited[0])

    await page.goto(asked.form["success_url"])
    await expect(page.get_by_text("Thank you. The credit is added as soon as")).to_be_visible()
    assert page.url == f"{gateway.url}/console/"
    await expect(page.get_by_text("Live", exact=True)).to_be_visible()
    await tell_paid(gateway, session(found[1], customer=asked.form["customer"], subtotal=5_000))
    row = page.locator("tr.row").first
    await expect(row).to_contain_text("Top-up")
    await expect(row.locator(".amount")).to_have_text("+$50.00")
    await expect(page.get_by_text("Thank you.")).to_have_count(0)


async def test_a_refusal_of_stripe_s_is_said_and_the_same_payment_tried_again(
    gateway: Gateway, open_page: Open, watched: Watched, stand_in: StandIn, key: str
) -> None:
    page = await open_page(key=key)
    visited = await at_stripe(page)
    await page.get_by_role("button", name="Add credit").click()
    stand_in.faults += ["503"] * 4
    dialog = page.get_by_role("dialog")
    await expect(dialog.get_by_role("textbox")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(dialog.get_by_role("alert")).to_be_visible()
    stand_in.faults.clear()
    await dialog.get_by_role("button", name="Continue to Stripe").click()
    await expect(page).to_have_title("Stripe")
    keys = {asked.key for asked in stand_in.asked if asked.path == "/v1/checkout/sessions"}
    assert len(keys) == 1
    watched.addresses.remove(visited[0])


async def test_auto_recharge_is_set_shown_and_switched_off(
    gateway: Gateway, open_page: Open, stand_in: StandIn, key: str
) -> None:
    page = await open_page(key=key)
    await page.get_by_role("button", name="Auto-recharge…").click()
    dialog = page.get_by_role("dialog", name="Auto-recharge")
    await dialog.get_by_label("When the balance falls below").fill("12.50")
    await dialog.get_by_label("Charge each time").fill("75.00")
    await dialog.get_by_label("At most on a UTC day").fill("50.00")
    await page.keyboard.press("Enter")
    await expect(dialog.get_by_role("alert")).to_have_text("The daily limit must be at least one charge.")
    await dialog.get_by_label("At most on a UTC day").fill("5000.00")
    await page.keyboard.press("Enter")
    await expect(dialog).to_have_count(0)
    note = page.get_by_text("Auto-recharge adds $75.00 when the balance falls below $12.50.")
    await expect(note).to_be_visible()
    await expect(page.get_by_role("button", name="Auto-recharge…")).to_be_focused()
    await page.reload()
    await expect(note).to_be_visible()

    await page.get_by_role("button", name="Auto-recharge…").click()
    await expect(dialog.get_by_label("Charge each time")).to_have_value("75.00")
    await dialog.get_by_role("checkbox").uncheck()
    await dialog.get_by_role("button", name="Save").click()
    await expect(note).to_have_count(0)


@pytest.fixture
async def new_account(gateway: Gateway) -> int:
    """An account that has never paid."""
    return (await Accounts(gateway.services.database).create("New customer")).id


async def test_without_a_saved_card_auto_recharge_promises_nothing(
    gateway: Gateway, open_page: Open, watched: Watched, stand_in: StandIn, new_account: int
) -> None:
    page = await open_page(key=(await gateway.key(KeyScope.MANAGE, account_id=new_account)).secret)
    await page.get_by_role("button", name="Auto-recharge…").click()
    dialog = page.get_by_role("dialog", name="Auto-recharge")
    words = "No card is saved. Add credit once, and Stripe Checkout saves the card."
    await expect(dialog.get_by_text(words)).to_be_visible()
    await expect(dialog.get_by_role("checkbox")).not_to_be_checked()
    await dialog.get_by_role("button", name="Save").click()
    await expect(dialog).to_have_count(0)
    await page.get_by_role("button", name="Auto-recharge…").click()
    await dialog.get_by_role("checkbox").check()
    await dialog.get_by_role("button", name="Save").click()
    await expect(page.get_by_text(f"Auto-recharge cannot charge now: n{words[1:]}")).to_be_visible()

    # A top-up saves the card.
    started = await gateway.services.top_ups.start(
        NewTopUp(new_account, parse_nanos("50.00"), gateway.url, gateway.url, "one")
    )
    assert started is not None
    (customer,) = stand_in.customers
    await tell_paid(gateway, session(started.id, customer=customer, subtotal=5_000, payment_intent="pi_1"))
    note = page.get_by_text("Auto-recharge adds $50.00 when the balance falls below $20.00.")
    await expect(note).to_be_visible()
    await page.get_by_role("button", name="Auto-recharge…").click()
    await expect(dialog.get_by_role("checkbox")).to_be_checked()
    await expect(dialog.get_by_text(words)).to_have_count(0)

    # The card is changed at Stripe, which leads back to this view.
    visited = await at_stripe(page, PORTAL)
    await dialog.get_by_role("button", name="Change the card at Stripe").click()
    await expect(page).to_have_title("Stripe")
    (asked,) = stand_in.asked_for("/v1/billing_portal/sessions")
    assert asked.form == {"customer": customer, "return_url": f"{gateway.url}/console/"}
    watched.addresses.remove(visited[0])


async def test_a_failure_is_told_with_its_time_and_the_next_try(
    gateway: Gateway, open_page: Open, stand_in: StandIn, key: str
) -> None:
    at = datetime(2026, 11, 3, 10, 20, tzinfo=UTC)
    async with gateway.services.database.write() as connection:
        row = await recharges.lock_settings(connection, gateway.account)
        assert row is not None
        failed = row._replace(
            daily_limit_nanos=parse_nanos("100000.00"),
            declines=1,
            retry_at=at.replace(year=2099),
            last_failure="Your card was declined.",
            last_failure_at=at,
        )
        await recharges.put_settings(connection, failed)
    page = await open_page(key=key)
    told = "Auto-recharge cannot charge now: it is waiting after a failed payment. Next try: Nov 3, 2099, 10:20 AM UTC."
    told += " Last failure, Nov 3, 2026, 10:20 AM UTC: Your card was declined."
    await expect(page.get_by_text(told)).to_be_visible()
    async with gateway.services.database.write() as connection:
        await recharges.put_settings(connection, failed._replace(retry_at=None))
    await page.reload()
    told = "Auto-recharge adds $250.00 when the balance falls below $200.00."
    told += " Last failure, Nov 3, 2026, 10:20 AM UTC: Your card was declined."
    await expect(page.get_by_text(told)).to_be_visible()


async def test_a_payment_page_that_is_over_is_replaced(
    gateway: Gateway, open_page: Open, watched: Watched, stand_in: StandIn, key: str
) -> None:
    page = await open_page(key=key)
    visited: list[str] = []

    async def stay(route: Route) -> None:
        visited.append(route.request.url)
        await route.fulfill(status=204)

    await page.route(CHECKOUT, stay)
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    stand_in.sessions_expire_at = int(tomorrow.timestamp())
    await page.get_by_role("button", name="Add credit").click()
    go_on = page.get_by_role("dialog").get_by_role("button", name="Continue to Stripe")
    for sessions, days in ((1, 0), (1, 0), (2, 2)):
        gateway.ahead = timedelta(days=days)
        async with page.expect_event("requestfailed", lambda request: CHECKOUT.match(request.url) is not None):
            await go_on.click()
        assert len(stand_in.asked_for("/v1/checkout/sessions")) == sessions
    assert visited[0] == visited[1] != visited[2]
    watched.addresses[:] = [one for one in watched.addresses if one not in visited]


async def test_a_dialog_is_left_by_escape_and_gives_the_focus_back(gateway: Gateway, open_page: Open, key: str) -> None:
    page = await open_page(key=key)
    await page.get_by_role("button", name="Add credit").click()
    await expect(page.get_by_role("dialog")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("dialog")).to_have_count(0)
    await expect(page.get_by_role("button", name="Add credit")).to_be_focused()
    await page.get_by_role("button", name="Add credit").click()
    await page.get_by_role("button", name="Cancel").click()
    await expect(page.get_by_role("dialog")).to_have_count(0)


async def test_a_gateway_without_stripe_says_so(gateway: Gateway, open_page: Open, key: str) -> None:
    page = await open_page(key=key)
    told = "Auto-recharge cannot charge now: card payments are not set up."
    await expect(page.get_by_text(told)).to_be_visible()
    await page.get_by_text("Credit lasts until about").click()
    await expect(page.get_by_text("Running instances and volumes cost")).to_be_visible()
    await expect(page.locator(".runway [data-cents] .exact").first).to_have_css("clip-path", "inset(50%)")
    await page.get_by_role("button", name="Add credit").click()
    await expect(page.get_by_role("dialog").get_by_role("textbox")).to_be_focused()
    await page.keyboard.press("Enter")
    alert = page.get_by_role("dialog").get_by_role("alert")
    await expect(alert).to_have_text(
        "Card payments are not set up on this gateway. Credit can be added once its operator connects Stripe."
    )
    await page.keyboard.press("Escape")
    await page.get_by_role("button", name="Auto-recharge…").click()
    await expect(page.get_by_role("dialog").get_by_text(told)).to_be_visible()


@pytest.mark.parametrize("scope", [KeyScope.READ, KeyScope.OPERATOR])
async def test_keys_that_may_not_pay_are_not_offered_to(gateway: Gateway, open_page: Open, scope: KeyScope) -> None:
    page = await open_page(f"?account={gateway.account_id}", key=(await gateway.key(scope)).secret)
    await expect(page.get_by_text("Live", exact=True)).to_be_visible()
    await expect(page.get_by_role("button", name="Add credit")).to_have_count(0)
    await expect(page.get_by_role("button", name="Auto-recharge…")).to_have_count(0)
