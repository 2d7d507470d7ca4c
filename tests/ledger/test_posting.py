"""Each rule of posting, on both databases."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Any, TypeAlias

import pytest

from db.errors import NumberOutOfRange
from ledger.batches import MAX_COMMANDS
from ledger.commands import Command, EndCharge, Entry, ExpireHold, OpenHold, Period, Ref, RenewHold, SettleHold, Writer
from ledger.errors import (
    BadUserInput,
    Conflict,
    Forbidden,
    IdempotencyConflict,
    InsufficientBalance,
    NotFound,
)
from ledger.kinds import RefType, TransactionType, WriterKind
from ledger.money import MAX_NANOS, MIN_NANOS
from ledger.posting import Ledger, utc_now
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
    Desk,
    api_usage,
    brief,
    correction,
    open_hold,
    period,
    posting,
    renew,
    settle,
    usd,
)
from tests.ledger.recompute import differences

T: TypeAlias = TransactionType
W: TypeAlias = WriterKind

# The contract's table: who may write what, with which sign, and the source that the row then has.
TABLE: list[tuple[W, T, str, str]] = [
    (W.WEBHOOK, T.TOPUP, "+", "stripe_webhook"),
    (W.WEBHOOK, T.AUTO_RECHARGE, "+", "stripe_webhook"),
    (W.SERVICE, T.GPU_USAGE, "-", "metering"),
    (W.STORAGE_WORKER, T.STORAGE_BILLING, "-", "storage_worker"),
    (W.SERVICE, T.REFUND, "+", "metering"),
    (W.WEBHOOK, T.REFUND, "+", "stripe_webhook"),
    (W.ACCOUNT_CREATION, T.BONUS, "+", "promotion"),
    (W.SERVICE, T.BONUS, "+", "promotion"),
    (W.OPERATOR, T.ADMIN_CORRECTION, "±", "admin_correction"),
    (W.WEBHOOK, T.ADMIN_CORRECTION, "±", "stripe_webhook"),
    (W.OPERATOR, T.CONTRACT_GRANT, "+", "contract"),
    (W.WEBHOOK, T.CONTRACT_GRANT, "+", "stripe_webhook"),
    (W.OPERATOR, T.BONUS_GRANT, "+", "contract"),
    (W.WEBHOOK, T.BONUS_GRANT, "+", "stripe_webhook"),
]
BOTH_SIGNS = (("+", 1), ("-", -1))


# Rows


async def test_writer_determines_allowed_types_and_source(desk: Desk) -> None:
    account_id = await desk.account()
    written = []
    for writer, kind, signs, source in TABLE:
        for sign, factor in BOTH_SIGNS:
            if sign in signs or signs == "±":
                entry = Entry(kind, factor * 5, "Words")
                (row,) = (await desk.post(account_id, entry, writer=Writer(writer, "actor"))).transactions
                assert (row.type, row.amount_nanos, row.source, row.actor) == (kind, factor * 5, source, "actor")
                written.append(row)
    assert await desk.rows(account_id) == written
    assert await differences(desk.database) == []


async def test_wrong_signs_and_zero_amounts_are_refused(desk: Desk) -> None:
    account_id = await desk.account("1.00")
    for writer, kind, signs, _ in TABLE:
        wrong = [0] + [factor * 5 for sign, factor in BOTH_SIGNS if signs not in (sign, "±")]
        for nanos in wrong:
            call = desk.post(account_id, Entry(kind, nanos, "Words"), writer=Writer(writer, "actor"))
            await desk.writes_nothing(call, BadUserInput, "must not be zero" if nanos == 0 else f"a {kind} row must be")


async def test_other_writers_are_forbidden(desk: Desk) -> None:
    account_id = await desk.account("1.00")
    allowed = {(writer, kind) for writer, kind, _, _ in TABLE}
    for writer in W:
        for kind in T:
            if (writer, kind) not in allowed:
                entry = Entry(kind, -5 if kind in {T.GPU_USAGE, T.STORAGE_BILLING} else 5, "Words")
                call = desk.post(account_id, entry, writer=Writer(writer, "actor"))
                await desk.writes_nothing(call, Forbidden, f"{writer} must not write {kind} rows")


@pytest.mark.parametrize("writer", [W.WEBHOOK, W.STORAGE_WORKER, W.ACCOUNT_CREATION, W.OPERATOR])
async def test_only_services_may_hold_and_settle(desk: Desk, writer: W) -> None:
    """However the settlement comes out: a refund, an overage, or even, which writes no row."""
    account_id = await desk.account("10.00")
    await desk.post(account_id, open_hold(5), open_hold(5, INFERENCE))
    calls: list[Command] = [open_hold(5, Ref(RefType.GPU_INSTANCE, "133"))]
    calls += [settle(used) for used in (0, 5, 6)]
    calls += [renew(used, hold, 1) for used in (0, 5, 6) for hold in (5, usd("11.00"))]
    for command in calls:
        await desk.writes_nothing(desk.post(account_id, command, writer=Writer(writer, "actor")), Forbidden)


@pytest.mark.parametrize("description", ["", " ", "x" * 501, "two\nlines", "nul\x00", "\ud800"])
async def test_every_command_requires_a_description(desk: Desk, description: str) -> None:
    account_id = await desk.account("10.00")
    await desk.post(account_id, open_hold(5), open_hold(5, INFERENCE))
    other = Ref(RefType.INFERENCE_INSTANCE, "i-8")
    commands: list[Command] = [
        Entry(T.GPU_USAGE, -5, description),
        OpenHold(other, 5, description, period()),
        *(SettleHold(GPU, used, description) for used in (4, 5, 6)),
        *(RenewHold(INFERENCE, used, description, 5, "Next cycle", period(1)) for used in (4, 5, 6)),
        *(RenewHold(INFERENCE, 5, "Even", hold, description, period(1)) for hold in (5, usd("11.00"))),
    ]
    for command in commands:
        await desk.writes_nothing(desk.post(account_id, command), BadUserInput, "description ")
    correct = Entry(T.ADMIN_CORRECTION, 5, description)
    await desk.writes_nothing(desk.post(account_id, correct, writer=OPERATOR), BadUserInput, "description ")


async def test_every_column_is_stored(desk: Desk) -> None:
    account_id = await desk.account()
    ref, text = Ref(RefType.VOLUME, "Ж 'v' \"1\" %_\\"), "Cloud drive ☃ " + "ä" * 486
    east = timezone(timedelta(hours=14))
    time = Period(datetime(2026, 11, 2, 1, tzinfo=east), datetime(2026, 11, 2, 9, 0, 0, 1, tzinfo=east))
    desk.now = START + timedelta(microseconds=1)
    (row,) = (
        await desk.post(account_id, Entry(T.STORAGE_BILLING, -135, text, ref=ref, period=time), writer=STORAGE)
    ).transactions
    assert row[:14] == (
        account_id,
        1,
        desk.now,
        "storage_billing",
        -135,
        -135,
        text,
        "storage_worker",
        "volume",
        ref.id,
        "storage-worker",
        None,
        datetime(2026, 11, 1, 11, tzinfo=UTC),
        datetime(2026, 11, 1, 19, 0, 0, 1, tzinfo=UTC),
    )
    assert await desk.rows(account_id) == [row]
    assert await differences(desk.database) == []


async def test_correction_names_the_corrected_row(desk: Desk) -> None:
    account_id = await desk.account("1.00")
    other = await desk.account("1.00")
    await desk.post(other, api_usage(1), api_usage(1))
    for seq in (0, -1, 2, 3):
        entry = Entry(T.ADMIN_CORRECTION, 5, "Words", corrects_seq=seq)
        await desk.writes_nothing(desk.post(account_id, entry, writer=OPERATOR), NotFound, "the row to correct")
    answers = [Entry(T.ADMIN_CORRECTION, 5, "Words", corrects_seq=seq) for seq in (1, 2)]
    outcome = await desk.post(account_id, *answers, writer=OPERATOR)
    assert [row.corrects_seq for row in outcome.transactions] == [1, 2]


@pytest.mark.parametrize(
    "moment",
    [datetime(2026, 11, 1), datetime(1, 1, 1, tzinfo=timezone(HOUR)), datetime(9999, 12, 31, tzinfo=UTC)],  # noqa: DTZ001
)
async def test_times_need_a_zone_and_a_storable_year(desk: Desk, moment: datetime) -> None:
    account_id = await desk.account("10.00")
    await desk.post(account_id, open_hold(5), open_hold(5, INFERENCE))
    other = Ref(RefType.GPU_INSTANCE, "133")
    for time in (Period(moment, START + 99 * DAY), Period(START, moment), Period(moment, moment)):
        commands: list[Command] = [
            Entry(T.GPU_USAGE, -5, "Words", period=time),
            OpenHold(other, 5, "Words", time),
            RenewHold(INFERENCE, 5, "Even", 5, "Next cycle", time),
            RenewHold(INFERENCE, 5, "Even", usd("11.00"), "Next cycle", time),
        ]
        for command in commands:
            await desk.writes_nothing(desk.post(account_id, command), BadUserInput)
    for ref in (GPU, INFERENCE):
        for used in (4, 5, 6):
            await desk.writes_nothing(desk.post(account_id, settle(used, ref, moment)), BadUserInput)


async def test_a_period_must_not_end_before_it_starts(desk: Desk) -> None:
    account_id = await desk.account("10.00")
    backwards = Period(START + HOUR, START + HOUR - timedelta(microseconds=1))
    for command in (OpenHold(GPU, 5, "Words", backwards), Entry(T.GPU_USAGE, -5, "Words", period=backwards)):
        await desk.writes_nothing(desk.post(account_id, command), BadUserInput, "must not end before it starts")
    (row,) = (await desk.post(account_id, Entry(T.GPU_USAGE, -5, "x", period=Period(START, START)))).transactions
    assert (row.period_start, row.period_end) == (START, START)


@pytest.mark.parametrize("ref_id", ["", " ", "x" * 201, "a\nb", "nul\x00", "\ud800"])
async def test_ref_id_must_be_valid_text(desk: Desk, ref_id: str) -> None:
    account_id = await desk.account("10.00")
    for kind in (RefType.GPU_INSTANCE, RefType.INFERENCE_INSTANCE):
        ref = Ref(kind, ref_id)
        commands: list[Command] = [OpenHold(ref, 5, "Words", period()), SettleHold(ref, 5, "Words"), ExpireHold(ref)]
        for command in commands:
            await desk.writes_nothing(desk.post(account_id, command), BadUserInput, "refId ")
    renewal = RenewHold(Ref(RefType.INFERENCE_INSTANCE, ref_id), 5, "Words", 5, "Words", period(1))
    await desk.writes_nothing(desk.post(account_id, renewal), BadUserInput, "refId ")
    for kind in (RefType.VOLUME, RefType.API_USAGE):
        entry = Entry(T.GPU_USAGE, -5, "Words", ref=Ref(kind, ref_id))
        await desk.writes_nothing(desk.post(account_id, entry), BadUserInput, "refId ")


async def test_only_holds_write_rows_of_instances(desk: Desk) -> None:
    account_id = await desk.account("10.00")
    for ref in (GPU, INFERENCE):
        for entry in (Entry(T.GPU_USAGE, -5, "Words", ref=ref), Entry(T.REFUND, 5, "Words", ref=ref)):
            await desk.writes_nothing(desk.post(account_id, entry), BadUserInput, "are written only by its hold")


async def test_only_instances_are_held_and_only_inference_instances_renewed(desk: Desk) -> None:
    account_id = await desk.account("10.00")
    await desk.post(account_id, open_hold(5))
    for kind in set(RefType) - {RefType.GPU_INSTANCE, RefType.INFERENCE_INSTANCE}:
        ref = Ref(kind, "1")
        await desk.writes_nothing(desk.post(account_id, open_hold(5, ref)), BadUserInput, "cannot be held")
        await desk.writes_nothing(desk.post(account_id, settle(5, ref)), NotFound, "has no hold")
        await desk.writes_nothing(desk.post(account_id, ExpireHold(ref)), NotFound, "has no hold")
    await desk.writes_nothing(desk.post(account_id, renew(5, 5, 1, GPU)), BadUserInput, "is held in cycles")


async def test_daily_rows_of_a_volume_belong_to_one_charge(desk: Desk) -> None:
    account_id = await desk.account("1.00")
    for nanos in (20, 30):
        desk.now += DAY
        await desk.post(account_id, Entry(T.STORAGE_BILLING, -nanos, "Cloud drive", ref=VOLUME), writer=STORAGE)
    charge = await desk.charge(account_id, VOLUME)
    assert (charge.state, charge.billed_nanos, charge.held_nanos, charge.cycles) == ("open", 50, 0, 0)
    assert (charge.first_seq, charge.last_seq, charge.opened_at, charge.closed_at) == (2, 3, START + DAY, None)
    assert await differences(desk.database) == []


# Holds


@pytest.mark.parametrize("ref", [GPU, INFERENCE])
async def test_hold_may_use_exactly_the_whole_balance(desk: Desk, ref: Ref) -> None:
    account_id = await desk.account("2.49")
    for nanos in (usd("2.49") + 1, MAX_NANOS):
        call = desk.post(account_id, open_hold(nanos, ref), key="once")
        await desk.writes_nothing(call, InsufficientBalance, "the balance of 2.49 does not cover")
    outcome = await desk.post(account_id, open_hold(usd("2.49"), ref), key="once")
    assert brief(outcome.transactions) == [("gpu_usage", "-2.49", "0.00")]
    assert await differences(desk.database) == []


async def test_a_hold_on_a_suspended_account_is_refused(desk: Desk) -> None:
    account_id = await desk.account("10.00", suspended=True)
    await desk.writes_nothing(desk.post(account_id, open_hold(5)), InsufficientBalance, "is suspended")
    settled = await desk.post(account_id, api_usage(5), writer=SERVICE)
    assert settled.balance_nanos == usd("10.00") - 5


async def test_a_suspended_account_settles_but_does_not_renew(desk: Desk) -> None:
    account_id = await desk.account("10.00")
    await desk.post(account_id, open_hold(5), open_hold(5, INFERENCE))
    await desk.execute("UPDATE accounts SET status = 'suspended'")
    outcome = await desk.post(account_id, renew(4, 5, 1), settle(6))
    assert outcome.to_stop
    assert [(row.type, row.amount_nanos) for row in outcome.transactions] == [("refund", 1), ("gpu_usage", -1)]
    assert (await desk.charge(account_id, INFERENCE)).state == "settled"
    assert await differences(desk.database) == []


@pytest.mark.parametrize("nanos", [0, -1])
async def test_holds_are_positive(desk: Desk, nanos: int) -> None:
    account_id = await desk.account("10.00")
    await desk.post(account_id, open_hold(5, INFERENCE))
    await desk.writes_nothing(desk.post(account_id, open_hold(nanos)), BadUserInput, "must be positive")
    await desk.writes_nothing(desk.post(account_id, renew(5, nanos, 1)), BadUserInput, "must be positive")


async def test_used_amount_must_be_in_range(desk: Desk) -> None:
    account_id = await desk.account("10.00")
    await desk.post(account_id, open_hold(5, INFERENCE))
    for used in (-1, MAX_NANOS + 1):
        for command in (settle(used, INFERENCE), renew(used, 5, 1)):
            await desk.writes_nothing(desk.post(account_id, command), BadUserInput, "what was used")


async def test_settlement_may_take_the_balance_below_zero(desk: Desk) -> None:
    account_id = await desk.account("1.00")
    await desk.post(account_id, open_hold(usd("1.00")))
    outcome = await desk.post(account_id, settle(usd("3.00")))
    assert brief(outcome.transactions) == [("gpu_usage", "-2.00", "-2.00")]
    outcome = await desk.post(account_id, api_usage(usd("1.00")))
    assert brief(outcome.transactions) == [("gpu_usage", "-1.00", "-3.00")]
    outcome = await desk.post(account_id, correction(usd("-0.50"), "Agreed by phone"), writer=OPERATOR)
    assert brief(outcome.transactions) == [("admin_correction", "-0.50", "-3.50")]
    await desk.writes_nothing(desk.post(account_id, open_hold(1, INFERENCE)), InsufficientBalance)


async def test_a_hold_is_opened_once(desk: Desk) -> None:
    account_id = await desk.account("10.00")
    twice = desk.post(account_id, open_hold(5), open_hold(5, number=1))
    await desk.writes_nothing(twice, Conflict, "was already held")
    await desk.post(account_id, open_hold(5))
    await desk.writes_nothing(desk.post(account_id, open_hold(5, number=1)), Conflict, "was already held")
    await desk.post(account_id, settle(5))
    await desk.writes_nothing(desk.post(account_id, open_hold(5, number=1)), Conflict, "was already held")


async def test_a_hold_is_settled_once(desk: Desk) -> None:
    account_id = await desk.account("10.00")
    await desk.writes_nothing(desk.post(account_id, settle(5)), NotFound, "GPU_INSTANCE 132 has no hold")
    await desk.post(account_id, open_hold(5), open_hold(5, INFERENCE))
    other = await desk.account("10.00")
    await desk.writes_nothing(desk.post(other, settle(5)), NotFound, "has no hold")
    await desk.writes_nothing(desk.post(account_id, settle(4), settle(4)), Conflict, "is already settled")
    await desk.post(account_id, settle(5), settle(5, INFERENCE))
    for command in (settle(5), settle(4), ExpireHold(GPU), renew(4, 5, 1)):
        await desk.writes_nothing(desk.post(account_id, command), Conflict, "is already settled")


async def test_an_expired_hold_is_settled_at_the_hold_and_late_settlement_posts_the_difference_once(desk: Desk) -> None:
    for used, late in ((4, [("refund", 1)]), (5, []), (6, [("gpu_usage", -1)])):
        desk.now = START
        account_id = await desk.account("10.00")
        await desk.post(account_id, open_hold(5, INFERENCE))
        desk.now = START + 2 * DAY
        outcome = await desk.post(account_id, ExpireHold(INFERENCE))
        assert (outcome.transactions, outcome.balance_nanos) == ((), usd("10.00") - 5)
        charge, (hold,) = await desk.charge(account_id, INFERENCE), await desk.holds(account_id, INFERENCE)
        assert (charge.state, charge.closed_at, hold.state) == ("expired", desk.now, "expired")
        assert (hold.used_nanos, hold.settled_seq, hold.settled_at) == (5, None, desk.now)
        assert hold.expired_at == desk.now
        assert (await desk.months(account_id))["2026-11"][2] == "0.00"
        for command in (ExpireHold(INFERENCE), renew(5, 5, 1)):
            await desk.writes_nothing(desk.post(account_id, command), Conflict, "has expired")
        desk.now = START + 3 * DAY
        outcome = await desk.post(account_id, settle(used, INFERENCE))
        assert [(row.type, row.amount_nanos) for row in outcome.transactions] == late
        charge, (hold,) = await desk.charge(account_id, INFERENCE), await desk.holds(account_id, INFERENCE)
        assert (charge.state, charge.closed_at, hold.state) == ("settled", desk.now, "settled")
        assert (hold.used_nanos, hold.settled_seq) == (used, 3 if late else None)
        assert (hold.expired_at, hold.settled_at) == (START + 2 * DAY, desk.now)
        assert (await desk.months(account_id))["2026-11"][2] == "0.00"
        await desk.writes_nothing(desk.post(account_id, settle(used, INFERENCE)), Conflict, "is already settled")
    assert await differences(desk.database) == []


@pytest.mark.parametrize(
    ("ref", "ended_at", "charged_until"),
    [
        (GPU, START + 6 * HOUR, START + 6 * HOUR),
        (GPU, START + 30 * HOUR, START + 30 * HOUR),
        (GPU, START - HOUR, START),
        (GPU, None, START + 26 * HOUR),
        (INFERENCE, START + 6 * HOUR, START + 6 * HOUR),
        (INFERENCE, START + 30 * HOUR, START + DAY),
        (INFERENCE, None, START + DAY),
    ],
)
async def test_settlement_row_covers_the_used_period(
    desk: Desk, ref: Ref, ended_at: datetime | None, charged_until: datetime
) -> None:
    account_id = await desk.account("10.00")
    await desk.post(account_id, open_hold(5, ref))
    desk.now = START + 26 * HOUR
    (row,) = (await desk.post(account_id, settle(4, ref, ended_at))).transactions
    assert (row.period_start, row.period_end) == (START, charged_until)


# Idempotency


async def test_replay_returns_the_first_outcome_and_writes_nothing(desk: Desk) -> None:
    account_id = await desk.account("10.00")
    commands: list[Command] = [open_hold(5), api_usage(7)]
    first = await desk.post(account_id, *commands, key="k")
    await desk.post(account_id, api_usage(9))
    before = await desk.tables()
    desk.now += DAY
    again = await desk.post(account_id, *commands, key="k")
    assert not first.replayed
    assert again.replayed
    assert (again.transactions, again.balance_nanos) == (first.transactions, usd("10.00") - 12)
    assert await desk.tables() == before
    assert await differences(desk.database) == []


@pytest.mark.parametrize("kind", ["even", "expired", "stopped"])
async def test_replay_returns_an_outcome_without_rows(desk: Desk, kind: str) -> None:
    account_id = await desk.account("10.00")
    await desk.post(account_id, open_hold(usd("6.00"), INFERENCE))
    commands: dict[str, Command] = {
        "even": settle(usd("6.00"), INFERENCE),
        "expired": ExpireHold(INFERENCE),
        "stopped": renew(usd("6.00"), usd("6.00"), 1),
    }
    first = await desk.post(account_id, commands[kind], key="k")
    assert first.transactions == ()
    await desk.post(account_id, api_usage(9))
    again = await desk.post(account_id, commands[kind], key="k")
    assert again == first.__class__(account_id, (), usd("4.00"), replayed=True, to_stop=kind == "stopped")
    assert await differences(desk.database) == []


async def test_same_key_with_another_payload_is_a_conflict(desk: Desk) -> None:
    account_id = await desk.account("10.00")
    await desk.post(account_id, open_hold(5), key="k")
    payloads: list[Sequence[Command]] = [
        [open_hold(6)],
        [open_hold(5, number=1)],
        [open_hold(5, INFERENCE)],
        [open_hold(5), api_usage(7)],
        [settle(5)],
        [],
    ]
    for commands in payloads:
        calls = desk.ledger.post(posting(account_id, *commands, key="k"), posting(account_id, api_usage(7)))
        await desk.writes_nothing(calls, IdempotencyConflict, "another payload")


async def test_commands_of_another_kind_are_another_payload(desk: Desk) -> None:
    account_id = await desk.account("10.00")
    await desk.post(account_id, open_hold(5))
    await desk.post(account_id, ExpireHold(GPU), key="k")
    lookalike: Any = SettleHold(GPU, 5, "Words")
    await desk.writes_nothing(desk.post(account_id, lookalike, key="k"), IdempotencyConflict)


async def test_refused_calls_are_not_stored(desk: Desk) -> None:
    account_id = await desk.account("1.00")
    refused = desk.post(account_id, open_hold(usd("2.00")), key="k")
    await desk.writes_nothing(refused, InsufficientBalance)
    await desk.post(account_id, correction(usd("1.00")), writer=OPERATOR)
    outcome = await desk.post(account_id, open_hold(usd("2.00")), key="k")
    assert not outcome.replayed
    assert outcome.balance_nanos == 0


async def test_keys_are_scoped_to_account_and_operation(desk: Desk) -> None:
    one, two = await desk.account("1.00"), await desk.account("1.00")
    calls = [(one, "post"), (one, "charge"), (two, "post"), (two, "charge")]
    for number, (account_id, operation) in enumerate(calls):
        outcome = await desk.post(account_id, api_usage(number + 1), key="k", operation=operation)
        assert not outcome.replayed
    for number, (account_id, operation) in enumerate(calls):
        outcome = await desk.post(account_id, api_usage(number + 1), key="k", operation=operation)
        assert outcome.replayed
        assert [row.amount_nanos for row in outcome.transactions] == [-number - 1]
    assert await differences(desk.database) == []


async def test_idempotency_keys_are_compared_exactly(desk: Desk) -> None:
    account_id = await desk.account("1.00")
    for number, key in enumerate(["k", "K", "k ", " k", "\u1e31", "k\u0301", "k" * 255]):
        assert not (await desk.post(account_id, api_usage(number + 1), key=key)).replayed


@pytest.mark.parametrize("key", ["", " ", "k" * 256, "nul\x00", "a\nb", "\ud800"])
async def test_idempotency_key_must_be_valid_text(desk: Desk, key: str) -> None:
    account_id = await desk.account("1.00")
    await desk.writes_nothing(desk.post(account_id, api_usage(5), key=key), BadUserInput, "idempotencyKey ")


async def test_same_key_twice_in_one_batch_is_a_replay(desk: Desk) -> None:
    account_id, other = await desk.account("10.00"), await desk.account("10.00")
    first, foreign, again = await desk.ledger.post(
        posting(account_id, api_usage(5), api_usage(6), key="k"),
        posting(other, api_usage(5), api_usage(6), key="k"),
        posting(account_id, api_usage(5), api_usage(6), key="k"),
    )
    assert (first.replayed, foreign.replayed, again.replayed) == (False, False, True)
    assert (again.transactions, again.balance_nanos) == (first.transactions, first.balance_nanos)
    assert len(await desk.rows(account_id)) == 3
    clash = desk.ledger.post(
        posting(account_id, api_usage(7), key="new"),
        posting(account_id, api_usage(8), key="new"),
    )
    await desk.writes_nothing(clash, IdempotencyConflict)
    assert await differences(desk.database) == []


async def test_concurrent_repeats_of_a_call_are_carried_out_once(desk: Desk) -> None:
    account_id = await desk.account("10.00")
    outcomes = await asyncio.gather(*(desk.post(account_id, open_hold(5), key="k") for _ in range(20)))
    assert sorted(outcome.replayed for outcome in outcomes) == [False] + [True] * 19
    assert {outcome.transactions for outcome in outcomes} == {outcomes[0].transactions}
    assert len(await desk.rows(account_id)) == 2


# Batches


async def test_a_batch_is_all_or_nothing(desk: Desk) -> None:
    one, two = await desk.account("1.00"), await desk.account("10.00")
    batch = desk.ledger.post(
        posting(two, api_usage(5), open_hold(5), key="k"),
        posting(one, api_usage(5), open_hold(usd("1.00"))),
    )
    await desk.writes_nothing(batch, InsufficientBalance)
    unknown = desk.ledger.post(posting(two, api_usage(5)), posting(two + 1, api_usage(5)))
    await desk.writes_nothing(unknown, NotFound, f"there is no account acct_{two + 1}")
    outcomes = await desk.ledger.post(
        posting(two, api_usage(5)), posting(one, api_usage(5)), posting(two, open_hold(5), settle(4))
    )
    assert [outcome.account_id for outcome in outcomes] == [two, one, two]
    assert [[row.seq for row in outcome.transactions] for outcome in outcomes] == [[2], [2], [3, 4]]
    assert outcomes[0].balance_nanos == usd("10.00") - 5
    assert outcomes[2].balance_nanos == usd("10.00") - 9
    assert await differences(desk.database) == []


async def test_batch_size_is_limited(desk: Desk) -> None:
    account_id = await desk.account()
    for commands in ([], [api_usage(1)] * (MAX_COMMANDS + 1)):
        await desk.writes_nothing(
            desk.post(account_id, *commands), BadUserInput, "a call must have 1 to 10000 commands"
        )
    outcome = await desk.post(account_id, *[api_usage(1)] * MAX_COMMANDS)
    assert [row.seq for row in outcome.transactions] == list(range(1, MAX_COMMANDS + 1))
    assert await differences(desk.database) == []


async def test_batch_with_many_accounts_and_holds(desk: Desk) -> None:
    accounts = [await desk.account("1.00") for _ in range(20)]
    refs = [Ref(RefType.GPU_INSTANCE, f"{number}") for number in range(40)]
    opened = [posting(one, *(open_hold(5, ref) for ref in refs), key="open") for one in accounts]
    await desk.ledger.post(*opened)
    await desk.ledger.post(*(posting(one, *(settle(3, ref) for ref in refs), key="settle") for one in accounts))
    assert all(outcome.replayed for outcome in await desk.ledger.post(*opened))
    charges = (await desk.tables()).charges
    assert len(charges) == 800
    assert {(one.state, one.refunded_nanos) for one in charges} == {("settled", 2)}
    assert await differences(desk.database) == []


async def test_batches_in_opposite_order_do_not_deadlock(desk: Desk) -> None:
    one, two = await desk.account("10.00"), await desk.account("10.00")
    there, back = (
        [posting(one, api_usage(1)), posting(two, api_usage(1))],
        [posting(two, api_usage(1)), posting(one, api_usage(1))],
    )
    await asyncio.gather(*(desk.ledger.post(*batch) for _ in range(20) for batch in (there, back)))
    assert [len(await desk.rows(account_id)) for account_id in (one, two)] == [41, 41]
    assert await differences(desk.database) == []


# Time


async def test_created_at_never_decreases_if_the_clock_does(desk: Desk) -> None:
    account_id = await desk.account("10.00")
    moments = [5, 3, 5, 4, 6]
    for seconds in moments:
        desk.now = START + timedelta(seconds=seconds)
        await desk.post(account_id, api_usage(1), api_usage(1))
    seconds_of = [(row.created_at - START).total_seconds() for row in await desk.rows(account_id)]
    assert seconds_of == [0, 5, 5, 5, 5, 5, 5, 5, 5, 6, 6]
    assert await differences(desk.database) == []


async def test_the_clock_is_read_after_the_lock(desk: Desk) -> None:
    account_id = await desk.account("10.00")
    ledger = Ledger(desk.database)
    before = utc_now()
    async with desk.database.write() as connection:
        await connection.exec_driver_sql(f"UPDATE accounts SET name = 'Renamed' WHERE id = {account_id}")
        waiting = asyncio.create_task(ledger.post(posting(account_id, api_usage(1))))
        await asyncio.sleep(0.2)
        assert not waiting.done()
        released = utc_now()
    (outcome,), after = await waiting, utc_now()
    assert before < released <= outcome.transactions[0].created_at <= after


async def test_a_row_counts_in_the_month_of_its_own_time(desk: Desk) -> None:
    account_id = await desk.account()
    desk.now = datetime(2026, 11, 30, 23, 59, 59, 999_999, tzinfo=UTC)
    await desk.post(account_id, api_usage(1))
    desk.now = datetime(2026, 12, 1, tzinfo=UTC)
    await desk.post(account_id, api_usage(2))
    desk.now = datetime(2026, 11, 30, tzinfo=UTC)
    await desk.post(account_id, api_usage(4))
    assert await desk.months(account_id) == {
        "2026-11": ("0.000000001", "0.00", "0.00"),
        "2026-12": ("0.000000006", "0.00", "0.00"),
    }


async def test_only_metering_rows_count_as_cost(desk: Desk) -> None:
    account_id = await desk.account()
    for writer, kind, signs, _ in TABLE:
        entry = Entry(kind, -5 if signs == "-" else 5, "Words")
        await desk.post(account_id, entry, writer=Writer(writer, "actor"))
    assert await desk.months(account_id) == {"2026-11": ("0.00000001", "0.000000005", "0.00")}


# The range


@pytest.mark.parametrize("nanos", [MAX_NANOS, MIN_NANOS])
async def test_balance_may_reach_but_not_exceed_its_range(desk: Desk, nanos: int) -> None:
    account_id = await desk.account()
    step = 1 if nanos > 0 else -1
    outcome = await desk.post(account_id, correction(nanos), writer=OPERATOR)
    assert outcome.balance_nanos == nanos
    beyond = desk.post(account_id, correction(step), writer=OPERATOR)
    await desk.writes_nothing(beyond, BadUserInput, f"the balance of acct_{account_id} exceeds the range")
    huge = desk.post(account_id, correction(nanos + step), writer=OPERATOR)
    await desk.writes_nothing(huge, BadUserInput, "the amount exceeds the range")
    assert await differences(desk.database) == []


@pytest.mark.parametrize("kind", ["gross", "refunded"])
@pytest.mark.parametrize("at_once", [False, True])
async def test_monthly_figures_beyond_their_range_are_refused(desk: Desk, kind: str, at_once: bool) -> None:
    account_id = await desk.account()
    there, back = Entry(T.GPU_USAGE, MIN_NANOS, "There"), Entry(T.REFUND, MAX_NANOS, "Back")
    fill: list[Entry] = [there, Entry(T.BONUS, MAX_NANOS, "Back")] if kind == "gross" else []
    if kind == "refunded":
        await desk.post(account_id, back)
        await desk.post(account_id, correction(MIN_NANOS), writer=OPERATOR)
        last = Entry(T.REFUND, 1, "Once more")
    else:
        last = Entry(T.GPU_USAGE, -1, "Once more")
    if at_once and kind == "gross":
        await desk.writes_nothing(desk.post(account_id, *fill, last), NumberOutOfRange)
        await desk.writes_nothing(desk.post(account_id, *fill, *fill), NumberOutOfRange)
    else:
        if fill:
            await desk.post(account_id, *fill)
        await desk.writes_nothing(desk.post(account_id, last), NumberOutOfRange)
    assert await differences(desk.database) == []


async def test_charge_beyond_its_range_is_refused(desk: Desk) -> None:
    account_id = await desk.account()
    desk.now = START
    for month in range(2):
        desk.now = START + month * 40 * DAY
        usage = Entry(T.GPU_USAGE, MIN_NANOS, "Drive", ref=VOLUME)
        back = correction(MAX_NANOS, "Back")
        if month == 0:
            await desk.post(account_id, usage)
            await desk.post(account_id, back, writer=OPERATOR)
        else:
            await desk.writes_nothing(desk.post(account_id, usage), BadUserInput, "the charge of volume v-1 exceeds")
    assert await differences(desk.database) == []


async def test_posting_to_an_unknown_account_is_not_found(desk: Desk) -> None:
    for account_id in (1, 2**63 - 1):
        await desk.writes_nothing(
            desk.post(account_id, api_usage(1)), NotFound, f"there is no account acct_{account_id}"
        )


async def test_charge_with_a_hold_must_be_settled(desk: Desk) -> None:
    account_id = await desk.account("10.00")
    await desk.post(account_id, open_hold(5))
    refused = desk.post(account_id, EndCharge(GPU), writer=STORAGE)
    await desk.writes_nothing(refused, BadUserInput, "GPU_INSTANCE 132 has a hold: settle it instead")
