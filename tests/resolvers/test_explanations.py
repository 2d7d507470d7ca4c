"""What rows say of themselves, sentence by sentence, for every type and source."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta, timezone
from itertools import product

import pytest

from db.database import Database
from db.rows import TransactionRow
from ledger.commands import Entry, ExpireHold, OpenHold, Period, Ref, RenewHold, SettleHold, Writer
from ledger.kinds import KINDS, RefType, TransactionSource, TransactionType
from resolvers.context import QueryContext
from resolvers.reads import transactions
from resolvers.reads.explanations import Facts, explain
from tests.ledger.desk import (
    DAY,
    GPU,
    HOUR,
    INFERENCE,
    OPERATOR,
    SERVICE,
    START,
    STORAGE,
    VOLUME,
    WEBHOOK,
    Desk,
    correction,
    open_hold,
    renew,
    settle,
    usd,
)
from tests.resolvers.ledgers import NOW, principal
from tests.statements import watched

_R, _T = RefType, TransactionType
MINUTE = timedelta(minutes=1)


async def explanations(database: Database, account_id: int) -> list[str]:
    """Of all rows, oldest first."""
    async with database.snapshot() as snapshot:
        context = QueryContext(snapshot, principal(), NOW)
        page = await transactions.transaction_page(context, account_id, transactions.transaction_filter(), first=1_000)
        return await asyncio.gather(*(transactions.explanation(context, row) for row in page.rows[::-1]))


@pytest.fixture
def desk(ledgers: Database) -> Desk:
    return Desk(ledgers)


@pytest.mark.parametrize(
    ("used", "ended", "outcome", "settlement"),
    [
        (
            "0.25",
            START + 15 * MINUTE,
            "$0.25 of it was used, and $0.75 was returned.",
            "Returned $0.75 of the $1.00 held for GPU instance #132: it ran 15 of 60 minutes.",
        ),
        (
            "0.25",
            START + timedelta(minutes=23, seconds=7),
            "$0.25 of it was used, and $0.75 was returned.",
            "Returned $0.75 of the $1.00 held for GPU instance #132: it ran 23 minutes 7 seconds of 1 hour.",
        ),
        (
            "0.25",
            START + timedelta(seconds=900.4),
            "$0.25 of it was used, and $0.75 was returned.",
            "Returned $0.75 of the $1.00 held for GPU instance #132: it ran about 15 minutes of 1 hour.",
        ),
        (
            "0.999999999",
            START + HOUR,
            "$0.999999999 of it was used, and $0.000000001 was returned.",
            "Returned $0.000000001 of the $1.00 held for GPU instance #132: it used $0.999999999.",
        ),
        (
            "0.00",
            START + 5 * MINUTE,
            "Nothing was used, and all of it was returned.",
            "Returned all of the $1.00 held for GPU instance #132: nothing was used.",
        ),
        ("1.00", START + HOUR, "All of it was used.", None),
        (
            "1.50",
            START + 90 * MINUTE,
            "$1.50 was used: the $0.50 beyond the hold was charged on top.",
            "Charged $0.50 on top of the $1.00 held for GPU instance #132: it ran 1 hour 30 minutes instead of 1 hour.",
        ),
        (
            "1.125",
            START + HOUR,
            "$1.125 was used: the $0.125 beyond the hold was charged on top.",
            "Charged $0.125 on top of the $1.00 held for GPU instance #132: it used $1.125.",
        ),
    ],
)
async def test_explanations_of_a_gpu_instance(
    desk: Desk, used: str, ended: datetime, outcome: str, settlement: str | None
) -> None:
    account_id = await desk.account("5.00")
    await desk.post(account_id, OpenHold(GPU, usd("1.00"), "Words", Period(START, START + HOUR)))
    held = "Held $1.00 of the balance for GPU instance #132, estimated to run 1 hour."
    assert (await explanations(desk.database, account_id))[1:] == [
        f"{held} What is not used is returned at the settlement."
    ]
    desk.now = START + DAY
    await desk.post(account_id, settle(usd(used), ended_at=ended))
    assert (await explanations(desk.database, account_id))[1:] == [
        f"{held} {outcome}",
        *([settlement] if settlement else []),
    ]


async def test_explanations_of_an_inference_instance_over_three_cycles(desk: Desk) -> None:
    """As the lifecycle of tests/ledger/test_lifecycles.py."""
    account_id = await desk.account("100.00")
    await desk.post(account_id, open_hold(usd("24.00"), INFERENCE))
    desk.now = START + DAY
    await desk.post(account_id, renew(usd("20.00"), usd("24.00"), 1))
    desk.now = START + 2 * DAY
    await desk.post(account_id, renew(usd("25.00"), usd("24.00"), 2))
    desk.now = START + 2 * DAY + 6 * HOUR
    await desk.post(account_id, settle(usd("6.00"), INFERENCE, desk.now))
    assert (await explanations(desk.database, account_id))[1:] == [
        (
            "Held $24.00 of the balance for the first 24 hours of inference instance i-7."
            " $20.00 of it was used, and $4.00 was returned."
        ),
        (
            "Held $24.00 of the balance for cycle 2 of inference instance i-7, 24 hours from"
            " 2 November 2026, 00:00 UTC. $25.00 was used: the $1.00 beyond the hold was charged on top."
        ),
        "Returned $4.00 of the $24.00 held for cycle 1 of inference instance i-7: it used $20.00.",
        (
            "Held $24.00 of the balance for cycle 3 of inference instance i-7, 24 hours from"
            " 3 November 2026, 00:00 UTC. $6.00 of it was used, and $18.00 was returned."
        ),
        "Charged $1.00 on top of the $24.00 held for cycle 2 of inference instance i-7: it used $25.00.",
        "Returned $18.00 of the $24.00 held for cycle 3 of inference instance i-7: it ran 6 of 24 hours.",
    ]


async def test_explanations_of_an_expired_hold_that_is_settled_late(desk: Desk) -> None:
    account_id = await desk.account("100.00")
    refs = [Ref(_R.GPU_INSTANCE, name) for name in ("a", "b", "c", "d")]
    for ref in refs:
        await desk.post(account_id, OpenHold(ref, usd("2.00"), "Words", Period(START, START + HOUR)))
        desk.now = START + 3 * DAY
        await desk.post(account_id, ExpireHold(ref))
    desk.now = START + 4 * DAY
    for ref, used in zip(refs, ("1.50", "2.50", "2.00"), strict=False):
        await desk.post(account_id, settle(usd(used), ref, START + HOUR))
    late = " The hold had expired on 4 November 2026 UTC and counted as used in full until then."
    held = "Held $2.00 of the balance for GPU instance {}, estimated to run 1 hour. "
    assert (await explanations(desk.database, account_id))[1:] == [
        held.format("a") + "$1.50 of it was used, and $0.50 was returned.",
        held.format("b") + "$2.50 was used: the $0.50 beyond the hold was charged on top.",
        held.format("c") + "All of it was used.",
        held.format("d") + "Nobody settled it until it expired on 4 November 2026 UTC, so all of it counts as used.",
        "Returned $0.50 of the $2.00 held for GPU instance a: it used $1.50." + late,
        "Charged $0.50 on top of the $2.00 held for GPU instance b: it used $2.50." + late,
    ]


async def test_explanations_of_the_last_cycle_without_renewal(desk: Desk) -> None:
    account_id = await desk.account("30.00")
    await desk.post(account_id, open_hold(usd("24.00"), INFERENCE))
    desk.now = START + DAY
    outcome = await desk.post(account_id, RenewHold(INFERENCE, usd("23.00"), None, usd("24.00"), None))
    assert outcome.to_stop
    assert (await explanations(desk.database, account_id))[2:] == [
        "Returned $1.00 of the $24.00 held for cycle 1 of inference instance i-7: it used $23.00."
    ]


MORNING = Period(START + 10 * HOUR, START + 11 * HOUR)


@pytest.mark.parametrize(
    ("writer", "entry", "sentence"),
    [
        (
            SERVICE,
            Entry(_T.GPU_USAGE, usd("-0.0135"), "Words", Ref(_R.API_USAGE, "batch-7"), MORNING),
            "Charged $0.0135 for API calls from 10:00 to 11:00 UTC on 1 November 2026 (batch batch-7).",
        ),
        (
            SERVICE,
            Entry(_T.GPU_USAGE, usd("-0.01"), "Words", Ref(_R.API_USAGE, "7")),
            "Charged $0.01 for API calls (batch #7).",
        ),
        (SERVICE, Entry(_T.GPU_USAGE, usd("-0.01"), "Words"), "Charged $0.01 for usage."),
        (
            SERVICE,
            Entry(_T.GPU_USAGE, usd("-0.01"), "Words", VOLUME, Period(START, START + 36 * HOUR)),
            "Charged $0.01 for volume v-1 from 1 November 2026, 00:00 to 2 November 2026, 12:00 UTC.",
        ),
        (
            STORAGE,
            Entry(_T.STORAGE_BILLING, usd("-0.12"), "Words", VOLUME, Period(START, START + DAY)),
            "Charged $0.12 for volume v-1 for 1 November 2026 UTC.",
        ),
        (
            STORAGE,
            Entry(
                _T.STORAGE_BILLING, usd("-3"), "Words", Ref(_R.SHARED_FILESYSTEM, "3"), Period(START, START + 3 * DAY)
            ),
            "Charged $3.00 for shared filesystem #3 for the 3 days from 1 November 2026 UTC.",
        ),
        (
            SERVICE,
            Entry(_T.REFUND, usd("0.10"), "Words", VOLUME),
            "Returned $0.10 for volume v-1.",
        ),
        (SERVICE, Entry(_T.REFUND, usd("0.10"), "Words"), "Returned $0.10."),
        (
            WEBHOOK,
            Entry(_T.TOPUP, usd("50"), "Words", Ref(_R.STRIPE_CHECKOUT_SESSION, "cs_test_1")),
            "Added $50.00 of credit, paid by Stripe Checkout session cs_test_1.",
        ),
        (WEBHOOK, Entry(_T.TOPUP, usd("50"), "Words"), "Added $50.00 of credit, paid through Stripe."),
        (
            WEBHOOK,
            Entry(_T.AUTO_RECHARGE, usd("250"), "Words", Ref(_R.STRIPE_PAYMENT_INTENT, "pi_1")),
            (
                "Auto-recharge added $250.00 of credit, paid by Stripe payment pi_1, because the balance had fallen"
                " below the threshold set for it. It stood at -$4.50 before."
            ),
        ),
        (
            SERVICE,
            Entry(_T.BONUS, usd("25"), "Words", Ref(_R.PROMOTION, "signup-bonus")),
            "Added $25.00 of promotional credit (promotion signup-bonus).",
        ),
        (SERVICE, Entry(_T.BONUS, usd("25"), "Words"), "Added $25.00 of promotional credit."),
        (
            WEBHOOK,
            Entry(_T.REFUND, usd("4.5"), "Words", Ref(_R.STRIPE_REFUND, "re_1"), corrects_seq=1),
            (
                "Added $4.50 for Stripe refund re_1, which answers {first}: that row deducted $4.50 on"
                " 1 November 2026 UTC."
            ),
        ),
        (
            WEBHOOK,
            Entry(_T.REFUND, usd("4.5"), "Words", Ref(_R.STRIPE_REFUND, "re_1")),
            "Added $4.50 for Stripe refund re_1.",
        ),
        (WEBHOOK, Entry(_T.REFUND, usd("4.5"), "Words"), "Added $4.50 for a refund in Stripe."),
        (OPERATOR, correction(usd("5")), "An operator added $5.00 by hand. The description says why."),
        (
            OPERATOR,
            Entry(_T.ADMIN_CORRECTION, usd("-9"), "Words", Ref(_R.STRIPE_REFUND, "re_1"), corrects_seq=1),
            (
                "An operator deducted $9.00 (Stripe refund re_1) to correct {first}: that row deducted $4.50 on"
                " 1 November 2026 UTC. The description says why."
            ),
        ),
        (
            WEBHOOK,
            Entry(_T.ADMIN_CORRECTION, usd("-4.5"), "Words", Ref(_R.STRIPE_REFUND, "re_1"), corrects_seq=1),
            (
                "Deducted $4.50 because Stripe refund re_1 did not go through: it takes back {first}: that row deducted"
                " $4.50 on 1 November 2026 UTC."
            ),
        ),
        (
            OPERATOR,
            Entry(_T.CONTRACT_GRANT, usd("150000"), "Words", Ref(_R.CONTRACT, "EC-2041")),
            "Added $150,000.00 of credit: the cash part of enterprise contract EC-2041.",
        ),
        (
            OPERATOR,
            Entry(_T.BONUS_GRANT, usd("30000"), "Words", Ref(_R.CONTRACT, "EC-2041")),
            "Added $30,000.00 of bonus credit, on top of the cash part of enterprise contract EC-2041.",
        ),
        (
            WEBHOOK,
            Entry(_T.CONTRACT_GRANT, usd("150000"), "Words", Ref(_R.STRIPE_INVOICE, "in_1")),
            "Added $150,000.00 of credit: the cash part of an enterprise contract, paid by Stripe invoice in_1.",
        ),
        (
            WEBHOOK,
            Entry(_T.BONUS_GRANT, usd("30000"), "Words", Ref(_R.STRIPE_INVOICE, "in_1")),
            (
                "Added $30,000.00 of bonus credit, on top of the cash part of an enterprise contract, paid by Stripe"
                " invoice in_1."
            ),
        ),
        (
            OPERATOR,
            Entry(_T.CONTRACT_GRANT, usd("1"), "Words"),
            "Added $1.00 of credit: the cash part of an enterprise contract.",
        ),
    ],
    ids=lambda one: f"{one.type.value} {one.ref.type.value if one.ref else ''}" if isinstance(one, Entry) else "",
)
async def test_explanation_of_a_single_row(desk: Desk, writer: Writer, entry: Entry, sentence: str) -> None:
    account_id = await desk.account()
    await desk.post(account_id, Entry(_T.GPU_USAGE, usd("-4.50"), "API calls before any credit"))
    await desk.post(account_id, entry, writer=writer)
    assert (await explanations(desk.database, account_id))[1] == sentence.format(first=f"txn_{account_id}_1")


_ROW = TransactionRow(
    account_id=7,
    seq=3,
    created_at=START,
    type="topup",
    amount_nanos=5,
    balance_after_nanos=5,
    description="Words",
    source="stripe_webhook",
    ref_type=None,
    ref_id=None,
    actor="test",
    corrects_seq=None,
    period_start=None,
    period_end=None,
    hash=bytes(32),
)


@pytest.mark.parametrize(("kind", "ref_type"), list(product(KINDS, [None, *RefType])))
@pytest.mark.parametrize("corrects_seq", [None, 2])
def test_every_possible_row_has_an_explanation(
    kind: tuple[TransactionType, TransactionSource], ref_type: RefType | None, corrects_seq: int | None
) -> None:
    """Whatever it is about, and with no more known of it than the row itself."""
    row = _ROW._replace(
        type=kind[0].value,
        source=kind[1].value,
        ref_type=ref_type and ref_type.value,
        ref_id=ref_type and "x-1",
        corrects_seq=corrects_seq,
        period_start=START,
        period_end=START + DAY,
    )
    sentence = explain(Facts(row, "USD"))
    assert sentence.endswith(".")
    assert "$0.000000005" in sentence
    assert "None" not in sentence
    assert "Words" not in sentence


def test_explanation_uses_the_account_currency() -> None:
    assert explain(Facts(_ROW, "EUR")) == "Added 0.000000005 EUR of credit, paid through Stripe."


async def test_explanation_shows_times_in_utc(desk: Desk) -> None:
    account_id = await desk.account()
    start = datetime(2026, 11, 2, 5, 30, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    entry = Entry(_T.STORAGE_BILLING, -5, "Words", VOLUME, Period(start, start + DAY))
    await desk.post(account_id, entry, writer=STORAGE)
    assert await explanations(desk.database, account_id) == [
        "Charged $0.000000005 for volume v-1 for 2 November 2026 UTC."
    ]


async def test_explaining_a_page_takes_as_many_statements_as_a_row(desk: Desk) -> None:
    account_id = await desk.account("100.00")
    for number in range(10):
        ref = Ref(_R.GPU_INSTANCE, str(number))
        await desk.post(account_id, open_hold(5, ref), SettleHold(ref, 4, "Words"))
        await desk.post(account_id, Entry(_T.ADMIN_CORRECTION, 1, "Words", corrects_seq=number + 1), writer=OPERATOR)
    with watched(desk.database) as sent:
        assert len(await explanations(desk.database, account_id)) == 31
    # The page; then the account, holds by the row that opened and by the one that settled them, and corrected rows.
    assert len(sent) == 2, sent
