"""Attribution, prices and authorizations as services send them: what is refused, and what the answers say."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import func, select

from db.attribution_tables import request_details
from tests.gateway.mutations.office import Office, brief, number_of, opened
from tests.gateway.mutations.test_metering import request
from tests.ledger.recompute import differences

_LIMITS = "recorded balance exceededLimits { apiKeyId amount spent reserved remaining }"


@pytest.mark.one_database
@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"apiKeyId": "k" * 129}, "requests[0].apiKeyId must have at most 128 characters, not 129"),
        ({"apiKeyId": ""}, "requests[0].apiKeyId must not be blank"),
        ({"project": "a\nb"}, "requests[0].project must not contain control characters"),
        ({"endUser": "u" * 129}, "requests[0].endUser must have at most 128 characters, not 129"),
        (
            {"cachedInputTokens": "901"},
            "requests[0].cachedInputTokens must not exceed inputTokens, of which they are a part",
        ),
        (
            {"reasoningTokens": "46"},
            "requests[0].reasoningTokens must not exceed outputTokens, of which they are a part",
        ),
        ({"units": "-1"}, "requests[0].units must not be negative"),
        ({"price": {"perCall": "-0.01"}}, "requests[0].price must not be negative"),
        (
            {"price": {"inputPerMillion": "1"}, "cost": "0.0009001"},
            "requests[0].cost must be 0.0009, which its price gives, not 0.0009001",
        ),
    ],
)
async def test_bad_attribution_and_prices_are_refused(office: Office, changed: dict[str, Any], said: str) -> None:
    account = await office.account("1.00")
    assert await office.refusal("recordUsage", accountId=account, requests=[request("a", **changed)]) == (
        "BAD_USER_INPUT",
        said,
    )


async def test_price_with_ten_fraction_digits_is_refused(office: Office) -> None:
    account = await office.account("1.00")
    requests = [request("a", cost=None, price={"inputPerMillion": "0.0000000001"})]
    code, said = await office.refusal("recordUsage", accountId=account, requests=requests)
    assert code == "BAD_USER_INPUT"
    assert "at most nine fraction digits" in said


async def test_cost_is_computed_from_all_parts_of_the_price(office: Office) -> None:
    account = await office.account("1.00")
    price = {
        "inputPerMillion": "2",
        "cachedInputPerMillion": "0.5",
        "outputPerMillion": "8",
        "reasoningPerMillion": "16",
        "perUnit": "0.01",
        "perCall": "0.001",
    }
    used = {"inputTokens": "1000", "cachedInputTokens": "400", "outputTokens": "100", "reasoningTokens": "40"}
    payload = await office.call(
        "recordUsage", accountId=account, requests=[request("a", cost=None, price=price, units="2.5", **used)]
    )
    # 600 × 2 + 400 × 0.5 + 60 × 8 + 40 × 16 per million, 2.5 units and one call.
    assert brief(payload) == [("GPU_USAGE", "-0.02852", "0.97148")]
    assert await differences(office.services.database) == []


async def test_answer_names_the_limits_that_usage_exceeded(office: Office) -> None:
    account = await office.account("1.00")
    for given in ({"amount": "0.10", "apiKeyId": "key-1"}, {"amount": "0.50"}):
        await office.call("setSpendLimit", accountId=account, window="TOTAL", **given)
    requests = [request("a", cost="0.11", apiKeyId="key-1"), request("b", cost="0.01", apiKeyId="key-2")]
    payload = await office.call("recordUsage", None, _LIMITS, accountId=account, requests=requests)
    assert payload["exceededLimits"] == [
        {"apiKeyId": "key-1", "amount": "0.10", "spent": "0.11", "reserved": "0.00", "remaining": "-0.01"}
    ]


async def test_limit_refuses_authorizations_and_holds_with_what_remains(office: Office) -> None:
    account = await office.account("10.00")
    limit = (await office.call("setSpendLimit", accountId=account, window="MONTH", amount="1.00"))["spendLimit"]["id"]
    await office.call("authorizeUsage", accountId=account, amount="0.40")
    period = {"periodStart": "2026-11-01T00:00:00Z", "periodEnd": "2026-11-01T01:00:00Z"}
    hold = {"refType": "GPU_INSTANCE", "refId": "1", **period}
    for name, given in {"authorizeUsage": {}, "openHold": hold}.items():
        answer = await office.answer(name, office.keys["service"], accountId=account, amount="0.61", **given)
        extensions = answer["errors"][0]["extensions"]
        assert extensions == {
            "code": "LIMIT_EXCEEDED",
            "limit": limit,
            "remaining": "0.60",
            "resetsAt": "2026-12-01T00:00:00.000000Z",
        }


async def test_authorization_of_another_account_is_not_found(office: Office) -> None:
    mine, other = await office.account("1.00"), await office.account("1.00")
    foreign = (await office.call("authorizeUsage", accountId=other, amount="1.00"))["authorization"]["id"]
    for authorization in (foreign, "auth_1", f"auth_{number_of(mine)}_9"):
        code, _ = await office.refusal(
            "recordUsage", accountId=mine, authorizationId=authorization, requests=[request("a", cost="0.10")]
        )
        assert code == "NOT_FOUND"


async def test_authorizations_are_listed_in_their_state(office: Office) -> None:
    account = await office.account("10.00")
    for amount, seconds in (("1.00", 60), ("2.00", 3_600), ("3.00", 3_600)):
        await office.call("authorizeUsage", accountId=account, amount=amount, ttlSeconds=seconds, apiKeyId="key-1")
    number = number_of(account)
    await office.call("releaseAuthorization", authorizationId=f"auth_{number}_3")
    office.now += timedelta(seconds=60)
    listed = """
        query ($id: ID!, $filter: AuthorizationFilter, $after: String) { account(id: $id) {
            available authorizations(first: 2, after: $after, filter: $filter) {
                nodes { id state } totalCount pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
            }
        } }
    """

    async def found(**given: Any) -> Any:
        return (await office.query(listed, id=account, **given))["account"]

    page = await found()
    assert page["available"] == "8.00"
    assert [one["state"] for one in page["authorizations"]["nodes"]] == ["RELEASED", "OPEN"]
    assert (page["authorizations"]["totalCount"], page["authorizations"]["pageInfo"]["hasNextPage"]) == ("3", True)
    rest = await found(after=page["authorizations"]["pageInfo"]["endCursor"])
    assert rest["authorizations"]["nodes"] == [{"id": f"auth_{number}_1", "state": "EXPIRED"}]
    for state, places in {"OPEN": [2], "EXPIRED": [1], "RELEASED": [3], "CAPTURED": []}.items():
        nodes = (await found(filter={"state": state, "apiKeyId": "key-1"}))["authorizations"]["nodes"]
        assert [one["id"] for one in nodes] == [f"auth_{number}_{place}" for place in places]
    # An authorization that was open when its cursor was given is not before the page once it is released.
    is_open = {"state": "OPEN"}
    cursor = (await found(filter=is_open))["authorizations"]["pageInfo"]["startCursor"]
    assert (await found(filter=is_open, after=cursor))["authorizations"]["pageInfo"]["hasPreviousPage"] is True
    await office.call("releaseAuthorization", authorizationId=f"auth_{number}_2")
    assert (await found(filter=is_open, after=cursor))["authorizations"]["pageInfo"]["hasPreviousPage"] is False
    node = "query ($id: ID!) { node(id: $id) { id ... on Authorization { state amount } } }"
    assert (await office.query(node, id=f"auth_{number}_1"))["node"] == {
        "id": f"auth_{number}_1",
        "state": "EXPIRED",
        "amount": "1.00",
    }
    other = await office.manager(await office.account())
    answer = await office.send(node, other, {"id": f"auth_{number}_1"})
    assert answer["errors"][0]["extensions"]["code"] == "NOT_FOUND"


async def test_volume_keeps_its_attribution(office: Office) -> None:
    account = await office.account("1.00")
    volume = {"accountId": account, "refType": "VOLUME", "refId": "v-1", "gib": 1, "pricePerGibDay": "0.01"}
    await office.call("setVolume", **volume, project="red")
    await office.call("setVolume", **volume | {"gib": 2})
    assert await office.refusal("setVolume", **volume, project="blue") == (
        "CONFLICT",
        "Cloud drive #v-1 was opened with another apiKeyId or project, which cannot be changed",
    )


async def test_no_requests_are_kept_where_the_operator_wants_none(database_url: str) -> None:
    async with opened(database_url, request_detail_days=0) as office:
        account = await office.account("1.00")
        await office.call("recordUsage", accountId=account, requests=[request("a")])
        async with office.services.database.snapshot() as snapshot:
            [(count,)] = await snapshot.rows(select(func.count()).select_from(request_details))
        assert count == 0
        assert await differences(office.services.database) == []
