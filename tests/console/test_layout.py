"""The page's shape: what fits, what covers what, and what a phone shows first."""

from __future__ import annotations

import re
from typing import Final

import pytest
from playwright.async_api import FloatRect, Locator, Page, expect

from access.keys import KeyScope
from ledger.accounts import Accounts
from ledger.commands import Entry, Posting, Writer
from ledger.kinds import TransactionType, WriterKind
from ledger.money import parse_nanos
from tests.console.conftest import Open, Watched, eventually
from tests.console.gateways import Gateway


async def box_of(one: Locator) -> FloatRect:
    box = await one.bounding_box()
    assert box is not None
    return box


async def end_of(one: Locator) -> float:
    box = await box_of(one)
    return box["y"] + box["height"]


INSIDE: Final = """one =>
    one.querySelector('.figure .money').getBoundingClientRect().right <= one.getBoundingClientRect().right"""


@pytest.mark.shared_gateway
async def test_billions_stand_on_one_line(gateway: Gateway, open_page: Open) -> None:
    account = (await Accounts(gateway.services.database).create("Rich")).id
    entry = Entry(TransactionType.ADMIN_CORRECTION, parse_nanos("8500000000.123456789"), "All of it")
    await gateway.services.ledger.post(
        Posting(account, Writer(WriterKind.OPERATOR, "tests"), [entry], "correctBalance")
    )
    page = await open_page(key=(await gateway.key(account_id=account)).secret)
    balance = page.get_by_role("region", name="Credit balance")
    figure = balance.locator(".figure .money")
    await expect(figure).to_have_text("$8,500,000,000.123456789")
    for width in (360, 768, 1280):
        await page.set_viewport_size({"width": width, "height": 900})
        await eventually(lambda: figure.evaluate("one => one.getClientRects().length"), 1)
        await eventually(lambda: balance.evaluate(INSIDE), True)


@pytest.mark.shared_gateway
async def test_a_phone_reaches_the_tabs_on_its_first_screen(gateway: Gateway, open_page: Open) -> None:
    page = await open_page(key=(await gateway.key(KeyScope.MANAGE)).secret, width=360, height=800)
    await expect(page.get_by_role("tab", name="Transactions")).to_be_visible()
    assert await end_of(page.get_by_role("tablist")) < 500
    await expect(page.get_by_role("heading", name="Total Cost This Month")).to_be_hidden()
    await page.get_by_text(re.compile("^This month: ")).click()
    await expect(page.get_by_role("heading", name="Total Cost This Month")).to_be_visible()
    await expect(page.get_by_role("button", name=re.compile("Show its transactions"))).to_have_count(12)


async def test_a_menu_at_the_window_s_edge_stays_inside(gateway: Gateway, open_page: Open) -> None:
    page = await open_page(key=(await gateway.key()).secret, width=768)
    await page.get_by_role("button", name="Reference").click()
    pane = page.get_by_role("group", name="Reference")
    await expect(pane.get_by_label("Kind")).to_be_in_viewport(ratio=1)
    assert await page.evaluate("document.documentElement.scrollWidth") <= 768


MOVED: Final = """new Promise(tell => new PerformanceObserver(list => {
    tell(list.getEntries().reduce((sum, one) => sum + one.value, 0));
}).observe({type: 'layout-shift', buffered: true}) || setTimeout(() => tell(0), 500))"""


@pytest.mark.shared_gateway
async def test_the_head_has_its_place_before_the_account_is_known(gateway: Gateway, open_page: Open) -> None:
    page = await open_page("?tab=keys", key=(await gateway.key(KeyScope.MANAGE)).secret, width=360)
    await expect(page.get_by_role("heading", name="Spend limits")).to_be_visible()
    assert await page.evaluate(MOVED) < 0.01


@pytest.mark.shared_gateway
async def test_the_head_of_an_operator_is_one_line_on_a_tablet(gateway: Gateway, open_page: Open) -> None:
    key = (await gateway.key(KeyScope.OPERATOR)).secret
    page = await open_page(f"?account=acct_{gateway.account}", key=key, width=768)
    await expect(page.get_by_role("combobox", name="Switch account")).to_be_visible()
    title = await box_of(page.get_by_role("heading", name="Billing"))
    button = await box_of(page.get_by_role("button", name="Sign out"))
    assert button["y"] < title["y"] < button["y"] + button["height"]
    assert button["x"] + button["width"] == pytest.approx(768 - 16)


async def lost(page: Page, gateway: Gateway) -> Locator:
    """The notice that updates are interrupted."""
    await expect(page.get_by_text("Live", exact=True)).to_be_visible()
    await gateway.stop()
    notice = page.get_by_text("Live updates are interrupted")
    await expect(notice).to_be_visible()
    return notice


@pytest.mark.parametrize("width", [360, 1280])
async def test_the_notice_of_interrupted_updates_does_not_cover_what_to_press(
    gateway: Gateway, open_page: Open, watched: Watched, width: int
) -> None:
    watched.expected = re.compile("WebSocket connection|ERR_CONNECTION|Failed to load resource")
    page = await open_page(key=(await gateway.key()).secret, width=width, height=700)
    notice = await lost(page, gateway)
    await page.get_by_role("button", name="Load more").click()
    again = page.get_by_role("button", name="Try again")
    await expect(again).to_be_visible()
    # Where it stands, nobody has scrolled.
    assert await end_of(again) <= (await box_of(notice))["y"]
    await page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
    assert await end_of(again) <= (await box_of(notice))["y"]


@pytest.mark.shared_gateway
async def test_a_phone_cuts_no_german_off(gateway: Gateway, open_page: Open) -> None:
    page = await open_page("?tab=resources&lang=de", key=(await gateway.key(KeyScope.MANAGE)).secret, width=360)
    row = page.locator("tr.row").first
    await expect(row.get_by_role("button")).to_be_visible()
    assert (await box_of(row.get_by_role("button")))["y"] < await end_of(row.locator(".name"))
    await page.get_by_role("button", name="Automatisch aufladen…").click()
    dialog = page.get_by_role("dialog")
    await expect(dialog.get_by_role("checkbox")).to_be_visible()
    assert await dialog.evaluate("one => one.scrollWidth - one.clientWidth") == 0


@pytest.mark.shared_gateway
async def test_the_sum_excludes_open_holds(gateway: Gateway, open_page: Open) -> None:
    page = await open_page(key=(await gateway.key()).secret)
    card = page.get_by_role("heading", name="Total Cost This Month").locator("..")
    await expect(card).to_contain_text(re.compile(r"Of all that was deducted, \$[\d.]+ is held in open charges now\."))
    await expect(card.locator("dl")).not_to_contain_text("eld")
    assert await card.locator("dt").all_text_contents() == [
        "Gross",
        "Refunded",
        (await card.locator(".before dt").text_content()) or "",
    ]


async def test_the_account_box_says_how_many_there_are_and_stays_in_the_window(
    gateway: Gateway, open_page: Open
) -> None:
    accounts = Accounts(gateway.services.database)
    for number in range(40):
        await accounts.create(f"Customer {number}")
    page = await open_page(key=(await gateway.key(KeyScope.OPERATOR)).secret)
    for height in (600, 900):
        await page.set_viewport_size({"width": 1280, "height": height})
        await page.reload()
        await page.get_by_role("combobox", name="Account").click()
        options = page.get_by_role("option")
        await expect(options).to_have_count(20)
        hint = page.get_by_text("The newest 20 of 43 accounts: type three letters to search.")
        await expect(hint).to_be_in_viewport(ratio=1)
        assert await end_of(page.locator(".choices")) <= height
        await page.keyboard.press("ArrowUp")
        await expect(options.last).to_have_attribute("aria-selected", "true")
        await expect(options.last).to_be_in_viewport(ratio=0.9)


@pytest.mark.shared_gateway
async def test_midnight_is_written_with_two_digits_on_a_clock_of_24_hours(open_page: Open, gateway: Gateway) -> None:
    page = await open_page(key=(await gateway.key()).secret, locale="en-GB")
    shown = page.get_by_role("table", name="Transactions").locator("time")
    await expect(shown).not_to_have_count(0)
    times = await shown.all_text_contents()
    assert [text for text in times if not re.search(r", \d\d:\d\d$", text)] == []


@pytest.mark.shared_gateway
async def test_rows_keep_their_arrow_in_forced_colors(open_page: Open, gateway: Gateway) -> None:
    page = await open_page(key=(await gateway.key()).secret, forced_colors="active")
    arrow = page.get_by_role("table", name="Transactions").get_by_role("button").first
    await eventually(lambda: arrow.evaluate("one => getComputedStyle(one, '::before').content.slice(0, 3)"), '"▾"')
    await arrow.click()
    await eventually(lambda: arrow.evaluate("one => getComputedStyle(one, '::before').content.slice(0, 3)"), '"▴"')
