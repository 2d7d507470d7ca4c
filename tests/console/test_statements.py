"""Statements on the Billing page, and what is printed."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientSession
from playwright.async_api import Page, expect

from demo.inference import DAYS
from tests.console.conftest import Open
from tests.console.gateways import Gateway
from tests.console.test_transactions import rows

pytestmark = pytest.mark.shared_gateway

STUB = "window.print = () => { document.body.dataset.printed = 'yes' }"
PRINTED = "body[data-printed]"


async def _statement(gateway: Gateway, key: str, first: str, end: str) -> dict[str, Any]:
    headers = {"Authorization": f"Bearer {key}"}
    url = f"{gateway.url}/billing/statement"
    async with (
        ClientSession() as session,
        session.get(url, headers=headers, params={"from": first, "to": end}) as answer,
    ):
        found: dict[str, Any] = await answer.json()
    return found


def _begins(path: Path) -> bytes:
    return path.read_bytes()[:5]


async def _day(page: Page, label: str) -> str:
    return await page.get_by_label(label).input_value()


async def test_a_statement_is_shown_downloaded_and_printed_whole(gateway: Gateway, open_page: Open) -> None:
    key = (await gateway.key()).secret
    page = await open_page(key=key, accept_downloads=True)
    await page.evaluate(STUB)
    await page.get_by_role("button", name="Statement…").click()
    dialog = page.get_by_role("dialog", name="Statement")
    figures = dialog.get_by_role("table", name="Statement")
    await expect(figures.get_by_role("row")).not_to_have_count(0)
    await expect(dialog).to_contain_text("The period has not ended")
    # The last whole month.
    await dialog.get_by_label("Month").select_option(index=1)
    await expect(dialog).not_to_contain_text("The period has not ended")
    first, last = await _day(page, "First day (UTC)"), await _day(page, "Last day (UTC)")
    assert first[8:] == "01"
    assert first[:7] == last[:7]
    month = await dialog.get_by_label("Month").input_value()
    year, number = map(int, month.split("-"))
    end = f"{year + number // 12}-{number % 12 + 1:02d}-01"
    expected = await _statement(gateway, key, first, end)
    await expect(dialog).to_contain_text(f"{expected['rows']:,} transactions.")
    texts = [re.sub(r"[$,]", "", text).replace("−", "-") for text in await figures.get_by_role("row").all_inner_texts()]
    shown = [text.split("\t") for text in texts]
    assert shown[1][-1].strip() == expected["opening"]
    assert shown[-1][-1].strip() == expected["closing"]
    nets = [[cell.strip() for cell in row[1:]] for row in shown[2:-1]]
    assert nets == [[one["gross"], one["refunded"].removeprefix("0.00"), one["net"]] for one in expected["movements"]]
    async with page.expect_download() as download, page.expect_request("**/billing/export-links") as asked:
        await dialog.get_by_role("button", name="Download PDF").click()
    path = await (await download.value).path()
    assert _begins(path) == b"%PDF-"
    assert "&lang=en" in ((await asked.value).post_data or "")
    assert (await download.value).suggested_filename == f"statement-acct_{gateway.account}-{first}-{last}.pdf"

    # No month before the account was opened is offered.
    months = {f"{datetime.now(UTC) - timedelta(days=age):%Y-%m}" for age in range(DAYS + 1)}
    await expect(dialog.get_by_label("Month").locator("option")).to_have_count(len(months))
    await expect(dialog.get_by_role("button", name="Close")).to_be_visible()
    await dialog.get_by_role("button", name="Print").click()
    await expect(dialog).to_be_hidden()
    await expect(page.locator(PRINTED)).to_have_count(1)
    await expect(page).to_have_url(re.compile(rf"\?from={first}&to={last}$"))
    await expect(rows(page)).to_have_count(expected["rows"])
    await page.emulate_media(media="print")
    await expect(page.locator(".statement").last).to_contain_text("Closing balance")
    await expect(page.locator(".statement").first).not_to_contain_text("Only the newest")


async def test_a_filtered_view_prints_all_of_it(gateway: Gateway, open_page: Open) -> None:
    page = await open_page("?types=refund", key=(await gateway.key()).secret)
    await page.evaluate(STUB)
    await expect(rows(page)).to_have_count(50)
    await page.get_by_role("button", name="Print", exact=True).click()
    await expect(page.locator(PRINTED)).to_have_count(1)
    await expect(page.get_by_text(re.compile("^That is all: "))).to_be_visible()
    assert await rows(page).count() > 50
    # A period that is too long is not asked for.
    await page.get_by_role("button", name="Statement…").click()
    await page.get_by_label("First day (UTC)").fill("2020-01-01")
    await page.get_by_label("First day (UTC)").press("Enter")
    await expect(page.get_by_role("alert")).to_have_text("A statement covers at most 366 days.")
