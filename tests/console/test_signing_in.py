"""Who gets to see the page, and where the key goes."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from playwright.async_api import Page, expect

from access.keys import KeyScope, principal_of
from access.tokens import Purpose
from tests.console.conftest import KEY_ENDED, Open, Watched
from tests.console.gateways import Gateway
from tests.console.test_live import live

REFUSED = re.compile("401")


async def sign_in(page: Page, key: str) -> None:
    await page.get_by_label("API key").fill(key)
    await page.keyboard.press("Enter")


@pytest.mark.shared_gateway
async def test_a_pasted_key_signs_in_and_stays_in_the_tab_alone(gateway: Gateway, open_page: Open) -> None:
    key = (await gateway.key(KeyScope.MANAGE)).secret
    page = await open_page(key=None)
    await expect(page.get_by_label("API key")).to_be_focused()
    await page.keyboard.type("sk_live_1")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_have_text("This is not an API key: API keys start with eco_.")
    await page.get_by_label("API key").fill(f"Authorization: Bearer {key}")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Credit balance")).to_be_visible()
    await expect(page.get_by_role("banner")).to_contain_text(f"Inference product {gateway.account_id}")
    await expect(page.get_by_role("banner")).to_contain_text(f"{key[:12]} manage")
    await page.reload()
    await expect(page.get_by_role("heading", name="Credit balance")).to_be_visible()
    assert "eco_" not in await page.evaluate("JSON.stringify(localStorage) + document.cookie + location.href")
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_label("API key")).to_have_value("")
    assert key not in await page.evaluate("JSON.stringify(sessionStorage) + document.documentElement.outerHTML")


@pytest.mark.shared_gateway
async def test_a_new_tab_gets_the_key_from_an_open_one_and_the_last_tab_takes_it_along(
    gateway: Gateway, open_page: Open
) -> None:
    key = (await gateway.key(KeyScope.MANAGE)).secret
    page = await open_page(key=None)
    await sign_in(page, key)
    balance = "Credit balance"
    await expect(page.get_by_role("heading", name=balance)).to_be_visible()
    tabs = [page]
    for _ in range(2):
        tabs.append(await page.context.new_page())
        await tabs[-1].goto(page.url)
        await expect(tabs[-1].get_by_role("heading", name=balance)).to_be_visible()
    assert "eco_" not in await tabs[1].evaluate("JSON.stringify(localStorage) + document.cookie + location.href")
    await tabs[1].get_by_role("button", name="Sign out").click()
    for tab in (page, tabs[2]):
        await expect(tab.get_by_role("alert")).to_have_text("You signed out in another tab.")
    await sign_in(page, key)
    await expect(page.get_by_role("heading", name=balance)).to_be_visible()
    late = await page.context.new_page()
    for tab in tabs:
        await tab.close()
    await late.goto(f"{gateway.url}/console/")
    await expect(late.get_by_label("API key")).to_be_visible()


@pytest.mark.shared_gateway
async def test_a_key_that_is_unknown_is_told_so(gateway: Gateway, open_page: Open, watched: Watched) -> None:
    watched.expected = REFUSED
    page = await open_page(key="eco_abcdefgh_0123456789abcdefghijklmnopqrstuv")
    await expect(page.get_by_role("alert")).to_contain_text("The key was refused")
    await expect(page.get_by_label("API key")).to_be_visible()


@pytest.mark.shared_gateway
async def test_a_stream_that_ends_with_its_key_leads_to_the_sign_in_and_another_key_to_the_same_view(
    gateway: Gateway, open_page: Open, watched: Watched
) -> None:
    watched.expected = REFUSED
    key = await gateway.key()
    page = await open_page("?tab=usage&range=7&group=model", key=key.secret)
    await expect(page.get_by_role("table", name="Usage")).to_be_visible()
    await expect(page.get_by_text("Live", exact=True)).to_be_visible()
    await gateway.revoke(key)
    # Nothing is asked of the gateway meanwhile: it is the stream that tells.
    await expect(page.get_by_role("alert")).to_contain_text(KEY_ENDED)
    assert await page.evaluate("sessionStorage.getItem('billing.key')") is None
    await sign_in(page, (await gateway.key()).secret)
    await expect(page.get_by_role("tab", name="Usage")).to_have_attribute("aria-selected", "true")
    await expect(page.get_by_role("radio", name="Model")).to_be_checked()
    await expect(page.get_by_label("Days")).to_have_value("7")
    await expect(page.get_by_role("table", name="Usage")).to_be_visible()
    await expect(page.get_by_text("Live", exact=True)).to_be_visible()
    assert page.url == f"{gateway.url}/console/?tab=usage&range=7&group=model"


@pytest.mark.shared_gateway
async def test_a_query_that_is_refused_leads_to_the_sign_in_and_another_key_to_the_same_view(
    gateway: Gateway, open_page: Open, watched: Watched
) -> None:
    watched.expected = REFUSED
    key = await gateway.key()
    page = await open_page("?types=refund", key=None)
    # A stream that is never opened can't be the first to tell of the key's end.
    await page.route_web_socket("**/graphql", lambda _: None)
    await page.reload()
    await sign_in(page, key.secret)
    await expect(page.get_by_role("table", name="Transactions").get_by_text("Refund").first).to_be_visible()
    await gateway.revoke(key)
    await page.get_by_role("tab", name="Usage").click()
    await expect(page.get_by_role("alert")).to_have_text(re.compile(r"^The key was refused: .+\.$"))
    assert await page.evaluate("sessionStorage.getItem('billing.key')") is None
    await sign_in(page, (await gateway.key()).secret)
    await expect(page.get_by_role("tab", name="Usage")).to_have_attribute("aria-selected", "true")
    await expect(page.get_by_role("table", name="Usage")).to_be_visible()
    await page.get_by_role("tab", name="Transactions").click()
    rows = page.get_by_role("table", name="Transactions").locator("tr.row")
    await expect(rows).to_have_count(50)
    await expect(rows.filter(has_text="Refund")).to_have_count(50)
    assert page.url == f"{gateway.url}/console/?types=refund"


async def test_a_key_that_expires_while_the_page_is_open(gateway: Gateway, open_page: Open, watched: Watched) -> None:
    watched.expected = REFUSED
    page = await open_page(key=(await gateway.key(expires_at=datetime.now(UTC) + timedelta(hours=1))).secret)
    await expect(page.get_by_role("banner")).to_contain_text("until")
    await expect(page.get_by_text("Live", exact=True)).to_be_visible()
    gateway.ahead = timedelta(hours=1)
    await expect(page.get_by_role("alert")).to_contain_text(KEY_ENDED)
    await expect(page.get_by_label("API key")).to_be_focused()


@pytest.mark.shared_gateway
async def test_a_link_signs_in_once_and_its_code_leaves_the_address(
    gateway: Gateway, open_page: Open, watched: Watched
) -> None:
    watched.expected = REFUSED
    key = await gateway.key(KeyScope.MANAGE)
    code = await gateway.services.tokens.issue(principal_of(key.row), Purpose.SIGN_IN, timedelta(hours=1))
    page = await open_page(f"?tab=usage#code={code}", key=None)
    await expect(page.get_by_role("heading", name="Credit balance")).to_be_visible()
    assert page.url == f"{gateway.url}/console/?tab=usage"
    assert not await page.evaluate(f"JSON.stringify([sessionStorage, history.state]).includes('{code}')")
    asked = [address for address in watched.addresses if code in address and "#code=" not in address]
    assert asked == []
    page = await open_page(f"#code={code}", key=None)
    await expect(page.get_by_role("alert")).to_contain_text("This link has expired or was already used")
    assert page.url == f"{gateway.url}/console/"


async def test_an_operator_chooses_an_account_by_search_and_switches(gateway: Gateway, open_page: Open) -> None:
    page = await open_page(key=(await gateway.key(KeyScope.OPERATOR)).secret)
    box = page.get_by_role("combobox", name="Account")
    await box.fill("enterprise")
    await expect(page.get_by_role("option")).to_have_count(1)
    await page.keyboard.press("ArrowDown")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("banner")).to_contain_text("Enterprise fleet")
    await live(page)
    assert "?account=acct_" in page.url
    await page.get_by_role("combobox", name="Switch account").click()
    await page.get_by_role("option", name=re.compile("Developer sandbox")).click()
    await expect(page.get_by_role("banner")).to_contain_text("Developer sandbox")
    await live(page)
    await page.go_back()
    await expect(page.get_by_role("banner")).to_contain_text("Enterprise fleet")
    await live(page)
    await page.reload()
    await expect(page.get_by_role("banner")).to_contain_text("Enterprise fleet")
    await live(page)


@pytest.mark.shared_gateway
async def test_a_service_names_its_account(gateway: Gateway, open_page: Open) -> None:
    page = await open_page(key=(await gateway.key(KeyScope.SERVICE)).secret)
    await page.get_by_label("The account's id").fill(gateway.account_id)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Credit balance")).to_be_visible()


@pytest.mark.shared_gateway
async def test_another_account_s_address_is_refused_with_a_way_out(gateway: Gateway, open_page: Open) -> None:
    page = await open_page("?account=acct_1", key=(await gateway.key()).secret)
    await expect(page.get_by_role("alert")).to_contain_text("There is no such account")
    await page.get_by_role("link", name="Open the key's own account").click()
    await expect(page.get_by_role("banner")).to_contain_text(gateway.account_id)
