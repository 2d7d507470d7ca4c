"""The examples of docs/how-billing-works.md are what the ledger does, row by row."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest

from db.database import Database
from ledger.commands import Entry, ExpireHold, OpenHold, Period, Ref, RenewHold, SettleHold
from ledger.kinds import RefType, TransactionType
from ledger.money import format_nanos
from tests.ledger.desk import DAY, HOUR, OPERATOR, STORAGE, WEBHOOK, Desk, usd
from tests.resolvers.test_explanations import explanations

PAGE: Final = Path(__file__).parents[2] / "docs/how-billing-works.md"
START: Final = datetime(2026, 11, 23, 9, tzinfo=UTC)
MINUTE: Final = timedelta(minutes=1)

_T, _R = TransactionType, RefType
GPU: Final = Ref(_R.GPU_INSTANCE, "132")
INFERENCE: Final = Ref(_R.INFERENCE_INSTANCE, "77")
WORDS: Final = "The page shows explanations, not descriptions"


async def top_up(desk: Desk, account_id: int, amount: str) -> None:
    session = Ref(_R.STRIPE_CHECKOUT_SESSION, "cs_live_a1B2")
    await desk.post(account_id, Entry(_T.TOPUP, usd(amount), WORDS, session), writer=WEBHOOK)


async def hold(desk: Desk, account_id: int) -> None:
    await top_up(desk, account_id, "10.00")
    desk.now += HOUR
    await desk.post(account_id, OpenHold(GPU, usd("2.49"), WORDS, Period(desk.now, desk.now + HOUR)))


async def stopped_early(desk: Desk, account_id: int) -> None:
    await hold(desk, account_id)
    desk.now += 20 * MINUTE
    await desk.post(account_id, SettleHold(GPU, usd("0.83"), WORDS, desk.now))


async def ran_longer(desk: Desk, account_id: int) -> None:
    await hold(desk, account_id)
    desk.now += 70 * MINUTE
    await desk.post(account_id, SettleHold(GPU, usd("2.905"), WORDS, desk.now))


async def inference(desk: Desk, account_id: int) -> None:
    await top_up(desk, account_id, "100.00")
    await desk.post(account_id, OpenHold(INFERENCE, usd("24.00"), WORDS, Period(desk.now, desk.now + DAY)))
    for used in ("20.00", "25.00"):
        desk.now += DAY
        await desk.post(account_id, RenewHold(INFERENCE, usd(used), WORDS, usd("24.00"), WORDS))
    desk.now += 6 * HOUR
    await desk.post(account_id, SettleHold(INFERENCE, usd("6.00"), WORDS, desk.now))


async def calls_and_storage(desk: Desk, account_id: int) -> None:
    await top_up(desk, account_id, "5.00")
    morning = Period(desk.now, desk.now + HOUR)
    calls = Entry(_T.GPU_USAGE, usd("-0.0135"), WORDS, Ref(_R.API_USAGE, "20261123T0900"), morning)
    await desk.post(account_id, calls)
    midnight = desk.now.replace(hour=0)
    desk.now = midnight + DAY + 5 * MINUTE
    day = Period(midnight, midnight + DAY)
    volume = Entry(_T.STORAGE_BILLING, usd("-0.12"), WORDS, Ref(_R.VOLUME, "v-1"), day)
    await desk.post(account_id, volume, writer=STORAGE)
    payment = Ref(_R.STRIPE_PAYMENT_INTENT, "pi_3C4d")
    await desk.post(account_id, Entry(_T.AUTO_RECHARGE, usd("20.00"), WORDS, payment), writer=WEBHOOK)


async def back_to_the_card(desk: Desk, account_id: int) -> None:
    await top_up(desk, account_id, "50.00")
    desk.now += DAY
    refund = Ref(_R.STRIPE_REFUND, "re_5E6f")
    await desk.post(account_id, Entry(_T.REFUND, usd("50.00"), WORDS, refund, corrects_seq=1), writer=WEBHOOK)
    taken_off = Entry(_T.ADMIN_CORRECTION, usd("-100.00"), WORDS, refund, corrects_seq=2)
    await desk.post(account_id, taken_off, writer=OPERATOR)


async def expired(desk: Desk, account_id: int) -> None:
    await hold(desk, account_id)
    desk.now += 2 * DAY
    await desk.post(account_id, ExpireHold(GPU))
    desk.now += DAY
    await desk.post(account_id, SettleHold(GPU, usd("0.83"), WORDS, START + HOUR + 20 * MINUTE))


STORIES: Final[dict[str, Callable[[Desk, int], Awaitable[None]]]] = {
    "It is stopped early": stopped_early,
    "It runs longer than estimated": ran_longer,
    "An inference instance over three days": inference,
    "API calls, storage and a recharge": calls_and_storage,
    "Credit that goes back to your card": back_to_the_card,
    "An instance that we lost sight of": expired,
}


def examples(text: str) -> dict[str, list[str]]:
    """The lists of explained transactions, by the heading before each."""
    parts = re.split(r"^#+ (.+)\n", text, flags=re.MULTILINE)
    found = {}
    for heading, body in zip(parts[1::2], parts[2::2], strict=True):
        rows = [line for line in body.splitlines() if re.match(r"\d+\. `\w+` -?\d", line)]
        if rows:
            found[heading] = rows
    return found


def test_every_example_is_tested() -> None:
    assert list(examples(PAGE.read_text())) == list(STORIES)


@pytest.mark.parametrize("heading", STORIES)
async def test_example_matches_the_ledger(ledgers: Database, heading: str) -> None:
    desk = Desk(ledgers)
    desk.now = START
    account_id = await desk.account()
    await STORIES[heading](desk, account_id)
    rows = [row for row in (await desk.tables()).transactions if row.account_id == account_id]
    sentences = await explanations(ledgers, account_id)
    shown = [
        f"{row.seq}. `{row.type}` {format_nanos(row.amount_nanos)}, balance {format_nanos(row.balance_after_nanos)}:"
        f" {sentence.replace(f'txn_{account_id}_', 'txn_7_')}"
        for row, sentence in zip(rows, sentences, strict=True)
    ]
    told = examples(PAGE.read_text()).get(heading)
    assert told == shown, "\n".join(shown)


async def test_charge_matches_the_page(ledgers: Database) -> None:
    desk = Desk(ledgers)
    desk.now = START
    account_id = await desk.account()
    await inference(desk, account_id)
    charge = await desk.charge(account_id, INFERENCE)
    held, refunded, overage = (f"${format_nanos(nanos)}" for nanos in charge[4:7])
    assert (charge.first_seq, charge.cycles) == (2, 3)
    sentence = (
        f"with an id such as `chg_7_2`. This one has held {held} in three cycles, returned {refunded} and charged"
        f" {overage} on top: it cost $51.00."
    )
    assert sentence in " ".join(PAGE.read_text().split())
    assert charge.held_nanos - charge.refunded_nanos + charge.overage_nanos == usd("51.00")
