"""Stripe with two shards (docs/shards.md), over the webhook, the API, the worker and the commands."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from db import moved_accounts
from db.database import Database
from db.stripe_customers import read_customers_of_account
from db.stripe_events import newest
from gateway import logs
from gateway.jobs import Worker, build_jobs
from ledger.audit import COMMAND_LINE
from ledger.errors import Conflict
from ledger.moving import AccountMoves
from ledger.stripe.events import dismiss_event
from ledger.stripe.places import ShardAway, read_owner_elsewhere
from ledger.verification.accounts import verify_account
from tests.copies import Source
from tests.gateway.command_line import run
from tests.gateway.mutations.office import Office, number_of, opened
from tests.postgres import Postgres
from tests.replica import not_from_replica
from tests.shards import databases, formed, new_urls
from tests.stripe_objects import SECRET, Object, body, charge, dispute, event, refund, session, signature
from tests.stripe_stand_in import StandIn, settings, standing_in
from tests.tcp_proxy import before

FIRST, SECOND = "acct_1", "acct_1000000000001"
URLS = {"successUrl": "https://example.com/done", "cancelUrl": "https://example.com/back"}
COMPLETED = "checkout.session.completed"
EVENTS = "{ stripeEvents { totalCount nodes { id state reason account { id } } } }"
FIND = (
    "query ($id: String!) { find(id: $id) { account { id } transaction { id type } stripeEvent { id state } apiKey {"
    " prefix } } }"
)


@pytest.fixture
async def urls(empty_database: Source, tmp_path: Path) -> AsyncIterator[list[str]]:
    async with new_urls(empty_database, tmp_path, 2) as made:
        await formed(*made)
        yield made


@pytest.fixture
async def stand_in() -> AsyncIterator[StandIn]:
    async with standing_in() as one:
        yield one


@pytest.fixture
async def office(urls: list[str], stand_in: StandIn) -> AsyncIterator[Office]:
    async with shop(urls[0], urls[1], stand_in) as office:
        yield office


def shop(first: str, second: str, stand_in: StandIn, **more: Any) -> Any:
    given = settings(stand_in, stripe_webhook_secrets=SECRET, shards=second, pool_size=3)
    return opened(first, **given | more)


async def accounts(office: Office) -> list[str]:
    """A manage key of an account of each shard."""
    keys = []
    for name, account in (("One", FIRST), ("Two", SECOND)):
        made = (await office.call("createAccount", name=name))["account"]["id"]
        assert made == account
        key = await office.call("createApiKey", None, "secret", accountId=made, scope="MANAGE", owner="customer")
        keys.append(key["secret"])
    return keys


async def tell(office: Office, kind: str, of: Object, event_id: str | None = None) -> int:
    text = body(event(kind, of, event_id))
    headers = {"Stripe-Signature": signature(text)}
    async with office.session.post(f"{office.url}/webhooks/stripe", data=text, headers=headers) as answer:
        return answer.status


async def work(office: Office) -> None:
    """A round of the workers of both shards, at the office's time."""
    settings = office.services.settings
    for shard in office.services.shards:
        jobs = build_jobs(settings, shard.database, shard.stripe_api, office.clock)
        assert await Worker(shard.database, jobs, 1).once()


async def is_ready(office: Office) -> bool:
    async with office.session.get(f"{office.url}/readyz") as response:
        return all(shard["writes"] for shard in (await response.json())["shards"].values())


async def amounts(office: Office, account: str) -> list[tuple[str, str]]:
    return [(row["type"], row["amount"]) for row in await office.transactions(account)]


async def events(office: Office) -> dict[str, tuple[str, str | None]]:
    """The state of each event, and its account."""
    found = (await office.query(EVENTS))["stripeEvents"]
    assert int(found["totalCount"]) == len(found["nodes"]) == len({node["id"] for node in found["nodes"]})
    return {node["id"]: (node["state"], node["account"] and node["account"]["id"]) for node in found["nodes"]}


async def test_payments_of_an_account_on_the_second_shard(office: Office, stand_in: StandIn) -> None:
    _, key = await accounts(office)
    given = {"amount": "25.00", **URLS, "idempotencyKey": "top-up"}
    made = await office.call("createTopUp", key, **given)
    assert made["sessionId"] != (await office.call("createTopUp", key, amount="5.00", **URLS))["sessionId"]
    ((customer, known),) = stand_in.customers.items()
    assert known["metadata"] == {"billing_gateway_account": SECOND}
    paid = session(made["sessionId"], customer=customer, subtotal=2_500, tax=200, payment_intent="pi_1")
    of = charge("ch_1", customer=customer, amount=2_700, refunded=0, payment_intent="pi_1")
    back = refund("re_1", amount=500, charge="ch_1", payment_intent="pi_1")
    unpaid = paid | {"payment_status": "unpaid"}
    assert await tell(office, COMPLETED, unpaid, "evt_unpaid") == 200
    assert (await office.call("createTopUp", key, **given))["state"] == "COMPLETE"
    # A refund names its payment only, which no shard knows yet.
    for kind, told, event_id in (
        ("refund.created", back, "evt_refund"),
        ("charge.succeeded", of, "evt_charge"),
        (COMPLETED, paid, "evt_paid"),
        (COMPLETED, paid, "evt_paid"),
        (COMPLETED, paid, "evt_paid_again"),
    ):
        assert await tell(office, kind, told, event_id) == 200
    assert await amounts(office, SECOND) == [("TOPUP", "25.00"), ("REFUND", "5.00")]
    applied = dict.fromkeys(("evt_refund", "evt_charge", "evt_paid", "evt_paid_again"), ("APPLIED", SECOND))
    assert await events(office) == {"evt_unpaid": ("IGNORED", None), **applied}
    assert await newest(office.services.database, None, 9) == []
    receipts = await office.query("{ account { transactions { nodes { receiptUrl } } } }", key)
    assert receipts["account"]["transactions"]["nodes"][-1]["receiptUrl"] == of["receipt_url"]
    for name in (made["sessionId"], "pi_1"):
        (found, *_) = (await office.query(FIND, id=name))["find"]
        assert (found["account"]["id"], found["transaction"]["id"]) == (SECOND, f"txn_{number_of(SECOND)}_1")
    assert (await office.query(FIND, id="evt_paid"))["find"][0]["stripeEvent"] == {"id": "evt_paid", "state": "APPLIED"}
    portal = await office.call("createBillingPortalSession", key, returnUrl="https://example.com/")
    assert portal["url"].startswith("https://billing.stripe.example/")

    # The worker learns of the saved card, charges it, and the event of the payment credits it.
    stand_in.cards[customer] = ["pm_1"]
    await office.call("setAutoRecharge", key, threshold="100.00", amount="25.00", dailyLimit="60.00")
    with capture_logs((logs._with_place,)) as lines:
        for _ in range(2):
            await work(office)
    assert {line["shard"] for line in lines if line["event"].startswith("auto-recharge")} == {1}
    (charged,) = stand_in.payments.values()
    assert charged["metadata"]["billing_gateway_account"] == SECOND
    for _ in range(2):
        assert await tell(office, "payment_intent.succeeded", charged, "evt_recharge") == 200
    assert (await amounts(office, SECOND))[2:] == [("AUTO_RECHARGE", "25.00")]
    shown = await office.query("{ account { autoRecharge { chargedToday inFlight canCharge } } }", key)
    assert shown["account"]["autoRecharge"] == {"chargedToday": "25.00", "inFlight": False, "canCharge": True}
    assert (await verify_account(office.services.shards[1].database, number_of(SECOND))).faults == []
    # A payment whose customer is another account's is never credited.
    await office.call("linkStripeCustomer", accountId=FIRST, customer="cus_of_one")
    stolen = charged | {"id": "pi_stolen", "customer": "cus_of_one"}
    assert await tell(office, "payment_intent.succeeded", stolen, "evt_stolen") == 200
    assert (await events(office))["evt_stolen"] == ("NEEDS_ATTENTION", SECOND)
    assert await amounts(office, FIRST) == []


async def test_an_account_with_a_customer_is_moved(
    office: Office, stand_in: StandIn, urls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moved_accounts, "LEASE_SECONDS", 0.3)

    async def move(number: int) -> None:
        async with databases(*urls) as made:
            assert made[0].place is not None
            moves = AccountMoves(made[0].place.shards, office.clock, announced_seconds=0.6)
            report = await moves.move(number_of(SECOND), number)
        assert (report.shard, report.faults) == (number, [])

    async def shown() -> dict[str, Any]:
        found = await office.query("{ account { autoRecharge { chargedToday inFlight canCharge } } }", key)
        return dict(found["account"]["autoRecharge"])

    _, key = await accounts(office)
    given = {"amount": "25.00", **URLS, "idempotencyKey": "top-up"}
    made = await office.call("createTopUp", key, **given)
    (customer,) = stand_in.customers
    stand_in.cards[customer] = ["pm_1"]
    await office.call("setAutoRecharge", key, threshold="100.00", amount="25.00", dailyLimit="60.00")
    # A card was charged, and the worker was not told.
    stand_in.faults_of_payments = ["breaks_off"]
    for _ in range(2):
        await work(office)
    assert await shown() == {"chargedToday": "25.00", "inFlight": True, "canCharge": True}
    paid = session(made["sessionId"], customer=customer, subtotal=2_500, payment_intent="pi_top_up")
    of = charge("ch_1", customer=customer, amount=2_500, refunded=500, payment_intent="pi_top_up")
    assert await tell(office, "charge.refunded", of, "evt_early") == 200
    assert await events(office) == {"evt_early": ("WAITING", None)}

    await move(0)
    assert await tell(office, COMPLETED, paid, "evt_paid") == 200
    assert (await office.call("createTopUp", key, **given))["state"] == "COMPLETE"
    back = refund("re_1", amount=500, charge="ch_1", payment_intent="pi_top_up")
    stand_in.refunds.append(back)
    assert await tell(office, "refund.created", back, "evt_refund") == 200
    lost = dispute("dp_1", status="lost", payment_intent="pi_top_up")
    assert await tell(office, "charge.dispute.closed", lost, "evt_lost") == 200
    assert await amounts(office, SECOND) == [("TOPUP", "25.00"), ("REFUND", "5.00")]
    # The event that waited is tried at once.
    await work(office)
    assert (await events(office))["evt_early"] == ("APPLIED", SECOND)
    # The worker of the new shard asks for the same payment again.
    office.now += timedelta(minutes=5)
    await work(office)
    (charged,) = stand_in.payments.values()
    assert list(stand_in.charged().values()) == [2_500]
    assert await tell(office, "payment_intent.succeeded", charged, "evt_recharge") == 200
    assert await shown() == {"chargedToday": "25.00", "inFlight": False, "canCharge": True}
    # A new account gives the audit list of the shard that was left a new entry.
    assert (await office.call("createAccount", name="Three"))["account"]["id"] == "acct_1000000000002"

    await move(1)
    await work(office)
    _, again = stand_in.payments.values()
    assert await tell(office, "payment_intent.succeeded", again, "evt_again") == 200
    assert await shown() == {"chargedToday": "50.00", "inFlight": False, "canCharge": False}
    assert (await amounts(office, SECOND))[2:] == [("AUTO_RECHARGE", "25.00")] * 2
    assert await events(office) == {
        "evt_lost": ("NEEDS_ATTENTION", SECOND),
        **dict.fromkeys(("evt_early", "evt_paid", "evt_refund", "evt_recharge", "evt_again"), ("APPLIED", SECOND)),
    }
    dismissed = await office.call("dismissStripeEvent", None, "event { state }", eventId="evt_lost", reason="settled")
    assert dismissed == {"event": {"state": "IGNORED"}}
    assert len(stand_in.customers) == 1


async def test_a_customer_belongs_to_one_account_of_the_set(office: Office, stand_in: StandIn) -> None:
    _, key = await accounts(office)
    # An operator links the customer that Stripe is just making for another account.
    await office.call("linkStripeCustomer", accountId=FIRST, customer="cus_1")
    await office.call("createTopUp", key, amount="25.00", **URLS)
    assert list(stand_in.customers) == ["cus_1"]
    assert await read_customers_of_account(office.services.shards[1].database, number_of(SECOND)) == []
    for number, customer in enumerate(("cus_a", "cus_b", "cus_a")):
        paid = session(f"cs_{number}", customer=customer, payment_intent=f"pi_{number}")
        assert await tell(office, COMPLETED, paid, f"evt_{number}") == 200
    assert set((await events(office)).values()) == {("WAITING", None)}
    # Both accounts want it at once.
    answers = await asyncio.gather(
        *(
            office.answer("linkStripeCustomer", office.keys["operator"], "balance", accountId=account, customer="cus_a")
            for account in (FIRST, SECOND)
        )
    )
    (refused,) = [one["errors"][0] for one in answers if "errors" in one]
    (linked,) = [account for account, one in zip((FIRST, SECOND), answers, strict=True) if "errors" not in one]
    assert refused["extensions"]["code"] == "CONFLICT"
    assert refused["message"] == f"the customer cus_a is already linked to {linked}"
    # A call that is refused for another reason claims nothing.
    given = {"accountId": SECOND, "customer": "cus_b", "idempotencyKey": "link"}
    for wrong, code in ({"accountId": "acct_1000000000009"}, "NOT_FOUND"), ({"customer": "c" * 256}, "BAD_USER_INPUT"):
        answer = await office.answer("linkStripeCustomer", office.keys["operator"], **given | wrong)
        assert answer["errors"][0]["extensions"]["code"] == code
    await office.call("linkStripeCustomer", **given)
    answer = await office.answer("linkStripeCustomer", office.keys["operator"], **given | {"customer": "cus_c"})
    assert answer["errors"][0]["extensions"]["code"] == "IDEMPOTENCY_CONFLICT"
    await office.call("linkStripeCustomer", accountId=FIRST, customer="cus_c")
    assert (await office.call("linkStripeCustomer", **given))["replayed"]
    await work(office)
    assert await events(office) == {
        "evt_0": ("APPLIED", linked),
        "evt_1": ("APPLIED", SECOND),
        "evt_2": ("APPLIED", linked),
    }
    entries = await office.query("{ auditEntries { nodes { act account { id } description } } }")
    acts = [one for one in entries["auditEntries"]["nodes"] if one["act"] == "linkStripeCustomer"]
    assert sorted((one["account"]["id"], one["description"]) for one in acts) == sorted(
        [(FIRST, "cus_1"), (linked, "cus_a"), (SECOND, "cus_b"), (FIRST, "cus_c")]
    )


@not_from_replica
async def test_events_of_both_shards_are_listed_and_dismissed(office: Office, urls: list[str]) -> None:
    await accounts(office)
    await office.services.stripe_events.link(number_of(SECOND), "cus_2")
    paid = session("cs_1", customer="cus_2", payment_intent="pi_2")
    assert await tell(office, COMPLETED, paid, "evt_paid") == 200
    for name, payment in (("known", "pi_2"), ("unknown", "pi_9")):
        lost = dispute(f"dp_{name}", status="lost", payment_intent=payment)
        assert await tell(office, "charge.dispute.closed", lost, f"evt_{name}") == 200
    assert await tell(office, COMPLETED, session("cs_2", customer="cus_9"), "evt_waiting") == 200
    assert await events(office) == {
        "evt_paid": ("APPLIED", SECOND),
        "evt_known": ("NEEDS_ATTENTION", SECOND),
        "evt_unknown": ("NEEDS_ATTENTION", None),
        "evt_waiting": ("WAITING", None),
    }
    async with office.session.get(f"{office.url}/metrics") as response:
        counted = await response.text()
    assert "billing_stripe_events_waiting 1.0" in counted
    assert "billing_stripe_events_needing_attention 2.0" in counted
    operator, selection = office.keys["operator"], "event { id state } replayed"
    given = {"eventId": "evt_known", "reason": "settled", "idempotencyKey": "one"}
    for replayed in (False, True):
        done = await office.call("dismissStripeEvent", operator, selection, **given)
        assert done == {"event": {"id": "evt_known", "state": "IGNORED"}, "replayed": replayed}
    for wrong, code in (
        ({"eventId": "evt_unknown"}, "IDEMPOTENCY_CONFLICT"),
        ({"idempotencyKey": "two"}, "CONFLICT"),
        ({"eventId": "evt_none", "idempotencyKey": "three"}, "NOT_FOUND"),
    ):
        answer = await office.answer("dismissStripeEvent", operator, selection, **given | wrong)
        assert answer["errors"][0]["extensions"]["code"] == code
    await office.call(
        "dismissStripeEvent", operator, selection, **given | {"eventId": "evt_waiting", "idempotencyKey": "4"}
    )
    # What was dismissed is never applied, on any shard.
    await office.services.stripe_events.link(number_of(SECOND), "cus_9")
    assert await tell(office, COMPLETED, session("cs_2", customer="cus_9"), "evt_waiting") == 200
    assert await amounts(office, SECOND) == [("TOPUP", "20.00")]

    async def told(*arguments: str) -> list[str]:
        given = ("stripe", *arguments, "--shards", urls[1])
        return (await asyncio.to_thread(run, *given, url=urls[0])).splitlines()

    assert await tell(office, COMPLETED, session("cs_3", customer="cus_3"), "evt_3") == 200
    assert await told("link", SECOND, "cus_3") == [f"cus_3 is linked to {SECOND}; 1 events were waiting for it"]
    assert await told("dismiss", "evt_unknown", "--reason", "settled") == ["evt_unknown is dismissed"]
    lines = [line.split("\t") for line in await told("events")]
    assert {(line[0], line[3], line[4]) for line in lines} == {
        ("evt_paid", "applied", SECOND),
        ("evt_known", "ignored", SECOND),
        ("evt_unknown", "ignored", ""),
        ("evt_waiting", "ignored", ""),
        ("evt_3", "applied", SECOND),
    }


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
async def test_an_event_of_a_shard_that_is_away_is_kept(
    urls: list[str], stand_in: StandIn, postgres_server: Postgres
) -> None:
    async with before(postgres_server) as proxy:
        name = urls[1].partition("?")[0].rpartition("/")[2]
        through = f"postgresql://{postgres_server.user}@127.0.0.1:{proxy.port}/{name}"
        async with shop(urls[0], through, stand_in, database_silence_seconds=1) as office:
            await accounts(office)
            await office.services.stripe_events.link(number_of(FIRST), "cus_1")
            await office.services.stripe_events.link(number_of(SECOND), "cus_2")
            proxy.silent = True
            for number in (1, 2):
                paid = session(f"cs_{number}", customer=f"cus_{number}", payment_intent=f"pi_{number}")
                assert await tell(office, COMPLETED, paid, f"evt_{number}") == 200
            # A payment of the first shard needs no other.
            back = refund("re_1", amount=500, charge="ch_1", payment_intent="pi_1")
            assert await tell(office, "refund.created", back, "evt_refund") == 200
            assert await amounts(office, FIRST) == [("TOPUP", "20.00"), ("REFUND", "5.00")]
            # That of another may be known to the shard that is away.
            lost = refund("re_2", amount=500, charge="ch_2", payment_intent="pi_2")
            assert await tell(office, "refund.created", lost, "evt_lost") == 200
            kept = await newest(office.services.database, "waiting", 9)
            assert [row.id for row in kept] == ["evt_lost", "evt_2"]
            assert all((row.reason or "").startswith("shard 1 is unavailable: ") for row in kept)
            given = {"eventId": "evt_2", "reason": "No"}
            refused = await office.answer("dismissStripeEvent", office.keys["operator"], "replayed", **given)
            assert refused["errors"][0]["extensions"]["code"] == "CONFLICT"
            with pytest.raises(Conflict, match="evt_2 is on its way"):
                await office.services.ledger.within(lambda one: dismiss_event(one, "evt_2", "No", COMMAND_LINE))
            await look_for_customer_without_shard_0(through, urls[0])
            proxy.silent = False
            proxy.lose_all()
            async with asyncio.timeout(30):
                while not await is_ready(office):  # noqa: ASYNC110  the server before the proxy is not ours
                    await asyncio.sleep(0.1)
            office.now += timedelta(minutes=5)
            await work(office)
            assert await amounts(office, SECOND) == [("TOPUP", "20.00"), ("REFUND", "5.00")]
            applied = [("evt_1", FIRST), ("evt_refund", FIRST), ("evt_2", SECOND), ("evt_lost", SECOND)]
            assert await events(office) == {name: ("APPLIED", account) for name, account in applied}


async def look_for_customer_without_shard_0(away: str, here: str) -> None:
    """A retry on another shard asks shard 0 whose customer it is."""
    async with databases(away, here, build=lambda options: Database(replace(options, silence_seconds=1))) as (
        _,
        second,
    ):
        with pytest.raises(ShardAway, match="shard 0 is unavailable"):
            await read_owner_elsewhere(second, "cus_9")
