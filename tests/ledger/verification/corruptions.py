"""Changes of one field of one row, drawn at random, and which of them verification can see."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from random import Random
from typing import Any, Final

from sqlalchemy import Column, Table, select, update
from sqlalchemy.exc import IntegrityError

from db import attribution_tables, tables
from db.database import Database
from db.integrity_tables import ledger_checkpoints
from db.limit_tables import spend_limits
from ledger.kinds import ChargeState, RefType, TransactionSource, TransactionType, UsageCategory, UsageOrigin
from ledger.usage_prices import PriceSource
from ledger.windows import SpendWindow

WORDS: Final[dict[str, Iterable[str]]] = {
    "type": list(TransactionType),
    "source": list(TransactionSource),
    "ref_type": list(RefType),
    "state": list(ChargeState),
    "category": list(UsageCategory),
    "origin": list(UsageOrigin),
    "fed_by": ["rollup", "requests"],
    "window_kind": list(SpendWindow),
    "usage_prices.source": list(PriceSource),
}
"""Values by column, or by table and column."""

UNSEEN: Final[dict[str, set[str]]] = {
    "accounts": {"id", "external_id", "name", "currency", "status", "created_at", "external_id_folded"},
    # A request is kept as a digest only: of the days only sums are known, by month, and of what was recorded live.
    "usage_days": {"day", "model", "input_tokens", "output_tokens", "cost_nanos", "category", "fed_by"},
    "idempotency_keys": {"operation", "key", "payload_digest", "to_stop", "result"},
    "idempotent_acts": {"scope", "operation", "key", "payload_digest", "key_prefix", "created_at", "account_id"},
    "ledger_checkpoints": {"day"},
    # Of a request nothing is known that could be compared with its hour, with who spent and with how it came.
    "usage_hours": {"hour", "span_hours", "api_key", "project", "imported_nanos"},
    "cost_hours": set(),
    # A price that is missing is named by the usage that it gave the cost of.
    "usage_prices": {"account_id"},
    "request_details": {"model", "category", "origin", "api_key", "project", "end_user"},
    "spend_limits": {
        *("account_id", "number", "amount_nanos", "notify_at", "notified_percent"),
        *("created_at", "updated_at", "deleted_at"),
    },
    # No row tells when a volume was deleted or when a hold expired that was settled later.
    "charges": set(),
    "holds": set(),
    "transactions": set(),
    "monthly_figures": set(),
}
"""Columns of which docs/operating.md says that verification cannot see every change of them."""

TABLES: Final = (
    *(tables.accounts, tables.transactions, tables.holds, tables.charges, tables.monthly_figures, tables.usage_days),
    *(tables.idempotency_keys, tables.idempotent_acts, ledger_checkpoints),
    *(attribution_tables.usage_hours, attribution_tables.cost_hours, attribution_tables.usage_prices),
    *(attribution_tables.request_details, spend_limits),
)

COLUMNS: Final = [(table, column) for table in TABLES for column in table.c if column.name not in UNSEEN[table.name]]


@dataclass(frozen=True)
class Corruption:
    table: Table
    column: str
    row: dict[str, Any]
    value: Any

    def __str__(self) -> str:
        key = {column.name: self.row[column.name] for column in self.table.primary_key}
        return f"{self.table.name} {key}: {self.column} {self.row[self.column]!r} became {self.value!r}"

    async def make(self, database: Database) -> bool:
        """Whether the database took it."""
        try:
            await self._put(database, self.row, self.value)
        except IntegrityError:
            return False
        return True

    async def undo(self, database: Database) -> None:
        await self._put(database, self.row | {self.column: self.value}, self.row[self.column])

    async def _put(self, database: Database, row: dict[str, Any], value: Any) -> None:
        key = (column == row[column.name] for column in self.table.primary_key)
        async with database.write() as connection:
            await connection.execute(update(self.table).where(*key).values({self.column: value}))


def changed(column: Column[Any], value: Any, random: Random) -> Any:
    """Another value of the same kind."""
    words = WORDS.get(f"{column.table.name}.{column.name}") or WORDS.get(column.name)
    if words:
        return random.choice([str(word) for word in words if word != value])
    match value:
        case None:
            return _anything(column)
        case bytes():
            return bytes([value[0] ^ random.randint(1, 255)]) + value[1:]
        case datetime():
            return value + random.choice([-1, 1]) * random.choice([timedelta(microseconds=1), timedelta(days=3)])
        case date():
            return value + timedelta(days=random.choice([-40, 40]))
        case int():
            return value + random.choice([-1, 1]) * random.choice([1, 1, 2, 10**9])
    return value + random.choice(["x", "é", " "]) if column.name != "month" else "2027-03"


def _anything(column: Column[Any]) -> Any:
    kind = column.type.python_type
    return {int: 1, str: "x", bytes: bytes(32), bool: True}.get(kind, datetime.fromisoformat("2026-11-05T00:00:00Z"))


async def rows_of(database: Database, table: Table) -> list[dict[str, Any]]:
    names = [column.name for column in table.c]
    found = await database.read(select(*table.c).order_by(*table.primary_key))
    return [dict(zip(names, row, strict=True)) for row in found]


async def draw(database: Database, table: Table, column: Column[Any], random: Random) -> Corruption:
    row = random.choice(await rows_of(database, table))
    return Corruption(table, column.name, row, changed(column, row[column.name], random))
