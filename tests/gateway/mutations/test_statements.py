"""Statements over the API, of what was posted over the API."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

from tests.gateway.mutations.office import Office

STATEMENT: Final = """
    query ($id: ID, $from: Date!, $to: Date!, $after: String) {
      account(id: $id) {
        statement(from: $from, to: $to) {
          from to opening closing rows isFinal
          movements { kind gross refunded net }
          transactions(first: 3, after: $after) {
            nodes { description balanceAfter } pageInfo { hasNextPage endCursor } totalCount totals { net }
          }
        }
        monthlySummary(month: "2026-11") { grossCost refunded totalCost }
      }
    }
"""
BONUS: Final = "Promotion welcome: $10.00 of credit"
OCTOBER: Final = {"from": "2026-10-01", "to": "2026-11-01"}
NOVEMBER: Final = {"from": "2026-11-01", "to": "2026-12-01"}


def _moved(kind: str, gross: str, refunded: str, net: str) -> dict[str, str]:
    return {"kind": kind, "gross": gross, "refunded": refunded, "net": net}


async def _two_months(office: Office) -> str:
    """A hold over the end of October, with one row at its last moment and one at the first moment of November."""
    office.now = datetime(2026, 10, 31, 20, tzinfo=UTC)
    account = await office.account("5.00")
    await office.call("grantBonus", accountId=account, amount="10.00", promotion="welcome")
    hold = {"refType": "GPU_INSTANCE", "refId": "132", "amount": "4.00", "description": "GPU Instance #132: hold"}
    period = {"periodStart": "2026-10-31T20:00:00Z", "periodEnd": "2026-11-01T00:00:00Z"}
    await office.call("openHold", accountId=account, **hold, **period)
    office.now = datetime(2026, 10, 31, 23, 59, 59, 999_999, tzinfo=UTC)
    await office.call("correctBalance", accountId=account, amount="-0.50", description="Late fee")
    office.now = datetime(2026, 11, 1, tzinfo=UTC)
    stop = {"refType": "GPU_INSTANCE", "refId": "132", "used": "1.50", "description": "GPU Instance #132: stopped"}
    await office.call("settleHold", accountId=account, **stop)
    request = {"id": "r", "at": "2026-10-31T23:00:00Z", "model": "m", "category": "CHAT", "cost": "0.000000001"}
    await office.call("recordUsage", accountId=account, requests=[request])
    return account


async def _statement(office: Office, account: str, **variables: Any) -> Any:
    return (await office.query(STATEMENT, id=account, **variables))["account"]["statement"]


async def test_a_month_has_the_rows_that_were_recorded_in_it(office: Office) -> None:
    account = await _two_months(office)
    october = await _statement(office, account, **OCTOBER)
    page = october.pop("transactions")
    assert october == {
        **OCTOBER,
        "opening": "0.00",
        "closing": "10.50",
        "rows": "4",
        "isFinal": True,
        "movements": [
            _moved("BONUS", "10.00", "0.00", "10.00"),
            _moved("CORRECTION", "4.50", "0.00", "4.50"),
            _moved("GPU_INSTANCE", "-4.00", "0.00", "-4.00"),
        ],
    }
    assert [row["description"] for row in page["nodes"]] == ["Late fee", "GPU Instance #132: hold", BONUS]
    assert (page["totalCount"], page["totals"]["net"]) == ("4", "10.50")
    older = await _statement(office, account, **OCTOBER, after=page["pageInfo"]["endCursor"])
    assert [row["description"] for row in older["transactions"]["nodes"]] == ["Opening balance"]
    assert not older["transactions"]["pageInfo"]["hasNextPage"]

    answer = (await office.query(STATEMENT, id=account, **NOVEMBER))["account"]
    november, summary = answer["statement"], answer["monthlySummary"]
    del november["transactions"]
    assert november == {
        **NOVEMBER,
        "opening": "10.50",
        "closing": "12.999999999",
        "rows": "2",
        "isFinal": False,
        "movements": [
            _moved("GPU_INSTANCE", "0.00", "2.50", "2.50"),
            _moved("API_USAGE", "-0.000000001", "0.00", "-0.000000001"),
        ],
    }
    # The card shows the same figures, as costs.
    assert summary == {"grossCost": "0.000000001", "refunded": "2.50", "totalCost": "-2.499999999"}


async def test_a_closed_period_never_changes(office: Office) -> None:
    account = await _two_months(office)
    before = await _statement(office, account, **OCTOBER)
    office.now = datetime(2026, 12, 24, tzinfo=UTC)
    await office.call("correctBalance", accountId=account, amount="-1.00", description="A correction of October")
    await office.call("grantBonus", accountId=account, amount="1.00", promotion="late")
    assert await _statement(office, account, **OCTOBER) == before
    december = await _statement(office, account, **{"from": "2026-12-01", "to": "2027-01-01"})
    assert (december["opening"], december["closing"], december["rows"]) == ("12.999999999", "12.999999999", "2")


async def test_an_empty_account_and_an_impossible_period(office: Office) -> None:
    account = await office.account()
    empty = await _statement(office, account, **OCTOBER)
    assert (empty["opening"], empty["closing"], empty["rows"], empty["movements"]) == ("0.00", "0.00", "0", [])
    answer = await office.send(
        STATEMENT, office.keys["operator"], {"id": account, "from": "2026-11-01", "to": "2026-11-01"}
    )
    (error,) = answer["errors"]
    assert error["extensions"] == {"code": "BAD_USER_INPUT"}
    assert error["message"] == "the period is empty: to must be after from; the day of to is not part of the period"


DETAILS: Final = {"name": "Größe & Co", "addressLines": ["Straße 1", "Berlin"], "taxId": "DE123456789"}
AUDIT: Final = "{ auditEntries(first: 1) { nodes { act actor oldValue newValue account { id } } } }"


async def test_company_details_are_replaced_whole_and_noted(office: Office) -> None:
    account = await office.account()
    key = await office.manager(account)
    question = "{ account { companyDetails { name addressLines taxId updatedAt } } }"
    assert (await office.query(question, key))["account"] == {"companyDetails": None}
    first = await office.call("setCompanyDetails", key, **DETAILS, idempotencyKey="first")
    updated_at = {"updatedAt": "2026-11-01T00:00:00.000000Z"}
    assert (first["companyDetails"], first["replayed"]) == (DETAILS | updated_at, False)
    assert (await office.query(question, key))["account"]["companyDetails"] == DETAILS | updated_at
    (noted,) = (await office.query(AUDIT))["auditEntries"]["nodes"]
    details = "Größe & Co; Straße 1; Berlin; tax id DE123456789"
    assert noted == {
        "act": "setCompanyDetails",
        "actor": key[:12],
        "oldValue": None,
        "newValue": details,
        "account": {"id": account},
    }
    office.now = datetime(2026, 11, 2, tzinfo=UTC)
    await office.call("setCompanyDetails", key, name="Sole Trader")
    replaced: Any = {
        "name": "Sole Trader",
        "addressLines": [],
        "taxId": None,
        "updatedAt": "2026-11-02T00:00:00.000000Z",
    }
    assert (await office.query(question, key))["account"]["companyDetails"] == replaced
    (noted,) = (await office.query(AUDIT))["auditEntries"]["nodes"]
    assert (noted["oldValue"], noted["newValue"]) == (details, "Sole Trader")
    again = await office.call("setCompanyDetails", key, **DETAILS, idempotencyKey="first")
    assert (again["companyDetails"], again["replayed"]) == (replaced, True)


async def test_company_details_have_bounds(office: Office) -> None:
    key = await office.manager(await office.account())
    for change, message in (
        ({"name": " "}, "name must not be blank"),
        ({"name": "x" * 201}, "name must have at most 200 characters, not 201"),
        ({"addressLines": ["a"] * 7}, "addressLines must have at most 6 lines, not 7"),
        ({"addressLines": ["a", "b\nc"]}, "addressLines[1] must not contain control characters"),
        ({"addressLines": ["x" * 101]}, "addressLines[0] must have at most 100 characters, not 101"),
        ({"taxId": ""}, "taxId must not be blank"),
        ({"taxId": "9" * 51}, "taxId must have at most 50 characters, not 51"),
    ):
        assert await office.refusal("setCompanyDetails", key, **DETAILS | change) == ("BAD_USER_INPUT", message)
