"""The columns that a file may have, and the format that they tell."""

from __future__ import annotations

from collections.abc import Sequence, Set
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from ledger.imports.fields import shown


class Format(StrEnum):
    ROLLUPS = "rollups"
    REQUESTS = "requests"
    AZURE = "azure"
    BURSTGPT = "burstgpt"


class FileRefused(Exception):
    """The first line already shows that no line of the file can be taken."""


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
        """The header of what the line calls `one`."""
        return next((header for header, renamed in self.renamed.items() if renamed == one), one)


_LOG = frozenset({"timestamp", "account", "model", "category", "input_tokens", "output_tokens"})
_LOG_OPTIONAL = frozenset({"request_id", "cost", "origin"})

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
}

_TELLING: Final[dict[str, Format]] = {
    "contexttokens": Format.AZURE,
    "generatedtokens": Format.AZURE,
    "request tokens": Format.BURSTGPT,
    "response tokens": Format.BURSTGPT,
    "day": Format.ROLLUPS,
    "cost_usd": Format.ROLLUPS,
    "timestamp": Format.REQUESTS,
    "input_tokens": Format.REQUESTS,
}
"""The format that a column speaks for; of several, the first in this order."""


def format_of(header: Sequence[str]) -> Format:
    for column, found in _TELLING.items():
        if column in header:
            return found
    raise FileRefused(
        "the first line names no column of usage: a rollup has account,day,model,category,calls,input_tokens,"
        "output_tokens,cost_usd, a log at least timestamp,model,input_tokens,output_tokens"
    )


def check_header(header: Sequence[str], shape: Shape, given: Set[str]) -> None:
    for column in header:
        if column not in shape.columns:
            msg = f"unknown column {shown(column)}: known are {', '.join(sorted(shape.columns))}"
            raise FileRefused(msg)
        if header.count(column) > 1:
            msg = f"the column {shown(column)} is there twice"
            raise FileRefused(msg)
    for one in sorted(shape.required - given):
        if shape.column(one) not in header:
            option = f": add it or give --{one}" if one in {"account", "model", "category"} else ""
            msg = f"the column {shape.column(one)} is missing{option}"
            raise FileRefused(msg)
