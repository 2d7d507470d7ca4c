"""The page in German and Japanese: its own texts, numbers and dates, and how a reader comes to them."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import pytest
from playwright.async_api import Page, expect

from access.keys import KeyScope
from tests.console.conftest import ROOT, Open, Watched
from tests.console.gateways import Gateway
from tests.console.test_accessibility import RULES, axe
from tests.doses import IS_NIGHTLY

__all__ = ["axe"]

TEXTS: Final = ROOT / "console" / "billing" / "src" / "texts"
SHARED: Final = ROOT / "gateway" / "typesetting" / "texts"
WIDTHS: Final = (360, 768, 1280)
TABS: Final = ("transactions", "costs", "resources", "usage", "keys")

SEEN: Final = """() => {
    const seen = [document.title];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_ELEMENT | NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const node = walker.currentNode;
        const place = node instanceof Element ? node : node.parentElement;
        if (place.closest('[lang=en], script, noscript, code')) continue;
        if (node instanceof Text) seen.push(node.data);
        else seen.push(...['aria-label', 'aria-valuetext', 'title', 'placeholder', 'data-label'].map(
            name => node.getAttribute(name) ?? ''));
    }
    return seen.map(text => text.trim()).filter(Boolean);
}"""
"""All that the page says, but for what it marks as English."""

CLASHES: Final = """() => [...document.querySelectorAll('thead tr')].filter(
    row => [row, row.parentElement].every(one => getComputedStyle(one).clipPath === 'none')
).flatMap(row => {
    const boxes = [...row.cells].map(cell => {
        const range = document.createRange();
        range.selectNodeContents(cell);
        return [cell.textContent, range.getBoundingClientRect()];
    }).filter(([, box]) => box.width > 1 && box.height > 1);
    return boxes.slice(1).flatMap(([name, box], index) =>
        boxes[index][1].right > box.left + 1 && boxes[index][1].top < box.bottom && box.top < boxes[index][1].bottom
            ? `${boxes[index][0]} | ${name}` : []);
})"""
"""Heads of tables that overlap."""


AXE: Final = """async rules => (await axe.run(document, {
    runOnly: rules, rules: {'color-contrast': {enabled: false}}
})).violations.flatMap(({id, nodes}) => nodes.map(({html}) => `${id}: ${html}`))"""
"""Colours are those of the English page. By day one language is looked at: the page has the same elements in all."""


def quoted(text: str) -> set[str]:
    """The texts of a catalogue, and the pieces of those that are put together."""
    plain = re.findall(r'"((?:[^"\\]|\\.)+)"', text)
    pieces = [piece for one in re.findall(r"`([^`]+)`", text) for piece in re.split(r"\$\{[^}]*\}", one)]
    return {one.strip() for one in [*plain, *pieces] if re.search(r"[A-Za-z]{4}", one)}


def shared(language: str) -> list[Path]:
    """Words that the page has in common with PDF statements."""
    return [SHARED / part / f"{language}.json" for part in ("rows", "statement")]


def texts(paths: Iterable[Path]) -> set[str]:
    return {one for path in paths for one in quoted(path.read_text())}


def leftovers(seen: list[str], language: str) -> set[str]:
    english = texts([*(TEXTS / "en").glob("*.ts"), *shared("en")])
    own = texts([TEXTS / f"{language}.ts", *shared(language)])
    return {one for one in seen if one in english - own}


async def look(page: Page, language: str) -> None:
    assert leftovers(await page.evaluate(SEEN), language) == set()
    for width in WIDTHS:
        await page.set_viewport_size({"width": width, "height": 900})
        await page.evaluate("new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
        assert await page.evaluate(CLASHES) == [], width
    if IS_NIGHTLY or language == "ja":
        assert await page.evaluate(AXE, list(RULES)) == []


WORDS: Final = {
    "de": ("Guthaben aufladen", "Abbrechen", r"^[\d.]+,\d{2,9}\s\$$", r"^\d{1,2}\. \S+ \d{4}, \d\d:\d\d$"),
    "ja": ("チャージする", "キャンセル", r"^\$[\d,]+\.\d{2,9}$", r"^\d{4}年\d{1,2}月\d{1,2}日 \d\d:\d\d$"),
}
"""Two buttons, the balance and a time."""


@pytest.mark.shared_gateway
@pytest.mark.parametrize("language", WORDS)
async def test_a_visit_in_another_language(gateway: Gateway, open_page: Open, axe: str, language: str) -> None:
    add, cancel, balance, time = WORDS[language]
    page = await open_page(key=(await gateway.key(KeyScope.MANAGE)).secret, locale=language)
    await expect(page.locator("html")).to_have_attribute("lang", language)
    await expect(page.locator(".balance .figure .money")).to_have_text(re.compile(balance))
    await expect(page.locator(".ledger time").first).to_have_text(re.compile(time))
    # Evaluated by the debugger: the page's own policy stays in force.
    await page.evaluate(axe)
    await page.locator(".ledger .toggle button").first.click()
    await expect(page.locator(".explanation[lang=en]")).to_be_visible()
    await page.get_by_role("button", name=add).click()
    await page.get_by_role("dialog").get_by_role("button", name=cancel).click()
    for tab in TABS:
        await page.locator(f"#tab-{tab}").click()
        await expect(page.locator(".panel:not([hidden]) :is(table, .entries li)").first).to_be_visible()
        await look(page, language)


@pytest.mark.parametrize("language", WORDS)
def test_every_text_of_a_language_reaches_the_page(built: Path, language: str) -> None:
    """The build shortens the names of texts: one that it passes over would be found by nobody."""
    names = [re.findall(r"^  (\w+):", path.read_text(), re.MULTILINE) for path in (TEXTS / "en").glob("*.ts")]
    written = re.findall(r"^  (\w+):", (TEXTS / f"{language}.ts").read_text(), re.MULTILINE)
    assert sorted(written) == sorted(itertools.chain(*names))
    [script] = built.glob(f"{language}-*.js")
    assert len(re.findall(r"[{,]_\w+:", script.read_text())) == len(written)


@pytest.mark.shared_gateway
async def test_the_reader_chooses_the_language_and_an_address_overrules_it(
    gateway: Gateway, open_page: Open, watched: Watched
) -> None:
    page = await open_page("?tab=usage", key=(await gateway.key()).secret)
    await expect(page.get_by_role("heading", name="Credit balance")).to_be_visible()
    assert [one for one in watched.addresses if re.search(r"/(de|ja)-\w+\.js", one)] == []
    await page.get_by_role("combobox", name="Language").select_option("Deutsch")
    await expect(page.get_by_role("heading", name="Guthaben")).to_be_visible()
    await expect(page.get_by_role("tab", name="Nutzung")).to_have_attribute("aria-selected", "true")
    await page.reload()
    await expect(page).to_have_title("Abrechnung")
    await page.goto(f"{gateway.url}/console/?lang=ja")
    await page.get_by_role("tab", name="料金").click()
    await expect(page).to_have_url(re.compile(r"\?lang=ja&tab=costs$"))
    await page.get_by_role("combobox", name="言語").select_option("English")
    await expect(page.get_by_role("tab", name="Costs")).to_be_visible()
    await expect(page).to_have_url(re.compile(r"/console/\?tab=costs$"))


async def test_amounts_are_typed_with_a_comma_and_sent_with_a_point(gateway: Gateway, open_page: Open) -> None:
    await gateway.charge("1.00", "Cost of this month")
    page = await open_page(key=(await gateway.key(KeyScope.MANAGE)).secret, locale="de-DE")
    await page.get_by_role("button", name="Betrag").click()
    least = page.get_by_label("Mindestens, mit Vorzeichen")
    await least.fill("1.234")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_have_text("Nicht eindeutig: Geben Sie 1234 oder 1,234 ein.")
    await least.fill("-1.234,5")
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(re.compile(r"\?min=-1234\.5$"))
    await expect(least).to_have_value("-1234,5")
    await page.get_by_role("tab", name="Schlüssel und Aktivität").click()
    await page.get_by_role("button", name="Limit festlegen…").click()
    warning = page.get_by_role("dialog").get_by_role("status")
    await page.get_by_label("Höchstens").fill("0,99")
    await expect(warning).to_contain_text("Dieser Monat hat bereits ")
    await page.get_by_label("Höchstens").fill("9.999.999,56")
    await expect(warning).to_be_empty()
    await page.get_by_label("Höchstens").fill("1.234,56")
    await page.get_by_role("button", name="Festlegen", exact=True).click()
    limits = page.get_by_role("region", name="Ausgabenlimits").get_by_role("listitem")
    await expect(limits.filter(has_text=re.compile(r"1\.234,56\s\$ pro Monat"))).to_have_count(1)
