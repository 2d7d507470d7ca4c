from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any, Final, NewType

import strawberry
from graphql import IntValueNode, StringValueNode, ValueNode, print_ast
from strawberry.types.scalar import ScalarDefinition

from execution.leaves import FixedPoint, serialized_as
from ledger.chain import format_time
from ledger.errors import BadUserInput
from ledger.money import format_nanos, parse_nanos
from resolvers.cursors import format_day
from resolvers.reads.months import parse_month

Nanos = NewType("Nanos", int)
"""Nano-dollars inside, `Decimal` outside."""

BigInteger = NewType("BigInteger", int)
Month = NewType("Month", str)

_DATE_TIME: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_DATE: Final = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_INTEGER: Final = re.compile(r"-?\d{1,19}", re.ASCII)


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:40] + "…"


def parse_date_time(value: object) -> datetime:
    """Parses a DateTime. Raises BadUserInput for anything but RFC 3339 with a zone and at most six fraction digits."""
    if isinstance(value, str) and _DATE_TIME.fullmatch(value):
        try:
            return datetime.fromisoformat(value.upper()).astimezone(UTC)
        except (ValueError, OverflowError):
            pass
    msg = f'a DateTime must be RFC 3339 with a zone, such as "2026-11-23T16:02:40Z", not {_shown(value)}'
    raise BadUserInput(msg)


def parse_date(value: object) -> date:
    if isinstance(value, str) and _DATE.fullmatch(value):
        try:
            return date.fromisoformat(value)
        except ValueError:
            pass
    msg = f'a Date must be a UTC day such as "2026-11-23", not {_shown(value)}'
    raise BadUserInput(msg)


def _parse_big_integer(value: object) -> int:
    number = value if isinstance(value, int) and not isinstance(value, bool) else None
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        number = int(value)
    if number is None or abs(number) >= 2**63:
        msg = f"a BigInt must be a 64-bit integer, as a string, not {_shown(value)}"
        raise BadUserInput(msg)
    return number


def _parse_month_value(value: object) -> str:
    if not isinstance(value, str):
        msg = f'a month must look like "2026-11", not {_shown(value)}'
        raise BadUserInput(msg)
    return parse_month(value)


def _literal_parser(parse_value: Callable[[Any], Any]) -> Callable[..., Any]:
    """Parses literals in a document like variables. A float literal is passed as text, so that it can be refused."""

    def parse_literal(node: ValueNode, _variables: object = None) -> Any:
        if isinstance(node, StringValueNode):
            return parse_value(node.value)
        if isinstance(node, IntValueNode) and len(node.value) <= 20:
            return parse_value(int(node.value))
        msg = f"{_shown(print_ast(node))} is invalid for this type: expected a string"
        raise BadUserInput(msg)

    return parse_literal


def _scalar(
    name: str, description: str, serialize: Callable[[Any], Any], parse_value: Callable[[Any], Any]
) -> ScalarDefinition:
    return strawberry.scalar(
        name=name,
        description=description,
        serialize=serialize,
        parse_value=parse_value,
        parse_literal=_literal_parser(parse_value),
    )


SCALARS: Final[dict[object, ScalarDefinition]] = {
    Nanos: _scalar(
        "Decimal",
        'An exact amount of money, as a plain decimal string with two to nine fraction digits: "-1.25", "0.00",'
        ' "0.000000135". Amounts are within ±9223372036.854775807; totals of many rows can be larger. Input is'
        " refused if it has more than nine fraction digits or an exponent, or is a float.",
        serialized_as(FixedPoint(9, 2), format_nanos),
        parse_nanos,
    ),
    BigInteger: _scalar(
        "BigInt",
        'An integer, as a string: "36700000000". Input is limited to 64 bits; sums can be larger.',
        str,
        _parse_big_integer,
    ),
    datetime: _scalar(
        "DateTime",
        'A time in RFC 3339 format, returned in UTC with six fraction digits: "2026-11-23T16:02:40.000000Z". Input'
        " must have a time zone and at most six fraction digits.",
        serialized_as("time", format_time),
        parse_date_time,
    ),
    date: _scalar("Date", 'A UTC day: "2026-11-23".', serialized_as("day", format_day), parse_date),
    Month: _scalar("YearMonth", 'A UTC month: "2026-11".', str, _parse_month_value),
}
