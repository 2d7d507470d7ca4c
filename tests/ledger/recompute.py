"""The tables worked out anew from the raw rows of the ledger, by none of the code that wrote them.

A row of a GPU or inference instance is a hold where its description says `: hold `, and otherwise settles the hold
whose period it starts with: the periods of one instance must differ. Whether a hold that no row settles is open, came
out even or has expired, and whether a volume is gone, is in no row, so there the table's word is taken where it is
possible at all.
"""

from __future__ import annotations

import asyncio
import calendar
import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import cache
from itertools import groupby, pairwise
from typing import Any, Final, NamedTuple

from sqlalchemy import Executable, Table, select

from db import attribution_tables, tables
from db.attribution_rows import CostHourRow, RequestDetailRow, UsageHourRow, UsagePriceRow
from db.database import Database
from db.folding import fold
from db.limit_rows import SpendLimitRow
from db.limit_tables import spend_limits
from db.rows import (
    AccountRow,
    ChargeRow,
    HoldRow,
    IdempotencyRow,
    MonthlyFiguresRow,
    TransactionRow,
    UsageDayRow,
)
from ledger.verification.accounts import verify_account
from ledger.verification.calls import other_call_faults

RestRow = dict[str, Any]
Figures = dict[tuple[object, ...], object]

COLUMNS = [
    *("id", "account", "seq", "created_at", "type", "amount", "balance_after", "description", "source"),
    *("ref_type", "ref_id", "actor", "corrects", "period_start", "period_end"),
]


def _plain(nanos: int) -> str:
    whole, fraction = f"{Decimal(nanos).scaleb(-9):.9f}".split(".")
    return f"{whole}.{fraction.rstrip('0').ljust(2, '0')}"


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def as_rest(row: TransactionRow) -> RestRow:
    """The row as a customer gets it."""
    account = f"acct_{row.account_id}"
    cells = (
        f"txn_{row.account_id}_{row.seq}",
        account,
        row.seq,
        _time(row.created_at),
        row.type,
        _plain(row.amount_nanos),
        _plain(row.balance_after_nanos),
        row.description,
        row.source,
        row.ref_type,
        row.ref_id,
        row.actor,
        row.corrects_seq and f"txn_{row.account_id}_{row.corrects_seq}",
        _time(row.period_start),
        _time(row.period_end),
        row.hash.hex(),
    )
    return dict(zip([*COLUMNS, "hash"], cells, strict=True))


def chain_breaks(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """The ids of the rows whose hash is not that of the row before and of their own columns."""
    previous, broken = bytes(32), []
    for row in rows:
        text = json.dumps([row[name] for name in COLUMNS], ensure_ascii=False, separators=(",", ":"))
        previous = hashlib.sha256(previous + text.encode("utf-8")).digest()
        if previous.hex() != row["hash"]:
            broken.append(row["id"])
            previous = bytes.fromhex(row["hash"])
    return broken


@dataclass(frozen=True)
class Stored:
    accounts: list[AccountRow]
    transactions: list[TransactionRow]
    holds: list[HoldRow]
    charges: list[ChargeRow]
    months: list[MonthlyFiguresRow]
    calls: list[IdempotencyRow]
    days: list[UsageDayRow]
    hours: list[UsageHourRow]
    prices: list[UsagePriceRow]
    details: list[RequestDetailRow]
    costs: list[CostHourRow]
    limits: list[SpendLimitRow]


# Made once: what is made anew for each reading is compiled anew, which takes longer than the reading.
@cache
def _all_rows(table: Table, row_type: type[NamedTuple]) -> Executable:
    return select(*(table.c[name] for name in row_type._fields)).order_by(*table.primary_key.columns)


_TABLES: Final[Mapping[str, tuple[Table, type[NamedTuple]]]] = {
    "accounts": (tables.accounts, AccountRow),
    "transactions": (tables.transactions, TransactionRow),
    "holds": (tables.holds, HoldRow),
    "charges": (tables.charges, ChargeRow),
    "months": (tables.monthly_figures, MonthlyFiguresRow),
    "calls": (tables.idempotency_keys, IdempotencyRow),
    "days": (tables.usage_days, UsageDayRow),
    "hours": (attribution_tables.usage_hours, UsageHourRow),
    "prices": (attribution_tables.usage_prices, UsagePriceRow),
    "details": (attribution_tables.request_details, RequestDetailRow),
    "costs": (attribution_tables.cost_hours, CostHourRow),
    "limits": (spend_limits, SpendLimitRow),
}


async def read_tables(database: Database) -> Stored:
    async with database.snapshot() as snapshot:
        found = await asyncio.gather(*(snapshot.rows(_all_rows(*kind)) for kind in _TABLES.values()))
    stored: dict[str, Any] = {
        name: [row_type._make(row) for row in rows]
        for (name, (_, row_type)), rows in zip(_TABLES.items(), found, strict=True)
    }
    return Stored(**stored)


_ACCOUNT_IDS: Final = select(tables.accounts.c.id).order_by(tables.accounts.c.id)
_FOLDED: Final = select(
    *(
        tables.transactions.c[name]
        for name in ("account_id", "seq", "description", "description_folded", "ref_id", "ref_id_folded")
    )
)


async def differences(database: Database) -> list[str]:
    """Empty where every table agrees with the ledger's rows."""
    return await recomputed_differences(database) + await _verification_faults(database)


async def recomputed_differences(database: Database) -> list[str]:
    """By what is written here alone."""
    return differences_of(await read_tables(database)) + await _folding_problems(database)


async def _verification_faults(database: Database) -> list[str]:
    """What the gateway's own verification finds: wherever the tables agree it must find nothing."""
    ids = [row[0] for row in await database.read(_ACCOUNT_IDS)]
    found = [fault for account_id in ids for fault in (await verify_account(database, account_id)).faults]
    return [str(fault) for fault in [*found, *[fault async for fault in other_call_faults(database)]]]


async def _folding_problems(database: Database) -> list[str]:
    """Where what is stored for searches is not the folded text."""
    return [
        f"txn_{account_id}_{seq}: {folded} is stored for searches, which fold {text}"
        for account_id, seq, *texts in await database.read(_FOLDED)
        for text, folded in (texts[:2], texts[2:])
        if text is not None and fold(text) != (folded or re.sub("[A-Z]", lambda letter: letter[0].lower(), text))
    ]


def differences_of(stored: Stored) -> list[str]:
    found = _row_problems(stored.transactions) + _call_problems(stored) + _price_problems(stored)
    recomputed, as_stored = _recomputed(stored), _as_stored(stored)
    for key in sorted(recomputed.keys() | as_stored.keys(), key=str):
        if recomputed.get(key) != as_stored.get(key):
            found.append(f"{key}: {as_stored.get(key)} is stored, {recomputed.get(key)} recomputed")
    return found


def _row_problems(rows: Sequence[TransactionRow]) -> list[str]:
    found = []
    for account_id, group in groupby(rows, key=lambda row: row.account_id):
        ledger = list(group)
        if [row.seq for row in ledger] != list(range(1, len(ledger) + 1)):
            found.append(f"acct_{account_id}: seq has gaps")
        if any(earlier.created_at > later.created_at for earlier, later in pairwise(ledger)):
            found.append(f"acct_{account_id}: time runs backwards")
        balance = 0
        for row in ledger:
            balance += row.amount_nanos
            if row.balance_after_nanos != balance:
                found.append(f"txn_{account_id}_{row.seq}: balance_after should be {balance}")
        found += [f"{row_id}: hash" for row_id in chain_breaks(map(as_rest, ledger))]
    return found


def _call_problems(stored: Stored) -> list[str]:
    """Of the remembered calls: each covers rows of its own, all of one time, and the balance after the last."""
    found = []
    rows = {(row.account_id, row.seq): row for row in stored.transactions}
    taken: set[tuple[int, int]] = set()
    for call in stored.calls:
        name = f"call {call.account_id} {call.operation} {call.key}"
        covered = [(call.account_id, seq) for seq in range(call.first_seq, call.last_seq + 1)]
        if not taken.isdisjoint(covered):
            found.append(f"{name}: covers rows of another call")
        taken.update(covered)
        if any(key not in rows or rows[key].created_at != call.created_at for key in covered):
            found.append(f"{name}: rows are missing or of another time")
        last = rows.get((call.account_id, call.last_seq))
        if call.balance_nanos != (last.balance_after_nanos if last else 0) or call.first_seq > call.last_seq + 1:
            found.append(f"{name}: balance or seq")
    return found


def _as_stored(stored: Stored) -> Figures:
    figures: Figures = {("head", one.id): one[6:10] for one in stored.accounts}
    figures |= {("hold", *one[:2]): one for one in stored.holds}
    figures |= {("charge", *one[:3]): one for one in stored.charges}
    figures |= {("month", *one[:2]): one[2:5] for one in stored.months if any(one[2:5])}
    figures |= {("day", *one[:5]): one[5:] for one in stored.days if any(one[5:])}
    figures |= _costs((one[:6], one.gross_nanos, one.refunded_nanos) for one in stored.costs)
    figures |= {("limit", *one[:2]): one.spent_nanos for one in stored.limits if one.deleted_at is None}
    return figures


def _recomputed(stored: Stored) -> Figures:
    figures: Figures = {}
    sums: dict[tuple[int, str], list[int]] = defaultdict(lambda: [0, 0, 0])
    resources: dict[tuple[int, str, str], list[TransactionRow]] = defaultdict(list)
    heads = {row.account_id: row for row in stored.transactions}
    for account in stored.accounts:
        head = heads.get(account.id)
        key = "head", account.id
        figures[key] = (head.seq, head.created_at, head.hash, head.balance_after_nanos) if head else (0, None, None, 0)
    for row in stored.transactions:
        month = sums[row.account_id, f"{row.created_at:%Y-%m}"]
        if row.type in ("gpu_usage", "storage_billing"):
            month[0] -= row.amount_nanos
        if (row.type, row.source) == ("refund", "metering"):
            month[1] += row.amount_nanos
        if row.ref_type in ("gpu_instance", "inference_instance", "volume", "shared_filesystem"):
            assert row.ref_id is not None
            resources[row.account_id, row.ref_type, row.ref_id].append(row)
    table = {(hold.account_id, hold.hold_seq): hold for hold in stored.holds}
    charges = {charge[:3]: charge for charge in stored.charges}
    for resource, rows in resources.items():
        holds = _holds(resource, rows, table)
        figures["charge", *resource] = _charge(resource, rows, holds, _ended_at(rows, charges.get(resource)))
        for hold in holds:
            figures["hold", hold.account_id, hold.hold_seq] = hold
            sums[hold.account_id, hold.month][2] += hold.held_nanos if hold.state == "open" else 0
    figures.update({("month", *key): tuple(month) for key, month in sums.items() if any(month)})
    figures |= _days_of_hours(stored.hours) | _costs(map(_cost, stored.transactions))
    figures |= {("limit", *one[:2]): _spent(one, stored) for one in stored.limits if one.deleted_at is None}
    return figures


def _days_of_hours(hours: Sequence[UsageHourRow]) -> Figures:
    sums: dict[tuple[object, ...], list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    for one in hours:
        day = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(hours=one.hour)).date()
        of_day = sums["day", one.account_id, day, one.model, one.category, one.origin]
        for place, figure in enumerate((one.calls, one.input_tokens, one.output_tokens, one.cost_nanos)):
            of_day[place] += figure
    return {key: tuple(figures) for key, figures in sums.items() if any(figures)}


_Cost = tuple[tuple[object, ...], int, int]


def _cost(row: TransactionRow) -> _Cost:
    hour = int(row.created_at.timestamp()) // 3600
    key = (row.account_id, hour, row.ref_type or "", row.ref_id or "", row.api_key or "", row.project or "")
    is_charge = row.type in ("gpu_usage", "storage_billing")
    is_return = (row.type, row.source) == ("refund", "metering")
    return key, -row.amount_nanos if is_charge else 0, row.amount_nanos if is_return else 0


def _costs(parts: Iterable[_Cost]) -> Figures:
    """Who spent API usage is not in the rows: there, hours are compared as a whole."""
    sums: dict[tuple[object, ...], list[int]] = defaultdict(lambda: [0, 0])
    for key, gross, refunded in parts:
        of_key = sums["cost", *(key[:3] if key[2] == "api_usage" else key)]
        of_key[0] += gross
        of_key[1] += refunded
    return {key: tuple(figures) for key, figures in sums.items() if any(figures)}


def _spent(limit: SpendLimitRow, stored: Stored) -> int:
    """Of the account from its rows, of a key or a project from the costs by hour."""
    start = limit.window_start
    days = {"day": 1, "week": 7, "month": calendar.monthrange(start.year, start.month)[1], "total": 10**6}
    end = start + timedelta(days=days[limit.window_kind])
    if limit.api_key or limit.project:
        return sum(
            one.gross_nanos - one.refunded_nanos
            for one in stored.costs
            if one.account_id == limit.account_id
            and limit.api_key in ("", one.api_key)
            and limit.project in ("", one.project)
            and start.timestamp() <= 3600 * one.hour < end.timestamp()
        )
    rows = [row for row in stored.transactions if row.account_id == limit.account_id and start <= row.created_at < end]
    return sum(gross - refunded for _, gross, refunded in map(_cost, rows))


def _price_problems(stored: Stored) -> list[str]:
    """Costs that their price and quantities do not give."""
    prices = {price[:2]: price for price in stored.prices}
    found = []
    for hour in stored.hours:
        if hour.price_id != 0:
            exact = _exact_cost(prices[hour.account_id, hour.price_id], hour, hour.calls)
            if abs(hour.cost_nanos - exact) > Fraction(hour.calls, 2):
                found.append(f"hour {hour[:9]}: cost is {hour.cost_nanos}, {float(exact)} recomputed")
    for detail in stored.details:
        if detail.price_id != 0:
            exact = _exact_cost(prices[detail.account_id, detail.price_id], detail, 1)
            if detail.cost_nanos != round(exact):
                found.append(f"request {detail[:3]}: cost is {detail.cost_nanos}, {float(exact)} recomputed")
    return found


def _exact_cost(price: UsagePriceRow, used: UsageHourRow | RequestDetailRow, calls: int) -> Fraction:
    cached = price.input_nanos if price.cached_input_nanos is None else price.cached_input_nanos
    reasoning = price.output_nanos if price.reasoning_nanos is None else price.reasoning_nanos
    tokens = (used.input_tokens - used.cached_input_tokens) * price.input_nanos + used.cached_input_tokens * cached
    tokens += (used.output_tokens - used.reasoning_tokens) * price.output_nanos + used.reasoning_tokens * reasoning
    return Fraction(tokens, 10**6) + Fraction(used.units_nanos * price.unit_nanos, 10**9) + calls * price.call_nanos


def _is_hold(row: TransactionRow) -> bool:
    return row.type == "gpu_usage" and ": hold " in row.description


def _holds(
    resource: tuple[int, str, str], rows: Sequence[TransactionRow], table: Mapping[tuple[int, int], HoldRow]
) -> list[HoldRow]:
    if resource[1] not in ("gpu_instance", "inference_instance"):
        return []
    opened = [row for row in rows if _is_hold(row)]
    settling = {row.period_start: row for row in rows if not _is_hold(row)}
    assert len({row.period_start for row in opened}) == len(opened), f"{resource}: two holds of one period"
    assert settling.keys() <= {row.period_start for row in opened}, f"{resource}: a settlement without its hold"
    assert len(settling) + len(opened) == len(rows), f"{resource}: two settlements of one hold"
    holds = []
    for cycle, row in enumerate(opened, start=1):
        successor = opened[cycle] if cycle < len(opened) else None
        stored = table.get((row.account_id, row.seq))
        state, used_nanos, settled_seq, settled_at = _end(row, settling.get(row.period_start), successor, stored)
        assert row.period_start is not None
        assert row.period_end is not None
        holds.append(
            HoldRow(
                account_id=row.account_id,
                hold_seq=row.seq,
                ref_type=resource[1],
                ref_id=resource[2],
                cycle=cycle,
                held_nanos=-row.amount_nanos,
                month=f"{row.created_at:%Y-%m}",
                state=state,
                period_start=row.period_start,
                period_end=row.period_end,
                used_nanos=used_nanos,
                settled_seq=settled_seq,
                settled_at=settled_at,
                expired_at=_expired_at(row, state, settled_at, None if successor else stored),
            )
        )
    return holds


def _end(
    row: TransactionRow, settling: TransactionRow | None, successor: TransactionRow | None, stored: HoldRow | None
) -> tuple[str, int | None, int | None, datetime | None]:
    held_nanos = -row.amount_nanos
    if settling is not None:
        return "settled", held_nanos - settling.amount_nanos, settling.seq, settling.created_at
    if successor is not None:
        return "settled", held_nanos, None, successor.created_at
    if stored is None or stored.state == "open":
        return "open", None, None, None
    settled_at = stored.settled_at
    return stored.state, held_nanos, None, settled_at if settled_at and settled_at >= row.created_at else row.created_at


def _expired_at(
    row: TransactionRow, state: str, settled_at: datetime | None, stored: HoldRow | None
) -> datetime | None:
    """Only the newest hold of a resource can have expired, which no row tells if it was settled in the end."""
    if state == "expired":
        return settled_at
    # It writes no row: by a clock that is behind, a late settlement may have an earlier time.
    expired_at = stored.expired_at if stored and state == "settled" else None
    return expired_at if expired_at and settled_at and row.created_at <= expired_at else None


def _ended_at(rows: Sequence[TransactionRow], stored: ChargeRow | None) -> datetime | None:
    """That a volume is gone is in no row either."""
    closed_at = stored.closed_at if stored and stored.state == "settled" else None
    return closed_at if closed_at and closed_at >= rows[-1].created_at else None


def _charge(
    resource: tuple[int, str, str],
    rows: Sequence[TransactionRow],
    holds: Sequence[HoldRow],
    ended_at: datetime | None,
) -> ChargeRow:
    settling = [row.amount_nanos for row in rows if holds and not _is_hold(row)]
    newest = holds[-1] if holds else None
    return ChargeRow(
        *resource,
        state=newest.state if newest else "settled" if ended_at else "open",
        held_nanos=sum(hold.held_nanos for hold in holds),
        refunded_nanos=sum(nanos for nanos in settling if nanos > 0),
        overage_nanos=-sum(nanos for nanos in settling if nanos < 0),
        billed_nanos=0 if holds else -sum(row.amount_nanos for row in rows),
        cycles=len(holds),
        hold_seq=newest.hold_seq if newest else None,
        first_seq=rows[0].seq,
        last_seq=rows[-1].seq,
        opened_at=rows[0].created_at,
        closed_at=newest.settled_at if newest else ended_at,
        api_key=rows[0].api_key,
        project=rows[0].project,
    )
