"""Keys made, rotated and revoked through the API."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from access.keys import MAX_VALID_KEYS, Keys, KeyScope, NewKey
from tests.gateway.mutations.office import Office, number_of, opened
from tests.gateway.mutations.test_operators import entries
from tests.ledger.desk import DAY, HOUR, START

SHOWN = (
    "prefix scope accountId accountIds operations owner createdAt lastUsedAt lastUsedAddress allowedAddresses"
    " expiresAt revokedAt"
)
KEY = f"apiKey {{ {SHOWN} }} transactions {{ id }} balance replayed"
NEW = f"{KEY} secret"
ROTATED = f"{NEW} replaced {{ prefix expiresAt revokedAt }}"
LIST = f"""
    query ($id: ID, $first: Int, $after: String) {{ account(id: $id) {{ apiKeys(first: $first, after: $after) {{
        totalCount nodes {{ {SHOWN} }} pageInfo {{ hasNextPage endCursor }}
    }} }} }}
"""
AT, DAY_LATER = "2026-11-01T00:00:00.000000Z", "2026-11-02T00:00:00.000000Z"


async def create(office: Office, key: str | None = None, **given: Any) -> Any:
    return await office.call("createApiKey", key, NEW, **{"owner": "me"} | given)


async def manage_key(office: Office, account: str, **given: Any) -> str:
    return await office.key(NewKey(KeyScope.MANAGE, "owner", number_of(account), **given))


async def scope_of(office: Office, key: str) -> str | None:
    answer = await office.send("{ viewer { scope } }", key)
    return None if "errors" in answer else answer["data"]["viewer"]["scope"]


async def test_a_key_is_made_and_shown_once(office: Office) -> None:
    account = await office.account("10.00")
    call = {"scope": "READ", "accountId": account, "expiresAt": DAY_LATER, "idempotencyKey": "mine"}
    told = await create(office, **call)
    assert await scope_of(office, told["secret"]) == "READ"
    prefix = told["secret"][:12]
    assert told == {
        "apiKey": {
            "prefix": prefix,
            "scope": "READ",
            "accountId": account,
            "accountIds": None,
            "operations": None,
            "owner": "me",
            "createdAt": AT,
            "lastUsedAt": None,
            "lastUsedAddress": None,
            "allowedAddresses": None,
            "expiresAt": DAY_LATER,
            "revokedAt": None,
        },
        "secret": told["secret"],
        "transactions": [],
        "balance": "10.00",
        "replayed": False,
    }
    assert await create(office, **call) == told | {"secret": None, "replayed": True}
    (entry,) = await entries(office)
    assert (entry["act"], entry["keyPrefix"], entry["account"]) == ("createApiKey", prefix, {"id": account})
    assert entry["description"] == "read key of me"
    assert told["secret"][13:] not in str(await office.query("{ auditEntries { nodes { description } } }"))
    office.now = START + DAY
    assert await scope_of(office, told["secret"]) is None


async def test_a_service_key_has_its_lists(office: Office) -> None:
    one, two = await office.account(), await office.account()
    lists: dict[str, Any] = {"accountIds": [two, one], "operations": ["GRANT_BONUS", "OPEN_HOLD"]}
    told = await create(office, scope="SERVICE", **lists)
    assert told["apiKey"]["accountIds"] == [one, two]
    assert told["apiKey"]["operations"] == ["GRANT_BONUS", "OPEN_HOLD"]
    assert (told["apiKey"]["accountId"], told["balance"]) == (None, None)
    bonus = {"accountId": one, "amount": "1", "promotion": "p"}
    assert (await office.call("grantBonus", told["secret"], **bonus))["balance"] == "1.00"
    assert (await office.refusal("settleHold", told["secret"], accountId=one, refType="VOLUME", refId="1", used="1"))[
        0
    ] == "FORBIDDEN"
    everything = await create(office, scope="SERVICE")
    assert (everything["apiKey"]["accountIds"], everything["apiKey"]["operations"]) == (None, None)
    assert (await create(office, scope="OPERATOR"))["apiKey"]["scope"] == "OPERATOR"


async def test_a_manage_key_keeps_the_keys_of_its_own_account(office: Office) -> None:
    mine, other = await office.account("1.00"), await office.account()
    key, foreign = await manage_key(office, mine), await manage_key(office, other)
    told = await create(office, key, scope="READ")
    assert (told["apiKey"]["accountId"], told["balance"]) == (mine, "1.00")
    assert (await create(office, key, scope="MANAGE", accountId=mine))["apiKey"]["scope"] == "MANAGE"
    for scope in ("SERVICE", "OPERATOR"):
        assert (await office.refusal("createApiKey", key, scope=scope, owner="me"))[0] == "FORBIDDEN"
    assert (await office.refusal("createApiKey", key, scope="READ", owner="me", accountId=other))[0] == "NOT_FOUND"
    for prefix in (foreign[:12], office.keys["operator"][:12], office.keys["service"][:12]):
        for name in ("rotateApiKey", "revokeApiKey"):
            assert await office.refusal(name, key, prefix=prefix) == ("NOT_FOUND", f"there is no key {prefix}")
    rotated = await office.call("rotateApiKey", key, ROTATED, prefix=told["secret"][:12])
    assert await scope_of(office, told["secret"]) is None
    assert await scope_of(office, rotated["secret"]) == "READ"
    await office.call("revokeApiKey", key, KEY, prefix=key[:12])
    assert await scope_of(office, key) is None
    assert {entry["actor"] for entry in await entries(office)} == {key[:12]}


async def test_a_key_is_rotated_at_once_or_with_a_grace(office: Office) -> None:
    account = await office.account()
    key = await manage_key(office, account)
    call = {"prefix": key[:12], "graceSeconds": 3600, "idempotencyKey": "mine"}
    told = await office.call("rotateApiKey", key, ROTATED, **call)
    assert told["replaced"] == {"prefix": key[:12], "expiresAt": "2026-11-01T01:00:00.000000Z", "revokedAt": None}
    assert [await scope_of(office, one) for one in (key, told["secret"])] == ["MANAGE", "MANAGE"]
    assert await office.call("rotateApiKey", key, ROTATED, **call) == told | {"secret": None, "replayed": True}
    assert (await office.refusal("rotateApiKey", key, **call | {"graceSeconds": 1}))[0] == "IDEMPOTENCY_CONFLICT"
    assert (await office.refusal("rotateApiKey", key, prefix=key[:12]))[0] == "CONFLICT"
    office.now = START + HOUR
    assert [await scope_of(office, one) for one in (key, told["secret"])] == [None, "MANAGE"]
    newest = await office.call("rotateApiKey", None, ROTATED, prefix=told["secret"][:12])
    assert newest["replaced"]["revokedAt"] == "2026-11-01T01:00:00.000000Z"
    acts = [(one["act"], one["keyPrefix"], one["description"]) for one in await entries(office)]
    assert acts == [
        ("rotateApiKey", told["secret"][:12], f"{newest['secret'][:12]} takes its place"),
        ("rotateApiKey", key[:12], f"{told['secret'][:12]} takes its place"),
    ]


async def test_revoking_twice_keeps_the_first_time(office: Office) -> None:
    account = await office.account()
    key = await manage_key(office, account)
    call = {"prefix": key[:12], "idempotencyKey": "mine"}
    told = await office.call("revokeApiKey", None, KEY, **call)
    assert told["apiKey"]["revokedAt"] == AT
    office.now = START + HOUR
    assert await office.call("revokeApiKey", None, KEY, **call) == told | {"replayed": True}
    assert await office.call("revokeApiKey", None, KEY, prefix=key[:12]) == told
    assert len(await entries(office)) == 1
    assert (await office.refusal("rotateApiKey", prefix=key[:12]))[0] == "CONFLICT"


async def test_a_key_that_is_made_or_rotated_twice_at_once_is_one(office: Office, database_url: str) -> None:
    account = await office.account()
    make = {"scope": "READ", "accountId": account, "owner": "me", "idempotencyKey": "make"}
    rotate = {"prefix": (await manage_key(office, account))[:12], "idempotencyKey": "rotate"}
    async with opened(database_url) as other:
        for name, selection, call in (("createApiKey", NEW, make), ("rotateApiKey", ROTATED, rotate)):
            told = await asyncio.gather(
                *(
                    one.call(name, office.keys["operator"], selection, **call)
                    for _ in range(4)
                    for one in (office, other)
                )
            )
            assert sorted(one["replayed"] for one in told) == [False] + [True] * 7
            assert [one["replayed"] for one in told] == [one["secret"] is None for one in told]
            assert len({one["apiKey"]["prefix"] for one in told}) == 1
    assert (await office.query(LIST, id=account))["account"]["apiKeys"]["totalCount"] == "3"


async def test_no_key_outlives_one_of_its_scope_that_made_it(office: Office) -> None:
    account = await office.account()
    short = await manage_key(office, account, expires_at=START + DAY)
    long = await manage_key(office, account)
    read = await office.key(NewKey(KeyScope.READ, "owner", number_of(account)))
    for scope in ("READ", "MANAGE"):
        for expires_at in (None, "2026-11-02T00:00:00.000001Z"):
            call = {"scope": scope, "owner": "me", "expiresAt": expires_at}
            said = "expiresAt must not be later than the expiry of the calling key, 2026-11-02T00:00:00.000000Z"
            assert await office.refusal("createApiKey", short, **call) == ("BAD_USER_INPUT", said)
        assert (await create(office, short, scope=scope, expiresAt=DAY_LATER))["apiKey"]["expiresAt"] == DAY_LATER
    for later in (long, read):
        assert (await office.refusal("rotateApiKey", short, prefix=later[:12]))[0] == "FORBIDDEN"
    itself = await office.call("rotateApiKey", short, ROTATED, prefix=short[:12])
    assert itself["apiKey"]["expiresAt"] == DAY_LATER


async def test_a_key_in_its_grace_creates_none_that_ends_later(office: Office) -> None:
    account = await office.account()
    key = await manage_key(office, account)
    await office.call("rotateApiKey", key, ROTATED, prefix=key[:12], graceSeconds=3600)
    for scope in ("READ", "MANAGE"):
        call = {"scope": scope, "owner": "me", "expiresAt": "2026-11-01T01:00:00.000001Z"}
        assert (await office.refusal("createApiKey", key, **call))[0] == "BAD_USER_INPUT"
        await create(office, key, scope=scope, expiresAt="2026-11-01T01:00:00Z")


async def test_an_operator_key_that_expires_creates_none_that_ends_later(office: Office) -> None:
    operator = await office.key(NewKey(KeyScope.OPERATOR, "tests", expires_at=START + DAY))
    account = await office.account()
    calls: list[dict[str, Any]] = [
        {"scope": "READ", "accountId": account},
        {"scope": "SERVICE"},
        {"scope": "OPERATOR"},
    ]
    for call in calls:
        assert (await office.refusal("createApiKey", operator, **call, owner="me"))[0] == "BAD_USER_INPUT"
        await create(office, operator, **call, expiresAt=DAY_LATER)


@pytest.mark.one_database
async def test_keys_that_cannot_be_made(office: Office) -> None:
    account = await office.account()
    await create(office, scope="READ", accountId=account, idempotencyKey="mine")
    good = {"scope": "READ", "accountId": account, "owner": "me"}
    for changed, code in (
        ({"owner": ""}, "BAD_USER_INPUT"),
        ({"owner": "x" * 201}, "BAD_USER_INPUT"),
        ({"scope": "ADMIN"}, "BAD_USER_INPUT"),
        ({"scope": "READ", "accountId": None}, "BAD_USER_INPUT"),
        ({"scope": "SERVICE"}, "BAD_USER_INPUT"),
        ({"scope": "OPERATOR", "accountId": None, "accountIds": [account]}, "BAD_USER_INPUT"),
        ({"operations": ["OPEN_HOLD"]}, "BAD_USER_INPUT"),
        ({"scope": "SERVICE", "accountId": None, "operations": ["CREATE_ACCOUNT"]}, "BAD_USER_INPUT"),
        ({"scope": "SERVICE", "accountId": None, "accountIds": ["acct_99"]}, "NOT_FOUND"),
        ({"scope": "SERVICE", "accountId": None, "accountIds": ["nobody"]}, "NOT_FOUND"),
        ({"scope": "SERVICE", "accountId": None, "accountIds": [account] * 1_001}, "BAD_USER_INPUT"),
        ({"accountId": "acct_99"}, "NOT_FOUND"),
        ({"expiresAt": AT}, "BAD_USER_INPUT"),
        ({"expiresAt": "2026-12-01"}, "BAD_USER_INPUT"),
        ({"expiresAt": "9999-12-31T23:59:59.999999Z"}, "BAD_USER_INPUT"),
        ({"idempotencyKey": "mine", "owner": "you"}, "IDEMPOTENCY_CONFLICT"),
        ({"idempotencyKey": ""}, "BAD_USER_INPUT"),
    ):
        assert (await office.refusal("createApiKey", **good | changed))[0] == code, changed
    for prefix in ("", "eco_aaaaaaaa", "eco_", "x" * 5_000, "\x00", "ж"):
        for name in ("rotateApiKey", "revokeApiKey"):
            assert (await office.refusal(name, prefix=prefix))[0] == "NOT_FOUND"
    prefix = (await manage_key(office, account))[:12]
    for grace in (-1, 604_801, 2**31, "1", 1.5):
        code, _ = await office.refusal("rotateApiKey", prefix=prefix, graceSeconds=grace)
        assert code == "BAD_USER_INPUT", grace


async def test_a_key_can_be_used_until_the_last_moment_that_it_may_be_given(office: Office) -> None:
    last = "9998-12-31T23:59:59.999999Z"
    told = await create(office, scope="READ", accountId=await office.account(), expiresAt=last)
    answer = await office.query("{ viewer { keyExpiresAt } }", told["secret"])
    assert answer["viewer"]["keyExpiresAt"] == told["apiKey"]["expiresAt"] == last


async def test_an_account_has_so_many_valid_keys(office: Office) -> None:
    account = await office.account()
    number = number_of(account)
    keys = Keys(office.services.database, office.clock)
    made = [await keys.create(NewKey(KeyScope.READ, "me", number)) for _ in range(MAX_VALID_KEYS)]
    call = {"scope": "READ", "accountId": account, "owner": "me"}
    code, message = await office.refusal("createApiKey", **call)
    assert (code, message) == ("CONFLICT", f"{account} already has 100 valid keys; the limit is 100: revoke one")
    await office.call("rotateApiKey", None, ROTATED, prefix=made[0].row.prefix)
    await office.call("revokeApiKey", None, KEY, prefix=made[1].row.prefix)
    await create(office, **call)
    assert (await office.refusal("createApiKey", **call))[0] == "CONFLICT"


async def test_the_keys_of_an_account_are_listed_for_those_who_keep_them(office: Office) -> None:
    account, other = await office.account(), await office.account()
    key = await manage_key(office, account)
    await manage_key(office, other)
    made = [(await create(office, key, scope="READ", owner=f"Number {one}"))["apiKey"] for one in range(4)]
    for asker in (key, office.keys["operator"]):
        seen: list[Any] = []
        after = None
        for _ in range(3):
            page = (await office.query(LIST, asker, id=account, first=2, after=after))["account"]["apiKeys"]
            seen += page["nodes"]
            after = page["pageInfo"]["endCursor"]
            assert page["pageInfo"]["hasNextPage"] == (len(seen) < 5)
            assert page["totalCount"] == "5"
        assert [one["prefix"] for one in seen] == [one["prefix"] for one in reversed(made)] + [key[:12]]
        assert seen[:4] == made[::-1]
    read = await office.key(NewKey(KeyScope.READ, "tests", number_of(account)))
    for asker in (read, office.keys["service"]):
        answer = await office.send(LIST, asker, {"id": account})
        assert answer["data"] == {"account": {"apiKeys": None}}
        assert [error["extensions"]["code"] for error in answer["errors"]] == ["FORBIDDEN"]
    cursor = (await office.query(LIST, id=account, first=1))["account"]["apiKeys"]["pageInfo"]["endCursor"]
    answer = await office.send(LIST, office.keys["operator"], {"id": other, "after": cursor})
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["BAD_CURSOR"]
    both = " ".join(f'{name}: account(id: "{one}") {{ apiKeys {{ totalCount nodes {{ prefix }} }} }}'
                    for name, one in (("a", account), ("b", other)))  # fmt: skip
    found = await office.query(f"{{ {both} }}")
    assert [found[name]["apiKeys"]["totalCount"] for name in "ab"] == ["6", "1"]


@pytest.mark.parametrize("compiled", [True, False])
async def test_both_executors_make_keys(database_url: str, compiled: bool) -> None:
    async with opened(database_url, compiled=compiled) as office:
        account = await office.account()
        told = await create(office, scope="MANAGE", accountId=account)
        listed = await office.query(LIST, told["secret"])
        assert [one["prefix"] for one in listed["account"]["apiKeys"]["nodes"]] == [told["apiKey"]["prefix"]]
