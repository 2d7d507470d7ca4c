"""The languages of statements: their words, and how they write numbers and days.

The words are data, in `texts`, of which the Billing page is built, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from string import Template
from typing import Final

import orjson

from ledger.kinds import RefType, TransactionType
from resolvers.reads.statements import MovementKind

_TEXTS: Final = Path(__file__).with_name("texts")
MINUS: Final = "\u2212"


class Language(StrEnum):
    EN = "en"
    DE = "de"
    JA = "ja"


@dataclass(frozen=True, slots=True)
class Paper:
    """Texts that only a statement has. `$` precedes the names of values that are filled in."""

    title: str
    name: str
    tax_id: str
    account: str
    period: str
    currency: str
    rows: str
    not_final: str
    note: str
    columns: Sequence[str]
    page: str
    months: Sequence[str]
    day: str
    thousands: str
    decimal: str


@dataclass(frozen=True, slots=True)
class Texts:
    types: dict[str, str]
    calls: str
    instance: str
    deduction: str
    movements: dict[str, str]
    balance: str
    gross: str
    returned: str
    net: str
    opening: str
    closing: str
    paper: Paper

    def movement(self, kind: str) -> str:
        return self.movements[MovementKind(kind).name]

    def row(self, kind: str, ref_type: str | None) -> str:
        """A row's type in a word: a deduction is told apart by its cause."""
        if kind != TransactionType.GPU_USAGE:
            return self.types[TransactionType(kind).name]
        if ref_type == RefType.API_USAGE:
            return self.calls
        return self.instance if ref_type else self.deduction

    def amount(self, decimal: str) -> str:
        """Writes an exact decimal, or a whole number, with every digit."""
        whole, _, fraction = decimal.removeprefix("-").partition(".")
        grouped = f"{int(whole):,}".replace(",", self.paper.thousands)
        sign = MINUS if decimal.startswith("-") else ""
        return sign + grouped + (self.paper.decimal + fraction if fraction else "")

    def day(self, day: date) -> str:
        month = self.paper.months[day.month - 1]
        return filled(self.paper.day, year=str(day.year), month=month, day=str(day.day))

    def moment(self, at: datetime) -> str:
        """In UTC, to the second, on a clock of 24 hours."""
        at = at.astimezone(UTC)
        return f"{self.day(at)} {at:%H:%M:%S}"


def filled(pattern: str, **values: str) -> str:
    return Template(pattern).substitute(values)


@lru_cache
def texts_of(language: Language) -> Texts:
    rows, statement = (
        orjson.loads((_TEXTS / part / f"{language}.json").read_bytes()) for part in ("rows", "statement")
    )
    return Texts(**rows, **statement | {"paper": Paper(**statement["paper"])})
