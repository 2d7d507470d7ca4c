"""What no one should have typed, or did: the page shows it as it is, and keeps its shape."""

from __future__ import annotations

import json
import re
from typing import Any, Final

import pytest
from playwright.async_api import Locator, Page, Route, expect

from ledger.accounts import Accounts
from ledger.commands import Entry, Posting, Writer
from ledger.kinds import TransactionType, WriterKind
from ledger.money import parse_nanos
from tests.console.conftest import Open, eventually
from tests.console.gateways import Gateway
from tests.doses import dose

DESCRIPTIONS: Final = {
    "markup": "<img src=x onerror=\"document.title='taken'\"> <script>document.title='taken'</script> &amp; <b>bold",
    "right to left": "שלום, 2,000 טוקנים (GPU) مرحبا",
    "pictures": "🚀 usage 🎉 e\u0301",
    "long word": "x" * 500,
}
MOST: Final = "9223372036.854775807"

pytestmark = pytest.mark.shared_gateway


def rows(page: Page) -> Locator:
    return page.get_by_role("table", name="Transactions").locator("tr.row")


async def post(gateway: Gateway, account: int, amount: str, description: str) -> None:
    entry = Entry(TransactionType.ADMIN_CORRECTION, parse_nanos(amount), description)
    await gateway.services.ledger.post(
        Posting(account, Writer(WriterKind.OPERATOR, "tests"), [entry], "correctBalance")
    )


async def test_amounts_and_descriptions_of_any_kind(gateway: Gateway, open_page: Open) -> None:
    account = (await Accounts(gateway.services.database).create("<i>Odd</i> " + "n" * 100)).id
    await post(gateway, account, f"-{MOST}", "All that a ledger can owe")
    await post(gateway, account, MOST, "and back")
    await post(gateway, account, MOST, "and all that it can hold")
    for description in DESCRIPTIONS.values():
        await post(gateway, account, "-0.000000001", description)
    page = await open_page(key=(await gateway.key(account_id=account)).secret)
    await expect(rows(page)).to_have_count(7)
    shown = await rows(page).locator(".description").all_text_contents()
    assert shown[:4] == list(DESCRIPTIONS.values())[::-1]
    assert await rows(page).locator(".amount").all_text_contents() == [
        *["−$0.000000001"] * 4,
        *["+$9,223,372,036.854775807"] * 2,
        "−$9,223,372,036.854775807",
    ]
    figure = page.get_by_role("region", name="Credit balance").locator(".figure")
    await expect(figure).to_have_text("$9,223,372,036.854775803")
    for row in await rows(page).get_by_role("button").all():
        await row.click()
    await expect(page.locator(".explanation")).to_have_count(7)
    assert await page.title() == "Billing"
    assert await page.locator("main :is(img, script, i, b)").count() == 0
    for width in (1280, 360):
        await page.set_viewport_size({"width": width, "height": 900})
        # The page follows the width a moment later.
        await eventually(lambda: page.evaluate(COVERED), [])


COVERED: Final = """() => [
    ...(innerWidth < document.documentElement.scrollWidth ? ['the page is wider than the window'] : []),
    ...[...document.querySelectorAll('.ledger tr.row')].flatMap(row => {
        const boxes = [...row.cells].map(cell => cell.getBoundingClientRect()).filter(box => box.width && box.height);
        boxes.sort((one, other) => one.top - other.top || one.left - other.left);
        return boxes.slice(1).flatMap((box, before) =>
            box.top === boxes[before].top && boxes[before].right > box.left + 1 ? [row.textContent] : []);
    }),
]"""
"""Rows with a cell that lies over another one."""


MALFORMED: Final = (
    "?types=,,nonsense,refund,refund,GPU_USAGE&from=2026-02-30&to=tomorrow&min=1e9&max=NaN&q=ab&ref_type=moon",
    "?tab=nowhere&types=refund&account=",
    "?types=refund&types=topup&q=%00%FF",
    "?types=refund&min=99999999999&max=-99999999999.0000000001",
    "?types=refund&__proto__=1&constructor=2&q=" + "y" * 201,
)
DAYS_THAT_ARE_NONE: Final = (
    "?tab=usage&from=2026-03-01&to=2026-02-01",
    "?tab=usage&range=custom",
    "?tab=usage&range=0&group=moon",
    # As the fields have an end: a chart of 3,000 years is no chart.
    "?tab=usage&from=0001-01-01&to=3000-12-31",
)


async def test_a_visit_to_malformed_addresses(gateway: Gateway, open_page: Open) -> None:
    """Their malformed parts are left out, and days that are none are the newest."""
    page = await open_page("how-billing-works", key=(await gateway.key()).secret)
    for address in MALFORMED:
        await page.goto(f"{gateway.url}/console/{address}")
        await expect(rows(page), address).to_have_count(50)
        await expect(rows(page).filter(has_text="Refund"), address).to_have_count(50)
        summary = re.compile(r"^.*Transactions: Refund\. [\d,]+ transactions")
        await expect(page.locator(".filters"), address).to_contain_text(summary)
    for address in DAYS_THAT_ARE_NONE:
        await page.goto(f"{gateway.url}/console/{address}")
        await expect(page.get_by_role("table", name="Usage"), address).to_be_visible()
        await expect(page.get_by_label("Days"), address).to_have_value("30")


async def test_the_last_of_quick_choices_wins(gateway: Gateway, open_page: Open) -> None:
    page = await open_page(key=(await gateway.key()).secret)
    await expect(rows(page)).to_have_count(50)
    await page.get_by_role("button", name="Load more").dblclick()
    for tab in ("Usage", "Transactions", "Usage", "Transactions"):
        await page.get_by_role("tab", name=tab).click(no_wait_after=True)
    await expect(rows(page)).to_have_count(100)
    for _ in range(4):
        await page.go_back()
    await expect(page.get_by_role("tab", name="Transactions")).to_have_attribute("aria-selected", "true")
    await page.go_forward()
    await expect(page.get_by_role("table", name="Usage")).to_be_visible()
    await page.go_back()
    await expect(rows(page)).to_have_count(100)


USABLE: Final = ("types=refund", "from=2026-01-02&to=9999-12-31", "min=-1.5&max=2", "q=🎉🎉🎉", "ref_id=İ")
"""Addresses whose filters the gateway takes."""
UNUSABLE: Final = (
    *("q=🎉p", "q=👍👍", "q=%00%00%00", f"q={'x' * 201}", "ref_id=%00", f"ref_id={'x' * 201}", "ref_type=planet"),
    *("types=planet", "types=refund,planet", "from=2026-02-31", "to=0000-01-01", "from=2026-05-02&to=2026-05-01"),
    *("to=10000-01-01", "min=x", "max=9223372036.854775808", "min=0.0000000001", "min=2&max=1", "min=1e3"),
    *("tab=usage&model=%00", f"tab=usage&model={'x' * 201}", "tab=usage&from=2026-05-02&to=2026-05-01&range=custom"),
    *("tab=usage&range=custom&from=0001-01-01&to=9999-12-31", "&".join(["tab=usage", *["model=m"] * 2, "model=%00"])),
    "&".join(["tab=usage", *(f"model=m{number}" for number in range(101))]),
)


async def test_no_filter_takes_the_balance_off_the_screen(gateway: Gateway, open_page: Open) -> None:
    page = await open_page(key=(await gateway.key()).secret)
    balance = page.get_by_role("region", name="Credit balance").locator(".figure")
    shown = await balance.text_content()
    left_out = page.get_by_role("alert").filter(has_text="They are ignored")
    for query in (*USABLE[:: dose(2, 1)], *UNUSABLE[:: dose(2, 1)]):
        await page.goto(f"{gateway.url}/console/?{query}")
        await expect(balance).to_have_text(shown or "")
        await expect(left_out).to_have_count(1 if query in UNUSABLE else 0)
        if query in UNUSABLE:
            await expect(left_out.get_by_role("listitem")).not_to_have_count(0)
        await expect(page.get_by_role("button", name="Try again")).to_have_count(0)


async def test_a_text_is_counted_as_the_gateway_counts_it(gateway: Gateway, open_page: Open) -> None:
    page = await open_page(key=(await gateway.key()).secret)
    search = page.get_by_role("searchbox", name="Search descriptions")
    for text, complaint in (("👍👍", "Type 3 characters or more."), ("x" * 201, "Type at most 200 characters.")):
        await search.fill(text)
        await search.press("Enter")
        await expect(page.get_by_text(complaint)).to_be_visible()
        await expect(page).not_to_have_url(re.compile("q="))
    await search.fill("👍👍👍")
    await search.press("Enter")
    await expect(page.get_by_text("No transaction matches these filters.")).to_be_visible()


async def test_a_filter_that_the_gateway_refuses_is_the_list_s_trouble_only(gateway: Gateway, open_page: Open) -> None:
    """The page's own checks and the gateway's can differ, as while a new release is rolled out."""
    page = await open_page(key=(await gateway.key()).secret)
    balance = page.get_by_role("region", name="Credit balance").locator(".figure")
    shown = await balance.text_content()

    async def refuse(route: Route) -> None:
        asked: Any = route.request.post_data_json
        # A text that the gateway refuses, in the place of one that it takes.
        if asked["variables"].get("filter"):
            asked["variables"]["filter"]["search"] = "x"
        await route.continue_(post_data=json.dumps(asked))

    await page.route("**/graphql", refuse)
    await page.goto(f"{gateway.url}/console/?q=refund")
    await expect(balance).to_have_text(shown or "")
    await expect(page.get_by_text("Search must have 3 to 200 characters, not 1.")).to_be_visible()
    await page.get_by_role("alert").get_by_role("button", name="Clear filters").click()
    await expect(rows(page)).to_have_count(50)
