"""Months: compares monthly figures with rows, open holds and usage days."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from db.recount import Read
from db.recount.months import months, open_holds, usage
from db.rows import MonthlyFiguresRow
from ledger.kinds import UsageOrigin
from ledger.usage import TOKEN_CATEGORIES
from ledger.verification.faults import FaultKind, Faults, differences
from ledger.verification.rows import Costs

Months = dict[str, MonthlyFiguresRow]

_FIGURES = MonthlyFiguresRow._fields[2:]


async def recounted_months(read: Read, account_id: int, costs: Mapping[str, Costs], *, postgresql: bool) -> Months:
    """Returns the expected figures. `costs` must cover all rows that `read` sees."""
    found: dict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(_FIGURES, 0))
    for month, of_month in costs.items():
        found[month] |= {"gross_nanos": of_month.gross_nanos, "refunded_nanos": of_month.refunded_nanos}
    for month, nanos in (await open_holds(read, account_id, postgresql=postgresql)).items():
        found[month]["open_holds_nanos"] = nanos
    for one in await usage(read, account_id, postgresql=postgresql):
        is_own = one.origin == UsageOrigin.USER_INFERENCE
        found[one.month]["user_inference_calls" if is_own else "platform_calls"] += one.calls
        found[one.month]["tokens"] += one.tokens if one.category in TOKEN_CATEGORIES else 0
    return {month: MonthlyFiguresRow(account_id, month, **figures) for month, figures in found.items()}


async def changes_of_months(read: Read, account_id: int, expected: Months) -> dict[str, str]:
    """Returns the differences by month. A month without figures needs no row."""
    stored = await months(read, account_id)
    nothing = dict.fromkeys(_FIGURES, 0)
    found = {}
    for month in sorted(stored.keys() | expected.keys()):
        old, new = (_figures(rows.get(month)) or nothing for rows in (stored, expected))
        if different := differences(old, new):
            found[month] = different
    return found


def _figures(row: MonthlyFiguresRow | None) -> dict[str, int] | None:
    return None if row is None else dict(zip(_FIGURES, row[2:], strict=True))


def note_changes(changes: Mapping[str, str], faults: Faults) -> None:
    for month, different in changes.items():
        faults.add(FaultKind.MONTH, month, different)
