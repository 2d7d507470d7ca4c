"""Links by which a platform signs its customers in to the console."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from access.addresses import parse_networks
from access.keys import MAX_SESSIONS, KeyScope, NewKey, ServiceOperation
from db import tables
from tests.gateway.mutations.office import Office, number_of, opened

ORIGIN = "https://billing.example.com"
VIEWER = "{ viewer { scope keyExpiresAt account { id } } }"
KEYS = "query ($id: ID!) { account(id: $id) { apiKeys { nodes { prefix owner isSession } } } }"


@pytest.fixture
async def office(database_url: str) -> AsyncIterator[Office]:
    async with opened(database_url, public_url=ORIGIN) as office:
        yield office


async def platform(office: Office, **more: Any) -> str:
    """A service key that may make links."""
    return await office.key(
        NewKey(KeyScope.SERVICE, "platform", operations=(ServiceOperation.CREATE_SIGN_IN_LINK.value,), **more)
    )


async def redeem(office: Office, url: str) -> tuple[int, Any]:
    body = {"code": url.partition("#code=")[2]}
    async with office.session.post(f"{office.url}/console/sign-in", json=body) as response:
        return response.status, await response.json()


async def viewer(office: Office, key: str) -> Any:
    return (await office.send(VIEWER, key)).get("data")


async def test_a_link_opens_a_session_of_the_named_account_once(office: Office) -> None:
    account = await office.account("5.00")
    # From the platform's servers only; the customer's browser is elsewhere.
    key = await platform(office, allowed_addresses=parse_networks(["127.0.0.1"], "addresses"))
    given = {"accountId": account, "scope": "MANAGE", "owner": "ada", "returnPath": "/console/?tab=usage"}
    made = await office.call("createSignInLink", key, **given, sessionSeconds=3600, idempotencyKey="one")
    address, code = made["url"].split("#code=")
    assert (address, len(code)) == (f"{ORIGIN}/console/?tab=usage", 32)
    assert made["expiresAt"] == "2026-11-01T00:05:00.000000Z"
    assert (made["transactions"], made["balance"], made["replayed"]) == ([], "5.00", False)
    again = await office.call("createSignInLink", key, **given, sessionSeconds=3600, idempotencyKey="one")
    assert (again["url"], again["expiresAt"], again["replayed"]) == (None, None, True)

    # A client that looks at the link without signing in gets the page, and uses nothing up.
    async with office.session.get(f"{office.url}/console/?tab=usage") as response:
        assert code not in await response.text()
    status, session = await redeem(office, made["url"])
    assert (status, session["expiresAt"]) == (201, "2026-11-01T01:00:00.000000Z")
    assert await viewer(office, session["key"]) == {
        "viewer": {"scope": "MANAGE", "keyExpiresAt": "2026-11-01T01:00:00.000000Z", "account": {"id": account}}
    }
    status, refused = await redeem(office, made["url"])
    assert (status, refused["error"]["code"]) == (401, "UNAUTHENTICATED")

    # What the session creates ends no later than the session, and with the platform's key.
    refusal, _ = await office.refusal("createApiKey", session["key"], scope="READ", owner="ada")
    assert refusal == "BAD_USER_INPUT"
    own = await office.call(
        "createApiKey", session["key"], "secret", scope="READ", owner="ada", expiresAt=session["expiresAt"]
    )
    (created, listed) = (await office.query(KEYS, id=account))["account"]["apiKeys"]["nodes"]
    assert (created["prefix"], created["isSession"]) == (own["secret"][:12], True)
    assert (listed["prefix"], listed["owner"], listed["isSession"]) == (session["key"][:12], "ada", True)

    lasting = await office.call("createApiKey", None, "apiKey { prefix }", accountId=account, scope="READ", owner="o")
    chosen = "nodes { prefix isSession } totalCount pageInfo { endCursor }"
    split = f"sessions: apiKeys(sessions: true) {{ {chosen} }} others: apiKeys(sessions: false) {{ {chosen} }}"
    lists = (await office.query(f"query ($id: ID) {{ account(id: $id) {{ {split} }} }}", id=account))["account"]
    assert [one["isSession"] for one in lists["sessions"]["nodes"]] == [True, True]
    assert lists["others"]["nodes"] == [lasting["apiKey"] | {"isSession": False}]
    assert (lists["sessions"]["totalCount"], lists["others"]["totalCount"]) == ("2", "1")
    moved = {"id": account, "after": lists["sessions"]["pageInfo"]["endCursor"]}
    other_list = "query ($id: ID, $after: String) { account(id: $id) { apiKeys(after: $after) { totalCount } } }"
    refused = await office.send(other_list, office.keys["operator"], moved)
    assert refused["errors"][0]["extensions"]["code"] == "BAD_CURSOR"

    late = (await office.call("createSignInLink", key, accountId=account))["url"]
    revoked = (await office.call("createSignInLink", key, accountId=account))["url"]
    await office.call("revokeApiKey", prefix=key[:12])
    assert await viewer(office, session["key"]) is None
    assert await viewer(office, own["secret"]) is None
    assert (await redeem(office, revoked))[0] == 401
    office.now += timedelta(seconds=300)
    assert (await redeem(office, late))[0] == 401

    entries = "{ auditEntries { nodes { act actor owner scope keyPrefix description oldValue newValue } } }"
    found = (await office.query(entries))["auditEntries"]["nodes"]
    assert code not in str(found)
    assert [one for one in found if one["actor"] == key[:12]][-2:] == [
        {
            "act": "createApiKey",
            "actor": key[:12],
            "owner": "platform",
            "scope": "SERVICE",
            "keyPrefix": session["key"][:12],
            "description": "manage session of ada",
            "oldValue": None,
            "newValue": "manage, until 2026-11-01T01:00:00.000000Z",
        },
        {
            "act": "createSignInLink",
            "actor": key[:12],
            "owner": "platform",
            "scope": "SERVICE",
            "keyPrefix": None,
            "description": "manage session of ada for 3600 seconds",
            "oldValue": None,
            "newValue": None,
        },
    ]


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
async def test_each_scope_may_create_its_links(office: Office) -> None:
    mine, other = await office.account(), await office.account()
    key = await platform(office, account_ids=(number_of(mine),))
    assert (await office.refusal("createSignInLink", key, accountId=other))[0] == "NOT_FOUND"
    unnamed = await office.refusal("createSignInLink", office.keys["service"], accountId=mine)
    assert unnamed == (
        "FORBIDDEN",
        "createSignInLink requires a service key whose list of operations names it",
    )
    for scope in ("SERVICE", "OPERATOR"):
        refused = await office.refusal("createSignInLink", key, accountId=mine, scope=scope)
        assert refused == ("BAD_USER_INPUT", "scope must be READ or MANAGE")
    refused_inputs: tuple[dict[str, Any], ...] = (
        {"expiresInSeconds": 29},
        {"expiresInSeconds": 3601},
        {"sessionSeconds": 299},
        {"sessionSeconds": 86401},
        {"owner": " "},
        *(
            {"returnPath": path}
            for path in ("//evil.example", "https://evil.example", "/console/../graphql", "/graphql")
        ),
        *({"returnPath": path} for path in ("/console/#code=x", "/console/?q=\\", "/console/\n", "", "/console")),
    )
    for wrong in refused_inputs:
        assert (await office.refusal("createSignInLink", key, accountId=mine, **wrong))[0] == "BAD_USER_INPUT"


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
async def test_a_session_ends_with_the_grace_period_of_a_rotated_key(office: Office) -> None:
    account = await office.account()
    key = await platform(office)
    made = await office.call("createSignInLink", key, accountId=account)
    _, session = await redeem(office, made["url"])
    await office.call("rotateApiKey", None, "secret", prefix=key[:12], graceSeconds=60)
    assert await viewer(office, session["key"])
    office.now += timedelta(seconds=60)
    assert await viewer(office, session["key"]) is None


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
async def test_an_account_has_a_maximum_number_of_sessions_besides_its_keys(office: Office) -> None:
    account = await office.account()
    key = await platform(office)
    made = await office.call("createSignInLink", key, accountId=account)
    common = {
        "scope": "read",
        "account_id": number_of(account),
        "owner": "o",
        "created_at": office.now,
        "session_of": 1,
    }
    rows = [common | {"prefix": f"eco_{n}", "digest": str(n).encode()} for n in range(MAX_SESSIONS)]
    async with office.services.database.write() as connection:
        await connection.execute(tables.api_keys.insert(), rows)
    status, refused = await redeem(office, made["url"])
    assert (status, refused["error"]["code"]) == (409, "CONFLICT")
    await office.call("createApiKey", None, "secret", accountId=account, scope="READ", owner="ada")
