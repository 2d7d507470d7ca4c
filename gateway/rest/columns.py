from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ledger.money import MAX_NANOS, format_nanos


@dataclass(frozen=True, slots=True)
class Column:
    name: str
    description: str
    schema: Mapping[str, Any]
    free_text: bool = False
    """The author of the row chooses the text, which a spreadsheet could take for a formula."""


AMOUNT: Final[Mapping[str, Any]] = {
    "type": "string",
    "pattern": r"^-?\d{1,10}\.\d{2,9}$",
    "description": f"US dollars, an exact decimal within ±{format_nanos(MAX_NANOS)}.",
}
TIME: Final[Mapping[str, Any]] = {"type": "string", "format": "date-time"}
COUNT: Final[Mapping[str, Any]] = {"type": "integer", "minimum": 0}


def nullable(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    words = {"enum": [*schema["enum"], None]} if "enum" in schema else {}
    return {**schema, "type": [schema["type"], "null"], **words}
