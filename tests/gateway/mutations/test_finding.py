"""An operator finds objects of any account by the ids that people and Stripe quote."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from sqlalchemy import ClauseElement, Executable, text
from sqlalchemy.ext.compiler import compiles

from access.keys import KeyScope, NewKey
from db import finding
from tests.gateway.mutations.office import Office, number_of, opened
from tests.gateway.mutations.test_lifecycles import GPU, HOUR_OF_GPU
from tests.gateway.mutations.test_spend_limits import GIVEN as LIMIT
from tests.stripe_objects import body, event, session

FIND = """query ($id: String!) { find(id: $id) {
  account { id } transaction { id } charge { id } authorization { id } spendLimit { id } apiKey { prefix }
  stripeEvent { id state }
} }"""


@pytest.fixture
async def office(database_url: str) -> AsyncIterator[Office]:
    async with opened(database_url) as office:
        yield office


async def found(office: Office, given: str) -> list[dict[str, Any]]:
    """What was found, without the fields that are null."""
    rows = (await office.query(FIND, id=given))["find"]
    return [{name: value for name, value in row.items() if value is not None} for row in rows]


async def paid(office: Office, name: str, customer: str) -> None:
    given = event("checkout.session.completed", session(f"cs_{name}", customer=customer, payment_intent=f"pi_{name}"))
    await office.services.stripe_events.receive(body(given | {"id": f"evt_{name}"}))


async def test_objects_are_found_by_every_kind_of_id(office: Office) -> None:
    made = await office.call("createAccount", name="Known", externalId="acme-7", signupBonus="50")
    account = made["account"]["id"]
    number = number_of(account)
    of_account = {"account": {"id": account}}
    await office.call("openHold", accountId=account, **GPU, amount="1", **HOUR_OF_GPU)
    await office.call("authorizeUsage", accountId=account, amount="1")
    await office.call("setSpendLimit", accountId=account, **LIMIT)
    key = await office.key(NewKey(KeyScope.READ, "ada", number))
    await office.call("linkStripeCustomer", accountId=account, customer="cus_1")
    await paid(office, "1", "cus_1")
    await paid(office, "2", "cus_unknown")

    row = {**of_account, "transaction": {"id": f"txn_{number}_3"}}
    waiting = {"stripeEvent": {"id": "evt_2", "state": "WAITING"}}
    expected: dict[str, list[dict[str, Any]]] = {
        account: [of_account],
        f" {account} ": [of_account],
        "acme-7": [of_account],
        f"txn_{number}_2": [{**of_account, "transaction": {"id": f"txn_{number}_2"}}],
        f"chg_{number}_2": [{**of_account, "charge": {"id": f"chg_{number}_2"}}],
        f"auth_{number}_1": [{**of_account, "authorization": {"id": f"auth_{number}_1"}}],
        f"limit_{number}_1": [{**of_account, "spendLimit": {"id": f"limit_{number}_1"}}],
        key: [{**of_account, "apiKey": {"prefix": key[:12]}}],
        office.keys["service"][:12]: [{"apiKey": {"prefix": office.keys["service"][:12]}}],
        "cus_1": [of_account],
        "cs_1": [row],
        "pi_1": [row],
        "evt_1": [{**of_account, "stripeEvent": {"id": "evt_1", "state": "APPLIED"}}],
        "evt_2": [waiting],
        "cus_unknown": [waiting],
        **{one: [] for one in ("acct_999", f"txn_{number}_99", "txn_", "acme", "eco_aaaaaaaa", "cs_9", "acct_0", "%")},
    }
    assert {given: await found(office, given) for given in expected} == expected

    manager = await office.manager(account)
    for given, caller, code in (
        (account, manager, "FORBIDDEN"),
        (account, office.keys["service"], "FORBIDDEN"),
        ("", office.keys["operator"], "BAD_USER_INPUT"),
        ("a\x00b", office.keys["operator"], "BAD_USER_INPUT"),
        ("x" * 256, office.keys["operator"], "BAD_USER_INPUT"),
    ):
        answer = await office.send(FIND, caller, {"id": given})
        assert [one["extensions"]["code"] for one in answer["errors"]] == [code]


class Plan(Executable, ClauseElement):
    inherit_cache = False

    def __init__(self, statement: Any) -> None:
        self.statement = statement


@compiles(Plan)
def _plan(element: Plan, compiler: Any, **options: Any) -> str:
    how = "EXPLAIN" if compiler.dialect.name == "postgresql" else "EXPLAIN QUERY PLAN"
    return f"{how} {compiler.process(element.statement, **options)}"


async def test_nothing_is_scanned(office: Office) -> None:
    database = office.services.database
    rows = finding._ROWS[database.is_postgresql]
    statements = (
        (finding._ACCOUNTS, {"id": "cs_1"}),
        (rows, {"account": 1, "ref_ids": ["cs_1", "pi_1"]}),
        (finding._BY_PREFIX, {"prefix": "eco_aaaaaaaa"}),
        (finding._OPEN_EVENTS, {"id": "evt_1"}),
    )
    async with database.write() as connection:
        if database.is_postgresql:
            # Tables of few rows are scanned by choice; here a scan is what nothing else can do.
            await connection.execute(text("SET LOCAL enable_seqscan = off"))
        for statement, parameters in statements:
            plan = [row[-1] for row in await connection.execute(Plan(statement), parameters)]
            if database.is_postgresql:
                assert not any("Seq Scan" in line for line in plan), plan
            else:
                # A scan of json_each reads the list that was given.
                scans = [line for line in plan if line.startswith("SCAN ")]
                assert [line for line in scans if "json_each" not in line and "(subquery" not in line] == [], plan
