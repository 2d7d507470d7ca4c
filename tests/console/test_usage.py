"""The Usage tab: charts, and a table with the same figures."""

from __future__ import annotations

import csv
import io
import re
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from itertools import pairwise
from typing import Any, Final

import pytest
from aiohttp import ClientSession
from playwright.async_api import Locator, Page, Route, expect

from ledger.accounts import Accounts
from ledger.imports.importer import Importer
from ledger.imports.options import ImportOptions
from ledger.imports.sources import Source
from ledger.prices import Prices
from tests.console.conftest import Open, Watched, eventually
from tests.console.gateways import Gateway
from tests.console.test_breakdown import call, request
from tests.doses import dose

pytestmark = pytest.mark.shared_gateway

Sums = tuple[int, int, Decimal]
"""Calls, tokens and cost."""


def table(page: Page) -> Locator:
    return page.get_by_role("table", name="Usage")


async def exported(gateway: Gateway, key: str, **parameters: str) -> list[dict[str, str]]:
    headers = {"Authorization": f"Bearer {key}"}
    url = f"{gateway.url}/billing/usage.csv"
    async with ClientSession() as session, session.get(url, headers=headers, params=parameters) as response:
        return list(csv.DictReader(io.StringIO(await response.text(), newline="")))


def days_ago(days: int) -> str:
    return (datetime.now(UTC) - timedelta(days=days)).date().isoformat()


def sums(rows: list[dict[str, str]]) -> Sums:
    return (
        sum(int(row["calls"]) for row in rows),
        sum(int(row["tokens"]) for row in rows),
        sum((Decimal(row["cost"]) for row in rows), Decimal(0)),
    )


async def figures(row: Locator) -> Sums:
    calls, tokens, cost = [re.sub(r"[$,]", "", text) for text in await row.get_by_role("cell").all_text_contents()][-3:]
    return int(calls), int(tokens), Decimal(cost)


async def total_is(page: Page, expected: Sums) -> None:
    total = table(page).locator("tfoot tr")
    await expect(total).to_be_visible()
    await eventually(lambda: figures(total), expected)


async def downloaded(page: Page) -> list[dict[str, str]]:
    async with page.expect_download() as started:
        await page.get_by_role("button", name="Export CSV").click()
    text = (await (await started.value).path()).read_text()
    return list(csv.DictReader(io.StringIO(text, newline="")))


async def sums_of_a_grouping_are_exact(page: Page, expected: list[dict[str, str]], group: str) -> None:
    by_key: dict[str, list[dict[str, str]]] = {}
    for row in expected:
        by_key.setdefault(row[group], []).append(row)
    groups = table(page).locator("tr.group")
    await expect(groups).to_have_count(len(by_key))
    await total_is(page, sums(expected))
    found = [await figures(row) for row in await groups.all()]
    assert sorted(found) == sorted(sums(rows) for rows in by_key.values())

    await page.get_by_role("button", name="Unfold all").click()
    await expect(page.get_by_role("button", name="Fold all")).to_be_visible()
    lines = [await figures(row) for row in await table(page).locator("tr.line").all()]
    assert sum(cost for _, _, cost in lines) == sums(expected)[2]
    await page.get_by_role("button", name="Fold all").click()


async def lines_keep_their_columns(page: Page) -> None:
    """However wide the page is, and with cents and exact amounts."""
    await page.get_by_role("button", name="Unfold all").click()
    await expect(page.get_by_role("button", name="Fold all")).to_be_visible()
    for width in (768, 1280):
        await page.set_viewport_size({"width": width, "height": 900})
        for exact in (True, False):
            await page.get_by_role("checkbox", name="Exact amounts").set_checked(exact)
            # The panel follows the width a moment later.
            await eventually(partial(misplaced, page, exact), [])


MISPLACED: Final = """(table, exact) => {
    const panel = document.querySelector('.usagetable').getBoundingClientRect();
    const rows = [...table.querySelectorAll('tr')].map(row => {
        const cell = row.lastElementChild;
        const { right } = cell.getBoundingClientRect();
        return [row.textContent, right, right - parseFloat(getComputedStyle(cell).paddingInlineEnd)];
    });
    const head = rows[0][2];
    return [
        ...[...table.querySelectorAll('tr.line .name')].filter(one => one.clientHeight >= 30)
            .map(one => `on two lines: ${one.textContent}`),
        ...rows.filter(([, right]) => right > panel.right + 0.5).map(([text]) => `beyond the panel: ${text}`),
        ...(exact ? [] : rows.slice(1, -1).filter(([, , edge]) => Math.abs(edge - head) > 1)
            .map(([text]) => `not below its head: ${text}`)),
    ];
}"""


async def misplaced(page: Page, exact: bool) -> list[str]:
    """Dates that stand on more than one line, rows that stick out of the panel, and figures that do not end with their
    heads."""
    await expect(table(page).locator("tr.line").first).to_be_attached()
    found: list[str] = await table(page).evaluate(MISPLACED, exact)
    return found


async def test_a_visit_to_the_table(gateway: Gateway, open_page: Open) -> None:
    key = (await gateway.key()).secret
    page = await open_page("?tab=usage", key=key)
    expected = await exported(gateway, key, day_gte=days_ago(29))

    await sums_of_a_grouping_are_exact(page, expected, "day")
    await page.get_by_role("radio", name="Model").check()
    await sums_of_a_grouping_are_exact(page, expected, "model")
    await page.get_by_role("radio", name="Type").check()
    await expect(page).to_have_url(re.compile(r"\?tab=usage&group=category$"))
    await page.reload()
    await sums_of_a_grouping_are_exact(page, expected, "category")
    await page.get_by_role("radio", name="Day").check()

    # Days are chosen, kept in the address, and exported.
    groups = table(page).locator("tr.group")
    await page.get_by_label("Days").select_option("Last 7 days")
    await expect(page).to_have_url(re.compile(r"\?tab=usage&range=7$"))
    week = await exported(gateway, key, day_gte=days_ago(6))
    await expect(groups).to_have_count(len({row["day"] for row in week}))
    assert await downloaded(page) == week
    await page.get_by_role("radio", name="Model").check()
    await lines_keep_their_columns(page)
    await page.get_by_role("radio", name="Day").check()
    await page.get_by_label("From").fill(days_ago(2))
    await page.keyboard.press("Enter")
    expected = await exported(gateway, key, day_gte=days_ago(2))
    await expect(groups).to_have_count(len({row["day"] for row in expected}))
    await page.get_by_role("radio", name="Model").check()
    await expect(page).to_have_url(re.compile(rf"\?tab=usage&from={days_ago(2)}&to={days_ago(0)}&group=model$"))
    await page.reload()
    await expect(groups).to_have_count(len({row["model"] for row in expected}))

    # Days without calls say so.
    await page.goto(f"{gateway.url}/console/?tab=usage&from=2020-01-01&to=2020-01-31")
    await expect(page.get_by_text("No API calls from Jan 1, 2020 to Jan 31, 2020.")).to_be_visible()


async def test_a_range_of_many_pages_is_read_to_its_end(gateway: Gateway, open_page: Open, story: Any) -> None:
    """The enterprise account has nine models a day: 400 days are four pages of 1,000."""
    enterprise = f"acct_{story[1] + 1}"
    key = (await gateway.key(account_id=story[1] + 1)).secret
    expected = await exported(gateway, key, day_gte=days_ago(399))
    page = await open_page(f"?tab=usage&from={days_ago(399)}&to={days_ago(0)}&group=model", key=key)
    await expect(page.get_by_role("banner")).to_contain_text(enterprise)
    await total_is(page, sums(expected))


async def bars_are_drawn_and_say_what_they_are(page: Page) -> None:
    charts = page.get_by_role("img", name=re.compile("by day and model"))
    await expect(charts).to_have_count(2)
    canvas = charts.first.locator("canvas")
    await expect(canvas).to_be_visible()
    # Of the middle of the plot, the bars' colours beside the ground's.
    colours = await canvas.evaluate(
        """canvas => {
            const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
            const found = new Set();
            for (let at = 0; at < data.length; at += 4)
                if (data[at + 3] === 255) found.add(`${data[at]},${data[at + 1]},${data[at + 2]}`);
            return [...found];
        }"""
    )
    assert {"13,122,92", "60,111,214"} <= set(colours)
    box = await canvas.bounding_box()
    assert box is not None
    await page.mouse.move(box["x"] + box["width"] - 20, box["y"] + box["height"] / 2)
    await expect(page.locator(".tip").first).to_contain_text(str(datetime.now(UTC).year))
    # Not where the next part of the visit would find it.
    await page.mouse.move(0, 0)


async def bars_are_read_by_the_keyboard(page: Page) -> None:
    await expect(page.locator(".chart canvas")).to_have_count(2)
    day = page.get_by_role("slider", name="Day of cost by day and model")
    tip = page.locator(".tip").first
    await day.focus()
    await expect(tip).to_be_visible()
    newest = await tip.text_content()
    await page.keyboard.press("ArrowLeft")
    await expect(tip).not_to_have_text(newest or "")
    yesterday = datetime.now(UTC) - timedelta(days=1)
    spoken = re.compile(rf"^{yesterday:%b} {yesterday.day}, {yesterday.year}: .*\$", re.DOTALL)
    await expect(day).to_have_attribute("aria-valuetext", spoken)
    await page.keyboard.press("Home")
    await expect(day).to_have_value("0")
    await page.keyboard.press("Tab")
    await expect(tip).to_be_hidden()


async def models_are_chosen_kept_in_the_address_and_exported(page: Page, everything: list[dict[str, str]]) -> None:
    first, second, *others = sorted({row["model"] for row in everything})
    assert others

    def of(*models: str) -> list[dict[str, str]]:
        return [row for row in everything if row["model"] in models]

    await page.get_by_role("button", name="Model", exact=True).click()
    models = page.get_by_role("checkbox", name=re.compile("^(?!Exact amounts)"))
    await expect(models).to_have_count(2 + len(others))
    await page.get_by_role("checkbox", name=first, exact=True).check()
    await expect(page).to_have_url(re.compile(rf"\?tab=usage&model={re.escape(first)}$"))
    await expect(page.locator(".legend li")).to_have_text([first])
    await total_is(page, sums(of(first)))
    await page.get_by_role("checkbox", name=second, exact=True).check()
    await expect(page.locator(".legend li")).to_have_count(2)
    await total_is(page, sums(of(first, second)))

    await page.reload()
    await expect(page.get_by_role("button", name="Model 2 models")).to_be_visible()
    await total_is(page, sums(of(first, second)))
    await expect(page.locator(".statement")).to_contain_text(f": {first}, {second}.")
    assert await downloaded(page) == of(first, second)

    await page.get_by_role("button", name="Model 2 models").click()
    await page.get_by_role("button", name="All models").click()
    await expect(page).to_have_url(re.compile(r"\?tab=usage$"))
    await expect(page.locator(".legend li")).to_have_count(2 + len(others))
    await total_is(page, sums(everything))


async def a_model_without_calls_can_be_let_go(page: Page, url: str) -> None:
    await page.goto(f"{url}?tab=usage&model=no%2Cmodel+%26+more")
    await expect(page.locator(".empty")).to_contain_text("no,model & more")
    await page.get_by_role("button", name="Model no,model & more").click()
    await page.get_by_role("checkbox", name="no,model & more").click()
    await expect(table(page).locator("tfoot")).to_be_visible()
    await expect(page).to_have_url(re.compile(r"\?tab=usage$"))


async def test_a_visit_to_the_charts_and_models(gateway: Gateway, open_page: Open) -> None:
    key = (await gateway.key()).secret
    page = await open_page("?tab=usage", key=key)
    await bars_are_drawn_and_say_what_they_are(page)
    await bars_are_read_by_the_keyboard(page)
    everything = await exported(gateway, key, day_gte=days_ago(29))
    await models_are_chosen_kept_in_the_address_and_exported(page, everything)
    await a_model_without_calls_can_be_let_go(page, f"{gateway.url}/console/")


async def test_today_is_the_gateway_s_whatever_the_reader_s_clock_says(gateway: Gateway, open_page: Open) -> None:
    key = (await gateway.key()).secret
    page = await open_page(key=None)
    await page.evaluate(f"sessionStorage.setItem('billing.key', '{key}')")
    for days in (-40, 3):
        await page.clock.set_system_time(datetime.now(UTC) + timedelta(days=days))
        await page.goto(f"{gateway.url}/console/?tab=usage&range=7")
        await expect(page.get_by_label("To", exact=True)).to_have_value(days_ago(0))
        week = await exported(gateway, key, day_gte=days_ago(6))
        await expect(table(page).locator("tr.group")).to_have_count(len({row["day"] for row in week}))
        await total_is(page, sums(week))


async def test_charts_that_were_not_fetched_are_told_and_tried_again(
    gateway: Gateway, open_page: Open, watched: Watched
) -> None:
    watched.expected = re.compile("ERR_FAILED")
    key = (await gateway.key()).secret
    page = await open_page(key=key)
    await page.route("**/static/billing/chart-*.js", lambda route: route.abort())
    await page.get_by_role("tab", name="Usage").click()
    await expect(page.get_by_role("alert")).to_contain_text("The charts could not be loaded.")
    await expect(table(page).locator("tfoot")).to_be_visible()
    await page.get_by_role("button", name="Try again").click()
    await expect(page.get_by_role("alert")).to_contain_text("The charts could not be loaded.")
    await page.unroute_all()
    await page.get_by_role("button", name="Try again").click()
    await expect(page.locator(".chart canvas")).to_have_count(2)
    await expect(page.get_by_role("alert")).to_have_count(0)


async def imported(gateway: Gateway, days: int, models: int) -> tuple[int, str]:
    """An account with its read key and imported usage: so many models on each of so many days, at a dollar each."""
    database = gateway.services.database
    account = (await Accounts(database).create("Imported")).id
    lines = ["account,day,model,category,calls,input_tokens,output_tokens,cost_usd"]
    lines += [
        f"acct_{account},{days_ago(day)},model-{model},chat,5,50,10,1" for day in range(days) for model in range(models)
    ]
    report = await Importer(database, ImportOptions(), Prices()).run(
        [Source("usage", io.BytesIO("\n".join(lines).encode()))]
    )
    assert [file.taken for file in report.files] == [days * models]
    return account, (await gateway.key(account_id=account)).secret


async def test_thousands_of_lines_are_unfolded_step_by_step(gateway: Gateway, open_page: Open) -> None:
    """The page answers meanwhile, as it did not when all lines were drawn at once: for eleven seconds."""
    days = dose(30, 90)
    lines = days * 150
    _, key = await imported(gateway, days=days, models=150)
    page = await open_page(f"?tab=usage&range={days}", key=key)
    await expect(table(page).locator("tr.group")).to_have_count(days)
    await page.evaluate(
        """() => {
            window.counts = new Set();
            setInterval(() => counts.add(document.querySelectorAll('tr.line').length), 0);
        }"""
    )
    await page.get_by_role("button", name="Unfold all").click()
    await expect(page.get_by_role("button", name="Fold all")).to_be_visible()
    await expect(page.get_by_role("status").last).to_have_text(f"{lines:,} lines unfolded.", timeout=60_000)
    counts: list[int] = sorted(await page.evaluate("[...counts]"))
    assert counts[-1] == lines
    assert all(later - earlier <= 1_000 for earlier, later in pairwise(counts)), counts
    await page.get_by_role("button", name="Fold all").click()
    await expect(table(page).locator("tr.line")).to_have_count(0)
    await page.get_by_role("button", name="Unfold all").click()
    await page.get_by_role("button", name="Fold all").click()
    await page.wait_for_timeout(100)
    await expect(table(page).locator("tr.line")).to_have_count(0)


async def test_differences_between_usage_and_deductions_have_their_reasons(gateway: Gateway, open_page: Open) -> None:
    """Three days of imported usage, and calls of yesterday that are charged today."""
    account, key = await imported(gateway, days=3, models=2)
    await call(gateway, account, "recordUsage", requests=[request(1, 9, "0.50")])
    deducted, imports = "was deducted in these days for API calls", "is imported usage, which is not deducted"
    yesterday, today = (f"&from={days_ago(day)}&to={days_ago(day)}" for day in (1, 0))
    earlier = "$0.50 was deducted for calls of earlier days, or for calls that an import replaced"
    page = await open_page("?tab=usage", key=key)
    for days, said in {
        "": f"$6.50, and $0.50 {deducted}: $6.00 {imports}.",
        yesterday: f"$2.50, and $0.00 {deducted}: $2.00 {imports}, and $0.50 is deducted later.",
        today: f"$2.00, and $0.50 {deducted}: $2.00 {imports}, and {earlier}.",
    }.items():
        await page.goto(f"{gateway.url}/console/?tab=usage{days}")
        await expect(page.locator(".below > .notice")).to_have_text(f"The calls of these days cost {said}")
    page = await open_page("?tab=usage", key=(await gateway.key()).secret)
    await expect(table(page).locator("tfoot")).to_be_visible()
    await page.wait_for_load_state("networkidle")
    await expect(page.get_by_text("The calls of these days cost")).to_have_count(0)


async def test_a_new_day_is_read_at_midnight(gateway: Gateway, open_page: Open) -> None:
    """By the gateway's clock, whose answers here say that midnight comes in some seconds."""
    begun = datetime.now(UTC)
    midnight = (begun + timedelta(days=1)).replace(hour=0, minute=0, second=0, microsecond=0)
    ahead = midnight - begun - timedelta(seconds=8)
    asked: list[str] = []

    async def shift(route: Route) -> None:
        asked.append(route.request.post_data or "")
        response = await route.fetch()
        shifted = datetime.now(UTC) + ahead
        await route.fulfill(
            response=response, headers=response.headers | {"date": f"{shifted:%a, %d %b %Y %H:%M:%S GMT}"}
        )

    page = await open_page(key=None)
    await page.route("**/graphql", shift)
    await page.evaluate(f"sessionStorage.setItem('billing.key', '{(await gateway.key()).secret}')")
    await page.goto(f"{gateway.url}/console/?tab=usage&range=7")
    to = page.get_by_label("To", exact=True)
    await expect(to).to_have_value(days_ago(0))
    await expect(to).to_have_value(days_ago(-1))
    assert any("MonthCards" in text for text in asked)
    await page.unroute_all(behavior="wait")
