"""Records of a run: what was asked, answered, received and stored. Times are seconds of one monotonic clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple


class Row(NamedTuple):
    """A row of the ledger, as a client sees it."""

    id: str
    amount: str
    balance_after: str


class Stored(NamedTuple):
    row: Row
    account: str
    call: str
    """The name of the call that wrote the row; empty for rows of other writers."""


class Answer(NamedTuple):
    """The end of one request or stream."""

    kind: str
    began: float
    ended: float
    error: str = ""
    """The code of the error, or the name of a lost connection's exception; empty if there was none."""


class Read(NamedTuple):
    account: str
    newest: Row
    balance: str


class Fault(NamedTuple):
    name: str
    began: float
    ended: float
    memory_mib: float
    """Of both gateways, when the fault and the recovery were over."""


@dataclass
class Stream:
    account: str
    received: list[Row] = field(default_factory=list)


@dataclass
class History:
    answers: list[Answer] = field(default_factory=list)
    acknowledged: dict[str, Row] = field(default_factory=dict)
    """The row of each call that was answered."""
    reads: list[Read] = field(default_factory=list)
    streams: dict[str, Stream] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    stored: list[Stored] = field(default_factory=list)
    """All rows in the end, in the order of their account."""
