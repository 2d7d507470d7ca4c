"""WCAG 2.2 AA as far as axe-core can tell, on every view, light and dark, wide and narrow."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, Literal

import pytest
from playwright.async_api import Page, expect

from access.keys import KeyScope
from ledger.accounts import Accounts
from tests.console.conftest import ROOT, Open, Watched
from tests.console.gateways import Gateway
from tests.doses import IS_NIGHTLY

AXE: Final = ROOT / "console" / "billing" / "node_modules" / "axe-core" / "axe.min.js"
RULES: Final = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
RULES_OF_LOOKS: Final = {"type": "rule", "values": ["color-contrast", "target-size"]}
"""What depends on the scheme and the width."""

LOOKS: Final[list[tuple[Literal["light", "dark"], int, Any]]] = [
    ("light", 1280, RULES),
    ("dark", 360, RULES if IS_NIGHTLY else RULES_OF_LOOKS),
]
Action = Callable[[Page], Awaitable[Any]]


@pytest.fixture(scope="module")
def axe() -> str:
    if not AXE.is_file():
        pytest.fail("axe-core is not installed: run `make pages`")
    return AXE.read_text()


async def violations(page: Page, axe: str, rules: Any = RULES) -> list[str]:
    # Evaluated by the debugger: the page's own policy stays in force.
    await page.evaluate(axe)
    # Of what passes nothing is told: to name each of its elements takes a seventh of the time.
    run = "async rules => (await axe.run(document, {runOnly: rules, resultTypes: ['violations']})).violations"
    found = await page.evaluate(run, rules)
    return [f"{one['id']}: {node['html'][:200]} {node['failureSummary']}" for one in found for node in one["nodes"]]


async def assert_no_violations(page: Page, axe: str, view: str = "") -> None:
    """Looks at the page in both schemes and at both widths, each of them once; by day, at the second one only for what
    it changes."""
    # Rows out of sight keep the colours of the scheme before until they are shown.
    await page.evaluate(
        "const sheet = new CSSStyleSheet(); sheet.replaceSync('* { content-visibility: visible !important }');"
        " document.adoptedStyleSheets.push(sheet)"
    )
    for scheme, width, rules in LOOKS:
        await page.emulate_media(color_scheme=scheme)
        await page.set_viewport_size({"width": width, "height": 900})
        # WCAG's reflow: nothing is read by scrolling sideways. Charts follow the width a moment later.
        await assert_fits(page, width)
        # Colours computed before the frame is drawn may be those of the scheme before.
        await page.evaluate("new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
        assert await violations(page, axe, rules) == [], (view, scheme, width)


FITS: Final = """
width => new Promise(fits => {
  const look = () => innerWidth === width && document.documentElement.scrollWidth <= width;
  const timer = setInterval(() => look() && (clearInterval(timer), fits()), 20);
})
"""


async def assert_fits(page: Page, width: int) -> None:
    # Playwright's own wait evaluates its condition inside the page, which the page's policy refuses.
    async with asyncio.timeout(20):
        await page.evaluate(FITS, width)


async def table(page: Page) -> None:
    await expect(page.get_by_role("table")).to_be_visible()


async def open_type_menu(page: Page) -> None:
    await table(page)
    await page.get_by_role("button", name="Type").click()


async def open_reference_menu(page: Page) -> None:
    await table(page)
    await page.get_by_role("button", name="Reference").click()


async def open_row(page: Page, word: str = "Balance") -> None:
    await page.get_by_role("button", name=re.compile("Details of")).first.click()
    await expect(page.get_by_text(word, exact=True)).to_be_visible()


async def open_transaction(page: Page) -> None:
    await expect(page.get_by_role("region", name="Transaction txn_2_5").locator(".explanation")).to_be_visible()


async def exact_amounts(page: Page) -> None:
    await table(page)
    await page.get_by_role("checkbox", name="Exact amounts").check()


async def add_credit(page: Page) -> None:
    await page.get_by_role("button", name="Add credit").click()
    await page.get_by_label("Amount in US dollars").fill("1")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_be_visible()


async def auto_recharge(page: Page) -> None:
    await page.get_by_role("button", name="Auto-recharge…").click()
    await expect(page.get_by_role("dialog")).to_be_visible()


async def statement(page: Page) -> None:
    await page.get_by_role("button", name="Statement…").click()
    await expect(page.get_by_role("dialog").get_by_role("row").first).to_be_visible()


async def charts(page: Page) -> None:
    await table(page)
    await expect(page.get_by_role("img", name=re.compile("Tokens by day"))).to_be_visible()
    await page.get_by_role("button", name="Unfold all").click()
    await expect(page.get_by_role("button", name="Fold all")).to_be_visible()


async def who_spent_it(page: Page) -> None:
    await page.get_by_text("Who spent it").click()
    await page.get_by_label("Hours of").select_option(index=1)
    await expect(page.get_by_role("table", name="By hour")).to_be_visible()
    await expect(page.get_by_role("table", name="By project")).to_be_visible()


async def costs(page: Page) -> None:
    await expect(page.get_by_role("img", name=re.compile("Cost by day"))).to_be_visible()
    await page.get_by_role("table", name="Cost by day").get_by_role("button").first.click()
    await page.get_by_role("slider").focus()


async def resources(page: Page) -> None:
    await open_row(page, "Net")


async def open_model_menu(page: Page) -> None:
    await charts(page)
    await page.get_by_role("button", name="Model", exact=True).click()
    await expect(page.get_by_role("group", name="Model").get_by_role("checkbox").first).to_be_visible()


async def wrong_filter(page: Page) -> None:
    await table(page)
    await page.get_by_label("Search descriptions").fill("ab")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_be_visible()


def text(words: str) -> Action:
    async def seen(page: Page) -> None:
        await expect(page.get_by_text(words).first).to_be_visible()

    return seen


USAGE: Final = "?tab=usage" + ("" if IS_NIGHTLY else "&range=7")
"""By day a week, whose lines are as those of a month: axe looks at each of them for as long."""

FEW: Final = "" if IS_NIGHTLY else "?types=bonus,topup,admin_correction"
"""By day a few rows behind what is opened, which are as the fifty of the first view: axe looks at each of them."""

VISITS: Final[dict[str, dict[str, tuple[str, Action]]]] = {
    "transactions": {
        "guide": ("how-billing-works", text("Holds and settlement")),
        "transactions": ("", table),
        "type menu": (FEW, open_type_menu),
        "reference menu": (FEW or "?types=refund", open_reference_menu),
        "a row's details": ("?types=refund", open_row),
        "a transaction by itself": ("?txn=txn_2_5", open_transaction),
        "a wrong filter": (FEW, wrong_filter),
        "no match": ("?q=no+such+thing", text("No transaction matches")),
        "adding credit": (FEW, add_credit),
        "auto-recharge": (FEW, auto_recharge),
        "statement": (FEW, statement),
        "exact amounts": (FEW, exact_amounts),
        "another's account": ("?account=acct_1", text("There is no such account")),
    },
    "figures": {
        "usage by day": (USAGE, charts),
        "costs": ("?tab=costs", costs),
        "resources": ("?tab=resources", resources),
        "usage by model": (f"{USAGE}&group=model", charts),
        "who spent it": (USAGE, who_spent_it),
        "model menu": (USAGE, open_model_menu),
        "no usage": ("?tab=usage&from=2020-01-01&to=2020-01-02", text("No API calls")),
    },
}
"""Views that are opened one after the other in one tab: each by its address and what is done there."""


@pytest.mark.shared_gateway
@pytest.mark.parametrize("visit", VISITS)
async def test_a_visit_has_no_violations(gateway: Gateway, open_page: Open, axe: str, visit: str) -> None:
    page = await open_page("how-billing-works", key=(await gateway.key(KeyScope.MANAGE)).secret)
    for view, (path, act) in VISITS[visit].items():
        await page.emulate_media(color_scheme="light")
        await page.set_viewport_size({"width": 1280, "height": 900})
        await page.goto(f"{gateway.url}/console/{path}")
        await act(page)
        await assert_no_violations(page, axe, view)


async def test_signing_in_and_choosing_have_none_either(
    gateway: Gateway, open_page: Open, watched: Watched, axe: str
) -> None:
    watched.expected = re.compile("401")
    key = await gateway.key(KeyScope.OPERATOR)
    page = await open_page(key=key.secret)
    await page.get_by_role("combobox", name="Account").click()
    await expect(page.get_by_role("option")).to_have_count(3)
    await page.keyboard.press("ArrowDown")
    await assert_no_violations(page, axe)
    await gateway.revoke(key)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_contain_text("The key was refused")
    await assert_no_violations(page, axe)


@pytest.mark.shared_gateway
async def test_an_account_without_rows_has_none_either(gateway: Gateway, open_page: Open, axe: str) -> None:
    row = await Accounts(gateway.services.database).create("New here")
    page = await open_page(key=(await gateway.key(account_id=row.id)).secret)
    await expect(page.get_by_text("No money has moved yet.")).to_be_visible()
    await expect(page.get_by_role("region", name="Credit balance")).to_contain_text("$0.00")
    await assert_no_violations(page, axe)


@pytest.mark.shared_gateway
async def test_everything_is_reached_by_the_keyboard(gateway: Gateway, open_page: Open) -> None:
    page = await open_page(key=(await gateway.key()).secret)
    await table(page)
    reached: list[str] = []
    for _ in range(40):
        await page.keyboard.press("Tab")
        name = "(document.activeElement.getAttribute('aria-label') ?? document.activeElement.textContent).trim()"
        reached.append(await page.evaluate(name) or "field")
        # It is seen where the focus is.
        assert await page.evaluate("getComputedStyle(document.activeElement).outlineStyle") != "none", reached[-1]
    seen = " | ".join(reached)
    for name in ("Skip to the content", "Sign out", "Show its transactions", "Transactions", "Type", "Details of"):
        assert name in seen
    await page.get_by_role("tab", name="Transactions").focus()
    await page.keyboard.press("ArrowRight")
    await expect(page.get_by_role("tab", name="Costs")).to_be_focused()
    await expect(page.get_by_role("table", name="Cost by kind")).to_be_visible()


def test_axe_is_the_page_s_own(built: Path) -> None:
    """It is for tests alone: no file of the build holds it."""
    assert [
        path.name for path in built.glob("*.js") if "axe-core" in path.read_text() or "deque" in path.read_text()
    ] == []
