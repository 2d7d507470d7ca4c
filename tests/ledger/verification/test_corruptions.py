"""One field of one row is changed behind the gateway's back: verification finds it and names the row."""

from __future__ import annotations

import os
from datetime import date, datetime, timedelta
from random import Random
from typing import Any, Final

from sqlalchemy import select

from db import tables
from db.attribution_rows import RequestDetailRow
from ledger.ids import account_id_text, transaction_id_text
from ledger.verification.prices import detail_text, hour_start
from tests.ledger.recompute import recomputed_differences
from tests.ledger.verification.corruptions import COLUMNS, Corruption, draw
from tests.ledger.verification.filled import Filled

ROUNDS: Final = int(os.environ.get("VERIFY_CORRUPTIONS", "1"))
"""Changes of each column."""


def _names(corruption: Corruption) -> set[str]:
    """What a fault may name the changed row by: as it was, or as it became."""
    was, became = corruption.row, corruption.row | {corruption.column: corruption.value}
    return {name for row in (was, became) for name in _names_of(corruption.table.name, row)}


def _names_of(table: str, row: dict[str, Any]) -> set[str]:
    match table:
        case "accounts":
            return {account_id_text(row["id"])}
        case "transactions":
            hour = int(row["created_at"].timestamp()) // 3600
            return _hours_of_usage(row | {"hour": hour}) | {transaction_id_text(row["account_id"], row["seq"])}
        case "holds":
            # How the newest hold ended is in its charge too, and in no row: the two contradict each other.
            both = (row["hold_seq"], row["settled_seq"])
            rows = {transaction_id_text(row["account_id"], seq) for seq in both if seq}
            return rows | {f"{row['ref_type']} {row['ref_id']}"}
        case "charges":
            # A charge whose key was changed is missed where its rows are.
            seqs = range(row["first_seq"], min(row["last_seq"], row["first_seq"] + 50) + 1)
            rows = {transaction_id_text(row["account_id"], seq) for seq in seqs}
            return rows | {f"{row['ref_type']} {row['ref_id']}"}
        case "monthly_figures":
            return {row["month"]}
        case "usage_days":
            return {f"{row['day']:%Y-%m}", "usage_days"}
        case "ledger_checkpoints":
            return {str(row["day"])}
        case "idempotency_keys" | "idempotent_acts":
            return {f"{row['operation']} {row['key']}"}
    return _names_of_attribution(table, row)


def _hours_of_usage(row: dict[str, Any]) -> set[str]:
    """Of API usage, the costs of an hour are compared by API key and by project."""
    hour = [hour_start(row["hour"]), "api_usage"]
    spenders = ([row["api_key"], row["project"]], [row["api_key"]], [row["project"]])
    return {" ".join(filter(None, hour + spender)) for spender in spenders}


def _names_of_attribution(table: str, row: dict[str, Any]) -> set[str]:
    match table:
        case "usage_hours":
            hour = hour_start(row["hour"])
            day = (date(1970, 1, 1) + timedelta(days=row["hour"] // 24)).isoformat()
            return {f"{moment} {row['model']} {row['category']} {row['origin']}" for moment in (hour, day)}
        case "cost_hours":
            names = [hour_start(row["hour"]), row["ref_type"], row["ref_id"], row["api_key"], row["project"]]
            return _hours_of_usage(row) | {" ".join(filter(None, names)), " ".join(filter(None, names[:2]))}
        case "usage_prices":
            return {f"price {row['id']}"}
        case "request_details":
            return {detail_text(RequestDetailRow(**row))}
    return {f"limit {row['number']}"}


def _is_beyond_recounting(corruption: Corruption) -> bool:
    """What no row tells, in single rows of columns that can otherwise be recounted (docs/operating.md)."""
    row, column, value = corruption.row, corruption.column, corruption.value
    match corruption.table.name, column:
        case "charges", "closed_at":
            return row["cycles"] == 0 and value is not None and value >= row["opened_at"]
        case "holds", "expired_at":
            # Of one that was settled in the end; a cycle that was renewed cannot have expired.
            is_last = row["ref_type"] == "gpu_instance" and row["state"] == "settled"
            return is_last and bool(value >= row["period_start"])
        case "idempotency_keys", "first_seq":
            # The call then seems to have written no rows, or fewer of those of its time.
            return bool(row["first_seq"] <= value <= row["last_seq"] + 1)
        case "usage_hours" | "request_details", "cached_input_tokens" | "reasoning_tokens" | "units_nanos":
            return bool(row["price_id"] == 0)
        case "request_details", "input_tokens" | "output_tokens" | "cost_nanos":
            return bool(row["price_id"] == 0)
        case "cost_hours", "api_key" | "project":
            return bool(row["ref_type"] == "api_usage")
        case "spend_limits", _:
            # Without costs, any other window or scope without costs fits.
            return row["spent_nanos"] == 0 and column != "spent_nanos"
        case "idempotent_acts", "last_seq" | "balance_nanos":
            return row["last_seq"] is None
    return False


async def _time_of_row(ledger: Filled, account_id: int, seq: int) -> datetime | None:
    rows, found = tables.transactions, tables.transactions.c.created_at
    times = await ledger.database.read(select(found).where(rows.c.account_id == account_id, rows.c.seq == seq))
    return next((row[0] for row in times), None)


async def _names_an_earlier_row_of_its_time(ledger: Filled, corruption: Corruption) -> bool:
    """A call then seems to have written the row of another call, too, which was carried out at the same microsecond."""
    row, seq = corruption.row, corruption.value
    if (corruption.table.name, corruption.column) != ("idempotency_keys", "first_seq") or not seq:
        return False
    return bool(seq < row["first_seq"]) and await _time_of_row(ledger, row["account_id"], seq) == row["created_at"]


async def _is_another_time_of_a_call_without_rows(ledger: Filled, corruption: Corruption) -> bool:
    """Nothing tells when such a call was carried out, but that it was after the newest row that it knew."""
    row = corruption.row
    if (corruption.table.name, corruption.column) != ("idempotency_keys", "created_at"):
        return False
    newest = await _time_of_row(ledger, row["account_id"], row["last_seq"])
    return bool(row["first_seq"] > row["last_seq"] and (newest is None or corruption.value >= newest))


async def _names_another_batch(ledger: Filled, corruption: Corruption) -> bool:
    """Which of the rows of API usage a request was charged by is told nowhere else."""
    if (corruption.table.name, corruption.column) != ("request_details", "seq") or corruption.value is None:
        return False
    paid = select(tables.transactions.c.ref_type).where(
        tables.transactions.c.account_id == corruption.row["account_id"], tables.transactions.c.seq == corruption.value
    )
    return [tuple(row) for row in await ledger.database.read(paid)] == [("api_usage",)]


async def test_every_change_of_a_field_is_found_and_named(ledger: Filled) -> None:
    assert await ledger.faults() == []
    assert await recomputed_differences(ledger.database) == []
    random, tried, refused = Random(7), 0, 0
    for table, column in COLUMNS:
        for _ in range(ROUNDS):
            corruption = await draw(ledger.database, table, column, random)
            if _is_beyond_recounting(corruption) or await _names_another_batch(ledger, corruption):
                continue
            if await _names_an_earlier_row_of_its_time(ledger, corruption):
                continue
            if await _is_another_time_of_a_call_without_rows(ledger, corruption):
                continue
            if not await corruption.make(ledger.database):
                refused += 1
                continue
            tried += 1
            faults = await ledger.faults()
            named = {fault.subject for fault in faults}
            assert not named.isdisjoint(_names(corruption)), f"{corruption}\nfound {list(map(str, faults))}"
            await corruption.undo(ledger.database)
    assert await ledger.faults() == []
    assert tried > ROUNDS * len(COLUMNS) // 2
    assert refused < tried // 4
