"""Who spent it, on the Usage tab."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from aiohttp import ClientSession
from playwright.async_api import Locator, Page, expect

from access.keys import KeyScope
from db.rows import UsageDayRow
from db.usage_writes import FedDay, put_usage_days
from ledger.accounts import Accounts
from ledger.ids import account_id_text
from tests.console.conftest import Open
from tests.console.gateways import Gateway
from tests.hour_rows import hour_of, insert_hours, usage_hour

pytestmark = pytest.mark.shared_gateway


def days_ago(days: int) -> date:
    return (datetime.now(UTC) - timedelta(days=days)).date()


def day_text(day: date) -> str:
    return f"{day:%b} {day.day}, {day.year}"


def request(number: int, hour: int, cost: str, model: str = "m", **more: Any) -> dict[str, Any]:
    """A call of yesterday."""
    at = f"{days_ago(1)}T{hour:02}:30:00Z"
    made = {"id": f"r{number}", "at": at, "model": model, "category": "CHAT", "cost": cost}
    return made | {"inputTokens": "1000", "outputTokens": "200", **more}


async def call(gateway: Gateway, account: int, name: str, **given: Any) -> None:
    kind = f"{name[0].upper()}{name[1:]}Input"
    query = f"mutation ($input: {kind}!) {{ {name}(input: $input) {{ replayed }} }}"
    variables = {"input": {"accountId": account_id_text(account), "idempotencyKey": name, **given}}
    headers = {"Authorization": f"Bearer {(await gateway.key(KeyScope.SERVICE)).secret}"}
    body = {"query": query, "variables": variables}
    async with ClientSession() as session, session.post(f"{gateway.url}/graphql", json=body, headers=headers) as answer:
        assert "errors" not in (found := await answer.json()), found


async def spender(gateway: Gateway) -> str:
    """Returns the key of an account whose API keys and projects spent 1.00 in two hours."""
    account = (await Accounts(gateway.services.database).create("Spender")).id
    requests = [
        request(1, 9, "0.50", apiKeyId="key-a", project="search"),
        request(2, 9, "0.25", apiKeyId="key-b", model="other"),
        request(3, 10, "0.25", apiKeyId="key-a"),
    ]
    await call(gateway, account, "recordUsage", requests=requests)
    await call(gateway, account, "markUsageComplete", service="router", until=f"{days_ago(1)}T23:00:00Z")
    return (await gateway.key(account_id=account)).secret


def rows(page: Page, name: str) -> Locator:
    return page.get_by_role("table", name=name).locator("tbody tr")


async def test_usage_is_told_by_key_project_and_hour(gateway: Gateway, open_page: Open) -> None:
    page = await open_page("?tab=usage", key=await spender(gateway))
    yesterday = day_text(days_ago(1))
    await page.get_by_text("Who spent it").click()
    keys = rows(page, "By API key")
    await expect(keys).to_have_text(["key-a75%22,400$0.75", "key-b25%11,200$0.25"])
    await expect(rows(page, "By project")).to_have_text(["not named50%22,400$0.50", "search50%11,200$0.50"])
    await expect(page.get_by_text(f"The figures are complete until {yesterday}, 11:00 PM UTC.")).to_be_visible()
    await page.get_by_label("Hours of").select_option(yesterday)
    await expect(rows(page, "By hour")).to_have_text(["10:0025%11,200$0.25", "09:0075%22,400$0.75"])
    await page.get_by_role("button", name="Model", exact=True).click()
    await page.get_by_role("checkbox", name="other").check()
    await expect(keys).to_have_text(["key-b100%11,200$0.25"])
    await expect(rows(page, "By hour")).to_have_text(["09:00100%11,200$0.25"])


async def test_days_without_hours_are_told(gateway: Gateway, open_page: Open) -> None:
    account = (await Accounts(gateway.services.database).create("Rolled up")).id
    rolled_up = (days_ago(3), days_ago(2))
    days = [UsageDayRow(account, day, "m", "chat", "platform", 1, 20, 10, 10**9) for day in rolled_up]
    async with gateway.services.database.write() as writing:
        await put_usage_days(writing, [FedDay(row, "rollup") for row in days])
    hours = [hour_of(day.year, day.month, day.day) for day in rolled_up]
    await insert_hours(gateway.services.database, [usage_hour(account, hour, 10**9, span_hours=24) for hour in hours])
    page = await open_page("?tab=usage", key=(await gateway.key(account_id=account)).secret)
    await page.get_by_text("Who spent it").click()
    await expect(rows(page, "By API key")).to_have_text(["not named100%260$2.00"])
    first, last = map(day_text, rolled_up)
    await expect(page.get_by_text(f"not by hour: {first} to {last}. Usage of these")).to_be_visible()
    await page.get_by_label("Hours of").select_option(last)
    await expect(rows(page, "By hour")).to_have_text(["not known100%130$1.00"])
    await expect(page.get_by_text(f"not by hour: {last}. ")).to_be_visible()
