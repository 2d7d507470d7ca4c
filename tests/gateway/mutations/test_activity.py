"""What was done with an account, as its owner and operators see it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import update

from access.keys import KeyScope, NewKey
from db.limit_tables import spend_limits
from ledger.audit import Actor
from ledger.verification.repair import repair_limits
from ledger.windows import SpendWindow
from tests.gateway.mutations.office import Office, number_of, opened
from tests.gateway.mutations.test_auto_recharge import GIVEN
from tests.ledger.test_authorizations import put_limit

ENTRY = "id act actor owner scope keyPrefix description oldValue newValue transactions { id }"
ACTIVITY = f"""query ($id: ID, $first: Int, $after: String) {{ account(id: $id) {{
  activity(first: $first, after: $after) {{ nodes {{ {ENTRY} }} totalCount pageInfo {{ hasNextPage endCursor }} }}
}} }}"""


@pytest.fixture
async def office(database_url: str) -> AsyncIterator[Office]:
    async with opened(database_url) as office:
        yield office


def seen(entry: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(entry[name] for name in ("act", "scope", "owner", "description", "oldValue", "newValue"))


async def test_an_owner_sees_what_was_done_by_whom(office: Office) -> None:
    account, other = await office.account("10.00"), await office.account()
    number = number_of(account)
    manager = await office.key(NewKey(KeyScope.MANAGE, "ada", number))
    await office.call("setAutoRecharge", manager, "replayed", **GIVEN)
    await office.call("setAutoRecharge", manager, "replayed", enabled=False)
    made = await office.call("createApiKey", manager, "secret", scope="READ", owner="bot")
    prefix = made["secret"][:12]
    await office.call("revokeApiKey", manager, "replayed", prefix=prefix)
    await office.call("correctBalance", accountId=account, amount="2.5", description="Given back")
    await office.call("suspendAccount", accountId=account, reason="Chargeback, ticket 7")
    await office.call("suspendAccount", accountId=other, reason="Another")

    found = (await office.query(ACTIVITY, manager))["account"]["activity"]
    assert found["totalCount"] == "8"
    assert [seen(one) for one in found["nodes"]] == [
        ("suspendAccount", "OPERATOR", None, None, "active", "suspended"),
        ("correctBalance", "OPERATOR", None, "Given back", "balance 10.00", "balance 12.50"),
        ("revokeApiKey", "MANAGE", "ada", None, "read, until revoked", "revoked"),
        ("createApiKey", "MANAGE", "ada", "read key of bot", None, "read, until revoked"),
        ("setAutoRecharge", "MANAGE", "ada", None, "25.00 below 10.00, 60.00 a day at most", "off"),
        ("setAutoRecharge", "MANAGE", "ada", None, None, "25.00 below 10.00, 60.00 a day at most"),
        ("createApiKey", None, None, "manage key of ada", None, "manage, until revoked"),
        ("createAccount", None, None, "Account", None, None),
    ]
    assert (found["nodes"][2]["actor"], found["nodes"][2]["keyPrefix"]) == (manager[:12], prefix)
    assert found["nodes"][1]["transactions"] == [{"id": f"txn_{number}_2"}]

    # Page by page, and as an operator sees it: with reasons and all owners.
    pages, after = [], None
    while True:
        page = (await office.query(ACTIVITY, id=account, first=3, after=after))["account"]["activity"]
        pages.append(page["nodes"])
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            break
    assert [len(page) for page in pages] == [3, 3, 2]
    assert [one["id"] for page in pages for one in page] == [one["id"] for one in found["nodes"]]
    assert seen(pages[0][0])[:4] == ("suspendAccount", "OPERATOR", "tests", "Chargeback, ticket 7")
    nested = await office.query("{ accounts { nodes { id activity(first: 1) { nodes { act description } } } } }")
    assert [one["activity"]["nodes"][0]["description"] for one in nested["accounts"]["nodes"]] == [
        "Another",
        "Chargeback, ticket 7",
    ]

    reader = await office.key(NewKey(KeyScope.READ, "reader", number))
    for key, code in (
        (reader, "FORBIDDEN"),
        (office.keys["service"], "FORBIDDEN"),
        (await office.manager(other), "NOT_FOUND"),
    ):
        answer = await office.send(ACTIVITY, key, {"id": account})
        assert [one["extensions"]["code"] for one in answer["errors"]] == [code]
    foreign = await office.send(ACTIVITY, manager, {"after": page["pageInfo"]["endCursor"] + "A"})
    assert foreign["errors"][0]["extensions"]["code"] == "BAD_CURSOR"


async def test_findings_of_a_repair_are_noted_for_operators(office: Office) -> None:
    account = await office.account("1.00")
    number, database = number_of(account), office.services.database
    await put_limit(database, number, 1, "5.00", window=SpendWindow.TOTAL)
    async with database.write() as connection:
        await connection.execute(update(spend_limits).values(spent_nanos=7))
    assert list(await repair_limits(database, number, Actor("command-line", "operator"))) == [f"limit_{number}_1"]
    manager = await office.key(NewKey(KeyScope.MANAGE, "ada", number))
    told = {}
    for key in (manager, office.keys["operator"]):
        entries = (await office.query(ACTIVITY, key, id=account))["account"]["activity"]["nodes"]
        told[key] = {one["act"]: one["description"] for one in entries}["repairLimits"]
    assert told == {
        manager: None,
        office.keys["operator"]: f"limit_{number}_1: spent_nanos is 7, expected 0",
    }
