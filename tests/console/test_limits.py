"""Spend limits on the Usage tab."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import ClientSession
from playwright.async_api import expect

from access.keys import KeyScope
from ledger.accounts import Accounts
from tests.console.conftest import Open
from tests.console.gateways import Gateway

pytestmark = pytest.mark.shared_gateway

SET = "mutation ($input: SetSpendLimitInput!) { setSpendLimit(input: $input) { replayed } }"


async def set_limit(gateway: Gateway, key: str, **given: Any) -> None:
    body = {"query": SET, "variables": {"input": given}}
    headers = {"Authorization": f"Bearer {key}"}
    async with ClientSession() as session, session.post(f"{gateway.url}/graphql", json=body, headers=headers) as answer:
        assert "errors" not in await answer.json()


async def test_limits_are_shown_with_what_is_spent_of_them(gateway: Gateway, open_page: Open) -> None:
    account = (await Accounts(gateway.services.database).create("Limited")).id
    key = (await gateway.key(KeyScope.MANAGE, account_id=account)).secret
    await set_limit(gateway, key, amount="10.00", window="MONTH", idempotencyKey="one")
    await set_limit(gateway, key, amount="2.00", window="TOTAL", idempotencyKey="two")
    await set_limit(gateway, key, amount="5.00", window="DAY", project="search", idempotencyKey="three")
    await gateway.charge("2.50", "API usage", account)
    page = await open_page("?tab=usage", key=key)
    limits = page.get_by_role("region", name="Spend limits").get_by_role("listitem")
    await expect(limits).to_have_count(3)
    await expect(limits.nth(0)).to_contain_text("This UTC month, the whole account")
    await expect(limits.nth(0)).to_contain_text("$2.50 of $10.00 spent, $7.50 left. Resets on ")
    await expect(page.get_by_role("meter").nth(0)).to_have_attribute("aria-valuenow", "25")
    await expect(limits.nth(1)).to_contain_text("$2.50 of $2.00 spent: nothing more is allowed")
    await expect(page.get_by_role("meter").nth(1)).to_have_attribute("aria-valuenow", "100")
    await expect(limits.nth(2)).to_contain_text("This UTC day, project search")
    await gateway.charge("1.00", "More of it", account)
    await expect(limits.nth(0)).to_contain_text("$3.50 of $10.00 spent")
    await page.get_by_role("link", name="Set, change or remove limits").click()
    await expect(page.get_by_role("tab", name="Keys and activity")).to_be_focused()
    await expect(page.get_by_role("button", name="Set a limit…")).to_be_visible()


async def test_an_account_without_limits_has_no_such_part(gateway: Gateway, open_page: Open) -> None:
    page = await open_page("?tab=usage", key=(await gateway.key()).secret)
    await expect(page.get_by_role("table", name="Usage")).to_be_visible()
    await page.wait_for_load_state("networkidle")
    await expect(page.get_by_role("region", name="Spend limits")).to_have_count(0)
