"""Spend limits as users set, read and delete them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck
from hypothesis import given as generated
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from access.keys import KeyScope, NewKey
from db.spend_limits import limits_by_number
from ledger.limit_settings import MAX_LIMITS
from ledger.money import format_nanos
from tests.doses import dose
from tests.gateway.mutations.office import LIMIT, Office, number_of, opened
from tests.gateway.mutations.test_lifecycles import GPU, HOUR_OF_GPU
from tests.gateway.mutations.test_metering import request
from tests.ledger.desk import DAY, HOUR, START
from tests.limit_rows import authorization, change_limit, cost, insert_rows, limit
from tests.statements import watched

BAD = "BAD_USER_INPUT"
GIVEN = {"amount": "10.00", "window": "DAY"}
UNSPENT = {
    "apiKeyId": None,
    "project": None,
    "amount": "10.00",
    "window": "DAY",
    "spent": "0.00",
    "reserved": "0.00",
    "remaining": "10.00",
    "resetsAt": "2026-11-02T00:00:00.000000Z",
    "notifyAtPercent": [50, 80, 100],
    "createdAt": "2026-11-01T00:00:00.000000Z",
    "updatedAt": "2026-11-01T00:00:00.000000Z",
    "deletedAt": None,
}


@pytest.fixture
async def office(database_url: str) -> AsyncIterator[Office]:
    async with opened(database_url) as office:
        yield office


async def shown(office: Office, account: str, key: str | None = None) -> Any:
    query = f"query ($id: ID!) {{ account(id: $id) {{ spendLimits {{ {LIMIT} }} }} }}"
    return (await office.query(query, key, id=account))["account"]["spendLimits"]


async def have(office: Office, *rows: Any) -> None:
    await insert_rows(office.services.database, *rows)


async def test_a_limit_is_set_shown_changed_and_deleted(office: Office) -> None:
    account = await office.account("20.00")
    key, number = await office.manager(account), number_of(account)
    limit_id = f"limit_{number}_1"
    assert await shown(office, account) == []
    made = await office.call("setSpendLimit", key, **GIVEN, idempotencyKey="one")
    expected = {"id": limit_id, **UNSPENT}
    assert made == {"transactions": [], "balance": "20.00", "replayed": False, "spendLimit": expected}
    assert await shown(office, account, key) == [expected]
    office.now += HOUR
    changed = await office.call("setSpendLimit", key, amount="5", window="DAY", notifyAtPercent=[90, 10])
    now = "2026-11-01T01:00:00.000000Z"
    smaller = expected | {"amount": "5.00", "remaining": "5.00", "notifyAtPercent": [10, 90], "updatedAt": now}
    assert changed["spendLimit"] == smaller
    # The first call again changes nothing, and shows the limit as it is.
    again = await office.call("setSpendLimit", key, **GIVEN, idempotencyKey="one")
    assert again == {"transactions": [], "balance": "20.00", "replayed": True, "spendLimit": smaller}
    other = await office.answer("setSpendLimit", key, amount="11.00", window="DAY", idempotencyKey="one")
    assert other["errors"][0]["extensions"]["code"] == "IDEMPOTENCY_CONFLICT"
    deleted = await office.call("deleteSpendLimit", key, limitId=limit_id, idempotencyKey="gone")
    assert deleted["spendLimit"] == smaller | {"deletedAt": now}
    assert await shown(office, account) == []
    assert (await office.call("deleteSpendLimit", key, limitId=limit_id, idempotencyKey="gone"))["replayed"]
    refused = await office.refusal("deleteSpendLimit", key, limitId=limit_id)
    assert refused == ("CONFLICT", f"{limit_id} is already deleted")
    # A deleted limit is found by its id, and its number is not used again.
    node = f"query ($id: ID!) {{ node(id: $id) {{ ... on SpendLimit {{ {LIMIT} }} }} }}"
    assert (await office.query(node, key, id=limit_id))["node"] == deleted["spendLimit"]
    replaced = await office.call("setSpendLimit", key, **GIVEN)
    assert replaced["spendLimit"]["id"] == f"limit_{number}_2"
    again = await office.call("setSpendLimit", key, **GIVEN, idempotencyKey="one")
    assert (again["replayed"], again["spendLimit"]["id"]) == (True, f"limit_{number}_2")


async def test_there_is_one_limit_for_each_scope_and_window(office: Office) -> None:
    account = await office.account()
    key = await office.manager(account)
    scopes: list[dict[str, str]] = [
        {}, {"apiKeyId": "k"}, {"project": "p"}, {"apiKeyId": "k", "project": "p"}, {"apiKeyId": "p", "project": "k"},
    ]  # fmt: skip
    given = [{**scope, "window": window} for scope in scopes for window in ("DAY", "WEEK", "MONTH", "TOTAL")]
    ids = [(await office.call("setSpendLimit", key, **one, amount="1"))["spendLimit"]["id"] for one in given]
    assert len(set(ids)) == 20
    assert [(await office.call("setSpendLimit", key, **one, amount="2"))["spendLimit"]["id"] for one in given] == ids
    found = await shown(office, account)
    assert [(one["apiKeyId"], one["project"], one["window"]) for one in found] == [
        (one.get("apiKeyId"), one.get("project"), one["window"]) for one in given
    ]
    resets = [one["resetsAt"] and one["resetsAt"][:10] for one in found[:4]]
    # 1 November 2026 is a Sunday.
    assert resets == ["2026-11-02", "2026-11-02", "2026-12-01", None]


async def test_cost_since_the_start_of_the_window_counts(office: Office) -> None:
    account, other = await office.account(), await office.account()
    key, number = await office.manager(account), number_of(account)
    office.now = START + 11 * DAY + 5 * HOUR  # a Thursday
    await have(
        office,
        cost(number, office.now, 5, 2, api_key="k", project="p"),
        cost(number, office.now - 5 * HOUR, 10, api_key="k"),
        cost(number, office.now - 6 * HOUR, 100, project="p"),
        cost(number, office.now - 4 * DAY, 1_000),
        cost(number, office.now - 30 * DAY, 10_000, 20_000, api_key="k"),
        cost(number_of(other), office.now, 10**6),
    )
    spent = {
        ("DAY", None, None): "0.000000013",
        ("WEEK", None, None): "0.000000113",
        ("MONTH", None, None): "0.000001113",
        ("TOTAL", None, None): "-0.000008887",
        ("DAY", "k", None): "0.000000013",
        ("DAY", "k", "p"): "0.000000003",
        ("WEEK", None, "p"): "0.000000103",
        ("TOTAL", "k", None): "-0.000009987",
        ("TOTAL", "p", None): "0.00",
    }
    for (window, api_key, project), expected in spent.items():
        given = {"window": window, "apiKeyId": api_key, "project": project}
        made = await office.call("setSpendLimit", key, **given, amount="0.000001000")
        assert made["spendLimit"]["spent"] == expected, given
    # More is spent than the month's limit allows.
    found = [(one["window"], one["remaining"]) for one in await shown(office, account)]
    assert found[2:4] == [("MONTH", "-0.000000113"), ("TOTAL", "0.000009887")]


async def test_a_new_window_has_nothing_spent(office: Office) -> None:
    account = await office.account()
    number = number_of(account)
    await have(office, cost(number, START, 4 * 10**9))
    for window in ("DAY", "WEEK", "MONTH", "TOTAL"):
        await office.call("setSpendLimit", **GIVEN | {"window": window}, accountId=account)

    async def spent() -> list[tuple[str, str]]:
        return [(one["spent"], (one["resetsAt"] or "never")[:10]) for one in await shown(office, account)]

    assert await spent() == [("4.00", "2026-11-02"), ("4.00", "2026-11-02"), ("4.00", "2026-12-01"), ("4.00", "never")]
    office.now = START + DAY - timedelta(microseconds=1)
    assert [amount for amount, _ in await spent()] == ["4.00"] * 4
    office.now = START + DAY
    assert await spent() == [("0.00", "2026-11-03"), ("0.00", "2026-11-09"), ("4.00", "2026-12-01"), ("4.00", "never")]
    # Set again, a limit counts in the new window.
    made = await office.call("setSpendLimit", **GIVEN, accountId=account)
    assert made["spendLimit"]["spent"] == "0.00"


async def test_open_authorizations_count_as_reserved(office: Office) -> None:
    account, other = await office.account(), await office.account()
    number = number_of(account)
    for scope in ({}, {"apiKeyId": "k"}, {"project": "p"}, {"apiKeyId": "k", "project": "p"}):
        await office.call("setSpendLimit", **GIVEN | {"amount": "0.000001000"}, **scope, accountId=account)
    await have(
        office,
        authorization(number, 1, 1, api_key="k", project="p"),
        authorization(number, 2, 10, api_key="k"),
        authorization(number, 3, 100, project="p"),
        authorization(number, 4, 1_500, captured_nanos=500),
        authorization(number, 5, 5, captured_nanos=50),
        authorization(number, 6, 7, state="released"),
        authorization(number, 7, 7, state="captured", captured_nanos=6),
        authorization(number, 8, 7, expires_at=START),
        authorization(number_of(other), 1, 10**6),
    )
    found = [(one["reserved"], one["remaining"]) for one in await shown(office, account)]
    assert found == [
        ("0.000001111", "-0.000000111"),
        ("0.000000011", "0.000000989"),
        ("0.000000101", "0.000000899"),
        ("0.000000001", "0.000000999"),
    ]
    # What has timed out reserves nothing from that moment on.
    office.now = START + HOUR
    assert {one["reserved"] for one in await shown(office, account)} == {"0.00"}


async def test_the_limits_of_ten_accounts_take_no_more_statements(office: Office) -> None:
    accounts = [await office.account() for _ in range(10)]
    for account in accounts:
        number = number_of(account)
        await have(office, limit(number, 1, spent_nanos=number), limit(number, 2, api_key="k"))
        await have(office, authorization(number, 1, number * 10, api_key="k"))
    counts = []
    for wanted in (accounts[:1], accounts):
        fields = " ".join(
            f"a{index}: account(id: {one!r}) {{ spendLimits {{ spent reserved }} }}".replace("'", '"')
            for index, one in enumerate(wanted)
        )
        with watched(office.services.database) as sent:
            found = await office.query(f"{{ {fields} }}")
        counts.append(len(sent))
        for index, account in enumerate(wanted):
            number, limits = number_of(account), found[f"a{index}"]["spendLimits"]
            spent, reserved = format_nanos(number), format_nanos(number * 10)
            assert limits == [{"spent": spent, "reserved": reserved}, {"spent": "0.00", "reserved": reserved}]
    # The key, and one statement for the accounts, their limits and what is reserved.
    assert counts == [2, 2]


async def test_levels_that_are_reached_when_a_limit_is_set_do_not_notify(office: Office) -> None:
    account = await office.account()
    number = number_of(account)
    await have(office, cost(number, START, 8 * 10**9))
    reached = {"8.00": 100, "8.01": 80, "10.00": 80, "16.00": 50, "16.000000001": 0}
    for amount, percent in reached.items():
        await office.call("setSpendLimit", **GIVEN | {"amount": amount}, accountId=account)
        async with office.services.database.snapshot() as snapshot:
            rows = await snapshot.read(limits_by_number(snapshot.is_postgresql, [(number, 1)]))
        assert rows[number, 1].notified_percent == percent


async def test_changes_are_in_the_audit_list(office: Office) -> None:
    account = await office.account()
    number = number_of(account)
    given = {"apiKeyId": "k-1", "project": "p", "accountId": account}
    await office.call("setSpendLimit", **GIVEN, **given, idempotencyKey="one")
    await office.call("setSpendLimit", **GIVEN, **given, idempotencyKey="one")
    manager = await office.manager(account)
    await office.call("setSpendLimit", manager, **GIVEN | {"amount": "12"}, apiKeyId="k-1", project="p")
    await office.call("deleteSpendLimit", limitId=f"limit_{number}_1")
    chosen = "act actor account { id } description oldValue newValue"
    found = await office.query(f"{{ auditEntries {{ nodes {{ {chosen} }} }} }}")
    operator = office.keys["operator"][:12]
    entries = [one for one in found["auditEntries"]["nodes"] if one["act"].endswith("SpendLimit")]
    notifies = ", notifies at 50 %, 80 %, 100 %"
    assert [tuple(one.values()) for one in entries] == [
        (act, actor, {"id": account}, f"limit_{number}_1: {amount}, day, API key k-1, project p", old, new)
        for act, actor, amount, old, new in (
            ("deleteSpendLimit", operator, "12.00", f"12.00{notifies}", None),
            ("setSpendLimit", manager[:12], "12.00", f"10.00{notifies}", f"12.00{notifies}"),
            ("setSpendLimit", operator, "10.00", None, f"10.00{notifies}"),
        )
    ]


async def test_an_account_has_a_maximum_number_of_limits(office: Office) -> None:
    account = await office.account()
    number = number_of(account)
    await have(office, *(limit(number, one, api_key=f"k{one}") for one in range(1, MAX_LIMITS + 1)))
    refused = await office.refusal("setSpendLimit", **GIVEN, accountId=account)
    assert refused == ("CONFLICT", "the account has 100 spend limits, and at most 100 are allowed")
    # One that exists can be changed, and one that is deleted makes room.
    await office.call("setSpendLimit", amount="1", window="MONTH", apiKeyId="k7", accountId=account)
    await office.call("deleteSpendLimit", limitId=f"limit_{number}_7")
    made = await office.call("setSpendLimit", **GIVEN, accountId=account)
    assert made["spendLimit"]["id"] == f"limit_{number}_101"
    assert len(await shown(office, account)) == 100


@pytest.mark.one_database
@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        ({"amount": "0.00"}, BAD, "amount must be above zero, not 0.00"),
        ({"amount": "-0.01"}, BAD, "amount must be above zero, not -0.01"),
        ({"amount": "0.0000000001"}, BAD, "at most nine fraction digits"),
        ({"window": "HOUR"}, BAD, "HOUR"),
        ({"apiKeyId": ""}, BAD, "apiKeyId must not be blank"),
        ({"apiKeyId": "x" * 129}, BAD, "apiKeyId must have at most 128 characters, not 129"),
        ({"project": "a\nb"}, BAD, "project must not contain control characters"),
        ({"notifyAtPercent": [0]}, BAD, "notifyAtPercent must have percentages of 1 to 100, not 0"),
        ({"notifyAtPercent": [50, 101]}, BAD, "notifyAtPercent must have percentages of 1 to 100, not 101"),
        ({"notifyAtPercent": [50, 80, 50]}, BAD, "notifyAtPercent must not have a percentage twice"),
        ({"notifyAtPercent": list(range(1, 12))}, BAD, "notifyAtPercent must have at most 10 percentages, not 11"),
        ({"accountId": "acct_2"}, "NOT_FOUND", "there is no such account"),
        ({"idempotencyKey": "x" * 256}, BAD, "idempotencyKey must have at most 255 characters"),
    ],
)
async def test_bad_input(office: Office, given: dict[str, Any], code: str, said: str) -> None:
    key = await office.manager(await office.account())
    await office.account()
    refused = await office.refusal("setSpendLimit", key, **(GIVEN | given))
    assert (refused[0], said in refused[1]) == (code, True), refused


@pytest.mark.parametrize("levels", [[], [100], None], ids=["none", "one", "null"])
async def test_levels_are_kept(office: Office, levels: list[int] | None) -> None:
    account = await office.account()
    made = await office.call("setSpendLimit", **GIVEN, accountId=account, notifyAtPercent=levels)
    assert made["spendLimit"]["notifyAtPercent"] == ([50, 80, 100] if levels is None else levels)


@pytest.mark.parametrize("limit_id", ["limit_1_2", "limit_2_1", "limit_1_0", "limit_01_1", "acct_1", "", "limit_9_9"])
async def test_limits_that_are_not_the_key_s_are_not_found(office: Office, limit_id: str) -> None:
    mine, other = await office.account(), await office.account()
    for account in (mine, other):
        await office.call("setSpendLimit", **GIVEN, accountId=account)
    key = await office.manager(mine)
    refused = await office.refusal("deleteSpendLimit", key, limitId=limit_id)
    assert refused == ("NOT_FOUND", "there is no such spend limit")
    found = await office.send("query ($id: ID!) { node(id: $id) { id } }", key, {"id": limit_id})
    assert (found["data"]["node"] is None) == (limit_id != "acct_1" or mine != "acct_1")


async def test_services_and_readers_see_limits(office: Office) -> None:
    account = await office.account()
    await office.call("setSpendLimit", **GIVEN, accountId=account)
    for scope, number in ((KeyScope.READ, number_of(account)), (KeyScope.SERVICE, None)):
        key = await office.key(NewKey(scope, "tests", number))
        assert [one["amount"] for one in await shown(office, account, key)] == ["10.00"]


async def test_a_key_that_was_revoked_sets_nothing(database_url: str) -> None:
    async with opened(database_url, key_cache_seconds=60) as office:
        key = await office.manager(await office.account())
        await office.query("{ viewer { scope } }", key)
        await office.call("revokeApiKey", prefix=key[:12])
        assert (await office.refusal("setSpendLimit", key, **GIVEN))[0] == "UNAUTHENTICATED"


async def test_the_window_is_that_of_the_newest_row_if_the_clock_is_behind_it(office: Office) -> None:
    """The next row has its time at least."""
    account = await office.account("1.00")
    office.now = START - HOUR
    await office.call("setSpendLimit", **GIVEN, accountId=account)
    (found,) = await shown(office, account)
    assert found["resetsAt"] == "2026-11-01T00:00:00.000000Z"
    await change_limit(office.services.database, number_of(account), 1, spent_nanos=5)
    office.now = START
    (found,) = await shown(office, account)
    assert found["spent"] == "0.000000005"


async def test_spending_and_reservations_of_services_count_at_once(office: Office) -> None:
    account = await office.account("100.00")
    of_account = {"accountId": account}
    for scope in ({}, {"apiKeyId": "k"}, {"project": "p"}):
        await office.call("setSpendLimit", **GIVEN, **of_account, **scope)

    async def figures() -> list[tuple[str, str, str]]:
        return [(one["spent"], one["reserved"], one["remaining"]) for one in await shown(office, account)]

    usage = [request("a", cost="1.00", apiKeyId="k", project="p"), request("b", cost="0.50", apiKeyId="k")]
    await office.call("recordUsage", **of_account, requests=usage)
    assert await figures() == [("1.50", "0.00", "8.50"), ("1.50", "0.00", "8.50"), ("1.00", "0.00", "9.00")]
    await office.call("openHold", **of_account, **GPU, **HOUR_OF_GPU, amount="4.00", project="p")
    selection = "authorization { id }"
    await office.call("authorizeUsage", None, selection, **of_account, amount="2.00", apiKeyId="k", ttlSeconds=60)
    assert await figures() == [("5.50", "2.00", "2.50"), ("1.50", "2.00", "6.50"), ("5.00", "0.00", "5.00")]
    # Beyond the limit nothing is opened or authorized. The limit that allows least is named.
    hold = {**of_account, **GPU, **HOUR_OF_GPU, "refId": "133", "amount": "2.51"}
    answer = await office.answer("openHold", office.keys["service"], **hold)
    assert answer["errors"][0]["extensions"] == {
        "code": "LIMIT_EXCEEDED",
        "limit": f"limit_{number_of(account)}_1",
        "remaining": "2.50",
        "resetsAt": "2026-11-02T00:00:00.000000Z",
    }
    # What was used is owed all the same, and a settlement gives back what was held.
    await office.call("recordUsage", **of_account, requests=[request("c", cost="9.00")])
    assert (await figures())[0] == ("14.50", "2.00", "-6.50")
    office.now += HOUR
    await office.call("settleHold", **of_account, **GPU, used="1.00")
    assert await figures() == [("11.50", "0.00", "-1.50"), ("1.50", "0.00", "8.50"), ("2.00", "0.00", "8.00")]
    # A limit that is raised lets the next hold pass.
    await office.call("setSpendLimit", **GIVEN | {"amount": "20.00"}, **of_account)
    await office.call("openHold", **hold)
    assert (await figures())[0] == ("14.01", "0.00", "5.99")
    # The next day begins with nothing spent.
    office.now = START + DAY
    assert await figures() == [("0.00", "0.00", "20.00"), ("0.00", "0.00", "10.00"), ("0.00", "0.00", "10.00")]


async def test_a_limit_that_is_set_while_others_spend_misses_nothing(office: Office) -> None:
    account = await office.account("100.00")
    amounts = [f"{number}.00" for number in range(1, 7)]

    async def spend(number: int) -> None:
        usage = [request(f"r{number}", cost="0.01", apiKeyId=f"k{number % 2}")]
        await office.call("recordUsage", None, "balance", accountId=account, requests=usage)

    async def limit_to(amount: str) -> None:
        for scope in ({}, {"apiKeyId": "k1"}):
            await office.call("setSpendLimit", accountId=account, amount=amount, window="MONTH", **scope)

    await asyncio.gather(*map(spend, range(40)), *map(limit_to, amounts))
    kept = {one["apiKeyId"]: one["spent"] for one in await shown(office, account)}
    assert kept == {None: "0.40", "k1": "0.20"}


async def test_a_deleted_limit_limits_nothing(office: Office) -> None:
    account = await office.account("100.00")
    made = await office.call("setSpendLimit", **GIVEN, accountId=account)
    hold = {"accountId": account, **GPU, **HOUR_OF_GPU, "amount": "10.01"}
    assert (await office.refusal("openHold", **hold))[0] == "LIMIT_EXCEEDED"
    await office.call("deleteSpendLimit", limitId=made["spendLimit"]["id"])
    await office.call("openHold", **hold)


SPENDING = st.lists(
    st.tuples(st.sampled_from(["k", "j", None]), st.sampled_from(["p", None]), st.integers(1, 9), st.integers(0, 40)),
    min_size=1,
    max_size=10,
)


@hypothesis_settings(
    max_examples=dose(3, 6), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@generated(spending=SPENDING)
async def test_a_new_limit_finds_the_figures_that_posting_stored(
    office: Office, spending: list[tuple[str | None, str | None, int, int]]
) -> None:
    """Two ways to the same figure: added up row by row, and summed up from the hours."""
    office.now = START
    account = await office.account()
    scopes: list[dict[str, str]] = [{}, {"apiKeyId": "k"}, {"project": "p"}, {"apiKeyId": "k", "project": "p"}]
    given = [{**scope, "window": window} for scope in scopes for window in ("DAY", "WEEK", "MONTH", "TOTAL")]
    for one in given:
        await office.call("setSpendLimit", accountId=account, amount="0.01", **one)
    for number, (api_key, project, nanos, hours) in enumerate(spending):
        office.now += hours * HOUR
        who = {"apiKeyId": api_key, "project": project}
        usage = [request(f"r{number}", cost=format_nanos(nanos), **who)]
        await office.call("recordUsage", accountId=account, requests=usage)
    kept = [one["spent"] for one in await shown(office, account)]
    found = [(await office.call("setSpendLimit", accountId=account, amount="1", **one))["spendLimit"] for one in given]
    assert kept == [one["spent"] for one in found]
