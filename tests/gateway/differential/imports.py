"""Random files of usage: rollups and logs, with lines that contradict each other, and broken ones."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from ledger.imports.options import ImportOptions
from tests.gateway.differential.calls import Import
from tests.gateway.differential.known import CATEGORIES, ORIGINS, Known
from tests.gateway.differential.mutations import model

MAX: Final = str(2**63 - 1)

Cell = Callable[[Known], str]


def _account(known: Known) -> str:
    """An id, or a name that may be an external id."""
    if known.often(0.6):
        return known.account()
    return known.random.choice(("Straße", "STRASSE", "日本", "one", "One", known.one_of(known.texts, "one")))


def _count(known: Known) -> str:
    if known.often(0.04):
        return known.random.choice((MAX, "9223372036854775808", "4611686018427387904", "-1", "1.5", "", "1E5", "٣"))
    return str(known.random.choice((0, 1, 7, known.random.randint(0, 10**6))))


def _time(known: Known) -> str:
    moment = known.now - timedelta(seconds=known.random.choice((0, 60, 3600, 86_400, 172_800)))
    text = moment.replace(tzinfo=None).isoformat(sep=known.random.choice(" T"))
    return text + known.random.choice(("", "Z", "+02:00", "-11:30", ".5" if "." not in text else "", "?"))


def _word(known: Known, words: Sequence[str]) -> str:
    word = known.random.choice(words)
    return "fax" if known.often(0.02) else known.random.choice((word, word.lower(), word.title()))


_CELLS: Final[Mapping[str, Cell]] = {
    "account": _account,
    "day": lambda known: (
        known.day() if known.often(0.97) else known.random.choice(("2026-02-30", "1969-12-31", "1/2/3"))
    ),
    "timestamp": _time,
    "model": model,
    "category": lambda known: _word(known, CATEGORIES),
    "origin": lambda known: _word(known, ORIGINS),
    "calls": _count,
    "input_tokens": _count,
    "output_tokens": _count,
    "cost_usd": lambda known: known.amount(),
    "cost": lambda known: "" if known.often(0.2) else known.amount(),
    "api_key": lambda known: "" if known.often(0.4) else known.attribution(),
    "project": lambda known: "" if known.often(0.4) else known.attribution(),
    "end_user": lambda known: "" if known.often(0.4) else known.attribution(),
    "cached_input_tokens": lambda known: "" if known.often(0.6) else _count(known),
    "reasoning_tokens": lambda known: "" if known.often(0.6) else _count(known),
    "units": lambda known: "" if known.often(0.6) else known.amount(),
    "request_id": lambda known: "" if known.often(0.2) else f"r{known.random.randint(1, 60)}",
}
_ROLLUP: Final = ("account", "day", "model", "category", "calls", "input_tokens", "output_tokens", "cost_usd")
_LOG: Final = ("timestamp", "account", "model", "category", "input_tokens", "output_tokens")


_DETAILS: Final = ("api_key", "project", "end_user", "cached_input_tokens", "reasoning_tokens", "units")


def _columns(known: Known) -> list[str]:
    chosen = list(_ROLLUP if known.often(0.6) else _LOG)
    is_log = chosen[1] != "day"
    more = ["origin", "cost", "request_id"] if is_log else ["origin"]
    chosen += [one for one in more if known.often(0.7)]
    chosen += [one for one in _DETAILS if is_log and known.often(0.2)]
    known.random.shuffle(chosen)
    if known.often(0.05):
        del chosen[0]
    return chosen


def _line(known: Known, columns: Sequence[str], before: list[list[str]]) -> list[str]:
    """A new one, or one of before, the same or with another figure."""
    if before and known.often(0.2):
        line = list(known.random.choice(before))
        if known.often(0.5) and line:
            place = known.random.randrange(min(len(line), len(columns)))
            line[place] = _CELLS[columns[place]](known)
        return line
    line = [_CELLS[column](known) for column in columns]
    return line[:-1] if known.often(0.02) else line


def _file(known: Known) -> bytes:
    columns = _columns(known)
    lines: list[list[str]] = []
    is_huge = known.often(0.15)
    for _ in range(known.random.choice((1, 4, 12, 30))):
        line = _line(known, columns, lines)
        lines.append([MAX if is_huge and one.isdigit() and known.often(0.5) else one for one in line])
    text = io.StringIO(newline="")
    delimiter = known.random.choice((",", ",", ";", "\t"))
    ending = known.random.choice(("\n", "\r\n"))
    writer = csv.writer(text, delimiter=delimiter, lineterminator=ending)
    writer.writerow(columns)
    for line in lines:
        writer.writerow(line)
        if known.often(0.02):
            text.write(known.random.choice(('"open', 'a"b,c', "\n", "\x00\n", '""x\n', "\ufeff\n")))
    return text.getvalue().encode(errors="surrogatepass")


def _options(known: Known) -> ImportOptions:
    given: dict[str, Any] = {
        "strict": known.often(0.25),
        "create_accounts": known.often(0.4),
        "replace": known.often(0.3),
    }
    if known.often(0.1):
        given["account"] = known.account()
    if known.often(0.1):
        given["start"] = datetime(2026, 10, 30, tzinfo=UTC)
    return ImportOptions(**given)


def usage_import(known: Known) -> Import:
    """New files, or those of before once more."""
    files = []
    for _ in range(known.random.choice((1, 1, 1, 2))):
        again = known.files and known.often(0.2)
        files.append(known.one_of(known.files, b"") if again else _file(known))
    known.files.extend(files)
    return Import(files, _options(known))
