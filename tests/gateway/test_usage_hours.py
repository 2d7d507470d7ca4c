"""The export of usage by hour, with all columns and the price of each row."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from access.keys import KeyScope, NewKey
from db.attribution_rows import UsageHourRow
from db.database import Database
from gateway.rest import usage_hours
from ledger.money import parse_nanos
from ledger.usage_prices import PriceSource, UsagePrice
from tests.gateway.mutations.office import Office, number_of, opened
from tests.gateway.mutations.test_metering import request
from tests.request_rows import put_hours, put_price

HOUR: Final = 498_000
"""Counted from 1970, as all hours; it begins its UTC day."""
PRICE: Final = UsagePrice(
    input_nanos=parse_nanos("1.25"),
    output_nanos=parse_nanos("10"),
    reasoning_nanos=0,
    call_nanos=1,
    valid_from=datetime(2026, 10, 1, 12, tzinfo=UTC),
    source=PriceSource.TABLE,
)
COLUMNS: Final = [
    *("account", "hour", "span_hours", "model", "category", "origin", "api_key", "project", "calls", "input_tokens"),
    *("cached_input_tokens", "output_tokens", "reasoning_tokens", "units", "cost"),
    *("price_input_per_million", "price_cached_input_per_million", "price_output_per_million"),
    *("price_reasoning_per_million", "price_per_unit", "price_per_call", "price_from", "price_until", "price_source"),
]

Cells = dict[str, str]


@pytest.fixture
async def office(database_url: str) -> AsyncIterator[Office]:
    async with opened(database_url) as office:
        yield office


def row(account_id: int, hour: int, **changed: Any) -> UsageHourRow:
    texts = {"model": "m", "category": "chat", "origin": "platform", "api_key": "", "project": ""}
    figures = dict(zip(UsageHourRow._fields[9:], (3, 900, 400, 45, 5, 2_500_000_000, 135, 0), strict=True))
    return UsageHourRow(
        **({"account_id": account_id, "hour": hour, "span_hours": 1, "price_id": 0} | texts | figures | changed)
    )


async def filled(database: Database, account_id: int) -> list[UsageHourRow]:
    """Rows in the order of the export: of a day as a whole, of several hours, keys and prices."""
    price = await put_price(database, account_id, PRICE)
    rows = [
        row(account_id, HOUR),
        row(account_id, HOUR, api_key="=k", project="@p"),
        row(account_id, HOUR, span_hours=24, calls=1),
        row(account_id, HOUR + 1, api_key="key-7"),
        row(account_id, HOUR + 1, api_key="key-7", price_id=price),
        row(account_id, HOUR + 1, api_key="key-7", project="a"),
        row(account_id, HOUR + 1, api_key="key-7", project="b", price_id=price),
        row(account_id, HOUR + 25, model="n", category="image", origin="user_inference"),
    ]
    await put_hours(database, *rows)
    return rows


async def export(office: Office, key: str | None = None, **given: Any) -> list[Cells]:
    headers = {"Authorization": f"Bearer {key or office.keys['operator']}"}
    address = f"{office.url}/billing/usage.csv"
    async with office.session.get(address, params=given, headers=headers) as response:
        text = await response.text()
        assert response.status == 200, text
    found = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    assert text.split("\r\n")[0].split(",") == COLUMNS
    return found


def keys_of(found: list[Cells]) -> list[tuple[str, ...]]:
    return [(one["hour"], one["span_hours"], one["model"], one["api_key"], one["project"]) for one in found]


async def test_every_hour_is_exported_with_all_columns(office: Office) -> None:
    account, other = await office.account(), await office.account()
    rows = await filled(office.services.database, number_of(account))
    await filled(office.services.database, number_of(other))
    found = await export(office, account=account, by="hour")
    assert len(found) == len(rows)
    bare, formula, whole_day, _, priced, *_ = found
    assert bare == dict(
        zip(
            COLUMNS,
            [
                *(account, "2026-10-24T00:00:00.000000Z", "1", "m", "chat", "platform", "", "", "3"),
                *("900", "400", "45", "5", "2.50", "0.000000135", *[""] * 9),
            ],
            strict=True,
        )
    )
    assert (formula["api_key"], formula["project"]) == ("'=k", "'@p")
    assert (whole_day["span_hours"], whole_day["calls"]) == ("24", "1")
    assert [priced[name] for name in COLUMNS[-9:]] == [
        *("1.25", "", "10.00", "0.00", "0.00", "0.000000001", "2026-10-01T12:00:00.000000Z", "", "table")
    ]
    assert {one["account"] for one in found} == {account}


FILTERS: Final[list[tuple[dict[str, str], list[int]]]] = [
    ({}, [0, 1, 2, 3, 4, 5, 6, 7]),
    ({"day_gte": "2026-10-25"}, [7]),
    ({"day_lt": "2026-10-25"}, [0, 1, 2, 3, 4, 5, 6]),
    ({"models": "n,x"}, [7]),
    ({"categories": "image"}, [7]),
    ({"origins": "user_inference"}, [7]),
    ({"api_keys": "key-7,=k"}, [1, 3, 4, 5, 6]),
    ({"projects": "a"}, [5]),
    ({"projects": ""}, []),
]


async def test_filters_and_steps_of_any_size(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    account = await office.account()
    await filled(office.services.database, number_of(account))
    everything = await export(office, account=account, by="hour")
    for step_rows in (1_000, 4, 3, 1):
        monkeypatch.setattr(usage_hours, "STEP_ROWS", step_rows)
        for given, places in FILTERS:
            assert await export(office, account=account, by="hour", **given) == [everything[one] for one in places]


async def test_keys_and_projects_select_the_export_by_hour(office: Office) -> None:
    account = await office.account()
    await filled(office.services.database, number_of(account))
    assert len(await export(office, account=account, projects="a,b")) == 2
    headers = {"Authorization": f"Bearer {office.keys['operator']}"}
    refused = (("by=day&api_keys=k", "api_keys"), ("by=week", "by"), ("by=hour&projects=a%00", "projects"))
    for query, name in refused:
        address = f"{office.url}/billing/usage.csv?account={account}&{query}"
        async with office.session.get(address, headers=headers) as response:
            error = (await response.json())["error"]
        assert (error["code"], error["message"].split(" ")[0].rstrip(":")) == ("BAD_USER_INPUT", name)


async def test_an_export_ends_at_the_newest_hour_of_its_start(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    account = await office.account()
    number = number_of(account)
    await put_hours(office.services.database, *(row(number, HOUR + place) for place in range(6)))
    read, later = usage_hours._step, iter(range(6, 20))

    async def step(*given: Any) -> Any:
        await put_hours(office.services.database, row(number, HOUR + next(later)))
        return await read(*given)

    monkeypatch.setattr(usage_hours, "STEP_ROWS", 2)
    monkeypatch.setattr(usage_hours, "_step", step)
    found = await export(office, account=account, by="hour")
    newest = datetime(2026, 10, 24, 5, tzinfo=UTC)
    assert found[-1]["hour"] == newest.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    assert len(found) == 6


async def test_a_key_exports_its_own_account_by_a_link_too(office: Office) -> None:
    account = await office.account("1.00")
    given = request("a", apiKeyId="key-7", project="search")
    await office.call("recordUsage", accountId=account, requests=[given, request("b", cost="0.01")])
    key = await office.key(NewKey(KeyScope.READ, "tests", number_of(account)))
    found = await export(office, key, by="hour")
    assert [(one["hour"], one["api_key"], one["project"], one["calls"], one["cost"]) for one in found] == [
        ("2026-10-31T23:00:00.000000Z", "", "", "1", "0.01"),
        ("2026-10-31T23:00:00.000000Z", "key-7", "search", "1", "0.000000135"),
    ]
    body = {"address": "/billing/usage.csv?by=hour&projects=search"}
    headers = {"Authorization": f"Bearer {key}"}
    async with office.session.post(f"{office.url}/billing/export-links", json=body, headers=headers) as response:
        link = (await response.json())["address"]
    async with office.session.get(office.url + link) as response:
        assert response.headers["Content-Disposition"] == f'attachment; filename="usage-by-hour-{account}.csv"'
        assert len((await response.text()).splitlines()) == 2


def test_hour_of_the_tests_begins_a_day() -> None:
    assert datetime(1970, 1, 1, tzinfo=UTC) + timedelta(hours=HOUR) == datetime(2026, 10, 24, tzinfo=UTC)
