"""The page follows the ledger: rows that come in, restarts, keys that end."""

from __future__ import annotations

import asyncio
import re
import shutil
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import pytest
from playwright.async_api import Locator, Page, WebSocket, expect

from access.keys import KeyScope
from db.accounts import accounts_by_id
from ledger.money import format_nanos
from tests.console.conftest import KEY_ENDED, Open, Watched
from tests.console.gateways import Gateway
from tests.ledger.restoring import restore

# A socket whose server has gone is the browser's complaint, and so is a page's request in that time.
BROKEN = re.compile("WebSocket connection|ERR_CONNECTION|Failed to load resource")


def rows(page: Page) -> Locator:
    return page.get_by_role("table", name="Transactions").locator("tr.row")


def balance(page: Page) -> Locator:
    return page.get_by_role("region", name="Credit balance").locator(".figure")


async def live(page: Page) -> None:
    await expect(page.get_by_text("Live", exact=True)).to_be_visible()


async def drawn(page: Page) -> None:
    """Until the browser has told the page what is in sight, which it does once a frame."""
    await page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


async def figure(gateway: Gateway) -> str:
    """The balance as the page shows it."""
    async with gateway.services.database.snapshot() as snapshot:
        row = (await snapshot.read(accounts_by_id(snapshot.is_postgresql, [gateway.account])))[gateway.account]
    whole, _, fraction = format_nanos(row.balance_nanos).partition(".")
    return f"${int(whole):,}.{fraction}"


async def top_of(row: Locator) -> float:
    box = await row.bounding_box()
    assert box is not None
    return box["y"]


async def test_a_row_slides_in_and_the_balance_and_cards_follow(gateway: Gateway, open_page: Open) -> None:
    page = await open_page(key=(await gateway.key()).secret)
    await live(page)
    cost = page.get_by_role("heading", name="Total Cost This Month").locator("..").locator(".figure")
    before = await cost.text_content()
    transaction = await gateway.charge("1.25", "API usage, just now")
    await expect(rows(page).first).to_contain_text("API usage, just now")
    await expect(rows(page).first.locator(".amount")).to_have_text("−$1.25")
    await expect(rows(page)).to_have_count(51)
    await expect(balance(page)).to_have_text(await figure(gateway))
    await expect(page.get_by_role("status").last).to_contain_text("New transaction: API calls, −$1.25. The balance is")
    await expect(cost).not_to_have_text(before or "")
    await rows(page).first.get_by_role("button").click()
    await expect(page.locator("tr.detail")).to_contain_text(transaction)
    await page.get_by_role("button", name="Load more").click()
    await expect(rows(page)).to_have_count(101)
    ids = await rows(page).get_by_role("button").evaluate_all("all => all.map(one => one.ariaLabel)")
    assert len(ids) == 101


@pytest.mark.parametrize("width", [1280, 360])
async def test_reading_on_is_undisturbed(gateway: Gateway, open_page: Open, width: int) -> None:
    page = await open_page(key=(await gateway.key()).secret, width=width)
    await live(page)
    read = rows(page).nth(40)
    await read.scroll_into_view_if_needed()
    await read.get_by_role("button").focus()
    await drawn(page)
    text, top = await read.text_content(), await top_of(read)
    for number in range(3):
        await gateway.charge("0.01", f"While reading, {number}")
    up = page.get_by_role("button", name="3 new transactions")
    await expect(up).to_be_visible()
    same = page.locator("tr.row", has_text=text or "").filter(has=page.locator("button:focus"))
    # Browsers scroll by whole pixels.
    assert await top_of(same) == pytest.approx(top, abs=1)
    await up.click()
    await expect(rows(page).first).to_be_in_viewport()
    await expect(rows(page).first).to_contain_text("While reading, 2")
    await expect(up).to_have_count(0)


async def test_a_row_that_the_filter_does_not_find_stays_out(gateway: Gateway, open_page: Open) -> None:
    page = await open_page("?types=gpu_usage&q=wanted", key=(await gateway.key()).secret)
    await live(page)
    await expect(page.get_by_text("No transaction matches these filters.")).to_be_visible()
    await gateway.charge("0.01", "Something else")
    await gateway.charge("0.02", "What is WANTED")
    await expect(rows(page)).to_have_count(1)
    await expect(rows(page).first).to_contain_text("What is WANTED")
    await expect(page.locator(".filters")).to_contain_text("1 transaction, $0.00 added")


SEARCHED: Final = {
    "STRASSE": "Rack, Straße 7",
    "istanbul": "Region İstanbul",
    "cafe\u0301": "CAF\u00c9",
    "οδος": "ΟΔΟΣ 7",
}


async def test_rows_that_come_in_are_searched_by_the_gateway_s_rule(gateway: Gateway, open_page: Open) -> None:
    page = await open_page("how-billing-works", key=(await gateway.key()).secret)
    for search, found in SEARCHED.items():
        await page.goto(f"{gateway.url}/console/?q={quote(search)}")
        await live(page)
        await gateway.charge("0.01", "Something else")
        await gateway.charge("0.02", found)
        await expect(rows(page), search).to_have_count(1)
        await expect(rows(page).first).to_contain_text(found)
        await page.reload()
        await live(page)
        await expect(rows(page), search).to_have_count(1)
        await expect(rows(page).first).to_contain_text(found)


async def test_a_restart_misses_no_row(gateway: Gateway, open_page: Open, watched: Watched) -> None:
    watched.expected = BROKEN
    page = await open_page(key=(await gateway.key()).secret)
    await live(page)
    await gateway.charge("0.01", "Before the restart")
    await expect(rows(page)).to_have_count(51)
    await gateway.stop()
    await expect(page.get_by_text("Live updates are interrupted")).to_be_visible()
    await expect(page.get_by_text("Live", exact=True)).to_have_count(0)
    await gateway.start()
    for number in range(5):
        await gateway.charge("0.01", f"After it, {number}")
    # By itself: it tries again and again.
    await live(page)
    await expect(rows(page)).to_have_count(56)
    await expect(page.get_by_text("Live updates are interrupted")).to_have_count(0)
    await gateway.charge("0.01", "Live again")
    texts = [*(f"After it, {number}" for number in range(5))]
    for text in [*texts, "Before the restart", "Live again"]:
        await expect(rows(page).filter(has_text=text)).to_have_count(1)
    await expect(rows(page).first).to_contain_text("Live again")
    await expect(balance(page)).to_have_text(await figure(gateway))


async def test_a_database_that_was_restored_is_followed_from_where_it_stands(
    gateway: Gateway, open_page: Open, watched: Watched, tmp_path: Path
) -> None:
    watched.expected = BROKEN
    key = (await gateway.key()).secret
    await gateway.stop()
    shutil.copy(tmp_path / "billing.db", tmp_path / "backup.db")
    await gateway.start()
    page = await open_page(key=key)
    await live(page)
    for number in range(3):
        await gateway.charge("0.01", f"Lost with the disk, {number}")
    await expect(rows(page)).to_have_count(53)
    await gateway.stop()
    for name in ("billing.db", "billing.db-wal", "billing.db-shm"):
        (tmp_path / name).unlink(missing_ok=True)
    shutil.copy(tmp_path / "backup.db", tmp_path / "billing.db")
    await gateway.start()
    await expect(rows(page)).to_have_count(50)
    await live(page)
    await gateway.charge("0.01", "After the restore")
    await expect(rows(page).first).to_contain_text("After the restore")
    await expect(rows(page)).to_have_count(51)
    await expect(balance(page)).to_have_text(await figure(gateway))


async def test_try_again_reconnects_at_once(gateway: Gateway, open_page: Open, watched: Watched) -> None:
    watched.expected = BROKEN
    page = await open_page(key=None)
    sockets: list[WebSocket] = []
    page.on("websocket", lambda socket: sockets.append(socket))
    await page.clock.install()
    await page.reload()
    await page.get_by_label("API key").fill((await gateway.key()).secret)
    await page.keyboard.press("Enter")
    await live(page)
    await gateway.stop()
    again = page.get_by_role("button", name="Try now")
    await expect(again).to_be_visible()
    # The page's clock stands still: it never tries again by itself.
    await page.clock.pause_at(await page.evaluate("Date.now() + 1000"))
    while not all(socket.is_closed() for socket in sockets):
        await page.wait_for_timeout(10)
    await gateway.start()
    await again.click()
    await live(page)


async def test_offline_is_said_and_what_was_missed_is_made_up(
    gateway: Gateway, open_page: Open, watched: Watched
) -> None:
    watched.expected = BROKEN
    page = await open_page(key=(await gateway.key()).secret)
    await live(page)
    await page.context.set_offline(True)
    await expect(page.get_by_text("You are offline.")).to_be_visible()
    await gateway.charge("0.01", "Meanwhile")
    await page.get_by_role("button", name="Load more").click()
    await expect(page.get_by_role("alert")).to_contain_text("could not be reached")
    await page.context.set_offline(False)
    await expect(page.get_by_text("You are offline.")).to_have_count(0)
    await page.get_by_role("button", name="Try again").click()
    await expect(rows(page).filter(has_text="Meanwhile")).to_have_count(1)
    await expect(rows(page)).to_have_count(101)


async def test_a_revoked_key_ends_the_page_by_itself(gateway: Gateway, open_page: Open, watched: Watched) -> None:
    watched.expected = re.compile("401")
    key = await gateway.key()
    page = await open_page(key=key.secret)
    await live(page)
    await gateway.revoke(key)
    await expect(page.get_by_role("alert")).to_contain_text(KEY_ENDED)
    assert await page.evaluate("sessionStorage.getItem('billing.key')") is None


async def test_another_account_has_its_own_stream(gateway: Gateway, open_page: Open) -> None:
    key = (await gateway.key(KeyScope.OPERATOR)).secret
    page = await open_page("?account=acct_1", key=key)
    await live(page)
    await page.get_by_role("combobox", name="Switch account").click()
    await page.get_by_role("option", name=re.compile("Inference product")).click()
    await expect(page.get_by_role("banner")).to_contain_text(gateway.account_id)
    await live(page)
    await expect(rows(page)).to_have_count(50)
    await gateway.charge("0.01", "Of the first", account=1)
    await gateway.charge("0.02", "Of the second")
    await expect(rows(page).first).to_contain_text("Of the second")
    await expect(rows(page).filter(has_text="Of the first")).to_have_count(0)


async def test_a_burst_is_taken_whole_and_in_order(gateway: Gateway, open_page: Open) -> None:
    page = await open_page(key=(await gateway.key()).secret)
    await live(page)
    async with asyncio.TaskGroup() as group:
        made: list[Any] = [group.create_task(gateway.charge("0.01", f"Burst {number}")) for number in range(200)]
    await expect(rows(page)).to_have_count(250)
    ids = sorted((task.result() for task in made), key=lambda one: int(one.rsplit("_", 1)[1]))
    await rows(page).first.get_by_role("button").click()
    await expect(page.locator("tr.detail")).to_contain_text(ids[-1])
    await expect(balance(page)).to_have_text(await figure(gateway))


@pytest.mark.parametrize("tab", ["Transactions", "Usage"])
async def test_a_restored_ledger_is_read_anew(gateway: Gateway, open_page: Open, watched: Watched, tab: str) -> None:
    """Whatever was shown: rows that are gone, details of a row whose id another has, the tab that is not in view."""
    watched.expected = BROKEN
    lost = await gateway.charge("2.50", "Lost row")
    page = await open_page(key=(await gateway.key()).secret)
    await live(page)
    await rows(page).first.get_by_role("button").click()
    await expect(page.locator("tr.detail")).to_contain_text(lost)
    await page.get_by_role("tab", name=tab).click()
    await gateway.stop()
    await gateway.start()
    seq = int(lost.rsplit("_", 1)[1])
    await restore(gateway.services.database, gateway.account, seq - 1)
    assert await gateway.charge("7.77", "Other row instead") == lost
    await expect(balance(page)).to_have_text(await figure(gateway), timeout=30_000)
    await page.get_by_role("tab", name="Transactions").click()
    await expect(rows(page).first).to_contain_text("Other row instead")
    await expect(page.get_by_text("Lost row")).to_have_count(0)
    await expect(page.get_by_text("$2.50")).to_have_count(0)


@pytest.mark.shared_gateway
async def test_an_account_is_left_before_its_stream_is_open(gateway: Gateway, open_page: Open) -> None:
    page = await open_page("?", key=None)
    # Each message comes late, so that the stream of the first account is still being opened when the other is chosen.
    await page.add_init_script(
        "const { set } = Object.getOwnPropertyDescriptor(WebSocket.prototype, 'onmessage');"
        "Object.defineProperty(WebSocket.prototype, 'onmessage', { set(take) {"
        " set.call(this, take && ((message) => setTimeout(() => take(message), 500))); } });"
        f"sessionStorage.setItem('billing.key', '{(await gateway.key(KeyScope.OPERATOR)).secret}')"
    )
    await page.goto(f"{gateway.url}/console/?account={gateway.account_id}")
    # It may not be one of the newest, which the list shows by itself: other tests create accounts here.
    await page.get_by_role("combobox", name="Switch account").fill("Developer sandbox")
    await page.get_by_role("option", name=re.compile("Developer sandbox")).click()
    await expect(page.get_by_role("banner")).to_contain_text("Developer sandbox")
    await live(page)
    # Until the first stream would have been open.
    await page.wait_for_timeout(1_000)
