"""Columns: the columns that a file may have, and the format that they identify."""

from __future__ import annotations

import csv
from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from ledger.imports.fields import shown
from ledger.imports.records import split_on


class Format(StrEnum):
    ROLLUPS = "rollups"
    REQUESTS = "requests"
    AZURE = "azure"
    BURSTGPT = "burstgpt"
    EXPORT = "export"


class FileRefused(Exception):
    """The file's first line shows that none of its lines can be imported."""


@dataclass(frozen=True, slots=True)
class Shape:
    required: frozenset[str]
    optional: frozenset[str]
    renamed: dict[str, str] = field(default_factory=dict)
    ignored: frozenset[str] = frozenset()

    @property
    def columns(self) -> Set[str]:
        return {self.column(one) for one in self.required | self.optional} | self.ignored

    def column(self, one: str) -> str:
        """Returns the header in the file for the column named `one`."""
        return next((header for header, renamed in self.renamed.items() if renamed == one), one)


_LOG = frozenset({"timestamp", "account", "model", "category", "input_tokens", "output_tokens"})
_LOG_OPTIONAL = frozenset(
    {
        *("request_id", "cost", "origin", "api_key", "project", "end_user"),
        *("cached_input_tokens", "reasoning_tokens", "units"),
    }
)

SHAPES: Final[dict[Format, Shape]] = {
    Format.ROLLUPS: Shape(
        frozenset({"account", "day", "model", "category", "calls", "input_tokens", "output_tokens", "cost_usd"}),
        frozenset({"origin"}),
    ),
    Format.REQUESTS: Shape(_LOG, _LOG_OPTIONAL),
    Format.AZURE: Shape(_LOG, _LOG_OPTIONAL, {"contexttokens": "input_tokens", "generatedtokens": "output_tokens"}),
    Format.BURSTGPT: Shape(
        _LOG,
        _LOG_OPTIONAL,
        {"request tokens": "input_tokens", "response tokens": "output_tokens"},
        frozenset({"total tokens", "log type", "session id", "elapsed time"}),
    ),
    Format.EXPORT: Shape(
        frozenset({"account", "day", "model", "category", "calls", "input_tokens", "output_tokens", "cost_usd"}),
        frozenset({"origin", "tokens"}),
        {"cost": "cost_usd"},
    ),
}

_TELLING: Final[tuple[tuple[frozenset[str], Format], ...]] = (
    (frozenset({"contexttokens"}), Format.AZURE),
    (frozenset({"generatedtokens"}), Format.AZURE),
    (frozenset({"request tokens"}), Format.BURSTGPT),
    (frozenset({"response tokens"}), Format.BURSTGPT),
    (frozenset({"day", "cost"}), Format.EXPORT),
    (frozenset({"day"}), Format.ROLLUPS),
    (frozenset({"cost_usd"}), Format.ROLLUPS),
    (frozenset({"timestamp"}), Format.REQUESTS),
    (frozenset({"input_tokens"}), Format.REQUESTS),
)
"""Columns that identify a format. The first format whose columns are all in the file applies."""

_LEDGER_COLUMNS: Final = frozenset({"seq", "balance_after"})
_HOUR_COLUMNS: Final = frozenset({"hour", "span_hours"})
_COLUMNS: Final = frozenset[str]().union(*(shape.columns for shape in SHAPES.values())) | _LEDGER_COLUMNS
_DELIMITERS: Final = (",", ";", "\t", "|")


def _columns_on(delimiter: str, line: str) -> list[str]:
    try:
        return [column.strip(" ").lower() for column in split_on(delimiter, [line])]
    except csv.Error:
        return []


def delimiter_of(line: str) -> str:
    """Returns the delimiter that splits the first line into the most known columns; a comma if no column is known."""
    return max(_DELIMITERS, key=lambda delimiter: len(_COLUMNS.intersection(_columns_on(delimiter, line))))


def format_of(header: Sequence[str]) -> Format:
    if _HOUR_COLUMNS.issubset(header):
        raise FileRefused("this file is an export of usage by hour. Only the export by day can be imported")
    for columns, found in _TELLING:
        if columns.issubset(header):
            return found
    if _LEDGER_COLUMNS.issubset(header):
        raise FileRefused("this file is an export of transactions. Only usage can be imported, not ledger rows")
    if any("\0" in column for column in header):
        raise FileRefused("the file has NUL characters, like UTF-16 without a byte order mark: save it as UTF-8")
    raise FileRefused(
        "the first line names no usage columns: a rollup needs"
        " account,day,model,category,calls,input_tokens,output_tokens,cost_usd; a log needs at least"
        " timestamp,model,input_tokens,output_tokens; separate them by commas, semicolons, tabs or vertical bars"
    )


def check_header(header: Sequence[str], shape: Shape, given: Set[str]) -> None:
    for column in header:
        if column not in shape.columns:
            msg = f"unknown column {shown(column)}: known columns are {', '.join(sorted(shape.columns))}"
            raise FileRefused(msg)
        if header.count(column) > 1:
            msg = f"duplicate column {shown(column)}"
            raise FileRefused(msg)
    for one in sorted(shape.required - given):
        if shape.column(one) not in header:
            option = f": add the column or use --{one}" if one in {"account", "model", "category"} else ""
            msg = f"the column {shape.column(one)} is missing{option}"
            raise FileRefused(msg)
