"""Requests in full, as clients read them: by id and as a list, with their price and their ledger row."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any, Final
from urllib.parse import quote

import pytest
from jsonschema import Draft202012Validator
from yarl import URL

from access.keys import KeyScope, NewKey
from db.database import Database
from ledger.money import parse_nanos
from ledger.usage import nth_digest
from ledger.usage_prices import PriceSource, UsagePrice
from tests.gateway.mutations.office import Office, number_of, opened
from tests.gateway.mutations.test_metering import request
from tests.ledger.desk import START
from tests.request_rows import put_price, put_requests, request_row
from tests.statements import watched

PRICE: Final = UsagePrice(
    input_nanos=parse_nanos("1.25"),
    cached_input_nanos=parse_nanos("0.125"),
    output_nanos=parse_nanos("10"),
    unit_nanos=parse_nanos("0.04"),
    valid_from=START - timedelta(days=30),
    source=PriceSource.TABLE,
)
FIELDS: Final = (
    "id at model category origin apiKeyId project endUser inputTokens cachedInputTokens outputTokens reasoningTokens"
    " units cost price { inputPerMillion cachedInputPerMillion outputPerMillion reasoningPerMillion perUnit perCall"
    " from until source } transaction { id amount }"
)
BY_ID: Final = (
    f"query ($id: ID, $request: String!) {{ account(id: $id) {{ usageRequest(id: $request) {{ {FIELDS} }} }} }}"
)
LIST: Final = f"""query ($id: ID, $first: Int, $after: String, $filter: UsageRequestFilter) {{ account(id: $id) {{
    usageRequests(first: $first, after: $after, filter: $filter) {{
        edges {{ cursor node {{ {FIELDS} }} }} pageInfo {{ hasNextPage hasPreviousPage endCursor }} totalCount
    }} }} }}"""


@pytest.fixture
async def office(database_url: str) -> AsyncIterator[Office]:
    async with opened(database_url) as office:
        yield office


async def _filled(database: Database, account: str) -> None:
    """A priced request that its batch's row charged, and one of a log without ids or costs."""
    number = number_of(account)
    charged = request_row(
        *(number, "req-1", START),
        api_key="key-7",
        project="search",
        end_user="u-1",
        units_nanos=2_500_000_000,
        price_id=await put_price(database, number, PRICE),
        seq=1,
    )
    bare = request_row(number, "bare", START + timedelta(hours=1), request_id=None, cost_nanos=0, category="image")
    await put_requests(database, charged, bare._replace(digest=nth_digest(bare.digest, 2)))


async def test_a_request_is_read_with_its_price_and_its_row(office: Office) -> None:
    account = await office.account("1.00")
    await _filled(office.services.database, account)
    found = (await office.query(BY_ID, id=account, request="req-1"))["account"]["usageRequest"]
    assert found == {
        "id": "req-1",
        "at": "2026-11-01T00:00:00.000000Z",
        "model": "m-large",
        "category": "CHAT",
        "origin": "PLATFORM",
        "apiKeyId": "key-7",
        "project": "search",
        "endUser": "u-1",
        "inputTokens": "100",
        "cachedInputTokens": "40",
        "outputTokens": "20",
        "reasoningTokens": "5",
        "units": "2.50",
        "cost": "0.000000135",
        "price": {
            "inputPerMillion": "1.25",
            "cachedInputPerMillion": "0.125",
            "outputPerMillion": "10.00",
            "reasoningPerMillion": None,
            "perUnit": "0.04",
            "perCall": "0.00",
            "from": "2026-10-02T00:00:00.000000Z",
            "until": None,
            "source": "TABLE",
        },
        "transaction": {"id": account.replace("acct_", "txn_") + "_1", "amount": "1.00"},
    }
    assert (await office.query(BY_ID, id=account, request="req-2"))["account"]["usageRequest"] is None


async def test_a_recorded_request_is_read_at_once(office: Office) -> None:
    account = await office.account("1.00")
    attributed = {"apiKeyId": "key-7", "project": "search", "endUser": "u-1"}
    price = {"inputPerMillion": "1.25", "outputPerMillion": "10"}
    given = request("req-1", **attributed, cost=None, price=price)
    payload = await office.call("recordUsage", accountId=account, requests=[given, request("req-2")])
    found = (await office.query(BY_ID, id=account, request="req-1"))["account"]["usageRequest"]
    assert {name: found[name] for name in ("id", *attributed)} == {"id": "req-1", **attributed}
    assert (found["at"], found["cost"]) == ("2026-10-31T23:59:59.500000Z", "0.001575")
    assert (found["price"]["inputPerMillion"], found["price"]["source"]) == ("1.25", "REQUEST")
    assert found["transaction"]["id"] == payload["transactions"][0]["id"]


@pytest.mark.parametrize(("days", "kept"), [(0, []), (1, ["new"]), (3650, ["new", "old"])])
async def test_only_recent_requests_are_kept_in_full(database_url: str, days: int, kept: list[str]) -> None:
    async with opened(database_url, request_detail_days=days) as office:
        account = await office.account("1.00")
        old = (START - timedelta(days=2)).isoformat()
        await office.call("recordUsage", accountId=account, requests=[request("new"), request("old", at=old)])
        found = (await office.query(LIST, id=account))["account"]["usageRequests"]
        assert [one["node"]["id"] for one in found["edges"]] == kept


async def test_requests_are_listed_newest_first(office: Office) -> None:
    account = await office.account("1.00")
    await _filled(office.services.database, account)
    first = (await office.query(LIST, id=account, first=1))["account"]["usageRequests"]
    (edge,) = first["edges"]
    nothing = ("id", "apiKeyId", "project", "endUser", "price", "transaction")
    assert [edge["node"][name] for name in nothing] == [None] * len(nothing)
    assert first["totalCount"] == "2"
    assert first["pageInfo"] == {"hasNextPage": True, "hasPreviousPage": False, "endCursor": edge["cursor"]}
    second = (await office.query(LIST, id=account, first=5, after=edge["cursor"]))["account"]["usageRequests"]
    assert [one["node"]["id"] for one in second["edges"]] == ["req-1"]
    flags = second["pageInfo"]
    assert (flags["hasNextPage"], flags["hasPreviousPage"]) == (False, True)


async def test_every_filter_narrows_the_list(office: Office) -> None:
    account = await office.account("1.00")
    await _filled(office.services.database, account)
    filters: list[tuple[dict[str, Any], list[str | None]]] = [
        ({"at": {"gte": "2026-11-01T00:00:01Z"}}, [None]),
        ({"at": {"lt": "2026-11-01T00:00:01Z"}}, ["req-1"]),
        ({"categories": ["IMAGE"]}, [None]),
        ({"origins": ["USER_INFERENCE"]}, []),
        ({"models": ["m-large"]}, [None, "req-1"]),
        ({"apiKeyIds": ["key-7", "key-8"]}, ["req-1"]),
        ({"projects": ["search"]}, ["req-1"]),
        ({"endUsers": ["u-2"]}, []),
        ({"endUsers": []}, []),
    ]
    for given, expected in filters:
        found = (await office.query(LIST, id=account, filter=given))["account"]["usageRequests"]
        assert [one["node"]["id"] for one in found["edges"]] == expected, given
        assert found["totalCount"] == str(len(expected))


async def test_cursor_of_another_filter_is_refused(office: Office) -> None:
    account = await office.account("1.00")
    await _filled(office.services.database, account)
    found = (await office.query(LIST, id=account, first=1))["account"]["usageRequests"]
    given = {"id": account, "after": found["edges"][0]["cursor"], "filter": {"categories": ["CHAT"]}}
    (error,) = (await office.send(LIST, office.keys["operator"], given))["errors"]
    assert error["extensions"]["code"] == "BAD_CURSOR"


async def test_a_page_takes_as_many_statements_as_a_single_request(office: Office) -> None:
    """The key, the account with its page and count, and the prices and rows of all requests of the page."""
    account = await office.account("1.00")
    number = number_of(account)
    prices = [await put_price(office.services.database, number, UsagePrice(input_nanos=one)) for one in range(1, 6)]
    rows = (
        request_row(number, f"r-{place}", START + timedelta(seconds=place), price_id=price, seq=1)
        for place, price in enumerate(prices * 4)
    )
    await put_requests(office.services.database, *rows)
    for query, variables in ((LIST, {"first": 20}), (BY_ID, {"request": "r-7"})):
        with watched(office.services.database) as sent:
            await office.query(query, id=account, **variables)
        assert len(sent) == 3, sent


async def _got(office: Office, path: str, key: str | None = None) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {key or office.keys['operator']}"}
    address = URL(office.url + "/billing/usage/requests/" + path, encoded=True)
    async with office.session.get(address, headers=headers) as response:
        return response.status, await response.json()


async def test_rest_answers_with_a_request_by_its_id(office: Office) -> None:
    account = await office.account("1.00")
    await _filled(office.services.database, account)
    status, found = await _got(office, f"req-1?account={account}")
    assert (status, found) == (
        200,
        {
            "id": "req-1",
            "account": account,
            "at": "2026-11-01T00:00:00.000000Z",
            "model": "m-large",
            "category": "chat",
            "origin": "platform",
            "api_key": "key-7",
            "project": "search",
            "end_user": "u-1",
            "input_tokens": 100,
            "cached_input_tokens": 40,
            "output_tokens": 20,
            "reasoning_tokens": 5,
            "units": "2.50",
            "cost": "0.000000135",
            "price_input_per_million": "1.25",
            "price_cached_input_per_million": "0.125",
            "price_output_per_million": "10.00",
            "price_reasoning_per_million": None,
            "price_per_unit": "0.04",
            "price_per_call": "0.00",
            "price_from": "2026-10-02T00:00:00.000000Z",
            "price_until": None,
            "price_source": "table",
            "transaction": account.replace("acct_", "txn_") + "_1",
        },
    )
    async with office.session.get(f"{office.url}/openapi.json") as response:
        document = await response.json()
    schema = document["components"]["schemas"]["UsageRequest"]
    assert list(schema["properties"]) == schema["required"] == list(found)
    Draft202012Validator(schema).validate(found)


async def test_rest_takes_any_id_that_a_request_can_have(office: Office) -> None:
    account = await office.account("1.00")
    number = number_of(account)
    names = ["a/b", "ж", "a b", "100%", "a?b=c", "..", ".", "a/", "x" * 255]
    rows = (request_row(number, name, START + timedelta(seconds=place)) for place, name in enumerate(names))
    await put_requests(office.services.database, *rows)
    for name in names:
        status, found = await _got(office, f"{quote(name, safe='')}?account={account}")
        assert (status, found.get("id")) == (200, name)


async def test_rest_refuses_other_requests_and_parameters(office: Office) -> None:
    account, other = await office.account("1.00"), await office.account()
    await _filled(office.services.database, account)
    mine = await office.key(NewKey(KeyScope.READ, "tests", number_of(account)))
    outsider = await office.key(NewKey(KeyScope.READ, "tests", number_of(other)))
    assert (await _got(office, "req-1", mine))[0] == 200
    cases = [
        ("req-2", mine, 404, "there is no such request, or it is not kept any longer"),
        ("%00", mine, 404, "there is no such request, or it is not kept any longer"),
        ("x" * 256, mine, 404, "there is no such request, or it is not kept any longer"),
        ("req-1", outsider, 404, "there is no such request, or it is not kept any longer"),
        (f"req-1?account={account}", outsider, 404, "there is no such account"),
        ("req-1", office.keys["operator"], 400, "account is required"),
        ("req-1?by=hour", mine, 400, 'unknown parameter "by"; known parameters are account'),
        ("req-1", "eco_nonsense", 401, ""),
    ]
    for path, key, expected, message in cases:
        status, answer = await _got(office, path, key)
        assert status == expected, path
        assert answer["error"]["message"].startswith(message), path
