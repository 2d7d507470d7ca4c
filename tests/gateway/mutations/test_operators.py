"""What operators do to accounts, and the audit list of it."""

from __future__ import annotations

import asyncio
import os
import pwd
from typing import Any

import pytest

from access.keys import Keys, KeyScope, NewKey
from tests.gateway.command_line import run
from tests.gateway.mutations.office import Office, brief, contents, number_of, opened
from tests.gateway.mutations.test_lifecycles import GPU, HOUR_OF_GPU
from tests.ledger.desk import HOUR, START
from tests.ledger.recompute import differences

ENTRY = "id at act actor owner account { id } keyPrefix description transactions { id type }"
LIST = f"""
    query ($first: Int, $after: String, $filter: AuditFilter) {{
        auditEntries(first: $first, after: $after, filter: $filter) {{
            totalCount nodes {{ {ENTRY} }} edges {{ cursor }} pageInfo {{ hasNextPage endCursor }}
        }}
    }}
"""


async def entries(office: Office, **filter_: Any) -> list[Any]:
    """Of the acts through the API, newest first."""
    found = (await office.query(LIST, first=1000, filter=filter_))["auditEntries"]
    assert found["totalCount"] == str(len(found["nodes"]))
    return [entry for entry in found["nodes"] if entry["actor"] != "command-line"]


async def test_an_account_with_a_signup_bonus(office: Office) -> None:
    call = {"name": "First", "externalId": "first", "signupBonus": "25", "idempotencyKey": "mine"}
    told = await office.call("createAccount", **call)
    account = told["account"]["id"]
    assert told["account"] == {
        "id": account,
        "externalId": "first",
        "name": "First",
        "status": "ACTIVE",
        "balance": "25.00",
    }
    assert brief(told) == [("BONUS", "25.00", "25.00")]
    (row,) = told["transactions"]
    assert (row["source"], row["refType"], row["refId"]) == ("PROMOTION", "PROMOTION", "signup-bonus")
    assert row["description"] == "Signup bonus: $25.00 of credit for a new account"
    assert await office.transactions(account) == told["transactions"]
    await office.call("grantBonus", accountId=account, amount="5", promotion="later")
    later = told["account"] | {"balance": "30.00"}
    assert await office.call("createAccount", **call) == told | {"replayed": True, "account": later}
    (entry,) = await entries(office)
    assert entry["account"] == {"id": account}
    assert (entry["act"], entry["owner"], entry["description"]) == ("createAccount", "tests", "First")
    assert entry["transactions"] == [{"id": row["id"], "type": "BONUS"}]
    assert await differences(office.services.database) == []


async def test_an_account_without_a_bonus_has_no_row(office: Office) -> None:
    told = await office.call("createAccount", name="Second", idempotencyKey="mine")
    assert (told["transactions"], told["balance"], told["account"]["externalId"]) == ([], "0.00", None)
    assert await office.call("createAccount", name="Second", idempotencyKey="mine") == told | {"replayed": True}
    other = await office.call("createAccount", name="Second")
    assert other["account"]["id"] != told["account"]["id"]


async def test_an_account_that_is_created_twice_at_once_is_one(office: Office, database_url: str) -> None:
    call = {"name": "Once", "signupBonus": "1", "idempotencyKey": "mine"}
    async with opened(database_url) as other:
        told = await asyncio.gather(
            *(one.call("createAccount", office.keys["operator"], **call) for _ in range(5) for one in (office, other))
        )
    assert sorted(one["replayed"] for one in told) == [False] + [True] * 9
    assert {one["account"]["id"] for one in told} == {told[0]["account"]["id"]}
    assert len(await entries(office)) == 1


async def test_a_name_that_other_systems_know_is_given_once(office: Office, database_url: str) -> None:
    async with opened(database_url) as other:
        told = await asyncio.gather(
            *(
                one.answer("createAccount", office.keys["operator"], name="Same", externalId="same")
                for _ in range(4)
                for one in (office, other)
            )
        )
    codes = [one["errors"][0]["extensions"]["code"] for one in told if "errors" in one]
    assert codes == ["CONFLICT"] * 7
    assert len(await entries(office)) == 1


async def test_accounts_that_cannot_be_created(office: Office) -> None:
    await office.call("createAccount", name="First", externalId="first", idempotencyKey="mine")
    for changed, code in (
        ({"name": ""}, "BAD_USER_INPUT"),
        ({"name": "x" * 201}, "BAD_USER_INPUT"),
        ({"externalId": "acct_7"}, "BAD_USER_INPUT"),
        ({"externalId": ""}, "BAD_USER_INPUT"),
        ({"externalId": "first"}, "CONFLICT"),
        ({"signupBonus": "0"}, "BAD_USER_INPUT"),
        ({"signupBonus": "-1"}, "BAD_USER_INPUT"),
        ({"signupBonus": 1.5}, "BAD_USER_INPUT"),
        ({"idempotencyKey": ""}, "BAD_USER_INPUT"),
        ({"idempotencyKey": "mine"}, "IDEMPOTENCY_CONFLICT"),
    ):
        assert (await office.refusal("createAccount", **{"name": "Second"} | changed))[0] == code, changed


async def test_a_suspended_account_opens_no_hold_until_it_is_reactivated(office: Office) -> None:
    account = await office.account("10.00")
    hold = {"accountId": account, **GPU, "amount": "1", **HOUR_OF_GPU}
    suspend = {"accountId": account, "reason": "Chargeback", "idempotencyKey": "mine"}
    told = await office.call("suspendAccount", **suspend)
    assert (told["account"]["status"], told["transactions"], told["balance"]) == ("SUSPENDED", [], "10.00")
    assert (await office.refusal("openHold", **hold))[0] == "INSUFFICIENT_BALANCE"
    code, message = await office.refusal("suspendAccount", **suspend | {"idempotencyKey": "other"})
    assert (code, message) == ("CONFLICT", f"{account} is already suspended")
    office.now = START + HOUR
    told = await office.call("reactivateAccount", accountId=account, reason="Paid", idempotencyKey="mine")
    assert (told["account"]["status"], told["replayed"]) == ("ACTIVE", False)
    assert (await office.refusal("reactivateAccount", accountId=account, reason="Paid"))[0] == "CONFLICT"
    again = await office.call("suspendAccount", **suspend)
    assert (again["account"]["status"], again["replayed"]) == ("ACTIVE", True)
    assert (await office.refusal("suspendAccount", **suspend | {"reason": "Other"}))[0] == "IDEMPOTENCY_CONFLICT"
    assert (await office.refusal("suspendAccount", accountId=account, reason=" "))[0] == "BAD_USER_INPUT"
    assert (await office.refusal("suspendAccount", accountId="acct_99", reason="Who"))[0] == "NOT_FOUND"
    await office.call("openHold", **hold)
    assert [(one["act"], one["at"], one["description"]) for one in await entries(office)] == [
        ("reactivateAccount", "2026-11-01T01:00:00.000000Z", "Paid"),
        ("suspendAccount", "2026-11-01T00:00:00.000000Z", "Chargeback"),
    ]


async def test_a_correction_names_the_row_that_it_corrects(office: Office) -> None:
    account, other = await office.account("10.00"), await office.account("10.00")
    call = {"accountId": account, "amount": "-10.5", "description": "Given twice", "corrects": f"txn_{account[5:]}_1"}
    rows = "transactions { id corrects { id amount corrects { id } } } balance replayed"
    told = await office.call("correctBalance", None, rows, **call, idempotencyKey="mine")
    (row,) = told["transactions"]
    assert row["corrects"] == {"id": f"txn_{account[5:]}_1", "amount": "10.00", "corrects": None}
    assert told["balance"] == "-0.50"
    assert await office.call("correctBalance", None, rows, **call, idempotencyKey="mine") == told | {"replayed": True}
    for changed, code in (
        ({"corrects": f"txn_{other[5:]}_1"}, "NOT_FOUND"),
        ({"corrects": f"txn_{account[5:]}_3"}, "NOT_FOUND"),
        ({"corrects": account}, "NOT_FOUND"),
        ({"description": ""}, "BAD_USER_INPUT"),
        ({"description": None}, "BAD_USER_INPUT"),
        ({"amount": "0.00"}, "BAD_USER_INPUT"),
        ({"amount": -10.5}, "BAD_USER_INPUT"),
        ({"amount": "-9223372036.5"}, "BAD_USER_INPUT"),
        ({"accountId": "acct_99", "corrects": None}, "NOT_FOUND"),
        ({"idempotencyKey": "mine", "amount": "-10"}, "IDEMPOTENCY_CONFLICT"),
    ):
        assert (await office.refusal("correctBalance", **call | changed))[0] == code, changed
    (entry,) = await entries(office)
    assert (entry["act"], entry["description"], entry["transactions"]) == (
        "correctBalance",
        "Given twice",
        [{"id": row["id"], "type": "ADMIN_CORRECTION"}],
    )


async def test_a_contract_is_its_cash_and_its_bonus_together(office: Office) -> None:
    account = await office.account()
    call = {"accountId": account, "contract": "EC-2041", "amount": "10000", "bonus": "2000", "idempotencyKey": "mine"}
    told = await office.call("grantContract", **call)
    assert brief(told) == [("CONTRACT_GRANT", "10000.00", "10000.00"), ("BONUS_GRANT", "2000.00", "12000.00")]
    text = "Enterprise contract EC-2041: $10000.00 contract → $12000.00 total credit"
    assert [(row["description"], row["source"], row["refId"]) for row in told["transactions"]] == [
        (text, "CONTRACT", "EC-2041"),
        (f"{text}, with $2000.00 as bonus_grant", "CONTRACT", "EC-2041"),
    ]
    assert await office.call("grantContract", **call) == told | {"replayed": True}
    alone = await office.call("grantContract", accountId=account, contract="EC-2", amount="1", description="Pilot")
    assert [(row["type"], row["description"]) for row in alone["transactions"]] == [("CONTRACT_GRANT", "Pilot")]
    for changed, code in (
        ({"bonus": "0"}, "BAD_USER_INPUT"),
        ({"amount": "0"}, "BAD_USER_INPUT"),
        ({"amount": "-1"}, "BAD_USER_INPUT"),
        ({"contract": ""}, "BAD_USER_INPUT"),
        ({"bonus": "9223372036"}, "BAD_USER_INPUT"),
        ({"idempotencyKey": "mine", "bonus": None}, "IDEMPOTENCY_CONFLICT"),
    ):
        assert (await office.refusal("grantContract", **call | {"idempotencyKey": "other"} | changed))[0] == code
    found = await entries(office, act="grantContract", accountId=account)
    assert [(one["description"], [row["type"] for row in one["transactions"]]) for one in found] == [
        ("Pilot", ["CONTRACT_GRANT"]),
        (text, ["CONTRACT_GRANT", "BONUS_GRANT"]),
    ]


async def test_fields_below_a_payload_show_the_state_of_its_transaction(office: Office) -> None:
    account = await office.account("10.00")
    below = """
        balance
        account { balance status transactions(first: 1) { totalCount nodes { id } totals { net } }
                  monthlySummary { totalCost } balanceCursor usage { totalCount } }
    """
    told = await office.call("suspendAccount", None, below, accountId=account, reason="Chargeback")
    page = {"totalCount": "1", "nodes": [{"id": f"txn_{account[5:]}_1"}], "totals": {"net": "10.00"}}
    assert told["account"]["transactions"] == page
    assert (told["account"]["status"], told["account"]["usage"]) == ("SUSPENDED", {"totalCount": "0"})


@pytest.mark.parametrize("compiled", [True, False])
async def test_an_error_below_a_payload_undoes_the_act(database_url: str, compiled: bool) -> None:
    async with opened(database_url, compiled=compiled) as office:
        account = await office.account("10.00")
        before = await contents(office.services.database)
        below = "account { id transactions(first: 0) { totalCount } }"
        answer = await office.answer(
            "suspendAccount", office.keys["operator"], below, accountId=account, reason="Chargeback"
        )
        assert answer["data"] is None
        assert [(one["path"], one["extensions"]["code"]) for one in answer["errors"]] == [
            (["suspendAccount", "account", "transactions"], "BAD_USER_INPUT")
        ]
        assert await contents(office.services.database) == before


async def test_a_key_that_was_revoked_a_moment_ago_does_nothing_more(database_url: str) -> None:
    async with opened(database_url, key_cache_seconds=60) as office:
        account = await office.account("10.00")
        key = await office.key(NewKey(KeyScope.OPERATOR, "leaving"))
        await office.call("suspendAccount", key, accountId=account, reason="Chargeback")
        await Keys(office.services.database, office.clock).revoke(key[:12])
        await office.query("{ viewer { scope } }", key)
        code, message = await office.refusal("reactivateAccount", key, accountId=account, reason="Friend")
        assert (code, message) == ("UNAUTHENTICATED", "the API key has expired or was revoked")


async def test_the_audit_list_is_paged_and_filtered_and_kept_from_others(office: Office) -> None:
    one, two = await office.account("1.00"), await office.account("1.00")
    for number in range(5):
        office.now = START + number * HOUR
        call = {"amount": "1", "description": f"Number {number}"}
        await office.call("correctBalance", accountId=(one, two)[number % 2], **call)
    mine = {"act": "correctBalance"}
    seen, after = [], None
    for _ in range(3):
        page = (await office.query(LIST, first=2, after=after, filter=mine))["auditEntries"]
        seen += [node["description"] for node in page["nodes"]]
        assert page["pageInfo"]["hasNextPage"] == (len(seen) < 5)
        assert page["edges"][-1]["cursor"] == page["pageInfo"]["endCursor"]
        after = page["pageInfo"]["endCursor"]
    assert seen == [f"Number {number}" for number in (4, 3, 2, 1, 0)]

    async def found(**filter_: Any) -> list[str]:
        return [entry["description"][7:] for entry in await entries(office, **mine | filter_)]

    assert await found(accountId=two) == ["3", "1"]
    assert await found(actor=office.keys["operator"][:12]) == ["4", "3", "2", "1", "0"]
    assert await found(actor="eco_nobody") == []
    assert await found(at={"gte": "2026-11-01T01:00:00Z", "lt": "2026-11-01T03:00:00Z"}) == ["2", "1"]
    await office.key(NewKey(KeyScope.READ, "tests", number_of(one)))
    for key, variables, code in (
        (office.keys["service"], {}, "FORBIDDEN"),
        (await office.key(NewKey(KeyScope.MANAGE, "tests", number_of(one))), {}, "FORBIDDEN"),
        (office.keys["operator"], {"first": 0}, "BAD_USER_INPUT"),
        (office.keys["operator"], {"first": 1001}, "BAD_USER_INPUT"),
        (office.keys["operator"], {"after": after}, "BAD_CURSOR"),
        (office.keys["operator"], {"filter": {"accountId": "nobody"}}, "NOT_FOUND"),
        (office.keys["operator"], {"filter": {"act": "\x00"}}, "BAD_USER_INPUT"),
        (
            office.keys["operator"],
            {"filter": {"at": {"gte": "2026-11-02T00:00:00Z", "lt": "2026-11-01T00:00:00Z"}}},
            "BAD_USER_INPUT",
        ),
    ):
        answer = await office.send(LIST, key, variables)
        assert [error["extensions"]["code"] for error in answer["errors"]] == [code]


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
async def test_entries_appear_in_the_order_of_their_numbers_though_acts_run_at_once(office: Office) -> None:
    accounts = [await office.account() for _ in range(8)]
    call = {"amount": "1", "description": "At once"}
    acting = [asyncio.create_task(office.call("correctBalance", accountId=one, **call)) for one in accounts * 5]
    looks = 0
    while not all(task.done() for task in acting):
        found = (await office.query("{ auditEntries(first: 1000) { nodes { id } } }"))["auditEntries"]["nodes"]
        numbers = [int(entry["id"].removeprefix("audit_")) for entry in found]
        assert numbers == list(range(len(numbers), 0, -1))
        looks += 1
    await asyncio.gather(*acting)
    assert looks > 1


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
async def test_actions_of_the_command_line_are_listed(office: Office, database_url: str) -> None:
    async def command(*arguments: str) -> str:
        return (await asyncio.to_thread(run, *arguments, url=database_url)).strip()

    account = await command("accounts", "create", "--name", "From the shell")
    secret = await command("keys", "create", "--scope", "read", "--account", account, "--owner", "me")
    new = await command("keys", "rotate", secret[:12])
    await command("keys", "revoke", new[:12])
    found = (await office.query(LIST, filter={"accountId": account, "actor": "command-line"}))["auditEntries"]["nodes"]
    user = pwd.getpwuid(os.getuid()).pw_name
    assert [(one["act"], one["owner"], one["keyPrefix"], one["description"]) for one in found] == [
        ("revokeApiKey", user, new[:12], None),
        ("rotateApiKey", user, secret[:12], f"{new[:12]} takes its place"),
        ("createApiKey", user, secret[:12], "read key of me"),
        ("createAccount", user, None, "From the shell"),
    ]
