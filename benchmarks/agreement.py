"""Whether servers answer alike: the hand-written ones to the letter, the others value by value."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from ledger.chain import format_time
from ledger.money import format_nanos

_MONEY: Final = frozenset(
    {"amount", "balance", "balanceBefore", "balanceAfter", "cost", "price", "totalCost", "grossCost", "refunded"}
    | {"heldInOpenCharges", "credits", "debits", "net"}
)
_TIMES: Final = frozenset({"createdAt", "at", "opened", "periodStart", "periodEnd"})
_ENUMS: Final = frozenset({"type", "kind", "source", "refType", "category", "origin", "status"})
_OWN: Final = frozenset({"id", "cursor", "endCursor", "balanceCursor"})
"""Each server has its own ids and cursors."""
_ABSENT: Final = object()


class Disagreement(Exception):
    pass


@dataclass(slots=True)
class Compared:
    alike: int = 0
    left_out: int = 0

    def __iadd__(self, other: Compared) -> Compared:
        self.alike += other.alike
        self.left_out += other.left_out
        return self


def leaves(value: Any) -> int:
    if isinstance(value, dict):
        return sum(map(leaves, value.values()))
    return sum(map(leaves, value)) if isinstance(value, list) else 1


def to_the_letter(ours: Any, theirs: Any) -> Compared:
    if ours != theirs:
        # Finds where, and takes nothing for left out.
        found = _compared(ours, theirs, "data", "", _as_serialized)
        msg = f"{found.left_out} values are missing or there are more than ours"
        raise Disagreement(msg)
    return Compared(leaves(ours))


def by_value(ours: Any, theirs: Any, server: str) -> Compared:
    return _compared(ours, theirs, "data", "", _in_nanos if server == "postgraphile" else _in_decimals)


def _as_serialized(_name: str, value: Any) -> Any:
    return value


def _in_nanos(name: str, value: Any) -> Any:
    """PostGraphile answers with the values of the tables."""
    if value is None:
        return None
    if name in _MONEY:
        return format_nanos(int(value))
    if name in _TIMES:
        return format_time(datetime.fromisoformat(value))
    if name == "totalCount":
        return str(value)
    return value.upper() if name in _ENUMS else value


def _in_decimals(name: str, value: Any) -> Any:
    """The tutorial's scalars: decimals without trailing zeros, times with an offset."""
    if value is None:
        return None
    if name in _MONEY:
        return format_nanos(int(Decimal(value).scaleb(9)))
    return format_time(datetime.fromisoformat(value)) if name in _TIMES else value


def _unwrapped(ours: Any, theirs: Any) -> Any:
    """PostGraphile's months are connections: one month for an object of ours, the newest first for a list."""
    if isinstance(theirs, dict) and list(theirs) == ["nodes"]:
        if isinstance(ours, dict) and "nodes" not in ours:
            (theirs,) = theirs["nodes"]
        elif isinstance(ours, list):
            theirs = theirs["nodes"][::-1]
    return theirs


def _compared(ours: Any, theirs: Any, path: str, name: str, serialized: Any) -> Compared:
    theirs = _unwrapped(ours, theirs)
    if theirs is _ABSENT or (name in _OWN and serialized is not _as_serialized):
        return Compared(left_out=leaves(ours))
    found = Compared()
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key, value in ours.items():
            found += _compared(value, theirs.get(key, _ABSENT), f"{path}.{key}", key, serialized)
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            found += _compared(one, other, f"{path}.{number}", name, serialized)
    elif ours == serialized(name, theirs):
        found.alike += 1
    else:
        msg = f"{path} is {str(ours)[:200]} here and {str(theirs)[:200]} there"
        raise Disagreement(msg)
    return found
