"""What an operation costs, and what becomes of one that costs too much: over HTTP, as clients meet it."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest
from graphql import GraphQLObjectType, get_named_type

from access.keys import KeyScope, NewKey
from schema.build import graphql_schema
from schema.costs import WEIGHTS
from tests.gateway.mutations.office import Office, number_of, opened

pytestmark = pytest.mark.one_database

ROOT = Path(__file__).parents[3]
PAGE = "{ account { transactions(first: 1000) { nodes { explanation corrects { id } charge { id } } } } }"


async def _cost(office: Office, query: str, key: str, **variables: Any) -> int:
    body = {"query": query, "variables": variables, "extensions": {"cost": True}}
    headers = {"Authorization": f"Bearer {key}"}
    async with office.session.post(f"{office.url}/graphql", json=body, headers=headers) as response:
        answer = await response.json()
    assert "errors" not in answer, answer
    cost: int = answer["extensions"]["cost"]["points"]
    return cost


async def _reader(office: Office, account: str) -> str:
    return await office.key(NewKey(KeyScope.READ, "tests", number_of(account)))


async def test_cost_is_the_same_for_variables_and_for_constants(office: Office) -> None:
    key = await _reader(office, await office.account("5.00"))
    costs = set()
    for rows in (1, 50, 1000):
        constant = f"{{ account {{ transactions(first: {rows}) {{ nodes {{ id amount }} }} }} }}"
        variable = "query ($n: Int) { account { transactions(first: $n) { nodes { id amount } } } }"
        assert await _cost(office, constant, key) == await _cost(office, variable, key, n=rows)
        costs.add(await _cost(office, constant, key))
    assert len(costs) == 3


async def test_an_alias_costs_as_much_as_the_field(office: Office) -> None:
    key = await _reader(office, await office.account())
    page = "transactions(first: 1000) { nodes { id } }"
    empty = await _cost(office, "{ account { id } }", key)
    one = await _cost(office, f"{{ account {{ id {page} }} }}", key) - empty
    three = await _cost(office, f"{{ account {{ id {page} b: {page} c: {page} }} }}", key) - empty
    assert 3 * one - 3 <= three <= 3 * one + 3


async def test_a_conditional_field_costs_only_if_it_is_included(office: Office) -> None:
    key = await _reader(office, await office.account())
    query = "query ($all: Boolean!) { account { id transactions @include(if: $all) { nodes { id } } } }"
    assert await _cost(office, query, key, all=False) < await _cost(office, query, key, all=True)


async def test_a_search_costs_more_on_a_larger_account(office: Office) -> None:
    small, large = await office.account("1.00"), await office.account("1.00")
    for _ in range(60):
        await office.call("grantBonus", accountId=large, amount="1.00", promotion="x")
    query = '{ account { id transactions(first: 1, filter: {search: "bonus"}) { totalCount totals { net } } } }'
    costs = []
    for account in (small, large):
        key = await _reader(office, account)
        costs.append(await _cost(office, query, key))
    assert costs[1] - costs[0] in (3, 4)  # 60 rows, 0.06 points each


async def test_an_operation_that_costs_too_much_is_refused(office: Office) -> None:
    """One page with everything passes; fifteen of them do not, and nothing is run."""
    key = await _reader(office, await office.account("5.00"))
    assert 5_000 < await _cost(office, PAGE, key) < 12_000
    page = PAGE.removeprefix("{ account {").removesuffix("} }")
    answer = await office.send("{ account { " + " ".join(f"a{n}: {page}" for n in range(15)) + " } }", key)
    (error,) = answer["errors"]
    assert error["extensions"] == {"code": "QUERY_TOO_COMPLEX"}
    assert error["message"].startswith("the operation costs 13")
    assert "at most 12000 are allowed" in error["message"]


async def test_a_key_that_spent_its_points_is_told_when_to_come_back(database_url: str) -> None:
    async with opened(database_url, points_per_second=100, max_cost=1_000) as office:
        account = await office.account()
        key, other = await _reader(office, account), await _reader(office, account)
        query = "{ account { transactions(first: 1000) { nodes { id amount } } } }"
        cost = await _cost(office, query, key)
        for _ in range(1000 // cost - 1):
            await _cost(office, query, key)
        for path, method in (("/graphql", "post"), ("/billing/transactions?limit=1000", "get")):
            body = {"query": query} if method == "post" else None
            headers = {"Authorization": f"Bearer {key}"}
            async with office.session.request(method, office.url + path, headers=headers, json=body) as response:
                answer = await response.json()
                assert response.status == 429
                wait = int(response.headers["Retry-After"])
                assert 1 <= wait <= 7
                assert response.headers["RateLimit-Policy"] == '"points";q=1000;w=10'
                assert response.headers["RateLimit"].startswith('"points";r=')
            error = answer["errors"][0]["extensions"] if "errors" in answer else answer["error"]
            assert error["code"] == "RATE_LIMITED"
            assert error.get("retryAfter", wait) == wait
        assert await _cost(office, query, other) == cost  # each key has its own points


@pytest.mark.parametrize(
    ("path", "body"),
    [("/graphql/session", None), ("/billing/export-links", {"address": "/billing/transactions.csv"})],
)
async def test_a_token_costs_as_much_as_a_mutation(database_url: str, path: str, body: object) -> None:
    """Each is a row that is written: a key must not fill the database, nor keep its writer busy."""
    async with opened(database_url, points_per_second=100, max_cost=1_000) as office:
        headers = {"Authorization": f"Bearer {await _reader(office, await office.account())}"}
        statuses = []
        for _ in range(20):
            async with office.session.post(office.url + path, json=body, headers=headers) as response:
                statuses.append(response.status)
        assert response.headers["RateLimit-Policy"] == '"points";q=1000;w=10'
        # The burst, and what came back meanwhile.
        assert 10 <= len([status for status in statuses if status < 300]) < 20
        assert set(statuses) <= {201, 204, 429}


async def test_the_billing_page_costs_little(office: Office) -> None:
    """Fifty people of one account open it at the same moment, with one key."""
    key = await _reader(office, await office.account("5.00"))
    text = (ROOT / "graphql/operations/BillingPage.graphql").read_text()
    assert await _cost(office, text, key) < 300
    assert office.services.settings.points_per_second * 10 > 50 * 300


async def test_a_long_list_in_variables_is_refused_before_it_is_read(office: Office) -> None:
    query = "query ($ids: [String!]) { account { usage(filter: {models: $ids}) { totalCount } } }"
    key = await _reader(office, await office.account())
    answer = await office.send(query, key, {"ids": [1] * 10_001})
    assert answer["errors"][0]["extensions"] == {"code": "QUERY_TOO_COMPLEX"}
    message = "a list in the variables has 10001 items, at most 10000 are allowed"
    assert answer["errors"][0]["message"] == message
    answer = await office.send(query, key, {"ids": [1] * 10_000})
    assert answer["errors"][0]["extensions"] == {"code": "BAD_USER_INPUT"}


async def test_a_refused_list_is_freed_at_once(office: Office) -> None:
    """Garbage is counted in objects: thousands of long lists would be kept before it is looked for."""
    query = "query ($ids: [String!]) { account { usage(filter: {models: $ids}) { totalCount } } }"
    key = await _reader(office, await office.account())
    given = {"ids": [1] * 54_321}
    gc.collect()
    gc.disable()
    try:
        for _ in range(3):
            assert (await office.send(query, key, given))["errors"][0]["extensions"] == {"code": "QUERY_TOO_COMPLEX"}
        assert [one is given["ids"] for one in gc.get_objects() if type(one) is list and len(one) == 54_321] == [True]
    finally:
        gc.enable()


async def test_a_long_document_is_refused_before_it_is_parsed(office: Office) -> None:
    key = await _reader(office, await office.account())
    answer = await office.send("{ viewer { scope } } #" + "x" * 65_536, key)
    assert answer["errors"][0]["extensions"] == {"code": "QUERY_TOO_COMPLEX"}
    assert answer["errors"][0]["message"] == "the document is longer than 65536 bytes"
    # Bytes, not letters.
    assert "errors" in await office.send("{ viewer { scope } } #" + "é" * 33_000, key)


async def test_introspection_is_answered_from_memory_after_the_first_time(office: Office) -> None:
    key = await _reader(office, await office.account())
    query = "{ __schema { types { name fields { name } } } __typename }"
    first = await office.send(query, key)
    assert await _cost(office, query, key) == 12
    assert await office.send(query, key) == first
    assert first["data"]["__typename"] == "Query"
    # What a variable decides, or what is not of the schema, is answered anew.
    asked = "query ($all: Boolean!) { __typename @include(if: $all) }"
    assert (await office.send(asked, key, {"all": True}))["data"] == {"__typename": "Query"}
    assert (await office.send(asked, key, {"all": False}))["data"] == {}
    for account in (await office.account("1.00"), await office.account("2.00")):
        own = await office.send("{ __typename account { id } }", await _reader(office, account))
        assert own["data"]["account"] == {"id": account}


@pytest.mark.parametrize("sent", [{"cost": False}, {"cost": 0}, {}, None])
async def test_the_cost_is_told_only_if_it_is_asked_for(office: Office, sent: object) -> None:
    headers = {"Authorization": f"Bearer {office.keys['operator']}"}
    body = {"query": "{ viewer { scope } }", "extensions": sent}
    async with office.session.post(f"{office.url}/graphql", json=body, headers=headers) as response:
        assert await response.json() == {"data": {"viewer": {"scope": "OPERATOR"}}}
        assert response.headers["RateLimit-Policy"] == '"points";q=500000;w=10'


def test_every_field_that_reads_has_a_weight() -> None:
    """Fields with arguments, fields of the root, and what a field of its own read answers."""
    schema = graphql_schema()
    wanted = set()
    for type_ in schema.type_map.values():
        if not isinstance(type_, GraphQLObjectType) or type_.name.startswith("__"):
            continue
        is_root = type_ in (schema.query_type, schema.mutation_type, schema.subscription_type)
        wanted |= {f"{type_.name}.{name}" for name, field in type_.fields.items() if is_root or field.args}
    assert wanted - {"Query.viewer"} <= set(WEIGHTS.fields)


def test_every_weight_is_of_a_field() -> None:
    schema = graphql_schema()
    for name in WEIGHTS.fields:
        type_name, _, field = name.partition(".")
        type_ = get_named_type(schema.type_map[type_name])
        assert isinstance(type_, GraphQLObjectType)
        assert field in type_.fields or field.startswith("__"), name


def test_the_weights_are_documented() -> None:
    lines = (ROOT / "docs/limits.md").read_text().splitlines()
    for name, weight in WEIGHTS.fields.items():
        parts = [f"{weight.points:g}"]
        parts += [f"{weight.of_each:g} an item"] if weight.of_each else []
        parts += [f"{weight.scanned:g} a row"] if weight.scanned else []
        assert f"| `{name}` | {', '.join(parts)} |" in lines
