"""Import reports: the results by batch and by file."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from ledger.imports.columns import Format
from ledger.imports.sources import Refusal
from ledger.usage import Verdict

_REASONS: Final[dict[Verdict, str]] = {
    Verdict.DIFFERS: "this account, day, model, category and origin already has other figures (use --replace to replace"
    " them)",
    Verdict.FED_BY_REQUESTS: "this account, day, model, category and origin already has usage from single requests (use"
    " --replace to replace it)",
    Verdict.FED_BY_ROLLUP: "this account, day, model, category and origin already has usage from a rollup: the request"
    " would count twice",
}


_CONTRADICTED: Final = (
    "an earlier line of this file has other figures for this account, day, model, category and origin: the earlier"
    " line counts"
)


@dataclass(slots=True)
class FileReport:
    name: str
    format: Format | None = None
    taken: int = 0
    known: int = 0
    refused: int = 0
    calls: int = 0
    """Number of calls in the lines taken."""


@dataclass(slots=True)
class ImportReport:
    """The committed results so far; complete when `Importer.run` returns."""

    files: list[FileReport] = field(default_factory=list)
    accounts_created: int = 0

    @property
    def refused(self) -> int:
        return sum(file.refused for file in self.files)


@dataclass(slots=True)
class Outcome:
    """The result of a batch, reported when it is committed. On several shards, the result of what was committed."""

    taken: int = 0
    known: int = 0
    calls: int = 0
    accounts_created: int = 0
    refusals: list[Refusal] = field(default_factory=list)

    def add(self, other: Outcome) -> None:
        self.taken += other.taken
        self.known += other.known
        self.calls += other.calls
        self.accounts_created += other.accounts_created
        self.refusals += other.refusals

    def judge(self, line: int, verdict: Verdict, calls: int, *, replacing: bool = False) -> None:
        """Counts a line by its verdict. `replacing` means that the line may replace stored figures.

        A line never replaces figures from earlier lines of its own file.
        """
        if verdict == Verdict.TAKEN:
            self.taken += 1
            self.calls += calls
        elif verdict == Verdict.KNOWN:
            self.known += 1
        else:
            contradicted = replacing and verdict == Verdict.DIFFERS
            self.refusals.append(Refusal(line, _CONTRADICTED if contradicted else _REASONS[verdict]))
