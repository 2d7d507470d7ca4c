"""The Costs tab: figures that are the ledger's, each with the way to its rows."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import re
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final
from urllib.parse import parse_qs, urlsplit

import pytest
from aiohttp import ClientSession
from playwright.async_api import Locator, Page, Route, expect

from ledger.accounts import Accounts
from tests.console.conftest import Open
from tests.console.gateways import Gateway
from tests.console.test_breakdown import call, request

pytestmark = pytest.mark.shared_gateway

KINDS: Final = {
    "gpu_instance": "GPU instances",
    "inference_instance": "Inference instances",
    "volume": "Storage",
    "shared_filesystem": "Storage",
    "api_usage": "API calls",
}
Sums = tuple[Decimal, ...]
"""What was deducted, what was returned, and what is left."""


async def costs_of_the_ledger(gateway: Gateway, key: str) -> dict[str, Sums]:
    """Returns the sums of the last 30 days by kind, from the exported rows."""
    first = datetime.now(UTC).date() - timedelta(days=29)
    parameters = {"types": "gpu_usage,storage_billing,refund", "created_at_gte": f"{first}T00:00:00Z"}
    url, headers = f"{gateway.url}/billing/transactions.csv", {"Authorization": f"Bearer {key}"}
    async with ClientSession() as session, session.get(url, headers=headers, params=parameters) as response:
        rows = list(csv.DictReader(io.StringIO(await response.text(), newline="")))
    sums: dict[str, list[Decimal]] = defaultdict(lambda: [Decimal(0), Decimal(0)])
    for row in rows:
        sums[KINDS[row["ref_type"]]][row["type"] == "refund"] += abs(Decimal(row["amount"]))
    return {kind: (gross, refunded, gross - refunded) for kind, (gross, refunded) in sums.items()}


async def figures(row: Locator) -> Sums:
    texts = await row.locator(".amount").all_text_contents()
    return tuple(Decimal(re.sub(r"[$,]", "", text).replace("−", "-")) for text in texts)


def rows(page: Page, name: str) -> Locator:
    return page.get_by_role("table", name=name, exact=True).locator("tbody tr")


@asynccontextmanager
async def reread(page: Page) -> AsyncIterator[None]:
    """Goes back to the tab, and reads its figures again only after what is done meanwhile: they differ in a total."""
    done = asyncio.Event()

    async def later(route: Route) -> None:
        if "costTotals" not in (route.request.post_data or ""):
            await route.fallback()
            return
        await done.wait()
        answer = await (response := await route.fetch()).json()
        answer["data"]["account"]["costTotals"]["totals"]["gross"] = "987654.00"
        await route.fulfill(response=response, body=json.dumps(answer))

    await page.route("**/graphql", later)
    await page.go_back()
    await expect(page.locator(".chart canvas")).to_be_visible()
    yield
    done.set()
    await expect(page.get_by_text("$987,654").first).to_be_visible()
    await page.unroute("**/graphql", later)


def asked(page: Page) -> dict[str, str]:
    return {name: value for name, (value,) in parse_qs(urlsplit(page.url).query).items()}


async def test_costs_are_the_ledger_s_and_open_their_rows(gateway: Gateway, open_page: Open) -> None:
    key = (await gateway.key()).secret
    page = await open_page("?tab=costs", key=key)
    kinds = rows(page, "Cost by kind")
    await expect(kinds.first).to_be_visible()
    expected = await costs_of_the_ledger(gateway, key)
    found = {(await row.locator("th").inner_text()).strip(): await figures(row) for row in await kinds.all()}
    assert found == expected
    total = tuple(sum(sums, Decimal(0)) for sums in zip(*expected.values(), strict=True))
    for table in ("Cost by kind", "Cost by day"):
        assert await figures(page.get_by_role("table", name=table).locator("tfoot tr")) == total
    # Their kinds are known by now.
    await expect(page.locator(".months .bar span").first).to_be_visible()

    await kinds.filter(has_text="Inference instances").locator("a").nth(1).click()
    await expect(page.get_by_role("tab", name="Transactions")).to_be_focused()
    returned = f"${expected['Inference instances'][1]:,}"
    await expect(page.locator(".summaryline")).to_contain_text(f"+{returned} added, $0.00 deducted")

    # A bar, by the keyboard: the day before today, and its first part. Both stay chosen where the bars are drawn anew.
    bars = page.get_by_role("slider", name="Day of cost by day and kind")
    async with reread(page):
        await bars.focus()
        await page.keyboard.press("ArrowLeft")
        await page.keyboard.press("ArrowUp")
    day = str(datetime.now(UTC).date() - timedelta(days=1))
    await expect(bars).to_have_attribute("aria-valuetext", re.compile(r"^\w+ \d+, \d+: [\w ]+ \$[\d.]+\. Enter opens"))
    chosen = (await bars.get_attribute("aria-valuetext") or "").split(": ")[1].split(" $")[0]
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("tab", name="Transactions")).to_be_focused()
    assert (asked(page)["from"], asked(page)["to"]) == (day, day)
    await page.go_back()
    await page.get_by_role("button", name="Unfold all").click()
    of_day = page.locator(f"tr[data-id^='{day} ']").filter(has_text=chosen).locator("a").last
    await expect(of_day).to_be_visible()
    href = await of_day.get_attribute("href")
    await page.go_forward()
    assert page.url.endswith(href or "none")

    # A bar, by the mouse, of a month of the last year.
    await page.goto(f"{gateway.url}/console/?tab=costs")
    await page.get_by_role("radio", name="Month").check()
    await expect(rows(page, "Cost by month").first).to_be_visible()
    assert asked(page) == {"tab": "costs", "per": "month", "range": "year"}
    await expect(page.get_by_role("slider", name="Month of cost by month and kind")).to_be_attached()
    await expect(page.locator(".chart canvas")).to_be_visible()
    box = await page.locator(".chart .frame").bounding_box()
    assert box is not None
    await page.mouse.click(box["x"] + box["width"] - 20, box["y"] + box["height"] - 40)
    await expect(page.get_by_role("tab", name="Transactions")).to_have_attribute("aria-selected", "true")
    assert asked(page)["from"] == f"{datetime.now(UTC):%Y-%m}-01"
    # The button is released when the bars have been drawn anew.
    async with reread(page):
        await page.mouse.down()
    await page.mouse.up()
    await expect(page.get_by_role("tab", name="Transactions")).to_have_attribute("aria-selected", "true")


async def test_the_cost_of_a_key_is_narrowed_to_its_resources(gateway: Gateway, open_page: Open) -> None:
    account = (await Accounts(gateway.services.database).create("Spender", signup_bonus_nanos=10**11)).id
    now = datetime.now(UTC)
    hour = {"periodStart": now.isoformat(), "periodEnd": (now + timedelta(hours=1)).isoformat()}
    held = {"refType": "GPU_INSTANCE", "refId": "41", "amount": "3.50", "apiKeyId": "key-a", "project": "search"}
    await call(gateway, account, "openHold", **held, **hour)
    requests = [request(1, 9, "0.50", apiKeyId="key-a"), request(2, 9, "0.25", apiKeyId='key "b"')]
    await call(gateway, account, "recordUsage", requests=requests)
    page = await open_page("?tab=costs&by=key", key=(await gateway.key(account_id=account)).secret)
    await expect(rows(page, "Cost by API key")).to_have_text(
        ["key-a94.1%$4.00$0.00$4.00", 'key "b"5.9%$0.25$0.00$0.25'], timeout=30_000
    )
    await rows(page, "Cost by API key").first.locator("a").last.click()
    await expect(rows(page, "Cost by resource")).to_have_text(
        ["GPU instance 4187.5%$3.50$0.00$3.50", "API calls12.5%$0.50$0.00$0.50"]
    )
    today = str(now.date())
    assert asked(page)["key"] == "key-a"
    assert asked(page)["to"] >= today
    await page.reload()
    await expect(page.locator(".summaryline")).to_contain_text("Only cost of API key key-a.")
    await rows(page, "Cost by resource").first.locator("a").first.click()
    await expect(page.locator(".ledger tr.row")).to_have_count(1)
    await page.go_back()
    await page.get_by_role("button", name="Show all").click()
    await expect(rows(page, "Cost by resource").last).to_have_text("API calls17.6%$0.75$0.00$0.75")
    await page.get_by_role("radio", name="Project").check()
    await expect(rows(page, "Cost by project")).to_have_text(
        ["search82.4%$3.50$0.00$3.50", "not named17.6%$0.75$0.00$0.75"]
    )
    await rows(page, "Cost by project").last.locator("a").last.click()
    await expect(page.locator(".summaryline")).to_contain_text("Only cost without a project.")
    await expect(rows(page, "Cost by resource")).to_have_text(["API calls100%$0.75$0.00$0.75"])


async def test_days_with_too_many_figures_have_no_chart(gateway: Gateway, open_page: Open) -> None:
    page = await open_page(key=(await gateway.key()).secret)

    async def swell(route: Route) -> None:
        response = await route.fetch()
        answer = await response.json()
        if "DAY" in (route.request.post_data or ""):
            answer["data"]["account"]["costTotals"]["totalCount"] = "5001"
        await route.fulfill(response=response, body=json.dumps(answer))

    # The kinds of the month bars are read without being pointed at.
    month = page.locator(".months button").last
    kinds = re.compile(r": \$[\d.,]+, Inference instances \$[\d.,]+, .*Show its transactions\.$")
    await expect(month).to_contain_text(kinds)
    await expect(page.locator(".months .bar span").first).to_be_visible()
    await page.route("**/graphql", swell)
    await page.get_by_role("tab", name="Costs").click()
    await expect(page.get_by_text("These days have too many figures for a chart.")).to_be_visible()
    await expect(rows(page, "Cost by kind")).to_have_count(3)
    await expect(page.locator("canvas")).to_have_count(0)
