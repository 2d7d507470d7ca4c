"""The Transactions tab."""

from __future__ import annotations

import asyncio
import csv
import io
import re
from collections import Counter
from datetime import datetime
from decimal import Decimal
from typing import Any, Final
from zoneinfo import ZoneInfo

import pytest
from aiohttp import ClientSession
from playwright.async_api import Locator, Page, expect

from access.keys import KeyScope
from tests.console.conftest import Open, Watched, eventually
from tests.console.gateways import Gateway

pytestmark = pytest.mark.shared_gateway

LONG_MILLISECONDS: Final = 90_000
"""A thousand rows are drawn in half a minute where four browsers share two cores."""


def table(page: Page) -> Locator:
    return page.get_by_role("table", name="Transactions")


def rows(page: Page) -> Locator:
    return table(page).locator("tr.row")


async def exported(gateway: Gateway, key: str, **parameters: str) -> list[dict[str, str]]:
    """The same rows by REST, newest first."""
    headers = {"Authorization": f"Bearer {key}"}
    url = f"{gateway.url}/billing/transactions.csv"
    async with ClientSession() as session, session.get(url, headers=headers, params=parameters) as response:
        assert response.status == 200
        return list(csv.DictReader(io.StringIO(await response.text(), newline="")))[::-1]


async def amounts(shown: Locator) -> list[str]:
    """Of these rows, as the API serializes them."""
    texts: list[str] = await shown.locator(".amount").all_text_contents()
    return [re.sub(r"[$,+]", "", text).replace("−", "-") for text in texts]


async def the_end_of_a_thousand_rows_is_reached_in_order(gateway: Gateway, page: Page, key: str) -> None:
    expected = await exported(gateway, key)
    assert len(expected) > 1000
    await expect(rows(page)).to_have_count(100)
    more = page.get_by_role("button", name="Load more")
    # As many again as there are.
    count = 200
    while count < len(expected):
        # By the keyboard: rows that come into view get their heights, which may move the button from under the pointer.
        await more.press("Enter")
        await expect(rows(page)).to_have_count(count)
        count *= 2
    await more.press("Enter")
    all_of_them = page.get_by_text(f"That is all: {len(expected):,} transactions.")
    await expect(all_of_them).to_be_visible(timeout=LONG_MILLISECONDS)
    await expect(more).to_have_count(0)
    await eventually(lambda: amounts(rows(page)), [row["amount"] for row in expected])


async def reading_on_keeps_the_place(page: Page) -> None:
    more = page.get_by_role("button", name="Load more")
    await more.focus()
    await rows(page).nth(45).scroll_into_view_if_needed()
    before = await rows(page).nth(45).bounding_box()
    await page.keyboard.press("Enter")
    await expect(rows(page)).to_have_count(100)
    await eventually(rows(page).nth(45).bounding_box, before)
    await expect(page.get_by_role("status").last).to_have_text("50 more transactions, 100 in all.")
    await expect(more).to_be_focused()


async def all_of_a_filter_is_loaded_at_once_and_can_be_stopped(gateway: Gateway, page: Page, key: str) -> None:
    await page.goto(f"{gateway.url}/console/")
    expected = await exported(gateway, key)
    assert len(expected) > 1050
    held: list[Any] = []
    asked = asyncio.Event()

    async def hold(route: Any) -> None:
        if '"after":"' in (route.request.post_data or "") and len(held) == 0:
            held.append(route)
            asked.set()
        else:
            await route.continue_()

    await page.route("**/graphql", hold)
    load_all = page.get_by_role("button", name="Load all, 10,000 at most")
    await load_all.click()
    await asked.wait()
    await page.get_by_role("button", name="Stop").click()
    await expect(rows(page)).to_have_count(50)
    await load_all.click()
    all_of_them = page.get_by_text(f"That is all: {len(expected):,} transactions.")
    await expect(all_of_them).to_be_visible(timeout=LONG_MILLISECONDS)
    await eventually(lambda: amounts(rows(page)), [row["amount"] for row in expected])
    await page.unroute_all()


async def a_transaction_has_an_address_of_its_own(gateway: Gateway, page: Page, key: str) -> None:
    oldest = (await exported(gateway, key))[-1]
    sought = page.get_by_role("region", name=f"Transaction {oldest['id']}")
    search = page.get_by_label("Search descriptions")
    await search.fill(oldest["id"])
    await page.get_by_role("button", name="Search", exact=True).click()
    await expect(sought).to_contain_text(oldest["description"])
    await expect(page).to_have_url(f"{gateway.url}/console/?txn={oldest['id']}")
    await page.reload()
    await expect(sought).to_contain_text(oldest["description"])
    await sought.get_by_role("button", name="Copy the link to this transaction").click()
    await eventually(lambda: page.evaluate("navigator.clipboard.readText()"), page.url)
    await sought.get_by_role("button", name="Close").click()
    await expect(sought).to_have_count(0)
    await expect(page).to_have_url(f"{gateway.url}/console/")
    await page.goto(f"{gateway.url}/console/?txn=txn_{gateway.account}_999999")
    await expect(page.get_by_text("This key has no access to a transaction with this id.")).to_be_visible()


async def test_an_operator_finds_a_transaction_by_its_id_alone(gateway: Gateway, open_page: Open) -> None:
    page = await open_page("?txn=txn_1_2", key=(await gateway.key(KeyScope.OPERATOR)).secret)
    await expect(page.get_by_role("region", name="Transaction txn_1_2").locator(".explanation")).to_be_visible()
    await expect(page).to_have_url(re.compile(r"\?account=acct_1&txn=txn_1_2$"))


async def back_from_usage_keeps_the_place(gateway: Gateway, page: Page) -> None:
    await page.goto(f"{gateway.url}/console/")
    await page.get_by_role("button", name="Load more").click()
    await expect(rows(page)).to_have_count(100)
    await rows(page).nth(80).scroll_into_view_if_needed()
    row = rows(page).nth(78)
    before = await row.bounding_box()
    assert before is not None
    # As by the keyboard: the tabs are out of sight.
    await page.get_by_role("tab", name="Usage").dispatch_event("click")
    await expect(page.get_by_role("table", name="Usage").locator("tfoot")).to_be_visible()
    await page.evaluate("scrollTo(0, 0)")
    await page.go_back()
    await expect(row).to_be_in_viewport()
    top = "one => one.getBoundingClientRect().y"
    await eventually(lambda: row.evaluate(top), pytest.approx(before["y"], abs=2))


async def filters_are_kept_in_the_address(gateway: Gateway, page: Page, key: str) -> None:
    await page.get_by_role("button", name="Type").click()
    await page.get_by_role("checkbox", name="Refund").check()
    await page.get_by_role("checkbox", name="Top-up").check()
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("checkbox", name="Refund")).to_be_hidden()
    await page.get_by_role("button", name="Amount").click()
    await page.get_by_label("At least, with its sign").fill("1.5")
    await page.keyboard.press("Enter")
    await page.keyboard.press("Escape")
    await page.get_by_label("Search descriptions").fill("unused")
    await page.keyboard.press("Enter")
    expected = await exported(gateway, key, types="refund,topup", amount_gte="1.5", search="unused")
    await expect(page.locator(".filters")).to_contain_text(f"{len(expected)} transactions, ")
    await expect(page).to_have_url(f"{gateway.url}/console/?types=refund,topup&min=1.5&q=unused")
    first = [row["amount"] for row in expected[:50]]
    await expect(rows(page)).to_have_count(len(first))
    await eventually(lambda: amounts(rows(page)), first)

    await page.reload()
    await expect(rows(page)).to_have_count(len(first))
    await eventually(lambda: amounts(rows(page)), first)
    await expect(page.get_by_label("Search descriptions")).to_have_value("unused")
    await page.go_back()
    await expect(page.get_by_label("Search descriptions")).to_have_value("")
    await page.get_by_role("button", name="Clear filters").click()
    await expect(page).to_have_url(f"{gateway.url}/console/")
    newest = await exported(gateway, key)
    await eventually(lambda: amounts(rows(page)), [row["amount"] for row in newest[:50]])


async def days_and_references_narrow_the_list(gateway: Gateway, page: Page, key: str) -> None:
    await page.goto(f"{gateway.url}/console/")
    [newest, *_] = [row for row in await exported(gateway, key) if row["ref_type"] == "inference_instance"]
    day, reference = newest["created_at"][:10], newest["ref_id"]
    await page.get_by_role("button", name="Date").click()
    await page.get_by_role("button", name="Yesterday").click()
    await expect(page).to_have_url(re.compile(r"\?from=([\d-]+)&to=\1$"))
    # The panel is closed, and the rows that it covered are in view.
    await expect(page.get_by_role("button", name="Yesterday")).to_have_count(0)
    await expect(page.get_by_role("button", name=re.compile(r"^Date \w+ \d+, \d{4}$"))).to_be_focused()
    await page.keyboard.press("Enter")
    # The day may lie after yesterday: a range that ends before it begins would be refused.
    await page.get_by_role("button", name="Any time").click()
    await page.keyboard.press("Enter")
    await page.get_by_label("From (UTC day)").fill(day)
    await page.get_by_label("To, included").fill(day)
    await page.keyboard.press("Escape")
    await page.get_by_role("button", name="Reference").click()
    await page.get_by_label("Kind").select_option("Inference instance")
    await page.get_by_label("Exact id").fill(reference)
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(
        re.compile(rf"\?from={day}&to={day}&ref_type=inference_instance&ref_id={reference}$")
    )
    expected = await exported(
        gateway, key, ref_type="inference_instance", ref_id=reference, created_at_gte=f"{day}T00:00:00Z"
    )
    await expect(rows(page)).to_have_count(len(expected))
    await eventually(lambda: amounts(rows(page)), [row["amount"] for row in expected])


async def wrong_filters_are_said_and_not_taken(gateway: Gateway, page: Page) -> None:
    await page.goto(f"{gateway.url}/console/")
    await page.get_by_label("Search descriptions").fill("ab")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_have_text("Type 3 characters or more.")
    await page.get_by_role("button", name="Amount").click()
    await page.get_by_label("At most").fill("ten")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert").last).to_have_text("Type a decimal such as -1.25.")
    await expect(page).to_have_url(f"{gateway.url}/console/")


async def a_filter_that_matches_nothing_offers_to_clear_it(gateway: Gateway, page: Page) -> None:
    await page.goto(f"{gateway.url}/console/?q=no+such+thing")
    await expect(page.get_by_text("No transaction matches these filters.")).to_be_visible()
    await page.get_by_role("tabpanel").get_by_role("button", name="Clear filters").last.click()
    await expect(rows(page)).to_have_count(50)


async def a_row_opens_by_keyboard_to_all_there_is_to_know(gateway: Gateway, page: Page, key: str) -> None:
    await page.goto(f"{gateway.url}/console/?types=refund")
    [newest, *_] = await exported(gateway, key, types="refund")
    toggle = rows(page).first.get_by_role("button")
    await toggle.focus()
    await page.keyboard.press("Enter")
    detail = page.locator("tr.detail")
    await expect(detail).to_contain_text(newest["id"])
    await expect(detail).to_contain_text(newest["ref_id"])
    await expect(detail).to_contain_text("metering")
    await expect(detail.get_by_text("Balance", exact=True)).to_be_visible()
    await detail.get_by_role("button", name="Copy the transaction's id").click()
    await eventually(lambda: page.evaluate("navigator.clipboard.readText()"), newest["id"])
    await detail.get_by_role("button", name="All its transactions").click()
    await expect(page).to_have_url(re.compile(f"ref_id={newest['ref_id']}$"))
    await expect(detail).to_have_count(1)
    await page.locator("tr.open .description").click()
    await expect(detail).to_have_count(0)


async def a_row_opens_by_a_click_that_selects_nothing(gateway: Gateway, page: Page) -> None:
    await page.goto(f"{gateway.url}/console/")
    row = rows(page).nth(40)
    await row.locator(".description").click()
    await expect(row.get_by_role("button")).to_have_attribute("aria-expanded", "true")
    await expect(page.locator(".detail")).to_have_count(1)
    await expect(page.locator(".detail dd code").first).to_have_text(await row.get_attribute("data-id") or "")
    await page.locator(".detail .facts").click()
    await row.locator(".description").select_text()
    await row.locator(".date").dispatch_event("click")
    await expect(page.locator(".detail")).to_have_count(1)
    await page.evaluate("getSelection().removeAllRanges()")
    await row.locator(".date").click()
    await expect(page.locator(".detail")).to_have_count(0)


async def test_a_row_s_charge_has_all_rows_of_its_resource(gateway: Gateway, open_page: Open) -> None:
    key = (await gateway.key(account_id=1)).secret
    [refund, *_] = await exported(gateway, key, types="refund", ref_type="gpu_instance")
    of_charge = await exported(gateway, key, ref_type="gpu_instance", ref_id=refund["ref_id"])
    page = await open_page(f"?ref_type=gpu_instance&ref_id={refund['ref_id']}&types=refund", key=key)
    await rows(page).first.get_by_role("button").click()
    explanation = re.compile(r"^Returned \$[\d.]+ of the \$[\d.]+ held for GPU instance")
    await expect(page.locator(".explanation")).to_have_text(explanation)
    charge = page.get_by_role("table", name=f"Transactions of GPU instance {refund['ref_id']}")
    shown = charge.get_by_role("row")
    await expect(shown).to_have_count(len(of_charge))
    await eventually(lambda: amounts(shown), [row["amount"] for row in of_charge])
    net = -sum(Decimal(row["amount"]) for row in of_charge)
    await expect(page.get_by_role("region", name="The charge of GPU instance")).to_contain_text(
        re.compile(rf"is settled.*Net \${str(net).rstrip('0')}")
    )
    await expect(charge.locator("[aria-current]")).to_contain_text(refund["description"])


async def a_long_charge_is_read_to_its_end(gateway: Gateway, page: Page, key: str) -> None:
    of_instances = await exported(gateway, key, ref_type="inference_instance")
    [(reference, count)] = Counter(row["ref_id"] for row in of_instances).most_common(1)
    assert count > 100
    of_charge = [row for row in of_instances if row["ref_id"] == reference]
    await page.goto(f"{gateway.url}/console/?ref_type=inference_instance&ref_id={reference}")
    await rows(page).nth(3).get_by_role("button").click()
    charge = page.get_by_role("region", name="The charge of Inference instance")
    shown = charge.get_by_role("row")
    more = charge.get_by_role("button", name="Load more transactions")
    for seen in range(50, count, 50):
        await expect(shown).to_have_count(seen)
        # Twice: the second finds the first under way.
        await more.dblclick()
    await expect(shown).to_have_count(count)
    await expect(more).to_have_count(0)
    await eventually(lambda: amounts(shown), [row["amount"] for row in of_charge])
    await expect(charge.locator("[aria-current]")).to_have_count(1)


async def the_month_before_stands_beside_this_one(gateway: Gateway, page: Page, key: str) -> None:
    query = {"query": "{ account { monthlySummaries(last: 2) { month totalCost apiCalls totalTokens } } }"}
    headers = {"Authorization": f"Bearer {key}"}
    async with ClientSession() as session:
        answer = await (await session.post(f"{gateway.url}/graphql", json=query, headers=headers)).json()
    [before, _] = answer["data"]["account"]["monthlySummaries"]
    title = f"All of {datetime.fromisoformat(before['month'] + '-01'):%B %Y}"
    whole, _, fraction = before["totalCost"].partition(".")
    for card, figure in {
        "Total Cost This Month": f"${int(whole):,}.{fraction}",
        "API Calls": f"{int(before['apiCalls']):,}",
        "Total Tokens": f"{int(before['totalTokens']):,}",
    }.items():
        parts = page.get_by_role("heading", name=card).locator("..").locator("dl > div")
        await expect(parts.filter(has_text=title).locator("dd")).to_have_text(figure)


async def a_row_about_no_resource_is_explained_too(gateway: Gateway, page: Page) -> None:
    await page.goto(f"{gateway.url}/console/?types=auto_recharge")
    await rows(page).first.get_by_role("button").click()
    await expect(page.locator(".explanation")).not_to_be_empty()
    await expect(page.get_by_role("region", name="The charge of")).to_have_count(0)
    await expect(page.get_by_role("link", name="Open in Stripe")).to_have_count(0)


async def test_operators_get_the_way_to_stripe(gateway: Gateway, open_page: Open) -> None:
    key = (await gateway.key(KeyScope.OPERATOR)).secret
    page = await open_page(f"?account={gateway.account_id}&types=auto_recharge", key=key)
    await rows(page).first.get_by_role("button").click()
    link = page.get_by_role("link", name="Open in Stripe")
    await expect(link).to_have_attribute("href", re.compile(r"^https://dashboard\.stripe\.com/.*pi_test_"))
    await expect(link).to_have_attribute("rel", "noreferrer")


async def test_the_export_has_the_whole_filter_and_its_address_no_key(
    gateway: Gateway, open_page: Open, watched: Watched
) -> None:
    key = (await gateway.key()).secret
    page = await open_page("?types=gpu_usage,refund&q=instance&from=2026-01-01&max=5", key=key)
    await expect(rows(page)).to_have_count(50)
    async with page.expect_download() as started:
        await page.get_by_role("button", name="Export CSV").click()
    download = await started.value
    assert re.fullmatch(rf"{gateway.url}/billing/transactions\.csv\?token=[\w-]+", download.url)
    assert download.suggested_filename == f"transactions-{gateway.account_id}.csv"
    text = (await download.path()).read_text()
    parameters = {"types": "gpu_usage,refund", "search": "instance", "amount_lte": "5"}
    expected = await exported(gateway, key, **parameters, created_at_gte="2026-01-01T00:00:00Z")
    assert len(expected) > 50
    assert list(csv.DictReader(io.StringIO(text, newline="")))[::-1] == expected
    await expect(page.get_by_role("status").last).to_have_text("The download has started.")


async def test_times_are_utc_and_the_reader_s_own_where_they_are_pointed_at(gateway: Gateway, open_page: Open) -> None:
    key = (await gateway.key()).secret
    page = await open_page(key=key, timezone_id="Asia/Kolkata", locale="en-GB")
    [newest, *_] = await exported(gateway, key)
    at = datetime.fromisoformat(newest["created_at"])
    time = rows(page).first.locator("time")
    await expect(page.get_by_role("columnheader", name="Date (UTC)")).to_be_visible()
    await expect(time).to_have_text(re.compile(rf"^{at.day} {at:%b}\w* {at.year}, {at:%H:%M}$"))
    await time.hover()
    local = at.astimezone(ZoneInfo("Asia/Kolkata"))
    await expect(time).to_have_attribute("title", re.compile(rf"{local:%H:%M:%S} GMT\+5:30 \(your time\)$"))


async def printing_gives_a_statement(gateway: Gateway, page: Page) -> None:
    await page.goto(f"{gateway.url}/console/?types=refund")
    await expect(rows(page)).to_have_count(50)
    await expect(page.get_by_text("Account statement")).to_be_hidden()
    await page.emulate_media(media="print")
    await expect(page.get_by_text("Account statement")).to_be_visible()
    await expect(page.locator(".statement")).to_contain_text("Transactions: Refund.")
    await expect(page.locator(".statement")).to_contain_text("Only the newest 50 rows")
    for hidden in (page.get_by_role("banner"), page.get_by_role("button", name="Load more"), page.locator(".filters")):
        await expect(hidden).to_be_hidden()
    await expect(rows(page).last).to_be_visible()
    assert await page.evaluate("getComputedStyle(document.documentElement).backgroundColor") == "rgb(255, 255, 255)"
    # The head of the table stands on every sheet.
    assert await table(page).locator("thead").evaluate("one => getComputedStyle(one).display") == "table-header-group"


async def a_month_s_bar_opens_its_transactions(gateway: Gateway, page: Page) -> None:
    await page.goto(f"{gateway.url}/console/?tab=usage")
    await page.get_by_role("button", name=re.compile("Show its transactions")).last.click()
    await expect(page.get_by_role("tab", name="Transactions")).to_have_attribute("aria-selected", "true")
    await expect(page).to_have_url(re.compile(r"\?from=\d{4}-\d\d-01&to=\d{4}-\d\d-(28|29|30|31)$"))


async def only_the_newest_of_quick_choices_is_shown(gateway: Gateway, page: Page) -> None:
    """Answers that come late, of filters that were chosen before, are dropped."""
    await page.goto(f"{gateway.url}/console/")
    await expect(rows(page)).to_have_count(50)
    held: list[Any] = []
    asked = asyncio.Event()

    async def hold(route: Any) -> None:
        if "GPU_USAGE" in (route.request.post_data or ""):
            held.append(route)
            asked.set()
        else:
            await route.continue_()

    await page.route("**/graphql", hold)
    await page.get_by_role("button", name="Type").click()
    await page.get_by_role("checkbox", name="Instances, API calls").check()
    await asked.wait()
    await page.get_by_role("checkbox", name="Instances, API calls").uncheck()
    await page.get_by_role("checkbox", name="Refund").check()
    await expect(rows(page).first).to_contain_text("Refund")
    for route in held:
        await route.abort()
    await expect(rows(page).first).to_contain_text("Refund")
    await page.unroute_all()


async def test_a_visit_that_reads_on(gateway: Gateway, open_page: Open) -> None:
    key = (await gateway.key()).secret
    page = await open_page(key=key)
    await reading_on_keeps_the_place(page)
    await the_end_of_a_thousand_rows_is_reached_in_order(gateway, page, key)
    await back_from_usage_keeps_the_place(gateway, page)
    await all_of_a_filter_is_loaded_at_once_and_can_be_stopped(gateway, page, key)


async def test_a_visit_that_filters(gateway: Gateway, open_page: Open) -> None:
    key = (await gateway.key()).secret
    page = await open_page(key=key)
    await filters_are_kept_in_the_address(gateway, page, key)
    await wrong_filters_are_said_and_not_taken(gateway, page)
    await a_filter_that_matches_nothing_offers_to_clear_it(gateway, page)
    await days_and_references_narrow_the_list(gateway, page, key)
    await only_the_newest_of_quick_choices_is_shown(gateway, page)


async def test_a_visit_that_opens_rows(gateway: Gateway, open_page: Open) -> None:
    key = (await gateway.key()).secret
    page = await open_page(key=key, permissions=["clipboard-read", "clipboard-write"])
    await a_transaction_has_an_address_of_its_own(gateway, page, key)
    await a_row_opens_by_keyboard_to_all_there_is_to_know(gateway, page, key)
    await a_row_opens_by_a_click_that_selects_nothing(gateway, page)
    await a_long_charge_is_read_to_its_end(gateway, page, key)
    await a_row_about_no_resource_is_explained_too(gateway, page)


async def test_a_visit_to_the_months_and_the_printer(gateway: Gateway, open_page: Open) -> None:
    key = (await gateway.key()).secret
    page = await open_page(key=key, scheme="dark")
    await the_month_before_stands_beside_this_one(gateway, page, key)
    await a_month_s_bar_opens_its_transactions(gateway, page)
    await printing_gives_a_statement(gateway, page)
