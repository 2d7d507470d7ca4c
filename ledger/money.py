"""Money: whole nano-dollars inside, exact decimal strings outside."""

from __future__ import annotations

import re
from decimal import ROUND_HALF_EVEN, Context, Decimal
from functools import lru_cache
from typing import Final

from ledger.errors import BadUserInput

NANOS: Final = 1_000_000_000
MAX_NANOS: Final = 2**63 - 1
MIN_NANOS: Final = -(2**63 - 1)

_NANOS_PER_CENT: Final = NANOS // 100
_CENTS: Final = tuple(f".{cents:02}" for cents in range(100))
"""Precomputed because most amounts are whole cents, and a page has hundreds of amounts."""

_AMOUNT = re.compile(r"([+-]?)(\d{1,10})(?:\.(\d{1,9}))?", re.ASCII)
_LONGEST_AMOUNT: Final = 21
"""The number of characters of the longest text that `_AMOUNT` matches."""

_EXACT = Context(prec=80, rounding=ROUND_HALF_EVEN)


def in_range(nanos: int, what: str) -> int:
    if not MIN_NANOS <= nanos <= MAX_NANOS:
        msg = f"{what} exceeds the range of ±{format_nanos(MAX_NANOS)}"
        raise BadUserInput(msg)
    return nanos


def parse_nanos(value: object, what: str = "the amount") -> int:
    """Parses a decimal string, or an integer number of dollars, into nano-dollars.

    Raises BadUserInput for anything else: floats, exponents, more than nine fraction digits, or more than ±$9.2
    billion.
    """
    if isinstance(value, bool) or not isinstance(value, str | int):
        msg = f'{what} must be a decimal string such as "12.50", not {type(value).__name__}'
        raise BadUserInput(msg)
    if isinstance(value, int):
        return in_range(value * NANOS, what)
    nanos = _parsed(value) if len(value) <= _LONGEST_AMOUNT else None
    if nanos is None:
        shown = value if len(value) <= 40 else value[:40] + "…"
        msg = f'{what} must be a decimal with at most nine fraction digits, such as "12.50", not "{shown}"'
        raise BadUserInput(msg)
    return in_range(nanos, what)


@lru_cache(maxsize=4_096)
def _parsed(value: str) -> int | None:
    """Returns None if the text is not a decimal. The calls of a batch repeat their prices and often their costs."""
    match = _AMOUNT.fullmatch(value)
    if match is None:
        return None
    sign, whole, fraction = match.groups()
    nanos = int(whole) * NANOS + int((fraction or "").ljust(9, "0"))
    return -nanos if sign == "-" else nanos


def format_nanos(nanos: int) -> str:
    """Formats a plain decimal with at least two fraction digits: "-1.25", "0.00", "0.000000135"."""
    sign, size = ("-", -nanos) if nanos < 0 else ("", nanos)
    cents, rest = divmod(size, _NANOS_PER_CENT)
    if not rest:
        return f"{sign}{cents // 100}{_CENTS[cents % 100]}"
    return f"{sign}{size // NANOS}.{size % NANOS:09}".rstrip("0")


def round_nanos(dollars: Decimal) -> int:
    """Rounds a computed amount half-even to nano-dollars. Call it once per amount, where the amount is computed."""
    return in_range(int((_EXACT.multiply(dollars, NANOS)).to_integral_value(context=_EXACT)), "a computed amount")
