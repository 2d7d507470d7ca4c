"""Reads figures in sentences back, by none of the code that wrote them."""

from __future__ import annotations

import re
from calendar import month_name
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

_UNITS: Final = {
    "day": timedelta(days=1),
    "hour": timedelta(hours=1),
    "minute": timedelta(minutes=1),
    "second": timedelta(seconds=1),
}
_COUNTED: Final = re.compile(r"(\d+) (day|hour|minute|second)(s?)")

MONEY: Final = r"-?\$\d{1,3}(?:,\d{3})*\.(?:\d\d|\d{2,8}[1-9])"
"""Thousands apart; two fraction digits at least, and no zeros at the end beyond these."""
DURATION: Final = r"(?:about )?\d+ (?:day|hour|minute|second)s?(?: \d+ (?:hour|minute|second)s?)*"
PART: Final = rf"{DURATION} of {DURATION}|\d+ of \d+ (?:day|hour|minute|second)s?"
DAY: Final = r"\d{1,2} [A-Z][a-z]+ \d{4}"
CLOCK: Final = r"\d\d:\d\d(?::\d\d)?"


def nanos(text: str) -> int:
    return int(Decimal(text.replace("$", "").replace(",", "")).scaleb(9))


def length(text: str) -> timedelta:
    """To the second. Larger units come first, each once, and none is zero beside others."""
    counted = _COUNTED.findall(text.removeprefix("about "))
    assert " ".join(f"{count} {unit}{plural}" for count, unit, plural in counted) == text.removeprefix("about ")
    units = [unit for _, unit, _ in counted]
    assert units == sorted(set(units), key=list(_UNITS).index)
    assert all(plural == ("" if count == "1" else "s") for count, _, plural in counted)
    assert text.removeprefix("about ") == "0 seconds" or all(int(count) for count, _, _ in counted)
    return sum((int(count) * _UNITS[unit] for count, unit, _ in counted), timedelta())


def says(text: str, exact: timedelta) -> bool:
    """Whether a length of time is told as it is: rounded to the second, and "about" only where it is rounded."""
    told = length(text)
    if text.startswith("about "):
        return told != exact and abs(told - exact) <= timedelta(seconds=0.5)
    return told == exact


def says_part(text: str, part: timedelta, whole: timedelta) -> bool:
    told_part, told_whole = text.split(" of ")
    if re.fullmatch(r"\d+", told_part):
        unit = told_whole.split()[1].removesuffix("s")
        told_part = f"{told_part} {unit}{'' if told_part == '1' else 's'}"
    return says(told_part, part) and says(told_whole, whole)


def day(text: str) -> datetime:
    number, month, year = text.split()
    return datetime(int(year), list(month_name).index(month), int(number), tzinfo=UTC)


def moment(text: str) -> datetime:
    """Like "23 November 2026, 10:00" """
    date, clock = text.split(", ")
    hours, minutes, *seconds = map(int, clock.split(":"))
    assert seconds != [0]
    return day(date) + timedelta(hours=hours, minutes=minutes, seconds=sum(seconds))
