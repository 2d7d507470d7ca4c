"""Fields of a line. Each field is parsed exactly or refused with a reason."""

from __future__ import annotations

import re
from datetime import date
from functools import lru_cache
from typing import Final

from ledger.errors import BadUserInput
from ledger.kinds import UsageCategory, UsageOrigin
from ledger.money import parse_nanos
from ledger.texts import TextKind
from ledger.usage import MAX_COUNT

SECOND_NANOS: Final = 1_000_000_000
_DAY_SECONDS: Final = 86_400
HOUR_NANOS: Final = 3_600 * SECOND_NANOS
DAY_NANOS: Final = _DAY_SECONDS * SECOND_NANOS
_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()

_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ]([01]\d|2[0-3]):([0-5]\d):([0-5]\d)(?:\.(\d{1,9}))?"
    r" ?(?:[Zz]|UTC|([+-])([01]\d|2[0-3]):?([0-5]\d))?",
    re.ASCII,
)
_SECONDS = re.compile(r"(\d{1,11})(?:\.(\d{1,9}))?", re.ASCII)
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_COUNT = re.compile(r"\d{1,19}", re.ASCII)
_OTHER_DAY = re.compile(r"\d{1,4}[./-]\d{1,2}[./-]\d{1,4}", re.ASCII)
_SCIENTIFIC = re.compile(r"-?\d+(?:[.,]\d*)?[Ee][+-]?\d+", re.ASCII)
_DECIMAL_COMMA = re.compile(r"-?\d+,\d+", re.ASCII)
# An export puts an apostrophe before text that a spreadsheet would take for a formula, and before text that already
# begins with such apostrophes: gateway/rest/exports.py.
_FORMULA_MARK = re.compile("'(?='*[=+\\-@\t\r\n＝＋－＠])")


def shown(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "…")


@lru_cache(maxsize=4096)
def parse_name(text: str, kind: TextKind, what: str) -> str:
    return kind.checked(text, what)


def unmarked(text: str) -> str:
    """Returns the text without the apostrophe that an export put before it."""
    return _FORMULA_MARK.sub("", text, count=1) if text.startswith("'") else text


def _spreadsheet_hint(text: str) -> str:
    if _SCIENTIFIC.fullmatch(text):
        return ": a spreadsheet has rounded this number; save the column as numbers without an exponent"
    if _DECIMAL_COMMA.fullmatch(text):
        return ": use a point as the decimal separator"
    return ""


def parse_count(text: str, what: str) -> int:
    if _COUNT.fullmatch(text) and (count := int(text)) <= MAX_COUNT:
        return count
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()):
        msg = f"{what} must be a whole number, not {shown(text)}{_spreadsheet_hint(text)}"
    elif digits != text:
        msg = f"{what} must not be negative: {shown(text)}"
    else:
        msg = f"{what} must be at most {MAX_COUNT}, not {shown(text)}"
    raise BadUserInput(msg)


@lru_cache(maxsize=64)
def parse_category(text: str) -> str:
    try:
        return UsageCategory(text.lower()).value
    except ValueError:
        msg = f"category must be one of {', '.join(UsageCategory)}, not {shown(text)}"
        raise BadUserInput(msg) from None


@lru_cache(maxsize=64)
def parse_origin(text: str) -> str:
    try:
        return UsageOrigin(text.lower()).value
    except ValueError:
        msg = f"origin must be one of {', '.join(UsageOrigin)}, not {shown(text)}"
        raise BadUserInput(msg) from None


def check_part(part: int, whole: int, part_name: str, whole_name: str) -> None:
    if part > whole:
        msg = f"{part_name} must not exceed {whole_name}, of which they are a part: {part} is more than {whole}"
        raise BadUserInput(msg)


def check_sum(text: str, tokens: int) -> None:
    if text != str(tokens):
        msg = f"tokens must be the sum of input_tokens and output_tokens, {tokens}, not {shown(text)}"
        raise BadUserInput(msg)


def parse_cost(text: str, what: str) -> int:
    """Parses an amount of dollars, or a number of units, into billionths. Raises BadUserInput."""
    try:
        nanos = parse_nanos(text, what)
    except BadUserInput as error:
        hint = _spreadsheet_hint(text)
        if not hint:
            raise
        msg = f"{error}{hint}"
        raise BadUserInput(msg) from None
    if nanos < 0:
        msg = f"{what} must not be negative: {shown(text)}"
        raise BadUserInput(msg)
    return nanos


@lru_cache(maxsize=4096)
def parse_day(text: str) -> date:
    try:
        day = date.fromisoformat(text) if _DAY.fullmatch(text) else None
    except ValueError:
        day = None
    if day is None:
        hint = ": write the year first, then month and day" if _OTHER_DAY.fullmatch(text) else ""
        msg = f"the day must be a date such as 2026-11-09, not {shown(text)}{hint}"
        raise BadUserInput(msg)
    return day


def day_number(day: date) -> int:
    """Returns the number of days since 1970."""
    return day.toordinal() - _EPOCH_DAY


@lru_cache(maxsize=4096)
def day_of(number: int) -> date:
    return date.fromordinal(_EPOCH_DAY + number)


def _fraction_nanos(digits: str | None) -> int:
    return int(digits.ljust(9, "0")) if digits else 0


def parse_timestamp(text: str) -> int:
    """Parses a timestamp into nanoseconds since 1970. UTC unless the text names an offset. Raises BadUserInput."""
    match = _TIME.fullmatch(text)
    if match is None:
        msg = f"the timestamp must have a form like 2026-11-09T12:30:00.25Z, not {shown(text)}"
        raise BadUserInput(msg)
    day, hours, minutes, seconds, fraction, sign, offset_hours, offset_minutes = match.groups()
    whole = day_number(parse_day(day)) * _DAY_SECONDS + int(hours) * 3600 + int(minutes) * 60 + int(seconds)
    if sign:
        offset = int(offset_hours) * 3600 + int(offset_minutes) * 60
        whole += offset if sign == "-" else -offset
    return whole * SECOND_NANOS + _fraction_nanos(fraction)


def parse_seconds(text: str, start_nanos: int) -> int:
    match = _SECONDS.fullmatch(text)
    if match is None:
        msg = f"the timestamp must be a number of seconds since --start, not {shown(text)}"
        raise BadUserInput(msg)
    return start_nanos + int(match[1]) * SECOND_NANOS + _fraction_nanos(match[2])


def check_day(number: int, today: int) -> None:
    if number > today:
        msg = f"the day is in the future: today is {day_of(today)} (UTC)"
        raise BadUserInput(msg)
    if number < 0:
        raise BadUserInput("the day is before 1970")
