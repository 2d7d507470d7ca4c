"""Limit settings: sets and deletes spend limits. Posting keeps what is spent (`ledger.spending`)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from db import spend_limits, writes
from db.hours import hour_of
from db.limit_rows import SpendLimitRow
from db.limits import read_limits
from db.rows import AccountRow
from ledger.attribution import Attribution
from ledger.errors import BadUserInput, Conflict, NotFound
from ledger.ids import spend_limit_id_text
from ledger.money import format_nanos, in_range
from ledger.posting import LedgerTransaction
from ledger.spending import reached_percent, scope_of
from ledger.windows import SpendWindow, window_start

MAX_LIMITS: Final = 100
"""Limits in force of one account. Posting reads all of them."""
MAX_LEVELS: Final = 10
MAX_PERCENT: Final = 100
DEFAULT_LEVELS: Final = (50, 80, 100)
"""Percentages at which subscribers are notified."""


@dataclass(frozen=True, slots=True)
class LimitSettings:
    scope: Attribution
    """The API key and project whose cost is limited. Empty texts mean all API keys and all projects."""
    window: SpendWindow
    amount_nanos: int
    notify_at: tuple[int, ...] = DEFAULT_LEVELS
    """In ascending order."""

    def apply_to(self, row: SpendLimitRow) -> bool:
        return (scope_of(row), row.window_kind) == (self.scope, self.window)


def _check(settings: LimitSettings) -> None:
    if settings.amount_nanos <= 0:
        msg = f"amount must be above zero, not {format_nanos(settings.amount_nanos)}"
        raise BadUserInput(msg)
    _check_levels(settings.notify_at)


def _check_levels(levels: tuple[int, ...]) -> None:
    if len(levels) > MAX_LEVELS:
        msg = f"notifyAtPercent must have at most {MAX_LEVELS} percentages, not {len(levels)}"
        raise BadUserInput(msg)
    for percent in levels:
        if not 1 <= percent <= MAX_PERCENT:
            msg = f"notifyAtPercent must have percentages of 1 to {MAX_PERCENT}, not {percent}"
            raise BadUserInput(msg)
    if len(set(levels)) < len(levels):
        raise BadUserInput("notifyAtPercent must not have a percentage twice")


async def set_limit(transaction: LedgerTransaction, account: AccountRow, settings: LimitSettings) -> SpendLimitRow:
    """Creates the limit of this scope and window, or replaces its amount and levels. The account must be locked.

    What was spent in the current window counts. Raises BadUserInput, and Conflict if the account has too many limits.
    """
    _check(settings)
    now = transaction.clock()
    known = await _known_limit(transaction, account.id, settings)
    row = SpendLimitRow(
        account_id=account.id,
        number=known.number if known else 1 + await spend_limits.last_number(transaction.connection, account.id),
        api_key=settings.scope.api_key,
        project=settings.scope.project,
        window_kind=settings.window.value,
        amount_nanos=settings.amount_nanos,
        notify_at=",".join(map(str, settings.notify_at)),
        created_at=known.created_at if known else now,
        updated_at=now,
        deleted_at=None,
        spent_nanos=0,
        window_start=now,
        notified_percent=0,
    )
    row = await spent_anew(transaction, account, row, now)
    await _write(transaction, row)
    return row


async def spent_anew(
    transaction: LedgerTransaction, account: AccountRow, row: SpendLimitRow, now: datetime
) -> SpendLimitRow:
    """Returns the limit with what was spent in its current window. The account must be locked."""
    # The next row is in the window of its own time, which is not before that of the newest row.
    start = window_start(SpendWindow(row.window_kind), max(now, account.head_at or now))
    spent = await _spent_nanos(transaction, account.id, scope_of(row), start)
    # Levels that are already reached notify nobody.
    return row._replace(spent_nanos=spent, window_start=start, notified_percent=reached_percent(row, spent))


async def _known_limit(
    transaction: LedgerTransaction, account_id: int, settings: LimitSettings
) -> SpendLimitRow | None:
    """Returns the limit in force of this scope and window. Raises Conflict if there is none and no room for one."""
    in_force = await read_limits(transaction.connection, [account_id])
    known = next(filter(settings.apply_to, in_force), None)
    if known is None and len(in_force) >= MAX_LIMITS:
        msg = f"the account has {len(in_force)} spend limits, and at most {MAX_LIMITS} are allowed"
        raise Conflict(msg)
    return known


async def _spent_nanos(transaction: LedgerTransaction, account_id: int, scope: Attribution, start: datetime) -> int:
    spent = await spend_limits.spent_since(transaction.connection, account_id, hour_of(start), **scope._asdict())
    return in_range(spent, "what was spent")


async def delete_limit(transaction: LedgerTransaction, account_id: int, number: int) -> SpendLimitRow:
    """Deletes the limit. The account must be locked. Raises NotFound, and Conflict if it is already deleted."""
    row = await spend_limits.limit_with_number(transaction.connection, (account_id, number))
    if row is None:
        raise NotFound("there is no such spend limit")
    if row.deleted_at is not None:
        msg = f"{spend_limit_id_text(account_id, number)} is already deleted"
        raise Conflict(msg)
    deleted = row._replace(deleted_at=transaction.clock())
    await _write(transaction, deleted)
    return deleted


async def _write(transaction: LedgerTransaction, row: SpendLimitRow) -> None:
    await spend_limits.put_limit(transaction.connection, row)
    # A posting that was computed without the change must not be written.
    await writes.touch_accounts(transaction.connection, [row.account_id])


def describe_settings(row: SpendLimitRow) -> str:
    """Returns what can be changed of a limit, for the audit list."""
    notified = ", ".join(f"{percent} %" for percent in row.notify_at.split(",") if percent) or "no percentage"
    return f"{format_nanos(row.amount_nanos)}, notifies at {notified}"


def describe_limit(row: SpendLimitRow) -> str:
    """Returns the limit in one line, for the audit list."""
    scope = [f"API key {row.api_key}"] * bool(row.api_key) + [f"project {row.project}"] * bool(row.project)
    parts = (format_nanos(row.amount_nanos), row.window_kind, *scope)
    return f"{spend_limit_id_text(row.account_id, row.number)}: {', '.join(parts)}"
