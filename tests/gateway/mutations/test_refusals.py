"""Bad input: a clear code, and nothing written."""

from __future__ import annotations

from typing import Any

import pytest

from access.keys import KeyScope, NewKey, ServiceOperation
from tests.gateway.mutations.office import Office, number_of
from tests.gateway.mutations.test_lifecycles import FIRST_DAY, GPU, HOUR_OF_GPU, INFERENCE

BAD, MISSING, CONFLICT = "BAD_USER_INPUT", "NOT_FOUND", "CONFLICT"
OPEN = {**GPU, "amount": "2.49", **HOUR_OF_GPU}
BACKWARDS = {"periodStart": "2026-11-01T01:00:00Z", "periodEnd": "2026-11-01T00:00:00Z"}
DECIMAL = 'must be a decimal with at most nine fraction digits, such as "12.50"'


HOLDS: tuple[tuple[dict[str, Any], str, str], ...] = (
    ({"amount": "10.000000001"}, "INSUFFICIENT_BALANCE", "the balance of 10.00 does not cover the hold of 10.000"),
    ({"amount": "0"}, BAD, "the amount of a hold must be positive"),
    ({"amount": "-1"}, BAD, "the amount of a hold must be positive"),
    ({"amount": "1.0000000001"}, BAD, DECIMAL),
    ({"amount": "1e2"}, BAD, DECIMAL),
    ({"amount": "9223372036.854775808"}, BAD, "exceeds the range"),
    ({"amount": 1.5}, BAD, "not float"),
    ({"amount": True}, BAD, "not bool"),
    ({"amount": None}, BAD, "not to be None"),
    ({"refType": "VOLUME"}, BAD, "VOLUME cannot be held"),
    ({"refType": "gpu_instance"}, BAD, "does not exist in 'RefType' enum"),
    ({"refId": ""}, BAD, "refId must not be blank"),
    ({"refId": "x" * 201}, BAD, "refId must have at most 200 characters"),
    ({"refId": "a\nb"}, BAD, "refId must not contain control characters"),
    ({"description": " "}, BAD, "description must not be blank"),
    ({"description": "x" * 501}, BAD, "description must have at most 500 characters"),
    (BACKWARDS, BAD, "the period must not end before it starts"),
    ({"periodStart": "2026-11-01T00:00:00"}, BAD, "a DateTime must be RFC 3339 with a zone"),
    ({"periodEnd": "0001-01-01T00:00:00Z"}, BAD, "must have a time zone, and its year must be"),
    ({"idempotencyKey": ""}, BAD, "idempotencyKey must not be blank"),
    ({"idempotencyKey": "x" * 256}, BAD, "idempotencyKey must have at most 255 characters"),
    ({"idempotencyKey": None}, BAD, "not to be None"),
    ({"accountId": "acct_999"}, MISSING, "there is no account acct_999"),
    ({"accountId": "acct_0"}, MISSING, "there is no such account"),
    ({"accountId": "1"}, MISSING, "there is no such account"),
    ({"nonsense": 1}, BAD, "nonsense"),
)
"""What is changed of a good hold, and the code and a part of the message that it meets."""


async def test_holds_that_cannot_be_opened(office: Office) -> None:
    account = await office.account("10.00")
    for changed, code, message in HOLDS:
        found, text = await office.refusal("openHold", **({"accountId": account, **OPEN} | changed))
        assert (found, message in text) == (code, True), (changed, text)


async def test_amounts_as_literals_are_exact_or_refused(office: Office) -> None:
    account = await office.account("10.00")

    async def opened(amount: str) -> Any:
        given = f'idempotencyKey: "k", accountId: "{account}", refType: GPU_INSTANCE, refId: "1", amount: {amount}'
        times = 'periodStart: "2026-11-01T00:00:00Z", periodEnd: "2026-11-01T01:00:00Z"'
        return await office.send(
            f"mutation {{ openHold(input: {{{given}, {times}}}) {{ balance }} }}", office.keys["service"]
        )

    for amount in ("1.5", "1e2", '"1.0000000001"'):
        (error,) = (await opened(amount))["errors"]
        assert error["extensions"] == {"code": BAD}
    assert await opened("2") == {"data": {"openHold": {"balance": "8.00"}}}


async def test_holds_in_the_wrong_state(office: Office) -> None:
    account = await office.account("10.00")
    settle = {"accountId": account, **GPU, "used": "1"}
    renew = {"accountId": account, "refId": "7", "used": "1", "amount": "1"}
    assert await office.refusal("settleHold", **settle) == (MISSING, "GPU_INSTANCE 132 has no hold")
    assert await office.refusal("renewHold", **renew) == (MISSING, "INFERENCE_INSTANCE 7 has no hold")
    await office.call("openHold", accountId=account, **OPEN)
    assert await office.refusal("openHold", accountId=account, **OPEN) == (
        CONFLICT,
        "GPU_INSTANCE 132 was already held",
    )
    assert (await office.refusal("settleHold", **settle | {"used": "-0.01"}))[0] == BAD
    future = await office.refusal("settleHold", **settle, endedAt="2026-11-01T00:05:00.000001Z")
    assert future == (BAD, "endedAt must be at most 5 minutes in the future by the server's clock")
    await office.call("settleHold", **settle, endedAt="2026-11-01T00:05:00Z")
    assert await office.refusal("settleHold", **settle) == (CONFLICT, "the hold of GPU_INSTANCE 132 is already settled")
    await office.call("openHold", accountId=account, **INFERENCE, amount="1", **FIRST_DAY)
    assert (await office.refusal("renewHold", **renew | {"amount": "0"}))[0] == BAD
    assert (await office.refusal("renewHold", **renew | {"used": "-1"}))[0] == BAD


async def test_the_same_idempotency_key_with_another_input(office: Office) -> None:
    account = await office.account("10.00")
    call = {"accountId": account, **OPEN, "idempotencyKey": "mine"}
    first = await office.call("openHold", **call)
    assert await office.call("openHold", **call) == first | {"replayed": True}
    for changed in ({"amount": "2.48"}, {"refId": "133"}, {"description": "GPU Instance #132: hold for 1h"}):
        code, message = await office.refusal("openHold", **call | changed)
        assert code == "IDEMPOTENCY_CONFLICT"
        assert message == "the idempotency key was used for another openHold call with another payload"
    settle = {"accountId": account, **GPU, "used": "1", "idempotencyKey": "mine"}
    assert (await office.call("settleHold", **settle))["replayed"] is False


async def test_a_refused_call_leaves_its_key_free(office: Office) -> None:
    account = await office.account("1.00")
    call = {"accountId": account, **OPEN, "idempotencyKey": "mine"}
    assert (await office.refusal("openHold", **call))[0] == "INSUFFICIENT_BALANCE"
    assert (await office.call("openHold", **call | {"amount": "1"}))["replayed"] is False


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
async def test_a_service_key_is_narrowed_to_its_accounts_and_operations(office: Office) -> None:
    mine, other = await office.account("10.00"), await office.account("10.00")
    narrowed = await office.key(
        NewKey(
            KeyScope.SERVICE, "tests", account_ids=(number_of(mine),), operations=(ServiceOperation.OPEN_HOLD.value,)
        )
    )
    assert await office.refusal("openHold", narrowed, accountId=other, **OPEN) == (
        MISSING,
        "there is no such account",
    )
    assert (await office.call("openHold", narrowed, accountId=mine, **OPEN))["balance"] == "7.51"
    for account in (mine, other):
        assert await office.refusal("settleHold", narrowed, accountId=account, **GPU, used="1") == (
            "FORBIDDEN",
            "this service key is not allowed to call settleHold",
        )


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
async def test_mutations_are_not_sent_over_get(office: Office) -> None:
    query = 'mutation { settleHold(input: {idempotencyKey: "k"}) { balance } }'
    headers = {"Authorization": f"Bearer {office.keys['service']}"}
    valid = "mutation { __typename }"
    for text, status in ((valid, 405), (query, 200)):
        async with office.session.get(f"{office.url}/graphql", params={"query": text}, headers=headers) as response:
            assert response.status == status
            assert "data" not in await response.json()
