"""Random calls: one after the other against a model of the contract, and from 64 writers at once."""

from __future__ import annotations

import asyncio
import copy
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from random import Random
from typing import Final

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from db.database import Database
from db.rows import TransactionRow
from ledger.commands import (
    AuthorizeUsage,
    Command,
    EndCharge,
    Entry,
    ExpireHold,
    OpenHold,
    Outcome,
    Posting,
    Ref,
    ReleaseAuthorization,
    RenewHold,
    SettleHold,
)
from ledger.errors import BillingError, Conflict, IdempotencyConflict, InsufficientBalance, NotFound
from ledger.kinds import RefType, TransactionType
from ledger.posting import Ledger
from tests.doses import dose
from tests.ledger.desk import HOUR, VOLUME, Desk, api_usage, open_hold, posting, renew, settle
from tests.ledger.recompute import differences, read_tables

EXAMPLES: Final = settings(
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)

INFERENCE: Final = [Ref(RefType.INFERENCE_INSTANCE, "1"), Ref(RefType.INFERENCE_INSTANCE, "2")]
REFS: Final = [Ref(RefType.GPU_INSTANCE, "1"), *INFERENCE]


def bonus(nanos: int) -> Entry:
    return Entry(TransactionType.BONUS, nanos, "Goodwill")


def drive(nanos: int) -> Entry:
    return Entry(TransactionType.GPU_USAGE, -nanos, "Cloud drive", ref=VOLUME)


# One after the other


@dataclass
class ModelAccount:
    """What the contract says of an account, in as few words as possible."""

    balance: int = 0
    seq: int = 0
    newest: datetime | None = None
    held: dict[Ref, int] = field(default_factory=dict)
    state: dict[Ref, str] = field(default_factory=dict)
    calls: dict[str, tuple[Sequence[Command], list[tuple[int, int]], int, bool]] = field(default_factory=dict)

    def write(self, nanos: int) -> tuple[int, int]:
        """The (seq, amount) of a row; an amount of zero writes none."""
        self.seq += 1
        self.balance += nanos
        return self.seq, nanos

    def apply(self, command: Command) -> tuple[list[tuple[int, int]], bool]:
        match command:
            case Entry():
                return [self.write(command.amount_nanos)], False
            case OpenHold():
                if command.ref in self.state:
                    raise Conflict
                if self.balance < command.amount_nanos:
                    raise InsufficientBalance
                self.held[command.ref], self.state[command.ref] = command.amount_nanos, "open"
                return [self.write(-command.amount_nanos)], False
            case EndCharge():
                return [], False
            case AuthorizeUsage() | ReleaseAuthorization():
                raise NotImplementedError("no story reserves")
            case _:
                return self._end(command)

    def _end(self, command: RenewHold | SettleHold | ExpireHold) -> tuple[list[tuple[int, int]], bool]:
        state = self.state.get(command.ref)
        if state is None:
            raise NotFound
        if state == "settled" or (state == "expired" and not isinstance(command, SettleHold)):
            raise Conflict
        if isinstance(command, ExpireHold):
            self.state[command.ref] = "expired"
            return [], False
        rest = self.held[command.ref] - command.used_nanos
        rows = []
        renews = isinstance(command, RenewHold) and self.balance + rest >= command.amount_nanos
        if isinstance(command, RenewHold) and renews:
            rows.append(self.write(-command.amount_nanos))
            self.held[command.ref] = command.amount_nanos
        else:
            self.state[command.ref] = "settled"
        if rest:
            rows.append(self.write(rest))
        return rows, isinstance(command, RenewHold) and not renews

    def carry_out(self, one: Posting, now: datetime) -> tuple[list[tuple[int, int]], int, bool, bool]:
        """(rows, balance, to_stop, replayed)"""
        if one.idempotency_key in self.calls:
            commands, rows, balance, to_stop = self.calls[one.idempotency_key]
            if commands != one.commands:
                raise IdempotencyConflict
            return rows, balance, to_stop, True
        rows, to_stop = [], False
        for command in one.commands:
            written, stops = self.apply(command)
            rows += written
            to_stop |= stops
        if rows:
            self.newest = max(now, self.newest or now)
        if one.idempotency_key is not None:
            self.calls[one.idempotency_key] = one.commands, rows, self.balance, to_stop
        return rows, self.balance, to_stop, False


nanos_ = st.integers(1, 6)
used_ = st.integers(0, 7)
refs_ = st.sampled_from(REFS)
PERIODS: Final = st.integers(0, 10_000)
MOVES: Final = st.one_of(
    st.builds(bonus, st.integers(1, 12)),
    st.builds(api_usage, nanos_),
    st.builds(drive, nanos_),
    st.builds(open_hold, nanos_, refs_, PERIODS),
    st.builds(settle, used_, refs_),
    st.builds(renew, used_, nanos_, PERIODS, st.sampled_from(INFERENCE)),
    st.builds(ExpireHold, refs_),
)
"""Amounts are small, so that balances are often just enough or short by one."""


@dataclass(frozen=True)
class Draft:
    account: int
    commands: list[Command]
    key: str | None


DRAFTS: Final = st.builds(
    Draft,
    account=st.integers(0, 1),
    commands=st.lists(MOVES, min_size=1, max_size=3),
    key=st.none() | st.sampled_from("abc"),
)
CALLS: Final = st.tuples(
    st.lists(DRAFTS, min_size=1, max_size=2),
    st.integers(-5, 200),
    st.booleans(),
)
"""A batch, the hours that the clock moves by before it, and whether it is sent once more."""


def _with_new_periods(commands: Sequence[Command], numbers: count[int]) -> list[Command]:
    """No two holds of one period, so that what settles which can be told from the rows."""
    changed: list[Command] = []
    for command in commands:
        match command:
            case OpenHold(ref, nanos):
                changed.append(open_hold(nanos, ref, next(numbers), HOUR))
            case RenewHold(ref, used, _, nanos):
                changed.append(renew(used, nanos, next(numbers), ref, HOUR))
            case _:
                changed.append(command)
    return changed


def _seen(outcome: Outcome) -> tuple[list[tuple[int, int]], int, bool, bool]:
    rows = [(row.seq, row.amount_nanos) for row in outcome.transactions]
    return rows, outcome.balance_nanos, outcome.to_stop, outcome.replayed


@settings(EXAMPLES, max_examples=dose(8, 100))
@given(calls=st.lists(CALLS, min_size=8, max_size=16))
async def test_sequential_calls_follow_the_contract(
    database: Database, calls: list[tuple[list[Draft], int, bool]]
) -> None:
    desk = Desk(database)
    accounts = [await desk.account() for _ in range(2)]
    model = {account_id: ModelAccount() for account_id in accounts}
    numbers = count()
    for drafts, hours, twice in calls:
        desk.now += hours * HOUR
        sent: list[Posting] = []
        for _ in range(2 if twice else 1):
            # Without a key, what is sent again is another call.
            postings = sent = [
                sent[place]
                if sent and one.key is not None
                else posting(accounts[one.account], *_with_new_periods(one.commands, numbers), key=one.key)
                for place, one in enumerate(drafts)
            ]
            attempt = copy.deepcopy(model)
            try:
                expected = [attempt[one.account_id].carry_out(one, desk.now) for one in postings]
            except BillingError as refusal:
                with pytest.raises(type(refusal)):
                    await desk.ledger.post(*postings)
                continue
            model = attempt
            assert [_seen(outcome) for outcome in await desk.ledger.post(*postings)] == expected
    stored = await desk.tables()
    heads = {one.id: one for one in stored.accounts}
    for account_id, account in model.items():
        head = heads[account_id]
        assert (head.head_seq, head.balance_nanos, head.head_at) == (
            account.seq,
            account.balance,
            account.newest,
        )
        states = {Ref(RefType(one.ref_type), one.ref_id): one.state for one in stored.charges if one[0] == account_id}
        states.pop(VOLUME, None)
        assert states == account.state
    assert await differences(database) == []


# At once

WRITERS: Final = 64
CALLS_AT_ONCE: Final = 256


def _random_move(random: Random, numbers: count[int]) -> Command:
    refs = [
        Ref(kind, str(number)) for kind in (RefType.GPU_INSTANCE, RefType.INFERENCE_INSTANCE) for number in range(12)
    ]
    ref, nanos, used = random.choice(refs), random.randint(1, 60), random.randint(0, 70)
    inference = Ref(RefType.INFERENCE_INSTANCE, ref.id)
    commands: list[Command] = [
        bonus(nanos * 30),
        bonus(nanos * 30),
        bonus(nanos * 30),
        api_usage(nanos),
        drive(nanos),
        open_hold(nanos, ref, next(numbers), HOUR),
        open_hold(nanos, ref, next(numbers), HOUR),
        open_hold(nanos, inference, next(numbers), HOUR),
        renew(used, nanos, next(numbers), inference, HOUR),
        renew(used, nanos, next(numbers), inference, HOUR),
        settle(used, ref),
        ExpireHold(ref),
    ]
    return random.choice(commands)


def _random_calls(random: Random, accounts: Sequence[int]) -> list[tuple[Posting, ...]]:
    """Every third comes twice, and orders of it that have keys may be carried out only once."""
    numbers = count()
    calls = []
    for _ in range(CALLS_AT_ONCE):
        postings = [
            posting(
                random.choice(accounts),
                *(_random_move(random, numbers) for _ in range(random.choice([1, 1, 1, 2]))),
                key=random.choice([None, f"key {next(numbers)}"]),
            )
            for _ in range(random.choice([1, 1, 1, 3]))
        ]
        calls.append(tuple(postings))
    calls += random.sample([call for call in calls if all(one.idempotency_key for one in call)], CALLS_AT_ONCE // 4)
    random.shuffle(calls)
    return calls


class WildClock:
    """Goes forward by three weeks a hundred readings, and back and forth between."""

    def __init__(self, random: Random) -> None:
        self._random, self._readings = random, 0

    def __call__(self) -> datetime:
        self._readings += 1
        return datetime(2026, 11, 20, tzinfo=UTC) + timedelta(hours=5 * self._readings + self._random.uniform(-50, 50))


Answer = tuple[tuple[Posting, ...], list[Outcome] | BillingError]


async def _from_writers_at_once(ledger: Ledger, calls: Sequence[tuple[Posting, ...]]) -> list[Answer]:
    waiting = iter(calls)
    answers: list[Answer] = []

    async def write() -> None:
        for call in waiting:
            try:
                answers.append((call, await ledger.post(*call)))
            except BillingError as refusal:
                answers.append((call, refusal))

    async with asyncio.TaskGroup() as group:
        for _ in range(WRITERS):
            group.create_task(write())
    return answers


def _check_answers(answers: Sequence[Answer], stored: Sequence[TransactionRow]) -> None:
    """Each row was acknowledged exactly once, and each call with a key carried out at most once."""
    written: list[TransactionRow] = []
    keyed: dict[tuple[int, str], list[Outcome]] = defaultdict(list)
    for call, answer in answers:
        if isinstance(answer, BillingError):
            assert isinstance(answer, Conflict | NotFound | InsufficientBalance), answer
            continue
        for one, outcome in zip(call, answer, strict=True):
            if not outcome.replayed:
                written += outcome.transactions
            if one.idempotency_key is not None:
                keyed[one.account_id, one.idempotency_key].append(outcome)
            if outcome.transactions:
                assert outcome.transactions[-1].balance_after_nanos == outcome.balance_nanos
    assert sorted(written) == sorted(stored)
    for outcomes in keyed.values():
        assert [outcome.replayed for outcome in outcomes].count(False) == 1
        assert {(outcome.transactions, outcome.balance_nanos, outcome.to_stop) for outcome in outcomes} == {
            (outcomes[0].transactions, outcomes[0].balance_nanos, outcomes[0].to_stop)
        }
    assert sum(len(outcomes) > 1 for outcomes in keyed.values()) > CALLS_AT_ONCE // 64
    assert len(written) > CALLS_AT_ONCE // 4


@pytest.mark.parametrize("accounts", [1, 12])
# Not shrunk: which writer comes first is chance.
@settings(EXAMPLES, max_examples=dose(1, 2), phases=[Phase.generate])
@given(seed=st.integers(0, 2**32))
async def test_64_concurrent_writers(database: Database, accounts: int, seed: int) -> None:
    random = Random(seed)
    desk = Desk(database)
    account_ids = [await desk.account() for _ in range(accounts)]
    calls = _random_calls(random, account_ids)
    answers = await _from_writers_at_once(Ledger(database, WildClock(random)), calls)
    stored = [row for row in (await read_tables(database)).transactions if row.account_id in account_ids]
    _check_answers(answers, stored)
    assert await differences(database) == []
