"""The record of a failover drill: all that clients were told, and the ledger in the end.

Times are seconds of the drill's own clock. Each client and each follower does one thing after the other.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final, Union


@dataclass(frozen=True)
class Acknowledged:
    """A call that posts a row was answered with that row."""

    client: str
    account: int
    began: float
    ended: float
    key: str
    """Idempotency key of the call, which the row has, too."""
    seq: int
    replayed: bool = False


@dataclass(frozen=True)
class Read:
    client: str
    account: int
    began: float
    ended: float
    seq: int
    """Newest row; 0 for an empty ledger."""
    key: str
    """The newest row's; empty for an empty ledger."""
    balance_nanos: int


@dataclass(frozen=True)
class Streamed:
    """A follower received a row."""

    client: str
    account: int
    ended: float
    seq: int
    key: str


@dataclass(frozen=True)
class Refused:
    """A call, or a stream, ended without a result."""

    client: str
    began: float
    ended: float
    code: str
    has_retry_after: bool = False


@dataclass(frozen=True)
class Window:
    """A fault, until a commit succeeded on the new primary."""

    fault: str
    began: float
    ended: float


@dataclass(frozen=True)
class Row:
    """A row of the ledger in the end."""

    account: int
    seq: int
    key: str
    amount_nanos: int


Event = Union[Acknowledged, Read, Streamed, Refused, Window, Row]  # noqa: UP007  `|` makes no tuple of classes

_KINDS: Final = {kind.__name__: kind for kind in (Acknowledged, Read, Streamed, Refused, Window, Row)}

GAVE_UP: Final = "GAVE_UP"
"""The client did not wait for the answer."""


@dataclass
class History:
    events: list[Event] = field(default_factory=list)
    """In the order in which they ended; windows and rows come last."""

    def write(self, path: Path) -> None:
        with path.open("w") as file:
            for event in self.events:
                file.write(json.dumps({"kind": type(event).__name__, **asdict(event)}) + "\n")


def read_history(lines: Iterable[str]) -> History:
    found = [json.loads(line) for line in lines]
    return History([_KINDS[one.pop("kind")](**one) for one in found])
