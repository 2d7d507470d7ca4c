"""Rows as they come from the tables: plain tuples with names, in the order of their columns."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from itertools import repeat
from typing import Any, NamedTuple, TypeVar

Row = TypeVar("Row", bound=tuple[Any, ...])


def named(row_type: type[Row], rows: Iterable[Sequence[Any]]) -> list[Row]:
    """Rows of as many columns as the type has: `_make` without its check, which costs more than all the rest."""
    return list(map(tuple.__new__, repeat(row_type), rows))


class AccountRow(NamedTuple):
    id: int
    external_id: str | None
    name: str
    currency: str
    status: str
    created_at: datetime
    head_seq: int
    head_at: datetime | None
    head_hash: bytes | None
    balance_nanos: int


class TransactionRow(NamedTuple):
    account_id: int
    seq: int
    created_at: datetime
    type: str
    amount_nanos: int
    balance_after_nanos: int
    description: str
    source: str
    ref_type: str | None
    ref_id: str | None
    actor: str
    corrects_seq: int | None
    period_start: datetime | None
    period_end: datetime | None
    hash: bytes


class HoldRow(NamedTuple):
    account_id: int
    hold_seq: int
    ref_type: str
    ref_id: str
    cycle: int
    held_nanos: int
    month: str
    state: str
    period_start: datetime
    period_end: datetime
    used_nanos: int | None
    settled_seq: int | None
    settled_at: datetime | None
    expired_at: datetime | None = None


class ChargeRow(NamedTuple):
    account_id: int
    ref_type: str
    ref_id: str
    state: str
    held_nanos: int
    refunded_nanos: int
    overage_nanos: int
    billed_nanos: int
    cycles: int
    hold_seq: int | None
    first_seq: int
    last_seq: int
    opened_at: datetime
    closed_at: datetime | None


class UsageDayRow(NamedTuple):
    account_id: int
    day: date
    model: str
    category: str
    origin: str
    calls: int
    input_tokens: int
    output_tokens: int
    cost_nanos: int


class MonthlyFiguresRow(NamedTuple):
    """Of one account and UTC month; as increments, what a write adds to them."""

    account_id: int
    month: str
    gross_nanos: int = 0
    refunded_nanos: int = 0
    open_holds_nanos: int = 0
    platform_calls: int = 0
    user_inference_calls: int = 0
    tokens: int = 0


class IdempotencyRow(NamedTuple):
    account_id: int
    operation: str
    key: str
    payload_digest: bytes
    first_seq: int
    last_seq: int
    balance_nanos: int
    to_stop: bool
    created_at: datetime
    result: int | None


class ApiKeyRow(NamedTuple):
    id: int
    prefix: str
    digest: bytes
    scope: str
    account_id: int | None
    account_ids: str | None
    operations: str | None
    owner: str
    created_at: datetime
    last_used_at: datetime | None
    expires_at: datetime | None
    revoked_at: datetime | None
    replaced_by: int | None


class TicketRow(NamedTuple):
    digest: bytes
    purpose: str
    key_id: int
    payload: str | None
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None
