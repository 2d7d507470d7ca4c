"""Up to which time usage is complete, as its services say."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest

from access.keys import KeyScope, NewKey, ServiceOperation
from ledger.chain import format_time
from ledger.usage_marks import MAX_SERVICES
from tests.gateway.mutations.office import Office
from tests.ledger.desk import HOUR, START

READ = "query ($id: ID) { account(id: $id) { usageCompleteUntil } }"


async def marked(office: Office, account: str, service: str, until: datetime, **more: Any) -> Any:
    return await office.call("markUsageComplete", accountId=account, service=service, until=format_time(until), **more)


async def complete_until(office: Office, account: str) -> str | None:
    found: str | None = (await office.query(READ, id=account))["account"]["usageCompleteUntil"]
    return found


async def test_usage_is_complete_until_the_earliest_time_of_its_services(office: Office) -> None:
    account, other = await office.account("1.00"), await office.account()
    assert await complete_until(office, account) is None
    office.now = START + 10 * HOUR
    payload = await marked(office, account, "router", START + 9 * HOUR)
    assert payload == {
        "transactions": [],
        "balance": "1.00",
        "replayed": False,
        "completeUntil": "2026-11-01T09:00:00.000000Z",
    }
    payload = await marked(office, account, "images", START + 8 * HOUR)
    assert payload["completeUntil"] == "2026-11-01T08:00:00.000000Z"
    assert (await marked(office, account, "images", START + 10 * HOUR))["completeUntil"].startswith("2026-11-01T09")
    assert await complete_until(office, account) == "2026-11-01T09:00:00.000000Z"
    assert await complete_until(office, other) is None


async def test_a_service_that_has_stopped_holds_nothing_up(office: Office) -> None:
    account = await office.account()
    office.now = START + 10 * HOUR
    await marked(office, account, "router", START + 9 * HOUR)
    await marked(office, account, "images", START)
    stopped = {"accountId": account, "service": "images", "until": None}
    assert (await office.call("markUsageComplete", **stopped))["completeUntil"].startswith("2026-11-01T09")
    # It may begin again, at any time.
    assert (await marked(office, account, "images", START))["completeUntil"].startswith("2026-11-01T00")
    for service in ("images", "router", "a service that never reported"):
        payload = await office.call("markUsageComplete", **stopped | {"service": service})
    assert payload["completeUntil"] is None
    assert await complete_until(office, account) is None


async def test_a_replayed_call_answers_with_the_current_state(office: Office) -> None:
    account = await office.account()
    office.now = START + 10 * HOUR
    await marked(office, account, "router", START, idempotencyKey="first")
    await marked(office, account, "router", START + HOUR)
    payload = await marked(office, account, "router", START, idempotencyKey="first")
    assert (payload["replayed"], payload["completeUntil"]) == (True, "2026-11-01T01:00:00.000000Z")


async def test_an_earlier_time_is_a_conflict(office: Office) -> None:
    account = await office.account()
    await marked(office, account, "router", START)
    await marked(office, account, "router", START)
    given = {"accountId": account, "service": "router", "until": format_time(START - timedelta(microseconds=1))}
    assert await office.refusal("markUsageComplete", **given) == (
        "CONFLICT",
        "until must not be before 2026-11-01T00:00:00.000000Z, until which the service's usage is already complete",
    )


@pytest.mark.one_database
@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"until": "2026-11-01T00:05:00.000001Z"}, "until must be at most 5 minutes in the future"),
        ({"until": "0001-01-01T00:00:00+14:00"}, "must be RFC 3339"),
        ({"until": "0001-01-01T00:00:00Z"}, "until must have a time zone, and its year"),
        ({"service": "x" * 129}, "service must have at most 128 characters"),
        ({"service": "a\nb"}, "service must not contain control characters"),
        ({"service": " "}, "service must not be blank"),
    ],
)
async def test_bad_input_is_refused(office: Office, given: dict[str, Any], words: str) -> None:
    account = await office.account()
    whole = {"accountId": account, "service": "router", "until": "2026-11-01T00:05:00Z"} | given
    code, message = await office.refusal("markUsageComplete", **whole)
    assert code == "BAD_USER_INPUT"
    assert words in message


async def test_an_account_has_a_maximum_number_of_services(office: Office) -> None:
    account = await office.account()
    for number in range(MAX_SERVICES):
        await marked(office, account, f"service-{number}", START)
    given = {"accountId": account, "service": "one more", "until": format_time(START)}
    assert (await office.refusal("markUsageComplete", **given))[0] == "CONFLICT"
    await marked(office, account, "service-0", START + timedelta(minutes=1))


async def test_a_key_can_be_restricted_to_marks(office: Office) -> None:
    account = await office.account()
    operations = (ServiceOperation.MARK_USAGE_COMPLETE.value,)
    key = await office.key(NewKey(KeyScope.SERVICE, "tests", operations=operations))
    given = {"accountId": account, "service": "router", "until": format_time(START)}
    assert (await office.call("markUsageComplete", key, **given))["replayed"] is False
    assert (await office.refusal("recordUsage", key, accountId=account, requests=[]))[0] == "FORBIDDEN"
