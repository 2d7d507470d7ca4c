"""Totals by hour of what was recorded over the API: usage, holds and storage."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from access.keys import KeyScope, NewKey
from tests.gateway.mutations.office import Office, number_of

USAGE: Final = """
    query ($id: ID, $by: [UsageDimension!], $filter: UsageTotalsFilter, $zone: String, $first: Int, $after: String) {
      account(id: $id) {
        usageTotals(groupBy: $by, filter: $filter, timeZone: $zone, first: $first, after: $after) {
          edges { cursor }
          nodes { hour day week month model category origin apiKeyId project calls inputTokens cachedInputTokens
                  outputTokens reasoningTokens tokens units cost shareOfCost }
          pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
          totalCount
          totals { calls inputTokens cachedInputTokens outputTokens reasoningTokens tokens units cost }
          from to timeZone completeUntil isOpen undividedDays
        }
        usage { totals { calls inputTokens outputTokens tokens cost } }
      }
    }
"""
COSTS: Final = """
    query ($id: ID, $by: [CostDimension!], $filter: CostFilter, $zone: String) {
      account(id: $id) {
        costTotals(groupBy: $by, filter: $filter, timeZone: $zone) {
          nodes { hour day week month kind refType refId apiKeyId project gross refunded cost shareOfCost }
          totalCount
          totals { gross refunded cost }
          from to timeZone completeUntil isOpen
          usageDifference { usageCost charged difference imported shifted }
        }
        monthlySummary { grossCost refunded totalCost }
      }
    }
"""


def _request(name: str, at: str, cost: str, **more: Any) -> dict[str, Any]:
    made = {"id": name, "at": at, "model": "m", "category": "CHAT", "cost": cost, "inputTokens": "20"}
    return made | {"outputTokens": "10", **more}


def _given(groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Returns the values that are not null."""
    return [{name: value for name, value in group.items() if value is not None} for group in groups]


async def _usage(office: Office, **variables: Any) -> Any:
    return (await office.query(USAGE, **variables))["account"]["usageTotals"]


async def test_recorded_usage_is_added_up_by_day_and_key(office: Office) -> None:
    office.now = datetime(2026, 11, 3, tzinfo=UTC)
    account = await office.account("1.00")
    requests = [
        _request("a", "2026-11-01T06:30:00Z", "0.30", apiKeyId="k1", cachedInputTokens="5", reasoningTokens="2"),
        _request("b", "2026-11-01T07:00:00Z", "0.10", apiKeyId="k1", project="p"),
        _request("c", "2026-10-31T12:00:00Z", "0.20", category="IMAGE", units="1.5"),
    ]
    await office.call("recordUsage", accountId=account, requests=requests)
    found = (await office.query(USAGE, id=account, by=["DAY", "API_KEY"]))["account"]
    totals = found["usageTotals"]
    of_key = {"calls": "2", "inputTokens": "40", "cachedInputTokens": "5", "outputTokens": "20", "reasoningTokens": "2"}
    of_key |= {"tokens": "60", "units": "0.00", "cost": "0.40", "shareOfCost": "0.666667"}
    other = {"calls": "1", "inputTokens": "20", "cachedInputTokens": "0", "outputTokens": "10", "reasoningTokens": "0"}
    other |= {"tokens": "30", "units": "1.50", "cost": "0.20", "shareOfCost": "0.333333"}
    assert _given(totals["nodes"]) == [
        {"day": "2026-11-01", "apiKeyId": "k1", **of_key},
        {"day": "2026-10-31", **other},
    ]
    sums = {"calls": "3", "inputTokens": "60", "cachedInputTokens": "5", "outputTokens": "30", "reasoningTokens": "2"}
    assert totals["totals"] == sums | {"tokens": "90", "units": "1.50", "cost": "0.60"}
    assert found["usage"]["totals"].items() <= totals["totals"].items()
    window = ("totalCount", "from", "to", "timeZone", "completeUntil", "isOpen", "undividedDays")
    assert [totals[name] for name in window] == ["2", None, None, "UTC", None, True, []]


async def test_a_day_of_a_time_zone_is_complete_once_its_services_say_so(office: Office) -> None:
    office.now = datetime(2026, 11, 3, tzinfo=UTC)
    account = await office.account("1.00")
    times = ("2026-11-01T06:59:59Z", "2026-11-01T07:00:00Z", "2026-11-02T07:59:59Z", "2026-11-02T08:00:00Z")
    requests = [_request(f"r{number}", at, f"0.0{number + 1}") for number, at in enumerate(times)]
    await office.call("recordUsage", accountId=account, requests=requests)
    await office.call("markUsageComplete", accountId=account, service="router", until="2026-11-02T08:00:00Z")
    day = {"day": {"gte": "2026-11-01", "lt": "2026-11-02"}}
    variables: dict[str, Any] = {"id": account, "filter": day, "zone": "America/Los_Angeles"}
    whole = (await office.query(USAGE, **variables))["account"]["usageTotals"]
    assert (whole["totals"]["calls"], whole["totals"]["cost"], whole["isOpen"]) == ("2", "0.05", False)
    assert (whole["from"], whole["to"]) == ("2026-11-01T07:00:00.000000Z", "2026-11-02T08:00:00.000000Z")
    assert (whole["timeZone"], whole["completeUntil"]) == ("America/Los_Angeles", "2026-11-02T08:00:00.000000Z")
    by_hour = (await office.query(USAGE, by=["HOUR"], **variables))["account"]["usageTotals"]
    hours = ["2026-11-02T07:00:00.000000Z", "2026-11-01T07:00:00.000000Z"]
    assert [node["hour"] for node in by_hour["nodes"]] == hours


async def test_pages_of_groups_follow_each_other(office: Office) -> None:
    office.now = datetime(2026, 11, 3, tzinfo=UTC)
    account = await office.account("1.00")
    requests = [
        _request(f"r{number}", f"2026-11-0{number % 2 + 1}T12:00:00Z", "0.01", model=f"m{number}")
        for number in range(5)
    ]
    await office.call("recordUsage", accountId=account, requests=requests)
    found, after = [], None
    for more in (True, True, False):
        variables: dict[str, Any] = {"id": account, "by": ["MODEL", "WEEK"], "first": 2, "after": after}
        page = (await office.query(USAGE, **variables))["account"]["usageTotals"]
        assert page["pageInfo"]["hasNextPage"] is more
        assert page["pageInfo"]["hasPreviousPage"] is (after is not None)
        assert page["edges"][-1]["cursor"] == page["pageInfo"]["endCursor"]
        after = page["pageInfo"]["endCursor"]
        found += [(node["week"], node["model"]) for node in page["nodes"]]
    first_week = [("2026-10-26", f"m{number}") for number in (0, 2, 4)]
    assert found == [*(("2026-11-02", f"m{number}") for number in (1, 3)), *first_week]


async def test_cost_is_that_of_the_ledger(office: Office) -> None:
    """A hold that is partly returned, storage, and usage of which some belongs to another day."""
    office.now = datetime(2026, 11, 2, 12, tzinfo=UTC)
    account = await office.account("100.00")
    period = {"periodStart": "2026-11-02T12:00:00Z", "periodEnd": "2026-11-02T22:00:00Z"}
    hold = {"accountId": account, "refType": "GPU_INSTANCE", "refId": "i-1"}
    await office.call("openHold", **hold, amount="10.00", apiKeyId="k1", project="p", **period)
    office.now += timedelta(hours=13)
    await office.call("settleHold", **hold, used="4.00")
    requests = [
        _request("a", "2026-11-02T12:00:00Z", "0.30", apiKeyId="k1"),
        _request("b", "2026-11-03T00:00:00Z", "0.20"),
    ]
    await office.call("recordUsage", accountId=account, requests=requests)
    found = (await office.query(COSTS, id=account, by=["DAY", "RESOURCE", "API_KEY"]))["account"]
    totals = found["costTotals"]
    names = ("day", "refType", "refId", "apiKeyId", "gross", "refunded", "cost")
    assert [tuple(node[name] for name in names) for node in totals["nodes"]] == [
        ("2026-11-03", "API_USAGE", None, "k1", "0.30", "0.00", "0.30"),
        ("2026-11-03", "API_USAGE", None, None, "0.20", "0.00", "0.20"),
        ("2026-11-03", "GPU_INSTANCE", "i-1", "k1", "0.00", "6.00", "-6.00"),
        ("2026-11-02", "GPU_INSTANCE", "i-1", "k1", "10.00", "0.00", "10.00"),
    ]
    assert list(totals["totals"].values()) == list(found["monthlySummary"].values()) == ["10.50", "6.00", "4.50"]
    assert list(totals["usageDifference"].values()) == ["0.50", "0.50", "0.00", "0.00", "0.00"]
    one_day: dict[str, Any] = {"filter": {"day": {"gte": "2026-11-02", "lt": "2026-11-03"}}}
    day = (await office.query(COSTS, id=account, by=["KIND", "PROJECT"], **one_day))["account"]["costTotals"]
    assert [(node["kind"], node["project"], node["cost"]) for node in day["nodes"]] == [("GPU_INSTANCE", "p", "10.00")]
    assert list(day["usageDifference"].values()) == ["0.30", "0.00", "0.30", "0.00", "0.30"]
    assert (day["isOpen"], totals["isOpen"]) == (False, True)


@pytest.mark.one_database
@pytest.mark.parametrize(
    ("variables", "code", "message"),
    [
        ({"zone": "Asia/Kolkata", "filter": {"day": {"gte": "2026-11-01"}}}, "BAD_USER_INPUT", "+05:30"),
        ({"zone": "nowhere"}, "BAD_USER_INPUT", "IANA"),
        ({"by": ["DAY", "MODEL", "ORIGIN", "API_KEY", "PROJECT"]}, "BAD_USER_INPUT", "at most 4 dimensions, not 5"),
        ({"by": ["DAY", "MONTH"]}, "BAD_USER_INPUT", "at most one of HOUR, DAY, WEEK and MONTH"),
        ({"first": 1001}, "BAD_USER_INPUT", "first must be between 1 and 1000"),
        ({"after": "nothing"}, "BAD_CURSOR", "after is not a cursor of this API"),
    ],
)
async def test_invalid_arguments_are_refused(
    office: Office, variables: dict[str, Any], code: str, message: str
) -> None:
    account = await office.account()
    answer = await office.send(USAGE, office.keys["operator"], {"id": account, **variables})
    (error,) = answer["errors"]
    assert error["extensions"]["code"] == code
    assert message in error["message"]
    assert error["path"] == ["account", "usageTotals"]


async def test_totals_are_of_the_key_s_own_account(office: Office) -> None:
    account, other = await office.account("1.00"), await office.account("1.00")
    await office.call("recordUsage", accountId=other, requests=[_request("a", "2026-10-31T12:00:00Z", "0.30")])
    key = await office.key(NewKey(KeyScope.READ, "tests", number_of(account)))
    assert (await office.query(USAGE, key))["account"]["usageTotals"]["totalCount"] == "0"
    answer = await office.send(USAGE, key, {"id": other})
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["NOT_FOUND"]
