"""The page's first question is asked before its script is there, and asked once."""

from __future__ import annotations

import asyncio

import pytest
from playwright.async_api import Page, Route, expect

from access.keys import KeyScope
from tests.console.conftest import Open, Watched
from tests.console.gateways import Gateway

pytestmark = pytest.mark.shared_gateway


class Held:
    """The page's own script, held on its way; the smaller one before it is let through."""

    def __init__(self) -> None:
        self._route: asyncio.Future[Route] = asyncio.get_running_loop().create_future()

    async def hold(self, page: Page) -> None:
        await page.route("**/static/billing/index-*.js", lambda route: self._route.set_result(route))

    async def let_through(self) -> None:
        await (await self._route).continue_()


def questions(watched: Watched) -> list[str]:
    return [address for address in watched.addresses if address.endswith("/graphql") and address.startswith("http")]


@pytest.mark.parametrize("account", ["", "?account=acct_1"])
async def test_the_first_question_does_not_wait_for_the_page_s_script(
    gateway: Gateway, open_page: Open, watched: Watched, account: str
) -> None:
    page = await open_page(key=None)
    held = Held()
    await held.hold(page)
    key = (await gateway.key(KeyScope.OPERATOR if account else KeyScope.READ)).secret
    await page.evaluate(f"sessionStorage.setItem('billing.key', '{key}')")
    async with page.expect_response("**/graphql") as answered:
        await page.goto(f"{gateway.url}/console/{account}", wait_until="commit")
    assert (await answered.value).status == 200
    # Its shape is there meanwhile.
    await expect(page.locator(".bone.balance")).to_be_visible()
    await held.let_through()
    await expect(page.get_by_role("table", name="Transactions").locator("tr.row")).to_have_count(50)
    await expect(page.locator(".bone")).to_have_count(0)
    assert len(questions(watched)) == 1


async def test_a_narrowed_view_is_asked_for_once_too(gateway: Gateway, open_page: Open, watched: Watched) -> None:
    page = await open_page("?types=refund", key=(await gateway.key()).secret)
    await expect(page.locator(".filters")).to_contain_text("added")
    # Its rows and their totals.
    assert len(questions(watched)) == 2


async def test_parts_of_other_tabs_are_fetched_when_a_tab_is_pointed_at(
    gateway: Gateway, open_page: Open, watched: Watched
) -> None:
    page = await open_page(key=(await gateway.key()).secret)
    # The last that the first view asks for.
    await expect(page.locator(".months .bar span").first).to_be_visible()
    assert [one for one in watched.addresses if "/panels-" in one] == []
    async with page.expect_response("**/static/billing/panels-*.js"):
        await page.get_by_role("tab", name="Costs").hover()


async def test_without_a_key_nothing_is_asked(gateway: Gateway, open_page: Open, watched: Watched) -> None:
    page = await open_page(key=None)
    await expect(page.get_by_label("API key")).to_be_visible()
    assert questions(watched) == []


async def test_a_first_question_that_does_not_get_through_is_asked_again(
    gateway: Gateway, open_page: Open, watched: Watched
) -> None:
    page = await open_page(key=None)
    await page.route("**/graphql", lambda route: route.abort())
    key = (await gateway.key()).secret
    await page.evaluate(f"sessionStorage.setItem('billing.key', '{key}')")
    await page.reload()
    await expect(page.get_by_role("alert")).to_contain_text("could not be reached")
    await page.unroute_all()
    await page.get_by_role("button", name="Try again").click()
    await expect(page.get_by_role("table", name="Transactions").locator("tr.row")).to_have_count(50)
    watched.complaints = [one for one in watched.complaints if "ERR_FAILED" not in one]
