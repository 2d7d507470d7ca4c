"""Auto-recharge: its settings, and the state of the payments that it requests.

`ledger.recharge_payments` asks Stripe for the payments. Before changing an attempt, lock its account's settings.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from db import recharges, stripe_customers
from db.database import WriteConnection
from db.recharges import AutoRechargeRow, RechargeAttemptRow, RechargeViewRow
from ledger.errors import BadUserInput, Conflict
from ledger.money import NANOS, format_nanos
from ledger.stripe.shapes import NANOS_PER_CENT

MIN_PAYMENT_NANOS: Final = 5 * NANOS
MAX_PAYMENT_NANOS: Final = 10_000 * NANOS
MAX_DAILY_NANOS: Final = 100_000 * NANOS
MAX_THRESHOLD_NANOS: Final = 100_000 * NANOS

MAX_DECLINES: Final = 3
"""This many declines in a row stop auto-recharge until its owner sets it again."""
DECLINE_WAIT: Final = timedelta(hours=1)
"""Wait between a decline and the next payment; twice as long after the second decline."""
MAX_FAILURE: Final = 300

NO_CARD: Final = "no card is saved: top up once through Stripe Checkout"
DAILY_LIMIT: Final = "the daily limit of"
"""The text at the start of each failure that was caused by the limit, and of no other failure."""


class RechargeState(StrEnum):
    ACTIVE = "active"
    STOPPED = "stopped"
    OFF = "off"


class AttemptState(StrEnum):
    STARTED = "started"
    SUBMITTED = "submitted"
    SUCCEEDED = "succeeded"
    FAILED = "failed"


class RechargeBlock(StrEnum):
    """Reasons why a card is not charged. If several apply, the first one is reported."""

    OFF = "off"
    STOPPED = "stopped"
    PAYMENTS_NOT_SET_UP = "payments_not_set_up"
    ACCOUNT_SUSPENDED = "account_suspended"
    NO_SAVED_CARD = "no_saved_card"
    DAILY_LIMIT_REACHED = "daily_limit_reached"
    RETRY_LATER = "retry_later"


@dataclass(frozen=True, slots=True)
class RechargeSettings:
    threshold_nanos: int
    amount_nanos: int
    daily_limit_nanos: int


def checked_payment(nanos: int, what: str) -> int:
    """Returns the amount if Stripe accepts it as a payment. Raises BadUserInput."""
    if not MIN_PAYMENT_NANOS <= nanos <= MAX_PAYMENT_NANOS:
        msg = f"{what} must be {format_nanos(MIN_PAYMENT_NANOS)} to {format_nanos(MAX_PAYMENT_NANOS)}"
        raise BadUserInput(f"{msg}, not {format_nanos(nanos)}")
    if nanos % NANOS_PER_CENT:
        raise BadUserInput(f"{what} must be whole cents, not {format_nanos(nanos)}")
    return nanos


def block_of(
    row: RechargeViewRow, now: datetime, *, has_payments: bool, is_suspended: bool, has_card: bool
) -> RechargeBlock | None:
    """Returns why no payment would be requested if the balance were below the threshold, or None."""
    blocks = {
        RechargeBlock.OFF: row.state == RechargeState.OFF,
        RechargeBlock.STOPPED: row.state == RechargeState.STOPPED,
        RechargeBlock.PAYMENTS_NOT_SET_UP: not has_payments,
        RechargeBlock.ACCOUNT_SUSPENDED: is_suspended,
        RechargeBlock.NO_SAVED_CARD: not has_card,
        RechargeBlock.DAILY_LIMIT_REACHED: row.charged_nanos + row.amount_nanos > row.daily_limit_nanos,
        RechargeBlock.RETRY_LATER: row.retry_at is not None and row.retry_at > now,
    }
    return next((block for block, is_there in blocks.items() if is_there), None)


def _check(settings: RechargeSettings) -> None:
    checked_payment(settings.amount_nanos, "amount")
    if not 0 <= settings.threshold_nanos <= MAX_THRESHOLD_NANOS:
        raise BadUserInput(f"threshold must be 0.00 to {format_nanos(MAX_THRESHOLD_NANOS)}")
    if not settings.amount_nanos <= settings.daily_limit_nanos <= MAX_DAILY_NANOS:
        raise BadUserInput(f"dailyLimit must be at least the amount, and at most {format_nanos(MAX_DAILY_NANOS)}")


def describe_settings(row: AutoRechargeRow | None) -> str | None:
    """Returns the settings in one line, for the audit list; None if they were never set."""
    if row is None:
        return None
    if row.state == RechargeState.OFF:
        return "off"
    amounts = (row.amount_nanos, row.threshold_nanos, row.daily_limit_nanos)
    amount, threshold, daily = map(format_nanos, amounts)
    stopped = ", stopped after declines" if row.state == RechargeState.STOPPED else ""
    return f"{amount} below {threshold}, {daily} a day at most{stopped}"


async def put_settings(
    connection: WriteConnection, account_id: int, settings: RechargeSettings, now: datetime
) -> AutoRechargeRow:
    """Switches auto-recharge on, or changes it. Clears declines, so a stopped auto-recharge starts again.

    Raises BadUserInput.
    """
    _check(settings)
    known = await recharges.lock_settings(connection, account_id)
    row = AutoRechargeRow(
        account_id=account_id,
        state=RechargeState.ACTIVE.value,
        threshold_nanos=settings.threshold_nanos,
        amount_nanos=settings.amount_nanos,
        daily_limit_nanos=settings.daily_limit_nanos,
        declines=0,
        retry_at=None,
        last_failure=known.last_failure if known else None,
        last_failure_at=known.last_failure_at if known else None,
        changed_at=now,
    )
    await recharges.put_settings(connection, row)
    # The owner may have saved a card without an event about it.
    await stripe_customers.schedule_card_lookups(connection, account_id, now)
    return row


async def switch_off(connection: WriteConnection, account_id: int, now: datetime) -> AutoRechargeRow:
    """Raises Conflict if auto-recharge was never set."""
    known = await recharges.lock_settings(connection, account_id)
    if known is None:
        raise Conflict("auto-recharge was never set")
    row = known._replace(state=RechargeState.OFF.value, changed_at=now)
    await recharges.put_settings(connection, row)
    return row


async def locked(connection: WriteConnection, attempt_id: str) -> tuple[AutoRechargeRow, RechargeAttemptRow] | None:
    """Returns the attempt and its account's settings, locked. None if the attempt does not exist, or has left with its
    account."""
    attempt = await recharges.attempt_by_id(connection, attempt_id)
    if attempt is None:
        return None
    settings = await recharges.lock_settings(connection, attempt.account_id)
    attempt = await recharges.lock_attempt(connection, attempt_id)
    return None if settings is None or attempt is None else (settings, attempt)


async def succeed(
    connection: WriteConnection, attempt_id: str, payment_intent: str, now: datetime
) -> RechargeAttemptRow | None:
    """Records that the attempt was paid and returns it, or None if it does not exist. A withdrawn attempt can still be
    paid."""
    found = await locked(connection, attempt_id)
    if found is None:
        return None
    settings, attempt = found
    paid = settings._replace(declines=0, retry_at=None, last_failure=None, last_failure_at=None)
    await recharges.put_settings(connection, paid)
    attempt = attempt._replace(
        state=AttemptState.SUCCEEDED.value,
        payment_intent=payment_intent,
        ended_at=attempt.ended_at or now,
        failure=None,
    )
    await recharges.update_attempt(connection, attempt)
    return attempt


async def end(connection: WriteConnection, attempt: RechargeAttemptRow, reason: str, now: datetime) -> None:
    """Ends a locked attempt without a payment."""
    ended = attempt._replace(state=AttemptState.FAILED.value, ended_at=now, failure=reason[:MAX_FAILURE])
    await recharges.update_attempt(connection, ended)


async def fail(
    connection: WriteConnection, attempt_id: str, failure: str, now: datetime, *, is_decline: bool = True
) -> AutoRechargeRow | None:
    """Records a failed attempt. Returns the new settings, or None if the attempt is not in flight.

    Both a reply and an event may report the same decline.
    """
    found = await locked(connection, attempt_id)
    if found is None or found[1].ended_at is not None:
        return None
    settings, attempt = found
    await end(connection, attempt, failure, now)
    declines = settings.declines + is_decline
    stops = declines >= MAX_DECLINES and settings.state == RechargeState.ACTIVE
    settings = settings._replace(
        state=RechargeState.STOPPED.value if stops else settings.state,
        declines=declines,
        retry_at=now + DECLINE_WAIT * 2 ** max(declines - 1, 0),
        last_failure=failure[:MAX_FAILURE],
        last_failure_at=now,
    )
    await recharges.put_settings(connection, settings)
    return settings
