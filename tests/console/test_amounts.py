"""Amounts in cents where they are listed, and every digit where it is asked for."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import pytest
from playwright.async_api import Locator, Page, expect

from ledger.accounts import Accounts
from ledger.commands import Entry, Posting, Writer
from ledger.kinds import TransactionType, WriterKind
from ledger.money import parse_nanos
from tests.console.conftest import Open, eventually
from tests.console.gateways import Gateway

pytestmark = pytest.mark.shared_gateway

POSTED: Final = ("5.00", "-0.125", "-0.135", "-0.000000135", "0.30", "-1.999999999")
EXACT: Final = ["−$1.999999999", "+$0.30", "−$0.000000135", "−$0.135", "−$0.125", "+$5.00"]
CENTS: Final = ["≈−$2.00", "+$0.30", "≈−$0.00", "≈−$0.14", "≈−$0.12", "+$5.00"]
SEEN: Final = """all => all.map(cell => {
    const [clip, text] = [cell.querySelector('.exact'), document.createRange()];
    text.selectNodeContents(cell);
    const isClipped = clip && getComputedStyle(clip).clipPath !== 'none';
    if (!isClipped && text.getBoundingClientRect().right > 0) return cell.textContent;
    return ['::before', '::after'].map(one => getComputedStyle(cell, one).content.split('"')[1]).join('');
}).map(text => text.replace('attr(data-cents)', ''))"""


def rows(page: Page) -> Locator:
    return page.get_by_role("table", name="Transactions").locator("tr.row")


async def expect_seen(cells: Locator, texts: list[str]) -> None:
    """Wait until a reader sees these texts, of amounts that have an exact text out of sight."""
    await eventually(lambda: cells.evaluate_all(SEEN), texts)


@pytest.fixture
async def key(gateway: Gateway) -> str:
    """A key of an account whose amounts need rounding."""
    account = (await Accounts(gateway.services.database).create("New customer")).id
    for amount in POSTED:
        entry = Entry(TransactionType.ADMIN_CORRECTION, parse_nanos(amount), f"Of {amount}")
        writer = Writer(WriterKind.OPERATOR, "tests")
        await gateway.services.ledger.post(Posting(account, writer, [entry], "correctBalance"))
    return (await gateway.key(account_id=account)).secret


async def test_lists_round_half_even_to_cents_and_mark_what_they_round(open_page: Open, key: str) -> None:
    page = await open_page("?types=admin_correction", key=key)
    await expect(rows(page)).to_have_count(len(POSTED))
    await expect_seen(rows(page).locator(".amount"), CENTS)
    await expect_seen(page.locator(".summaryline .money"), ["+$5.30", "≈−$2.26", "≈+$3.04"])
    # It is exact for who listens.
    await expect(rows(page).locator(".amount")).to_have_text(EXACT)
    balance = page.get_by_role("region", name="Credit balance").locator(".figure .money")
    await expect_seen(balance, ["$3.039999866"])
    await expect(balance).to_have_text(["$3.039999866"])


async def test_the_exact_amount_is_seen_where_it_is_pointed_at_or_focused(open_page: Open, key: str) -> None:
    page = await open_page(key=key)
    amounts = rows(page).locator(".amount")
    await amounts.nth(2).hover()
    await expect_seen(amounts.nth(2), [EXACT[2]])
    # The pointer can go on to it.
    await amounts.nth(2).hover(position={"x": 4, "y": 4})
    await expect_seen(amounts.nth(2), [EXACT[2]])
    await page.mouse.move(0, 0)
    await expect_seen(amounts.nth(2), [CENTS[2]])
    await rows(page).nth(1).get_by_role("button").focus()
    await page.keyboard.press("Tab")
    await expect(rows(page).nth(2).get_by_role("button")).to_be_focused()
    await expect_seen(amounts.nth(2), [EXACT[2]])
    boxes = [await rows(page).nth(2).locator(f".{cell}").bounding_box() for cell in ("amount", "after")]
    assert boxes[0] is not None
    assert boxes[1] is not None
    assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"]


async def test_on_a_phone_the_exact_amounts_of_a_focused_row_move_nothing(open_page: Open, key: str) -> None:
    page = await open_page(key=key, width=320)
    before = await rows(page).nth(2).bounding_box()
    assert before is not None
    await rows(page).nth(1).get_by_role("button").focus()
    await page.keyboard.press("Tab")
    await expect_seen(rows(page).nth(2).locator(".amount"), [EXACT[2]])
    after = await rows(page).nth(2).bounding_box()
    assert after is not None
    assert after["height"] == before["height"]
    ends = [await rows(page).nth(2).locator(f".{cell}").bounding_box() for cell in ("toggle", "after")]
    assert ends[0] is not None
    assert ends[1] is not None
    assert ends[0]["x"] + ends[0]["width"] == pytest.approx(ends[1]["x"] + ends[1]["width"])


async def test_an_opened_row_says_the_exact_amount(open_page: Open, key: str) -> None:
    page = await open_page(key=key)
    await rows(page).nth(2).get_by_role("button").click()
    amount = page.locator(".facts dl > div").filter(has_text="Amount").locator(".money")
    await expect_seen(amount, ["−$0.000000135"])


async def test_copies_are_exact(open_page: Open, key: str) -> None:
    page = await open_page(key=key, permissions=["clipboard-read", "clipboard-write"])
    await expect(rows(page)).to_have_count(len(POSTED))
    await page.evaluate("getSelection().selectAllChildren(document.querySelector('.ledger'))")
    await page.keyboard.press("ControlOrMeta+c")
    copied = (await page.evaluate("navigator.clipboard.readText()")).split()
    assert [word for word in copied if word in EXACT or word in CENTS or "≈" in word] == EXACT


async def test_a_switch_shows_every_digit_everywhere_and_the_browser_keeps_it(
    gateway: Gateway, open_page: Open, key: str
) -> None:
    page = await open_page(key=key)
    switch = page.get_by_role("checkbox", name="Exact amounts")
    await switch.check()
    await expect_seen(rows(page).locator(".amount"), EXACT)
    await page.get_by_role("tab", name="Usage").click()
    await expect(switch).to_be_checked()
    other = await page.context.new_page()
    await other.goto(f"{gateway.url}/console/")
    # The open tab hands its key over.
    await expect(rows(other)).to_have_count(len(POSTED))
    await expect(other.get_by_role("checkbox", name="Exact amounts")).to_be_checked()
    await expect_seen(rows(other).locator(".amount"), EXACT)
    await other.get_by_role("checkbox", name="Exact amounts").uncheck()
    await expect_seen(rows(other).locator(".amount"), CENTS)


async def test_paper_is_exact(open_page: Open, key: str) -> None:
    page = await open_page(key=key)
    await expect(rows(page)).to_have_count(len(POSTED))
    await page.emulate_media(media="print")
    await expect_seen(rows(page).locator(".amount"), EXACT)


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("width", [768, 1280, 1920])
async def test_heads_stand_beside_each_other_however_short_the_amounts(
    gateway: Gateway, open_page: Open, width: int, exact: bool
) -> None:
    account = (await Accounts(gateway.services.database).create("New customer")).id
    await gateway.charge("0.01" if not exact else "0.000000001", "One row", account)
    page = await open_page(key=(await gateway.key(account_id=account)).secret, width=width)
    await page.get_by_role("checkbox", name="Exact amounts").set_checked(exact)
    await expect(rows(page)).to_have_count(1)
    measured: list[tuple[float, float]] = await page.locator(".ledger th").evaluate_all(
        """all => all.map(head => {
            const range = document.createRange();
            range.selectNodeContents(head);
            const { left, right } = range.getBoundingClientRect();
            return [left, right];
        })"""
    )
    if width > 960:
        assert all(one[1] < other[0] for one, other in pairwise(measured)), measured
    # Figures and their heads share an edge.
    for name in ("amount", "after") if width > 960 else ():
        edges = await page.locator(".ledger").evaluate(
            """(table, name) => [name === 'amount' ? 'th:nth-child(3)' : 'th:nth-child(4)', `td.${name}`].map(path => {
                const cell = table.querySelector(path);
                return cell.getBoundingClientRect().right;
            })""",
            name,
        )
        assert edges[0] == pytest.approx(edges[1], abs=0.5)
