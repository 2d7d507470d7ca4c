"""Keys, limits and activity for those who manage an account, and the operators' desk."""

from __future__ import annotations

import asyncio
import re
from datetime import UTC, datetime

from playwright.async_api import Page, Route, expect

from access.keys import KeyScope
from db.attribution_rows import CostHourRow
from db.hours import hour_of
from db.usage_writes import add_cost_hours
from ledger.accounts import Accounts
from tests.console.conftest import Open
from tests.console.gateways import Gateway
from tests.console.test_accessibility import RULES, RULES_OF_LOOKS, axe, violations
from tests.doses import IS_NIGHTLY
from tests.stripe_objects import body, event, session

__all__ = ["axe"]

WIDTHS = ((360, RULES), (1280, RULES if IS_NIGHTLY else RULES_OF_LOOKS))
"""By day only what the width changes is looked at twice."""


async def has_no_violations(page: Page, axe: str) -> None:
    """Looks at the same view, wide and narrow."""
    for width, rules in WIDTHS:
        await page.set_viewport_size({"width": width, "height": 900})
        assert await violations(page, axe, rules) == [], width
        assert await page.evaluate("document.documentElement.scrollWidth") <= width


async def test_keys_and_limits_are_made_and_ended_and_it_is_all_in_the_activity(
    gateway: Gateway, open_page: Open, axe: str
) -> None:
    account = (await Accounts(gateway.services.database).create("Managed")).id
    spent = [CostHourRow(account, hour_of(datetime.now(UTC)), "api_usage", "", "key-a", "search", 10**9)]
    async with gateway.services.database.write() as connection:
        await add_cost_hours(connection, spent)
    manager = await gateway.key(KeyScope.MANAGE, account_id=account)
    page = await open_page("?tab=keys", key=manager.secret, scheme="dark")
    keys, limits = (page.get_by_role("region", name=name) for name in ("Keys", "Spend limits"))
    activity = page.get_by_role("region", name="Activity").get_by_role("listitem")
    await expect(activity).to_have_count(2)

    await page.get_by_role("button", name="Create a key…").click()
    await page.get_by_role("button", name="Create", exact=True).click()
    await expect(page.get_by_role("alert")).to_have_text("Enter who will use the key.")
    await page.get_by_label("Person or program that will use it").fill("report robot")
    await page.get_by_label("It lasts").select_option("30")
    await has_no_violations(page, axe)
    await page.get_by_role("button", name="Create", exact=True).click()
    shown = keys.get_by_role("status").locator("code")
    await expect(shown).to_have_text(re.compile(r"^eco_\w{8}_"))
    prefix = (await shown.inner_text())[:12]
    await page.get_by_role("button", name="Done").click()
    await expect(shown).to_have_count(0)
    made = keys.get_by_role("listitem").filter(has_text=prefix)
    await expect(made).to_contain_text("report robot")
    await expect(activity.first).to_contain_text("Key created")
    await expect(activity.first).to_contain_text("read key of report robot")
    # When the key ends, and when it was made.
    await expect(activity.first.get_by_role("time")).to_have_count(2)
    await made.get_by_role("button", name=f"Revoke {prefix}").click()
    await page.get_by_role("button", name="Revoke", exact=True).click()
    await expect(made).to_contain_text("revoked")

    await page.get_by_role("button", name="Set a limit…").click()
    await page.get_by_label("At most").fill("50")
    for label, known in (
        ("Only this API key of the platform (optional)", "key-a"),
        ("Only this project (optional)", "search"),
    ):
        offered = page.get_by_label(label).locator("xpath=../datalist/option")
        await expect(offered).to_have_attribute("value", known)
    await page.get_by_label("Only this project (optional)").fill("search")
    await page.get_by_role("button", name="Set", exact=True).click()
    await expect(limits.get_by_role("listitem")).to_contain_text("$50.00 in a UTC month, project search")
    await page.get_by_role("button", name="Delete limit_").click()
    await page.get_by_role("button", name="Delete", exact=True).click()
    await expect(limits.get_by_role("listitem")).to_have_count(0)
    await expect(limits).to_contain_text("None yet.")
    await expect(activity).to_have_count(6)
    await expect(activity.first).to_contain_text("50.00, notifies at 50 %, 80 %, 100 % → none")
    await expect(activity.first).to_contain_text("by " + manager.secret[:12])

    company = page.get_by_role("region", name="Company details")
    await company.get_by_role("button", name="Change…").click()
    await page.get_by_label("Name of the company or person").fill("Acme")
    await page.get_by_label("Postal address, a line each").fill("1 Main Street\n\nSpringfield")
    await page.get_by_role("button", name="Save").click()
    await expect(company).to_contain_text("Acme, 1 Main Street, Springfield")
    await expect(activity.first).to_contain_text("Company details set")
    await has_no_violations(page, axe)


async def test_a_key_that_only_reads_has_no_such_tab(gateway: Gateway, open_page: Open) -> None:
    page = await open_page("?tab=keys", key=(await gateway.key()).secret)
    await expect(page.get_by_role("table", name="Transactions")).to_be_visible()
    await expect(page.get_by_role("tab", name="Keys and activity")).to_have_count(0)


async def test_enter_takes_no_account_of_another_text(gateway: Gateway, open_page: Open) -> None:
    page = await open_page(key=(await gateway.key(KeyScope.OPERATOR)).secret)
    find = page.get_by_role("combobox", name="Account")
    await find.click()
    await expect(page.get_by_role("option").first).to_be_visible()
    searches, go_on = 0, asyncio.Event()

    async def hold(route: Route) -> None:
        nonlocal searches
        searches += '"search":"cs_unknown"' in (route.request.post_data or "")
        await go_on.wait()
        await route.continue_()

    await page.route("**/graphql", hold)
    await find.fill("cs_unknown")
    await find.press("Enter")
    # Longer than the pause after which the box looks by itself for what was typed.
    await asyncio.sleep(0.5)
    assert searches == 1
    go_on.set()
    await expect(page.get_by_text("Nothing has this id.", exact=True).last).to_be_visible()
    assert "account" not in page.url


async def test_an_operator_finds_corrects_grants_suspends_and_puts_events_away(
    gateway: Gateway, open_page: Open, axe: str
) -> None:
    await Accounts(gateway.services.database).create("Asked about", "acme-7", signup_bonus_nanos=10**10)
    paid = event("checkout.session.completed", session("cs_1", customer="cus_9"), "evt_1")
    await gateway.services.stripe_events.receive(body(paid))
    page = await open_page(key=(await gateway.key(KeyScope.OPERATOR)).secret)
    await expect(page.get_by_role("region", name="Events that wait")).to_contain_text("evt_1")
    await expect(page.get_by_role("region", name="What was done by hand")).to_contain_text("Account opened")
    find = page.get_by_role("combobox", name="Account")
    await find.fill("cs_unknown")
    await find.press("Enter")
    await expect(page.get_by_text("Nothing has this id.", exact=True).last).to_be_visible()
    await find.fill("evt_1")
    await find.press("Enter")
    await expect(page.get_by_role("region", name="Find")).to_contain_text("cus_9 is not linked")
    await has_no_violations(page, axe)
    await page.get_by_role("button", name="Dismiss evt_1").click()
    await page.get_by_label("Reason").fill("A test")
    await page.get_by_role("button", name="Dismiss", exact=True).click()
    await expect(page.get_by_role("button", name="Dismiss evt_1")).to_have_count(0)
    await find.fill("acme-7")
    await find.press("Enter")
    await expect(page.get_by_role("banner")).to_contain_text("Asked about")

    await page.get_by_role("tab", name="Keys and activity").click()
    await expect(page.get_by_role("region", name="Keys", exact=True)).to_contain_text("None yet. Create one")
    balance = page.get_by_role("region", name="Credit balance")
    await page.get_by_role("button", name="Correct the balance…").click()
    await page.get_by_label("Amount, negative to deduct").fill("-2.5")
    await page.get_by_label("Reason, which the customer reads").fill("Charged twice")
    preview = page.get_by_role("group", name="Preview")
    await expect(preview).to_contain_text("\u2212$2.50, balance after it $7.50")
    await expect(balance).to_contain_text("$10.00")
    await has_no_violations(page, axe)
    await page.get_by_role("button", name="Write the correction").click()
    told = page.get_by_role("region", name="Operator").get_by_text("The balance is corrected.")
    await expect(told).to_be_visible()
    await expect(balance).to_contain_text("$7.50")

    await page.get_by_role("button", name="Grant a contract…").click()
    await page.get_by_label("Contract", exact=True).fill("EC-1")
    await page.get_by_label("Cash part").fill("100")
    await page.get_by_label("Bonus (optional)").fill("20")
    await expect(preview).to_contain_text("+$20.00, balance after it $127.50")
    await page.get_by_role("button", name="Write the grant").click()
    await expect(balance).to_contain_text("$127.50")

    await page.get_by_role("button", name="Suspend…").click()
    await page.get_by_label("Reason, which the customer does not read").fill("Chargeback")
    await expect(preview).to_contain_text("No row is written")
    await page.get_by_role("button", name="Suspend", exact=True).click()
    await expect(page.get_by_role("button", name="Reactivate…")).to_be_visible()
    entries = page.get_by_role("region", name="Activity").get_by_role("listitem")
    await expect(entries.first).to_contain_text("active → suspended")
    await expect(entries.nth(1)).to_contain_text("balance 7.50 → balance 127.50")
