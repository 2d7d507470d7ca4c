"""The Resources tab: charges, those that are open first."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from playwright.async_api import Locator, Page, expect

from ledger.accounts import Accounts
from ledger.commands import OpenHold, Period, Posting, Ref, SettleHold, Writer
from ledger.kinds import RefType, WriterKind
from ledger.money import NANOS
from tests.console.conftest import Open
from tests.console.gateways import Gateway

pytestmark = pytest.mark.shared_gateway

SETTLED = 60


async def owner(gateway: Gateway) -> str:
    """Returns the key of an account with an open GPU instance, an open inference instance and others that ended."""
    account = (await Accounts(gateway.services.database).create("Owner", signup_bonus_nanos=1000 * NANOS)).id
    now = datetime.now(UTC)
    period = Period(now, now + timedelta(hours=1))
    commands = [OpenHold(Ref(RefType.GPU_INSTANCE, "41"), 2 * NANOS, None, period)]
    commands += [OpenHold(Ref(RefType.INFERENCE_INSTANCE, "7"), 24 * NANOS, None, period)]
    ended = [Ref(RefType.GPU_INSTANCE, f"old-{number}") for number in range(SETTLED)]
    orders = [OpenHold(ref, NANOS, None, period) for ref in ended]
    settled = [SettleHold(ref, NANOS // 4, None) for ref in ended]
    writer = Writer(WriterKind.SERVICE, "tests")
    for part in ([*commands, *orders], settled):
        await gateway.services.ledger.post(*[Posting(account, writer, [one], "openHold") for one in part])
    return (await gateway.key(account_id=account)).secret


def rows(page: Page, state: str) -> Locator:
    return page.get_by_role("table", name=f"{state} resources").locator("tr.row")


async def test_resources_say_what_they_hold_and_cost(gateway: Gateway, open_page: Open) -> None:
    page = await open_page("?tab=resources", key=await owner(gateway))
    opened = rows(page, "Open")
    await expect(opened).to_have_count(2)
    await expect(opened.first).to_contain_text("Inference instance 7$24.00$24.00not named")
    await expect(opened.last).to_contain_text("GPU instance 41$2.00$2.00not named")
    assert await page.locator("#panel-resources h2").all_text_contents() == ["Open", "Settled"]
    settled = rows(page, "Settled")
    await expect(settled).to_have_count(50)
    await page.get_by_role("button", name="Load more").click()
    await expect(settled).to_have_count(SETTLED)
    await expect(page.get_by_text(f"That is all: {SETTLED} resources.")).to_be_visible()

    await page.get_by_role("button", name="Details of GPU instance 41").click()
    charge = page.get_by_role("region", name="The charge of GPU instance 41")
    await expect(charge).to_contain_text("Held $2.00 of the balance for GPU instance #41")
    await page.get_by_role("link", name="All its transactions").click()
    await expect(page.locator(".ledger tr.row")).to_have_count(1)
    await page.go_back()

    await page.get_by_role("button", name="Resource", exact=True).click()
    await page.get_by_label("Exact id").fill("old-3")
    await page.keyboard.press("Enter")
    await expect(settled).to_have_count(1)
    await expect(settled.first).to_contain_text("GPU instance old-3$1.00$0.25not named")
    await expect(opened).to_have_count(0)
    assert page.url.endswith("?tab=resources&ref_id=old-3")
