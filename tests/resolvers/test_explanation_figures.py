"""Every figure in every explanation, of random lifecycles, is one that the ledger's rows come to.

Sentences are read by patterns whose named groups are all the figures in them: what is outside the groups holds none.
What each figure must be is worked out from the raw rows; of the tables, only when a hold expired is taken from them,
which no row tells.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from hypothesis import given, settings
from hypothesis import strategies as st

from db import tables, writes
from db.database import Database
from db.keyed_rows import rows_with_keys
from db.rows import HoldRow, TransactionRow
from db.statements import columns
from ledger.commands import Command, Entry, ExpireHold, OpenHold, Period, Ref, RenewHold, SettleHold, Writer
from ledger.errors import BillingError
from ledger.ids import transaction_id_text
from ledger.kinds import RefType, TransactionType
from tests.doses import dose
from tests.ledger.desk import DAY, HOUR, OPERATOR, SERVICE, START, STORAGE, VOLUME, WEBHOOK, Desk, title, usd
from tests.resolvers import figures
from tests.resolvers.test_explanations import explanations
from tests.resolvers.test_transaction_pages import EXAMPLES

_T, _R = TransactionType, RefType
ZERO: Final = timedelta()
HOLD_COLUMNS: Final = tuple(columns(tables.holds, HoldRow))

# What is posted

NANOS: Final = st.sampled_from([1, 10**9, 15 * 10**8, 2_490_000_000, 123_456_789, 24 * 10**9])
SECONDS: Final = st.sampled_from([1, 30, 900, 3_600, 5_025, 7_200, 86_400, 200_000]) | st.integers(0, 300_000)
LENGTHS: Final = st.builds(
    lambda seconds, micro: timedelta(seconds=seconds, microseconds=micro), SECONDS, st.sampled_from([0, 0, 0, 400_000])
)


@dataclass(frozen=True)
class Step:
    kind: str
    choice: int
    nanos: int
    percent: int
    """Of the hold, that was used."""
    length: timedelta
    passes: timedelta


KINDS_OF_STEPS: Final = ("open", "open", "renew", "settle", "settle", "settle", "expire", "entry", "entry")
STEPS: Final = st.lists(
    st.builds(
        Step,
        kind=st.sampled_from(KINDS_OF_STEPS),
        choice=st.sampled_from(range(90)),
        nanos=NANOS,
        percent=st.sampled_from([0, 37, 62, 100, 150, 180]),
        length=LENGTHS,
        passes=LENGTHS,
    ),
    min_size=8,
    max_size=24,
)


def entry_of(step: Step, now: datetime, rows: int) -> tuple[Writer, Entry]:
    """Each of the entries that there are, with and without what it may be about."""
    answers = 1 + step.percent % rows if step.choice % 2 else None
    period = Period(now - step.length, now) if step.length else None
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    day = Period(midnight - (1 + step.choice % 3) * DAY, midnight)
    about = step.choice % 5 > 0
    plain: list[tuple[Writer, TransactionType, int, Ref | None, Period | None, int | None]] = [
        (WEBHOOK, _T.TOPUP, 1, Ref(_R.STRIPE_CHECKOUT_SESSION, "cs_1a") if about else None, None, None),
        (WEBHOOK, _T.AUTO_RECHARGE, 1, Ref(_R.STRIPE_PAYMENT_INTENT, "pi_2b") if about else None, None, None),
        (WEBHOOK, _T.REFUND, 1, Ref(_R.STRIPE_REFUND, "re_3c") if about else None, None, answers),
        (WEBHOOK, _T.CONTRACT_GRANT, 1, Ref(_R.STRIPE_INVOICE, "in_4d") if about else None, None, None),
        (WEBHOOK, _T.BONUS_GRANT, 1, Ref(_R.STRIPE_INVOICE, "in_4d") if about else None, None, None),
        (OPERATOR, _T.CONTRACT_GRANT, 1, Ref(_R.CONTRACT, "EC-5") if about else None, None, None),
        (OPERATOR, _T.BONUS_GRANT, 1, Ref(_R.CONTRACT, "55") if about else None, None, None),
        (OPERATOR, _T.ADMIN_CORRECTION, 1, None, None, answers),
        (OPERATOR, _T.ADMIN_CORRECTION, -1, Ref(_R.STRIPE_REFUND, "re_3c") if about else None, None, answers),
        (SERVICE, _T.BONUS, 1, Ref(_R.PROMOTION, "6") if about else None, None, None),
        (SERVICE, _T.GPU_USAGE, -1, Ref(_R.API_USAGE, "b-7") if about else None, period, None),
        (SERVICE, _T.GPU_USAGE, -1, VOLUME, period, None),
        (SERVICE, _T.REFUND, 1, VOLUME if about else None, None, None),
        (STORAGE, _T.STORAGE_BILLING, -1, VOLUME if about else Ref(_R.SHARED_FILESYSTEM, "9"), day, None),
    ]
    writer, kind, sign, ref, covers, corrects_seq = plain[step.choice % len(plain)]
    return writer, Entry(kind, sign * step.nanos, "99 words", ref, covers, corrects_seq)


@dataclass
class Running:
    """The newest instance of a kind."""

    ref: Ref
    start: datetime
    held: int

    def used(self, step: Step) -> int:
        return self.held * step.percent // 100


class Life:
    def __init__(self, desk: Desk, account_id: int) -> None:
        self._desk = desk
        self._account_id = account_id
        self._rows = 1
        self._instances = 0
        self._running: dict[RefType, Running] = {}

    async def live(self, steps: Sequence[Step]) -> None:
        for step in steps:
            self._desk.now += step.passes + timedelta(seconds=1)
            writer, command = SERVICE, self._move(step)
            if step.kind == "entry":
                writer, command = entry_of(step, self._desk.now, self._rows)
            if command is not None:
                await self._post(writer, command)

    async def _post(self, writer: Writer, command: Command) -> None:
        try:
            outcome = await self._desk.post(self._account_id, command, writer=writer)
        except BillingError:
            return
        self._rows += len(outcome.transactions)
        if isinstance(command, OpenHold):
            self._running[command.ref.type] = Running(command.ref, self._desk.now, command.amount_nanos)
        elif isinstance(command, RenewHold) and not outcome.to_stop:
            running = self._running[command.ref.type]
            self._running[command.ref.type] = Running(command.ref, running.start + DAY, command.amount_nanos)

    def _move(self, step: Step) -> Command | None:
        kind = _R.INFERENCE_INSTANCE if step.kind == "renew" or step.choice % 2 else _R.GPU_INSTANCE
        if step.kind == "open":
            return self._open(step, kind)
        running = self._running.get(kind)
        if running is None:
            return None
        settled = f"{title(running.ref)}: settled, 66 words"
        if step.kind == "renew":
            hold = f"{title(running.ref)}: hold for 77h"
            return RenewHold(running.ref, running.used(step), settled, step.nanos, hold)
        if step.kind == "settle":
            ended_at = None if step.choice % 3 == 0 else running.start + step.length
            return SettleHold(running.ref, running.used(step), settled, ended_at)
        return ExpireHold(running.ref)

    def _open(self, step: Step, kind: RefType) -> Command:
        self._instances += 1
        ref = Ref(kind, f"{'g-' if step.choice % 4 else ''}{self._instances}")
        length = DAY if kind == _R.INFERENCE_INSTANCE else max(step.length, timedelta(seconds=1))
        period = Period(self._desk.now, self._desk.now + length)
        return OpenHold(ref, step.nanos, f"{title(ref)}: hold for 77h", period)


# What the rows come to


@dataclass
class Hold:
    row: TransactionRow
    cycle: int
    settling: TransactionRow | None
    settled: bool
    expired_at: datetime | None

    @property
    def held(self) -> int:
        return -self.row.amount_nanos

    @property
    def length(self) -> timedelta:
        return span(self.row)

    @property
    def used(self) -> int:
        return self.held - (self.settling.amount_nanos if self.settling else 0)


def span(row: TransactionRow) -> timedelta:
    assert row.period_start is not None
    assert row.period_end is not None
    return row.period_end - row.period_start


def holds_of(rows: Sequence[TransactionRow], stored: dict[int, HoldRow]) -> list[Hold]:
    """By the words of the test's own descriptions; a settlement is of the hold whose time begins with its own."""
    held = [row for row in rows if row.ref_type in {"gpu_instance", "inference_instance"}]
    opening = [row for row in held if ": hold " in row.description]
    settling = {(row.ref_type, row.ref_id, row.period_start): row for row in held if ": settled" in row.description}
    found = []
    for row in opening:
        of_resource = [one for one in opening if (one.ref_type, one.ref_id) == (row.ref_type, row.ref_id)]
        cycle = of_resource.index(row) + 1
        settles = settling.get((row.ref_type, row.ref_id, row.period_start))
        settled = settles is not None or cycle < len(of_resource) or stored[row.seq].state == "settled"
        found.append(Hold(row, cycle, settles, settled, stored[row.seq].expired_at))
    return found


# What the sentences say

M, D, P, Y, C = figures.MONEY, figures.DURATION, figures.PART, figures.DAY, figures.CLOCK
_PERIOD: Final = (
    rf"(?: for (?P<whole_day>{Y}) UTC| for the (?P<days>\d+) days from (?P<first_day>{Y}) UTC"
    rf"| from (?P<from_clock>{C}) to (?P<to_clock>{C}) UTC on (?P<on_day>{Y})"
    rf"| from (?P<since>{Y}, {C}) to (?P<until>{Y}, {C}) UTC)?"
)
_ANSWERED: Final = (
    rf"(?P<answered>txn_\d+_\d+): that row (?P<did>added|deducted) (?P<other>{M}) on (?P<other_day>{Y}) UTC"
)
_LATE: Final = rf"(?P<late> The hold had expired on (?P<expired>{Y}) UTC and counted as used in full until then\.)?"
_HELD: Final = (
    rf"(?:{{thing}}, estimated to run (?P<estimated>{D})|the first (?P<first>{D}) of {{thing}}"
    rf"|cycle (?P<cycle>\d+) of {{thing}}, (?P<next>{D}) from (?P<begins>{Y}, {C}) UTC)"
)
_OUTCOME: Final = (
    r"(?:(?P<open>What is not used is returned at the settlement\.)"
    rf"|(?P<expires>Nobody settled it until it expired on (?P<expired>{Y}) UTC, so all of it counts as used\.)"
    r"|(?P<even>All of it was used\.)|(?P<nothing>Nothing was used, and all of it was returned\.)"
    rf"|(?P<more>(?P<used>{M}) was used: the (?P<beyond>{M}) beyond the hold was charged on top\.)"
    rf"|(?P<less>(?P<used_of>{M}) of it was used, and (?P<returned>{M}) was returned\.))"
)
_SETTLED: Final = r"(?:cycle (?P<cycle>\d+) of )?{thing}"
PATTERNS: Final = {
    "hold": rf"Held (?P<amount>{M}) of the balance for {_HELD}\. {_OUTCOME}",
    "refund": (
        rf"Returned (?:(?P<all>all of the (?P<held_all>{M}) held for {_SETTLED}: nothing was used\.)"
        rf"|(?P<amount>{M}) of the (?P<held>{M}) held for (?:cycle (?P<of_cycle>\d+) of )?{{thing}}:"
        rf" it (?:ran (?P<part>{P})|used (?P<used>{M}))\.){_LATE}"
    ),
    "overage": (
        rf"Charged (?P<amount>{M}) on top of the (?P<held>{M}) held for {_SETTLED}:"
        rf" it (?:ran (?P<ran>{D}) instead of (?P<instead>{D})|used (?P<used>{M}))\.{_LATE}"
    ),
    "charge": rf"Charged (?P<amount>{M}) for (?:API calls{_PERIOD}(?: \({{thing}}\))?\.)",
    "charge of a thing": rf"Charged (?P<amount>{M}) for {{thing}}{_PERIOD}\.",
    "returned": rf"Returned (?P<amount>{M})(?: for {{thing}})?\.",
    "stripe": rf"Added (?P<amount>{M}) for (?:{{thing}}|a refund in Stripe)(?:, which answers {_ANSWERED})?\.",
    "by hand": (
        rf"An operator (?P<direction>added|deducted) (?P<amount>{M})(?: \({{thing}}\))?"
        rf" (?:by hand|to correct {_ANSWERED})\. The description says why\."
    ),
    "paid": rf"Added (?P<amount>{M}) of credit, paid (?:by {{thing}}|through Stripe)\.",
    "recharged": (
        rf"Auto-recharge added (?P<amount>{M}) of credit, paid (?:by {{thing}}|through Stripe), because the balance had"
        rf" fallen below the threshold set for it\. It stood at (?P<before>{M}) before\."
    ),
    "promotion": rf"Added (?P<amount>{M}) of promotional credit(?: \({{thing}}\))?\.",
    "cash": (
        rf"Added (?P<amount>{M}) of (?:credit: the cash part of|bonus credit, on top of the cash part of)"
        r" (?:{thing}|an enterprise contract(?:, paid by {thing})?)\."
    ),
}
THINGS: Final = {
    "gpu_instance": "GPU instance",
    "inference_instance": "inference instance",
    "volume": "volume",
    "shared_filesystem": "shared filesystem",
    "api_usage": "batch",
    "stripe_checkout_session": "Stripe Checkout session",
    "stripe_payment_intent": "Stripe payment",
    "stripe_refund": "Stripe refund",
    "stripe_invoice": "Stripe invoice",
    "contract": "enterprise contract",
    "promotion": "promotion",
}


def thing(row: TransactionRow) -> str:
    if row.ref_type is None or row.ref_id is None:
        return "nothing at all"
    return f"{THINGS[row.ref_type]} {'#' if row.ref_id.isdigit() else ''}{row.ref_id}"


WORDS: Final = frozenset({"open", "expires", "even", "nothing", "more", "less", "late", "all"})
"""Groups of words, in which the figures have groups of their own."""


def read(kind: str, row: TransactionRow, sentence: str) -> dict[str, str]:
    """The figures in the sentence; there are no others."""
    match = re.fullmatch(PATTERNS[kind].replace("{thing}", re.escape(thing(row))), sentence)
    assert match, f"no {kind}: {sentence}"
    said = {name: text for name, text in match.groupdict().items() if text is not None}
    rest = list(sentence)
    for name in said.keys() - WORDS:
        start, end = match.span(name)
        rest[start:end] = " " * (end - start)
    assert re.search(r"\d", "".join(rest).replace(thing(row), "")) is None, sentence
    return said


def day_of(moment: datetime) -> datetime:
    return moment.replace(hour=0, minute=0, second=0, microsecond=0)


def check_hold(said: dict[str, str], hold: Hold) -> None:
    assert figures.nanos(said.pop("amount")) == hold.held
    if hold.row.ref_type == "gpu_instance":
        assert figures.says(said.pop("estimated"), hold.length)
    elif hold.cycle == 1:
        assert figures.says(said.pop("first"), hold.length)
    else:
        assert int(said.pop("cycle")) == hold.cycle
        assert figures.says(said.pop("next"), hold.length)
        assert hold.row.period_start is not None
        assert figures.moment(said.pop("begins")) == hold.row.period_start.replace(microsecond=0)
    if not hold.settled and hold.expired_at is not None:
        assert figures.day(said.pop("expired")) == day_of(hold.expired_at)
        ending = "expires"
    elif not hold.settled:
        ending = "open"
    elif hold.used > hold.held:
        assert (figures.nanos(said.pop("used")), figures.nanos(said.pop("beyond"))) == (
            hold.used,
            hold.used - hold.held,
        )
        ending = "more"
    elif hold.used == hold.held:
        ending = "even"
    elif hold.used == 0:
        ending = "nothing"
    else:
        rest = hold.held - hold.used
        assert (figures.nanos(said.pop("used_of")), figures.nanos(said.pop("returned"))) == (hold.used, rest)
        ending = "less"
    assert list(said) == [ending]


def check_settlement(said: dict[str, str], hold: Hold) -> None:
    row = hold.settling
    assert row is not None
    ran = span(row)
    late = said.pop("late", None)
    assert (late is not None) == (hold.expired_at is not None)
    if hold.expired_at is not None:
        assert figures.day(said.pop("expired")) == day_of(hold.expired_at)
    cycle = said.pop("cycle", None) or said.pop("of_cycle", None)
    assert cycle == (str(hold.cycle) if row.ref_type == "inference_instance" else None)
    if said.pop("all", None):
        assert (figures.nanos(said.pop("held_all")), hold.used) == (hold.held, 0)
    else:
        assert figures.nanos(said.pop("amount")) == abs(row.amount_nanos)
        assert figures.nanos(said.pop("held")) == hold.held
        assert hold.used != 0
    if row.amount_nanos > 0 and hold.used and ZERO < ran < hold.length:
        assert figures.says_part(said.pop("part"), ran, hold.length)
    elif row.amount_nanos < 0 and ran > hold.length:
        assert figures.says(said.pop("ran"), ran)
        assert figures.says(said.pop("instead"), hold.length)
    elif hold.used:
        assert figures.nanos(said.pop("used")) == hold.used
    assert said == {}


def check_period(said: dict[str, str], row: TransactionRow) -> None:
    told: tuple[datetime, datetime] | None = None
    if day := said.pop("whole_day", None):
        told = figures.day(day), figures.day(day) + DAY
    elif day := said.pop("first_day", None):
        told = figures.day(day), figures.day(day) + int(said.pop("days")) * DAY
    elif day := said.pop("on_day", None):
        told = (
            figures.moment(f"{day}, {said.pop('from_clock')}"),
            figures.moment(f"{day}, {said.pop('to_clock')}"),
        )
    elif since := said.pop("since", None):
        told = figures.moment(since), figures.moment(said.pop("until"))
    if row.period_start is None or row.period_end is None:
        assert told is None
    else:
        assert told == (row.period_start.replace(microsecond=0), row.period_end.replace(microsecond=0))


def check_entry(said: dict[str, str], row: TransactionRow, rows: Sequence[TransactionRow]) -> None:
    assert figures.nanos(said.pop("amount")) == abs(row.amount_nanos)
    directions = {True: "added", False: "deducted"}
    assert said.pop("direction", directions[row.amount_nanos > 0]) == directions[row.amount_nanos > 0]
    if row.corrects_seq is None:
        assert "answered" not in said
    else:
        other = rows[row.corrects_seq - 1]
        assert said.pop("answered") == transaction_id_text(row.account_id, row.corrects_seq)
        assert said.pop("did") == directions[other.amount_nanos > 0]
        assert figures.nanos(said.pop("other")) == abs(other.amount_nanos)
        assert figures.day(said.pop("other_day")) == day_of(other.created_at)
    before = said.pop("before", None)
    assert before is None or figures.nanos(before) == rows[row.seq - 2].balance_after_nanos
    check_period(said, row)
    assert said == {}


def kind_of(row: TransactionRow) -> str:
    kinds = {
        "topup": "paid",
        "auto_recharge": "recharged",
        "storage_billing": "charge of a thing",
        "bonus": "promotion",
        "admin_correction": "by hand",
        "contract_grant": "cash",
        "bonus_grant": "cash",
    }
    if row.type == "refund":
        return "stripe" if row.source == "stripe_webhook" else "returned"
    if row.type == "gpu_usage":
        return "charge of a thing" if row.ref_type == "volume" else "charge"
    return kinds[row.type]


def check(sentences: Sequence[str], rows: Sequence[TransactionRow], holds: Sequence[Hold]) -> None:
    opened = {hold.row.seq: hold for hold in holds}
    settled = {hold.settling.seq: hold for hold in holds if hold.settling}
    for row, sentence in zip(rows, sentences, strict=True):
        if row.seq in opened:
            check_hold(read("hold", row, sentence), opened[row.seq])
        elif row.seq in settled:
            kind = "refund" if row.amount_nanos > 0 else "overage"
            check_settlement(read(kind, row, sentence), settled[row.seq])
        elif row.type == "gpu_usage" and row.ref_type is None:
            nothing = row._replace(ref_type=None)
            plain = sentence.replace("for usage", f"for {thing(nothing)}")
            check_entry(read("charge of a thing", nothing, plain), row, rows)
        else:
            check_entry(read(kind_of(row), row, sentence), row, rows)


@settings(EXAMPLES, max_examples=dose(9, 60))
@given(steps=STEPS, hours=st.integers(0, 40))
async def test_every_figure_follows_from_the_rows(ledgers: Database, steps: list[Step], hours: int) -> None:
    desk = Desk(ledgers)
    desk.now = START + hours * HOUR
    account_id = await desk.account("200.00")
    await Life(desk, account_id).live(steps)
    async with ledgers.write() as connection:
        rows = await writes.rows_between(connection, account_id, 1, 10_000)
        opened = await rows_with_keys(
            connection, HOLD_COLUMNS, tuple(tables.holds.primary_key), [row[:2] for row in rows]
        )
    stored = {hold.hold_seq: hold for hold in map(HoldRow._make, opened)}
    check(await explanations(ledgers, account_id), rows, holds_of(rows, stored))
    assert usd("200.00") + sum(row.amount_nanos for row in rows[1:]) == rows[-1].balance_after_nanos
