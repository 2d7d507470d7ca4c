"""Costs: compares the cost of each hour with the ledger's rows, and spend limits with the costs.

The time of rows never decreases, so the costs of an hour are final when a row of a later hour is known. These are
compared in short steps; the costs of the newest hour are compared in one snapshot with the newest rows.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from db.attribution_rows import CostHourRow
from db.hours import hour_of
from db.limit_rows import SpendLimitRow
from db.recount import Read
from db.recount.costs import END_OF_HOURS, Spent, cost_hours_from, limits_in_force, spent
from db.rows import MonthlyFiguresRow, TransactionRow
from ledger.chain import format_time
from ledger.kinds import RefType
from ledger.verification.faults import FaultKind, Faults, differences
from ledger.verification.prices import hour_start
from ledger.windows import SpendWindow, resets_at, window_start

CostKey = tuple[int, str, str, str, str]
"""Hour, ref type, ref id, API key and project. Rows of API usage are added up with all but the hour and the ref type
empty, because one row can be spent by several API keys and projects."""

ScopeKey = tuple[int, str, str]
"""Hour, and an API key or a project or both, of API usage."""

_NOTHING = (0, 0)


class HourlyCosts:
    """Costs of the rows read so far, of the hours that are not compared yet."""

    def __init__(self, account_id: int) -> None:
        self._id = account_id
        self._sums: dict[CostKey, tuple[int, int]] = {}
        self._least: dict[ScopeKey, int] = {}
        """The cost of the rows of API usage that name who spent all of it."""
        self._compared = -END_OF_HOURS
        """The hour before which everything is compared."""
        self._newest = -END_OF_HOURS

    def take(self, row: TransactionRow, increment: MonthlyFiguresRow | None) -> None:
        hour = hour_of(row.created_at)
        self._newest = max(self._newest, hour)
        if increment is not None:
            key = _key(hour, row.ref_type or "", row.ref_id or "", row.api_key or "", row.project or "")
            _add(self._sums, key, increment.gross_nanos, increment.refunded_nanos)
            if row.ref_type == RefType.API_USAGE:
                _add_scopes(self._least, hour, row.api_key or "", row.project or "", increment.gross_nanos)

    async def compare_earlier_hours(self, read: Read, faults: Faults) -> None:
        """Compares all hours before the newest row's."""
        if self._newest > self._compared:
            await self._compare(read, self._newest, faults)

    async def compare_rest(self, read: Read, faults: Faults) -> None:
        """Compares all other hours. `read` must see one moment, and all rows of it must be taken."""
        await self._compare(read, END_OF_HOURS, faults)

    async def _compare(self, read: Read, end: int, faults: Faults) -> None:
        rows = await cost_hours_from(read, self._id, self._compared, end)
        self._compare_scopes(rows, end, faults)
        stored = _sums_of(rows)
        expected = {key: sums for key, sums in self._sums.items() if key[0] < end}
        for key in sorted(stored.keys() | expected.keys()):
            old, new = _figures(stored.get(key, _NOTHING)), _figures(expected.get(key, _NOTHING))
            if different := differences(old, new):
                faults.add(FaultKind.COST, _name(key), different)
        self._sums = {key: sums for key, sums in self._sums.items() if key[0] >= end}
        self._compared = end

    def _compare_scopes(self, rows: Iterable[CostHourRow], end: int, faults: Faults) -> None:
        stored: dict[ScopeKey, int] = {}
        for row in rows:
            if row.ref_type == RefType.API_USAGE:
                _add_scopes(stored, row.hour, row.api_key, row.project, row.gross_nanos)
        for key in sorted(key for key in self._least if key[0] < end):
            nanos = self._least.pop(key)
            if stored.get(key, 0) < nanos:
                message = f"gross_nanos is {stored.get(key, 0)}, but rows of this API key and project charged {nanos}"
                faults.add(FaultKind.COST, _name((key[0], RefType.API_USAGE.value, "", *key[1:])), message)


def _key(hour: int, ref_type: str, ref_id: str, api_key: str, project: str) -> CostKey:
    if ref_type == RefType.API_USAGE:
        return hour, ref_type, "", "", ""
    return hour, ref_type, ref_id, api_key, project


def _sums_of(rows: Iterable[CostHourRow]) -> dict[CostKey, tuple[int, int]]:
    sums: dict[CostKey, tuple[int, int]] = {}
    for row in rows:
        # Stored rows of API usage have no ref id: one that has is not merged with the others.
        key = _key(*row[1:6]) if not row.ref_id else (row.hour, *row[2:6])
        _add(sums, key, row.gross_nanos, row.refunded_nanos)
    return sums


def _add(sums: dict[CostKey, tuple[int, int]], key: CostKey, gross_nanos: int, refunded_nanos: int) -> None:
    gross, refunded = sums.get(key, _NOTHING)
    sums[key] = gross + gross_nanos, refunded + refunded_nanos


def _add_scopes(sums: dict[ScopeKey, int], hour: int, api_key: str, project: str, nanos: int) -> None:
    """Adds to the sums of the API key, of the project, and of both."""
    for scope in {(api_key, ""), ("", project), (api_key, project)} - {("", "")}:
        key = (hour, *scope)
        sums[key] = sums.get(key, 0) + nanos


def _figures(sums: tuple[int, int]) -> dict[str, int]:
    return {"gross_nanos": sums[0], "refunded_nanos": sums[1]}


def _name(key: CostKey) -> str:
    hour, *names = key
    return " ".join([hour_start(hour), *(one for one in names if one)])


async def check_limits(read: Read, account_id: int, faults: Faults, *, postgresql: bool) -> None:
    """Compares what each limit in force has spent with the costs of its window. `read` must see one moment."""
    for limit in await limits_in_force(read, account_id):
        if message := await limit_problem(read, limit, postgresql=postgresql):
            faults.add(FaultKind.LIMIT, f"limit {limit.number}", message)


async def limit_problem(read: Read, limit: SpendLimitRow, *, postgresql: bool) -> str:
    """Returns how the limit differs from the costs of its window; an empty text if it does not."""
    window = SpendWindow(limit.window_kind)
    start = window_start(window, limit.window_start)
    if limit.window_start != start:
        expected = format_time(start)
        return f"window_start is {format_time(limit.window_start)}, expected {expected}, the start of the {window}"
    end = resets_at(window, start)
    found = await spent(read, limit, hour_of(start), _hour_or_end(end), postgresql=postgresql)
    return _difference(limit, found)


def _hour_or_end(end: datetime | None) -> int:
    return END_OF_HOURS if end is None else hour_of(end)


def _difference(limit: SpendLimitRow, found: Spent) -> str:
    if found.later_hours:
        return f"window_start is {format_time(limit.window_start)}, but there are costs of a later {limit.window_kind}"
    if limit.spent_nanos != found.nanos:
        return f"spent_nanos is {limit.spent_nanos}, expected {found.nanos}"
    return ""
