"""Events that wait, as operators see them and deal with them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from access.keys import KeyScope, NewKey
from ledger.stripe.retries import EventRetries
from tests.gateway.mutations.office import Office, number_of
from tests.stripe_objects import body, dispute, event, session

EVENT = "id type state reason createdAt receivedAt tries nextTryAt account { id }"
LIST = (
    "query ($first: Int, $after: String, $state: StripeEventState) {"
    " stripeEvents(first: $first, after: $after, state: $state) {"
    f" totalCount nodes {{ {EVENT} }} pageInfo {{ hasNextPage endCursor }} }} }}"
)


async def told(office: Office, number: int, customer: str = "cus_9") -> None:
    paid = event("checkout.session.completed", session(f"cs_{number}", customer=customer), f"evt_{number}")
    await office.services.stripe_events.receive(body(paid))


async def listed(office: Office, **given: Any) -> Any:
    return (await office.query(LIST, **given))["stripeEvents"]


async def test_the_worker_links_and_applies_waiting_events(office: Office) -> None:
    account = await office.account()
    await told(office, 1)
    (waiting,) = (await listed(office))["nodes"]
    assert waiting == {
        "id": "evt_1",
        "type": "checkout.session.completed",
        "state": "WAITING",
        "reason": "the customer cus_9 is not linked to an account: link the customer",
        "createdAt": "2026-11-06T21:20:00.000000Z",
        "receivedAt": "2026-11-01T00:00:00.000000Z",
        "tries": 1,
        "nextTryAt": "2026-11-01T00:01:00.000000Z",
        "account": None,
    }
    linked = await office.call("linkStripeCustomer", accountId=account, customer="cus_9")
    assert linked == {"transactions": [], "balance": "0.00", "replayed": False}
    services = office.services
    assert await EventRetries(services.database, services.stripe_events, None, office.clock).run() == 1
    (applied,) = (await listed(office))["nodes"]
    assert applied == waiting | {
        "state": "APPLIED",
        "reason": None,
        "tries": 2,
        "nextTryAt": None,
        "account": {"id": account},
    }
    assert [row["amount"] for row in await office.transactions(account)] == ["20.00"]
    audit = await office.query("{ auditEntries(first: 1) { nodes { act account { id } description } } }")
    assert audit["auditEntries"]["nodes"] == [
        {"act": "linkStripeCustomer", "account": {"id": account}, "description": "cus_9"},
    ]


async def test_events_that_need_a_person_are_listed_and_counted(office: Office) -> None:
    await told(office, 1)
    lost = dispute("dp_1", status="lost", payment_intent="pi_1")
    await office.services.stripe_events.receive(body(event("charge.dispute.closed", lost, "evt_2")))
    found = await office.query(
        "{ stripeEvents(state: NEEDS_ATTENTION) { totalCount nodes { id objectId nextTryAt } } }"
    )
    nodes = [{"id": "evt_2", "objectId": "dp_1", "nextTryAt": None}]
    assert found["stripeEvents"] == {"totalCount": "1", "nodes": nodes}
    async with office.session.get(f"{office.url}/metrics") as response:
        counted = await response.text()
    assert "billing_stripe_events_waiting 1.0" in counted
    assert "billing_stripe_events_needing_attention 1.0" in counted


async def test_a_dismissed_event_waits_no_more(office: Office) -> None:
    await told(office, 1)
    selection = f"event {{ {EVENT} }} replayed transactions {{ id }}"
    given = {"eventId": "evt_1", "reason": "of the test shop", "idempotencyKey": "one"}
    for replayed in (False, True):
        done = await office.call("dismissStripeEvent", None, selection, **given)
        assert (done["replayed"], done["event"]["state"], done["event"]["reason"]) == (
            replayed,
            "IGNORED",
            "dismissed: of the test shop",
        )
    answer = await office.answer("dismissStripeEvent", office.keys["operator"], "replayed", eventId="evt_1", reason="x")
    assert answer["errors"][0]["extensions"]["code"] == "CONFLICT"
    answer = await office.answer("dismissStripeEvent", office.keys["operator"], "replayed", eventId="evt_2", reason="x")
    assert answer["errors"][0]["extensions"]["code"] == "NOT_FOUND"
    audit = await office.query("{ auditEntries(first: 1) { nodes { act description } } }")
    assert audit["auditEntries"]["nodes"] == [
        {"act": "dismissStripeEvent", "description": "evt_1: of the test shop"},
    ]


async def test_the_list_is_paged_and_narrowed(office: Office) -> None:
    account = await office.account()
    await office.services.stripe_events.link(number_of(account), "cus_1")
    for number in range(5):
        office.now += timedelta(seconds=1)
        await told(office, number, "cus_1" if number % 2 else "cus_9")
    page = await listed(office, first=2)
    assert ([one["id"] for one in page["nodes"]], page["totalCount"]) == (["evt_4", "evt_3"], "5")
    more = await listed(office, first=3, after=page["pageInfo"]["endCursor"])
    assert [one["id"] for one in more["nodes"]] == ["evt_2", "evt_1", "evt_0"]
    assert (page["pageInfo"]["hasNextPage"], more["pageInfo"]["hasNextPage"]) == (True, False)
    waiting = await listed(office, state="WAITING")
    assert ([one["id"] for one in waiting["nodes"]], waiting["totalCount"]) == (["evt_4", "evt_2", "evt_0"], "3")
    variables = {"after": page["pageInfo"]["endCursor"], "state": "WAITING"}
    answer = await office.send(LIST, office.keys["operator"], variables)
    assert answer["errors"][0]["extensions"]["code"] == "BAD_CURSOR"


@pytest.mark.parametrize("scope", [KeyScope.READ, KeyScope.MANAGE, KeyScope.SERVICE])
async def test_only_operators_see_events(office: Office, scope: KeyScope) -> None:
    number = None if scope == KeyScope.SERVICE else number_of(await office.account())
    answer = await office.send(LIST, await office.key(NewKey(scope, "tests", number)), {})
    assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"


async def test_a_customer_is_of_one_account(office: Office) -> None:
    first, second = await office.account(), await office.account()
    await office.call("linkStripeCustomer", accountId=first, customer="cus_1")
    refused = await office.refusal("linkStripeCustomer", accountId=second, customer="cus_1")
    assert refused == ("CONFLICT", f"the customer cus_1 is already linked to {first}")
    assert (await office.refusal("linkStripeCustomer", accountId=second, customer=""))[0] == "BAD_USER_INPUT"
    assert (await office.refusal("linkStripeCustomer", accountId="acct_99", customer="cus_2"))[0] == "NOT_FOUND"
