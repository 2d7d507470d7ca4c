"""Faults: the findings of verification. Only the first fault of each kind is kept."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from ledger.ids import account_id_text


class FaultKind(StrEnum):
    """Stable names: scripts and alerts may rely on them."""

    SEQ = "seq"
    TIME = "time"
    HASH = "hash"
    BALANCE = "balance"
    HEAD = "head"
    CHECKPOINT = "checkpoint"
    HOLD = "hold"
    CHARGE = "charge"
    MONTH = "month"
    USAGE = "usage"
    HOUR = "hour"
    PRICE = "price"
    REQUEST = "request"
    COST = "cost"
    LIMIT = "limit"
    IDEMPOTENCY = "idempotency"
    SEARCH_TEXT = "search_text"
    UNREADABLE = "unreadable"


class Fault(NamedTuple):
    kind: FaultKind
    account_id: int
    subject: str
    """The row: the id of a transaction, or the key of a row of another table."""
    message: str

    def __str__(self) -> str:
        return f"{account_id_text(self.account_id)} {self.kind} {self.subject}: {self.message}"


class Faults:
    """Maximum per account."""

    def __init__(self, account_id: int) -> None:
        self.account_id = account_id
        self._first: dict[FaultKind, Fault] = {}

    def add(self, kind: FaultKind, subject: str, message: str) -> None:
        """Keeps the fault, unless a fault of its kind is already known."""
        self._first.setdefault(kind, Fault(kind, self.account_id, subject, message))

    @property
    def found(self) -> list[Fault]:
        return list(self._first.values())


def differences(stored: Mapping[str, object], expected: Mapping[str, object]) -> str:
    """Returns the columns that differ, such as "held_nanos is 1, expected 2"; empty if none differs."""
    return "; ".join(
        f"{name} is {_shown(value)}, expected {_shown(expected[name])}"
        for name, value in stored.items()
        if value != expected[name]
    )


def _shown(value: object) -> str:
    if value is None:
        return "null"
    return value.hex() if isinstance(value, bytes) else str(value)
