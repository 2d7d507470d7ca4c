"""Usage as it happens: each request is counted and charged once, with one row a batch."""

from __future__ import annotations

import asyncio
from datetime import date
from io import BytesIO
from typing import Any

from db.rows import UsageDayRow
from db.usage_writes import FedDay, put_usage_days
from ledger.imports.importer import Importer
from ledger.imports.options import ImportOptions
from ledger.imports.sources import Source
from ledger.prices import Prices
from tests.gateway.mutations.office import Office, brief, number_of, opened
from tests.ledger.recompute import differences

USAGE = """
    query ($id: ID!) { account(id: $id) {
        usage { nodes { day model category origin calls inputTokens outputTokens cost } }
        monthlySummary { totalCost apiCalls userInferenceCalls totalTokens }
    } }
"""


def request(name: str, **changed: Any) -> dict[str, Any]:
    made = {"id": name, "at": "2026-10-31T23:59:59.5Z", "model": "m-large", "category": "CHAT", "cost": "0.000000135"}
    return made | {"inputTokens": "900", "outputTokens": 45} | changed


async def test_a_batch_is_one_row_and_its_days(office: Office) -> None:
    account = await office.account("1.00")
    requests = [
        request("a"),
        request("b", at="2026-11-01T01:00:00+01:00"),
        request("c", model="flux", category="IMAGE", cost="0.003", inputTokens="0", outputTokens="0"),
        request("d", origin="USER_INFERENCE", cost="0"),
    ]
    payload = await office.call("recordUsage", accountId=account, requests=requests, batchId="batch-1")
    assert (payload["recorded"], payload["balance"]) == (4, "0.99699973")
    (row,) = payload["transactions"]
    assert brief(payload) == [("GPU_USAGE", "-0.00300027", "0.99699973")]
    assert (row["source"], row["refType"], row["refId"]) == ("METERING", "API_USAGE", "batch-1")
    assert row["description"] == "API usage of 2 models: 4 calls, 2,700 in + 135 out tokens"
    assert (row["periodStart"], row["periodEnd"]) == ("2026-10-31T23:59:59.500000Z", "2026-11-01T00:00:00.000001Z")
    found = (await office.query(USAGE, id=account))["account"]
    assert [tuple(one.values()) for one in found["usage"]["nodes"]] == [
        ("2026-11-01", "m-large", "CHAT", "PLATFORM", "1", "900", "45", "0.000000135"),
        ("2026-10-31", "m-large", "CHAT", "USER_INFERENCE", "1", "900", "45", "0.00"),
        ("2026-10-31", "m-large", "CHAT", "PLATFORM", "1", "900", "45", "0.000000135"),
        ("2026-10-31", "flux", "IMAGE", "PLATFORM", "1", "0", "0", "0.003"),
    ]
    # The row counts in the month that it was recorded in, each call in that of its own time.
    assert list(found["monthlySummary"].values()) == ["0.00300027", "1", "0", "945"]
    assert await differences(office.services.database) == []


async def test_a_request_counts_once_in_whatever_batch_it_comes(office: Office) -> None:
    account = await office.account("1.00")
    first: dict[str, Any] = {
        "accountId": account,
        "requests": [request("a"), request("b"), request("a")],
        "idempotencyKey": "first",
    }
    told = await office.call("recordUsage", **first)
    assert (told["recorded"], brief(told)) == (2, [("GPU_USAGE", "-0.00000027", "0.99999973")])
    assert told["transactions"][0]["refId"] == "first"
    second = await office.call("recordUsage", accountId=account, requests=[request("b"), request("c")])
    assert (second["recorded"], brief(second)) == (1, [("GPU_USAGE", "-0.000000135", "0.999999595")])
    assert second["transactions"][0]["description"] == "API usage m-large: 1 call, 900 in + 45 out tokens"
    known = await office.call("recordUsage", accountId=account, requests=[request("c", cost="5")])
    assert (known["recorded"], known["transactions"], known["balance"]) == (0, [], "0.999999595")
    assert await office.call("recordUsage", **first) == told | {"replayed": True}
    other = await office.account("1.00")
    assert (await office.call("recordUsage", accountId=other, requests=[request("a")]))["recorded"] == 1


async def test_free_requests_are_counted_and_write_no_row(office: Office) -> None:
    account = await office.account()
    free: dict[str, Any] = {"accountId": account, "requests": [request("a", cost="0")], "idempotencyKey": "free"}
    told = await office.call("recordUsage", **free)
    assert (told["recorded"], told["transactions"], told["balance"]) == (1, [], "0.00")
    await office.call("grantBonus", accountId=account, amount="5", promotion="later")
    assert await office.call("recordUsage", **free) == told | {"replayed": True}


async def test_usage_is_owed_below_zero(office: Office) -> None:
    account = await office.account("1.00")
    told = await office.call("recordUsage", accountId=account, requests=[request("a", cost="1.5")], description="Owed")
    assert (told["balance"], told["transactions"][0]["description"]) == ("-0.50", "Owed")


async def test_batches_that_overlap_count_each_request_once_though_sent_at_once(
    office: Office, database_url: str
) -> None:
    account = await office.account("1.00")
    batches = [[request(str(number)) for number in range(start, start + 10)] for start in range(0, 40, 2)]
    async with opened(database_url) as other:
        payloads = await asyncio.gather(
            *(
                (office, other)[number % 2].call(
                    "recordUsage", office.keys["service"], accountId=account, requests=batch, idempotencyKey=str(number)
                )
                for number, batch in enumerate(batches)
            )
        )
    assert sum(payload["recorded"] for payload in payloads) == 48
    (day,) = (await office.query(USAGE, id=account))["account"]["usage"]["nodes"]
    assert (day["calls"], day["cost"]) == ("48", "0.00000648")
    rows = (await office.transactions(account))[1:]
    assert rows[-1]["balanceAfter"] == "0.99999352"
    assert await differences(office.services.database) == []


async def test_the_largest_batch(office: Office) -> None:
    account = await office.account("1.00")
    requests = [request("x" * 190 + str(number)) for number in range(1_000)]
    told = await office.call("recordUsage", accountId=account, requests=requests)
    assert (told["recorded"], told["balance"]) == (1_000, "0.999865")


async def test_usage_that_is_refused(office: Office) -> None:
    account = await office.account("1.00")
    async with office.services.database.write() as connection:
        key = number_of(account), date(2026, 10, 30), "m-large", "chat", "platform"
        await put_usage_days(connection, [FedDay(UsageDayRow(*key, 1, 1, 1, 1), "rollup")])
    good = request("good")
    for requests, code, message in (
        ([], "BAD_USER_INPUT", "requests must have 1 to 1000 elements, not 0"),
        ([good] * 1_001, "BAD_USER_INPUT", "requests must have 1 to 1000 elements, not 1001"),
        ([good, request("a", at="2026-11-01T00:05:00.000001Z")], "BAD_USER_INPUT", "requests[1].at must be at most"),
        ([request("a", at="1969-12-31T23:59:59Z")], "BAD_USER_INPUT", "requests[0].at must not be before 1970"),
        ([request("a", at="2026-11-01")], "BAD_USER_INPUT", "a DateTime must be RFC 3339 with a zone"),
        ([request("")], "BAD_USER_INPUT", "requests[0].id must not be blank"),
        ([request("x" * 256)], "BAD_USER_INPUT", "requests[0].id must have at most 255 characters"),
        ([request("a", model=" ")], "BAD_USER_INPUT", "requests[0].model must not be blank"),
        ([request("a", category="TEXT")], "BAD_USER_INPUT", "does not exist in 'UsageCategory' enum"),
        ([request("a", cost="-0.01")], "BAD_USER_INPUT", "requests[0].cost must not be negative"),
        ([request("a", cost=0.01)], "BAD_USER_INPUT", "not float"),
        ([request("a", cost="0.0000000001")], "BAD_USER_INPUT", "at most nine fraction digits"),
        ([request("a", inputTokens="-1")], "BAD_USER_INPUT", "requests[0].inputTokens must not be negative"),
        ([request("a", outputTokens=1.5)], "BAD_USER_INPUT", "a BigInt must be a 64-bit integer"),
        ([request("a", cost="9e9")], "BAD_USER_INPUT", "at most nine fraction digits"),
        ([request(name, cost="9000000000") for name in "ab"], "BAD_USER_INPUT", "exceeds the"),
        ([request(name, inputTokens=str(2**63 - 1)) for name in "ab"], "BAD_USER_INPUT", "exceeds the 64-bit range"),
        (
            [good, request("a", at="2026-10-30T12:00:00Z")],
            "CONFLICT",
            "a rollup already has the usage of m-large on 2026-10-30: requests[1] cannot be added to it",
        ),
    ):
        found, text = await office.refusal("recordUsage", accountId=account, requests=requests)
        assert (found, message in text) == (code, True), text
    call: dict[str, Any] = {"accountId": account, "requests": [good], "idempotencyKey": "mine"}
    await office.call("recordUsage", **call, batchId="b")
    for changed in ({}, {"batchId": "c"}, {"batchId": "b", "requests": [good, request("more")]}):
        assert (await office.refusal("recordUsage", **call | changed))[0] == "IDEMPOTENCY_CONFLICT"
    assert (await office.refusal("recordUsage", accountId=account, requests=[request("a")], batchId="x" * 201))[0] == (
        "BAD_USER_INPUT"
    )


async def test_a_bonus(office: Office) -> None:
    account = await office.account()
    call: dict[str, Any] = {"accountId": account, "amount": "50", "promotion": "summer-2026", "idempotencyKey": "mine"}
    told = await office.call("grantBonus", **call)
    (row,) = told["transactions"]
    assert brief(told) == [("BONUS", "50.00", "50.00")]
    assert (row["source"], row["refType"], row["refId"]) == ("PROMOTION", "PROMOTION", "summer-2026")
    assert row["description"] == "Promotion summer-2026: $50.00 of credit"
    assert await office.call("grantBonus", **call) == told | {"replayed": True}
    for changed, code in (
        ({"amount": "51"}, "IDEMPOTENCY_CONFLICT"),
        ({"description": "Promotion summer-2026: $50.00 of credit"}, "IDEMPOTENCY_CONFLICT"),
        ({"amount": "0", "idempotencyKey": "other"}, "BAD_USER_INPUT"),
        ({"amount": "-5", "idempotencyKey": "other"}, "BAD_USER_INPUT"),
        ({"promotion": "", "idempotencyKey": "other"}, "BAD_USER_INPUT"),
        ({"accountId": "acct_99", "idempotencyKey": "other"}, "NOT_FOUND"),
    ):
        assert (await office.refusal("grantBonus", **call | changed))[0] == code


async def test_totals_beyond_64_bits_are_exact_and_keep_the_page(office: Office) -> None:
    account = await office.account("1.00")
    most = 2**63 - 1
    days = [
        FedDay(
            UsageDayRow(number_of(account), date(2026, 10, day), "m", "chat", "platform", most, most, most, most),
            "rollup",
        )
        for day in (1, 2, 3)
    ]
    async with office.services.database.write() as connection:
        await put_usage_days(connection, days)
    query = "query ($id: ID!) { account(id: $id) { balance usage { totals { calls tokens cost } nodes { tokens } } } }"
    assert (await office.query(query, id=account))["account"] == {
        "balance": "1.00",
        "usage": {
            "totals": {"calls": str(3 * most), "tokens": str(6 * most), "cost": "27670116110.564327421"},
            "nodes": [{"tokens": str(2 * most)}] * 3,
        },
    }


async def test_calls_and_an_import_of_the_same_day_at_once_count_each_request_once(office: Office) -> None:
    account = await office.account("1.00")
    name = "timestamp,account,model,category,input_tokens,output_tokens,cost,request_id"
    lines = [f"2026-10-31T23:59:59.5Z,{account},m-large,chat,900,45,0.1,imported-{number}" for number in range(40)]

    async def imported(part: int) -> None:
        file = BytesIO("\n".join([name, *lines[part::4]]).encode())
        importer = Importer(office.services.database, ImportOptions(), Prices(), office.clock)
        assert (await importer.run([Source("log.csv", file)])).refused == 0

    async def recorded(number: int) -> None:
        requests = [request(f"r-{number}", cost="0.001"), request(f"imported-{number}", cost="0.1")]
        await office.call("recordUsage", accountId=account, requests=requests)

    await asyncio.gather(*(recorded(number) for number in range(40)), *(imported(part) for part in range(4)))
    (day,) = (await office.query(USAGE, id=account))["account"]["usage"]["nodes"]
    assert (day["calls"], day["inputTokens"], day["cost"]) == ("80", "72000", "4.04")
    assert await differences(office.services.database) == []


async def test_requests_of_one_day_are_recorded_together_and_those_of_a_rollup_s_day_refused(office: Office) -> None:
    account = await office.account("1.00")
    rollup = FedDay(
        UsageDayRow(number_of(account), date(2026, 10, 31), "rolled", "chat", "platform", 1, 1, 1, 1), "rollup"
    )
    async with office.services.database.write() as connection:
        await put_usage_days(connection, [rollup])
    key = office.keys["service"]
    calls = [
        [
            request(f"r-{number}", cost="0.01"),
            request(f"bad-{number}", model="rolled" if number % 3 == 0 else "m-large"),
        ]
        for number in range(30)
    ]
    answers = await asyncio.gather(
        *(office.answer("recordUsage", key, accountId=account, requests=one) for one in calls)
    )
    refused = [answer["errors"][0]["extensions"]["code"] for answer in answers if "errors" in answer]
    assert refused == ["CONFLICT"] * 10
    days = (await office.query(USAGE, id=account))["account"]["usage"]["nodes"]
    assert [(day["model"], day["calls"]) for day in days] == [("rolled", "1"), ("m-large", "40")]
