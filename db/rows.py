"""Rows of tables: named tuples, in the order of their columns."""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Iterable, Sequence
from datetime import date, datetime
from functools import lru_cache
from itertools import repeat
from typing import Any, Final, NamedTuple, NoReturn, TypeVar

from db.folding import folded_column

Row = TypeVar("Row", bound=tuple[Any, ...])


def named(row_type: type[Row], rows: Iterable[Sequence[Any]]) -> list[Row]:
    """Converts rows with as many columns as the type. Skips the check of `_make`, which costs more than everything
    else."""
    return list(map(tuple.__new__, repeat(row_type), rows))


class ColumnNotRead(Exception):
    """A column was read that the reader did not ask for."""


class _NotRead:
    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, row: object, _row_type: type) -> object:
        raise ColumnNotRead(self._name)


def _shown(row: Any) -> str:
    shown = (f"{name}={getattr(row, name)!r}" for name in row.columns_read)
    return f"{row.__class__.__name__}({', '.join(shown)})"


def _refuse(*_: object, **__: object) -> NoReturn:
    raise ColumnNotRead("a row of a few columns is read by their names alone")


_BY_POSITION: Final = (
    *("__iter__", "__getitem__", "__len__", "__contains__", "__hash__", "__add__", "__mul__", "__rmul__"),
    *("__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__", "_asdict", "_replace", "index", "count"),
)


@lru_cache(maxsize=512)
def row_of(row_type: type[Row], names: tuple[str, ...]) -> type[Row]:
    """Returns the row type for rows with only these columns, in this order. Reading another column raises
    ColumnNotRead."""
    fields: tuple[str, ...] = row_type._fields  # type: ignore[attr-defined]
    if names == fields:
        return row_type
    getters = namedtuple(row_type.__name__, names)  # type: ignore[misc]
    members: dict[str, Any] = {name: _NotRead(name) for name in fields} | dict.fromkeys(_BY_POSITION, _refuse)
    members |= {name: getters.__dict__[name] for name in names}
    members |= {"__slots__": (), "__bool__": lambda _row: True, "__repr__": _shown}
    return type(row_type.__name__, (row_type,), members | {"columns_read": names})


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
    api_key: str | None = None
    project: str | None = None


FOLDED_OF_TRANSACTIONS: Final = ("description_folded", "ref_id_folded")
"""Columns that are stored with a row for searches."""


def folded_of_transaction(row: TransactionRow) -> tuple[str | None, str | None]:
    return folded_column(row.description), folded_column(row.ref_id)


def values_of_transaction(row: TransactionRow) -> dict[str, Any]:
    """Returns the values of all columns that are stored."""
    return row._asdict() | dict(zip(FOLDED_OF_TRANSACTIONS, folded_of_transaction(row), strict=True))


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
    api_key: str | None = None
    project: str | None = None


class UsageFigures(NamedTuple):
    """Figures of one usage day, or the sum of several days."""

    calls: int
    input_tokens: int
    output_tokens: int
    cost_nanos: int


DayKey = tuple[int, date, str, str, str]


class UsageDayRow(NamedTuple):
    """A usage day: its key (account, day, model, category and origin) and its figures.

    The figures are in the row itself, because fields are read directly from it.
    """

    account_id: int
    day: date
    model: str
    category: str
    origin: str
    calls: int
    input_tokens: int
    output_tokens: int
    cost_nanos: int

    @property
    def key(self) -> DayKey:
        return self[:5]

    @property
    def figures(self) -> UsageFigures:
        return UsageFigures._make(self[5:])


class MonthlyFiguresRow(NamedTuple):
    """Figures of one account and UTC month. Also used for increments, which a write adds to them."""

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
    allowed_addresses: str | None
    last_used_address: str | None
    session_of: int | None
    """The key that this session, or a key that it created, ends with."""
    points_per_second: int | None
    burst_points: int | None


class TokenRow(NamedTuple):
    digest: bytes
    purpose: str
    key_id: int
    payload: str | None
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None


class IdempotentCallRow(NamedTuple):
    scope: str
    operation: str
    key: str
    payload_digest: bytes
    account_id: int | None
    key_prefix: str | None
    balance_nanos: int | None
    last_seq: int | None
    created_at: datetime


class AuditEntryRow(NamedTuple):
    id: int
    at: datetime
    act: str
    actor: str
    owner: str
    account_id: int | None
    key_prefix: str | None
    description: str | None
    first_seq: int | None
    last_seq: int | None
    scope: str | None
    old_value: str | None
    new_value: str | None
