"""Explanations: sentences about what a ledger row did, and about the current state of auto-recharge.

An explanation is computed from the row, its holds and the row that it corrects, never from its description. All figures
are exact, except durations with "about", and times of day, which are cut to the second.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from db.recharges import RechargeViewRow
from db.rows import HoldRow, TransactionRow
from ledger.ids import transaction_id_text
from ledger.kinds import ChargeState, RefType, TransactionSource, TransactionType
from ledger.recharges import DAILY_LIMIT, NO_CARD, RechargeBlock
from resolvers.reads.phrases import day, duration, money, part_of, period, since, thing


@dataclass(frozen=True, slots=True)
class Facts:
    """The data that explains a row."""

    row: TransactionRow
    currency: str
    opened: HoldRow | None = None
    """The hold that the row opened."""
    settled: HoldRow | None = None
    """The hold that the row settled."""
    corrected: TransactionRow | None = None
    """The row that this row corrects."""

    def money(self, nanos: int) -> str:
        return money(nanos, self.currency)

    @property
    def amount(self) -> str:
        """Formats the amount without its sign, which the words express."""
        return self.money(abs(self.row.amount_nanos))

    @property
    def thing(self) -> str | None:
        row = self.row
        return None if row.ref_type is None or row.ref_id is None else thing(row.ref_type, row.ref_id)

    @property
    def in_brackets(self) -> str:
        return f" ({self.thing})" if self.thing else ""

    @property
    def period(self) -> str | None:
        start, end = self.row.period_start, self.row.period_end
        return None if start is None or end is None else period(start, end)


def explain(facts: Facts) -> str:
    """Returns one or two sentences."""
    return _BY_TYPE[facts.row.type](facts)


def _held_thing(hold: HoldRow) -> str:
    """Names the object of the hold: the resource, or one cycle of an inference instance."""
    name = thing(hold.ref_type, hold.ref_id)
    return f"cycle {hold.cycle} of {name}" if hold.ref_type == RefType.INFERENCE_INSTANCE else name


def _hold(facts: Facts, hold: HoldRow) -> str:
    length = duration(hold.period_end - hold.period_start)
    name = thing(hold.ref_type, hold.ref_id)
    if hold.ref_type != RefType.INFERENCE_INSTANCE:
        what = f"{name}, estimated to run {length}"
    elif hold.cycle == 1:
        what = f"the first {length} of {name}"
    else:
        what = f"cycle {hold.cycle} of {name}, {length} from {since(hold.period_start)} UTC"
    return f"Held {facts.amount} of the balance for {what}. {_outcome(facts, hold)}"


def _outcome(facts: Facts, hold: HoldRow) -> str:
    """Describes the state of the hold."""
    if hold.used_nanos is None:
        return "What is not used is returned at the settlement."
    if hold.state == ChargeState.EXPIRED and hold.expired_at is not None:
        return f"Nobody settled it until it expired on {day(hold.expired_at)} UTC, so all of it counts as used."
    rest = hold.held_nanos - hold.used_nanos
    if rest == 0:
        return "All of it was used."
    if rest < 0:
        return f"{facts.money(hold.used_nanos)} was used: the {facts.money(-rest)} beyond the hold was charged on top."
    if hold.used_nanos == 0:
        return "Nothing was used, and all of it was returned."
    return f"{facts.money(hold.used_nanos)} of it was used, and {facts.money(rest)} was returned."


def _settlement(facts: Facts, hold: HoldRow) -> str:
    name, held = _held_thing(hold), facts.money(hold.held_nanos)
    used_nanos = hold.held_nanos - facts.row.amount_nanos
    if used_nanos == 0:
        return f"Returned all of the {held} held for {name}: nothing was used."
    if facts.row.amount_nanos > 0:
        return f"Returned {facts.amount} of the {held} held for {name}: {_less(facts, hold, used_nanos)}."
    return f"Charged {facts.amount} on top of the {held} held for {name}: {_more(facts, hold, used_nanos)}."


def _less(facts: Facts, hold: HoldRow, used_nanos: int) -> str:
    start, end = facts.row.period_start, facts.row.period_end
    held_for = hold.period_end - hold.period_start
    if start is not None and end is not None and start < end and end - start < held_for:
        return f"it ran {part_of(end - start, held_for)}"
    return f"it used {facts.money(used_nanos)}"


def _more(facts: Facts, hold: HoldRow, used_nanos: int) -> str:
    start, end = facts.row.period_start, facts.row.period_end
    held_for = hold.period_end - hold.period_start
    if start is not None and end is not None and end - start > held_for:
        return f"it ran {duration(end - start)} instead of {duration(held_for)}"
    return f"it used {facts.money(used_nanos)}"


def _settled_late(hold: HoldRow) -> str:
    if hold.expired_at is None:
        return ""
    return f" The hold had expired on {day(hold.expired_at)} UTC and counted as used in full until then."


def _usage(facts: Facts) -> str:
    if facts.opened is not None:
        return _hold(facts, facts.opened)
    if facts.settled is not None:
        return _settlement(facts, facts.settled) + _settled_late(facts.settled)
    if facts.row.ref_type == RefType.API_USAGE:
        return f"Charged {facts.amount} for API calls{_spaced(facts.period)}{facts.in_brackets}."
    return _charged(facts)


def _charged(facts: Facts) -> str:
    return f"Charged {facts.amount} for {facts.thing or 'usage'}{_spaced(facts.period)}."


def _spaced(text: str | None) -> str:
    return f" {text}" if text else ""


def _refund(facts: Facts) -> str:
    if facts.row.source == TransactionSource.STRIPE_WEBHOOK:
        answered = f", which answers {_answered(facts)}" if facts.row.corrects_seq is not None else ""
        return f"Added {facts.amount} for {facts.thing or 'a refund in Stripe'}{answered}."
    if facts.settled is not None:
        return _settlement(facts, facts.settled) + _settled_late(facts.settled)
    return f"Returned {facts.amount}{f' for {facts.thing}' if facts.thing else ''}."


def _answered(facts: Facts) -> str:
    """Describes the row that this row corrects: its id and its effect."""
    row = facts.row
    name = transaction_id_text(row.account_id, row.corrects_seq or 0)
    if facts.corrected is None:
        return name
    amount = facts.corrected.amount_nanos
    did = "added" if amount > 0 else "deducted"
    return f"{name}: that row {did} {facts.money(abs(amount))} on {day(facts.corrected.created_at)} UTC"


def _correction(facts: Facts) -> str:
    if facts.row.source == TransactionSource.STRIPE_WEBHOOK:
        answered = f": it takes back {_answered(facts)}" if facts.row.corrects_seq is not None else ""
        return f"Deducted {facts.amount} because {facts.thing or 'a refund in Stripe'} did not go through{answered}."
    did = "added" if facts.row.amount_nanos > 0 else "deducted"
    answered = f" to correct {_answered(facts)}" if facts.row.corrects_seq is not None else " by hand"
    return f"An operator {did} {facts.amount}{facts.in_brackets}{answered}. The description says why."


def _topup(facts: Facts) -> str:
    return f"Added {facts.amount} of credit, {_paid(facts)}."


def _paid(facts: Facts) -> str:
    return f"paid by {facts.thing}" if facts.thing else "paid through Stripe"


def _auto_recharge(facts: Facts) -> str:
    before = facts.money(facts.row.balance_after_nanos - facts.row.amount_nanos)
    return (
        f"Auto-recharge added {facts.amount} of credit, {_paid(facts)}, because the balance had fallen below the"
        f" threshold set for it. It stood at {before} before."
    )


def _bonus(facts: Facts) -> str:
    return f"Added {facts.amount} of promotional credit{facts.in_brackets}."


def _contract(facts: Facts) -> str:
    """Names the contract of a grant, or the invoice that paid it."""
    if facts.row.ref_type == RefType.CONTRACT:
        return str(facts.thing)
    return f"an enterprise contract{f', paid by {facts.thing}' if facts.thing else ''}"


def _contract_grant(facts: Facts) -> str:
    return f"Added {facts.amount} of credit: the cash part of {_contract(facts)}."


def _bonus_grant(facts: Facts) -> str:
    return f"Added {facts.amount} of bonus credit, on top of the cash part of {_contract(facts)}."


_BY_TYPE: Final[dict[str, Callable[[Facts], str]]] = {
    TransactionType.TOPUP: _topup,
    TransactionType.AUTO_RECHARGE: _auto_recharge,
    TransactionType.GPU_USAGE: _usage,
    TransactionType.STORAGE_BILLING: _charged,
    TransactionType.REFUND: _refund,
    TransactionType.BONUS: _bonus,
    TransactionType.ADMIN_CORRECTION: _correction,
    TransactionType.CONTRACT_GRANT: _contract_grant,
    TransactionType.BONUS_GRANT: _bonus_grant,
}


def explain_recharge(
    row: RechargeViewRow, currency: str, block: RechargeBlock | None, next_try_at: datetime | None
) -> str:
    """Describes the current state of auto-recharge in a few sentences."""
    said = [_recharging(row, currency, block)]
    if row.in_flight:
        said.append("A payment is in progress.")
    if next_try_at is not None:
        said.append(f"Next try: {since(next_try_at)} UTC.")
    if row.last_failure is not None and row.last_failure_at is not None and not _repeats_block(row.last_failure, block):
        said.append(f"Last failure, {since(row.last_failure_at)} UTC: {row.last_failure.rstrip('.')}.")
    return " ".join(said)


def _recharging(row: RechargeViewRow, currency: str, block: RechargeBlock | None) -> str:
    if block is None:
        amount, threshold = money(row.amount_nanos, currency), money(row.threshold_nanos, currency)
        return f"Auto-recharge adds {amount} when the balance falls below {threshold}."
    if block == RechargeBlock.OFF:
        return "Auto-recharge is off."
    why = _BLOCKED[block].format(limit=money(row.daily_limit_nanos, currency))
    return f"Auto-recharge cannot charge now: {why}"


_BLOCKED: Final = {
    RechargeBlock.STOPPED: "it stopped after repeated declines. Save it again to restart it.",
    RechargeBlock.PAYMENTS_NOT_SET_UP: "card payments are not set up.",
    RechargeBlock.ACCOUNT_SUSPENDED: "the account is suspended.",
    RechargeBlock.NO_SAVED_CARD: "no card is saved. Add credit once, and Stripe Checkout saves the card.",
    RechargeBlock.DAILY_LIMIT_REACHED: "the daily limit of {limit} is reached.",
    RechargeBlock.RETRY_LATER: "it is waiting after a failed payment.",
}


def _repeats_block(failure: str, block: RechargeBlock | None) -> bool:
    """Returns whether the block already says the same as the failure."""
    is_limit = block == RechargeBlock.DAILY_LIMIT_REACHED and failure.startswith(DAILY_LIMIT)
    return is_limit or (block == RechargeBlock.NO_SAVED_CARD and failure == NO_CARD)
