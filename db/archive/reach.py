"""Reach: which archived rows a read can need, by `seq` and by time."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from db.connections.borders import Border, Borders, ProofRow
from db.filters import TransactionFilter, Window


class Reach(NamedTuple):
    """A range of rows. None means no bound."""

    before: int | None = None
    """Only rows with a greater `seq`."""
    after: int | None = None
    """Only rows with a smaller `seq`."""
    created_gte: datetime | None = None
    created_lt: datetime | None = None

    def meets(self, border: Border) -> bool:
        """Returns whether an archived row may be in the range."""
        return bool(self.proofs(border))

    def meets_any(self, borders: Borders) -> bool:
        return any(map(self.meets, borders.values()))

    def proofs(self, border: Border) -> list[ProofRow]:
        """Returns the proofs of the files that may have rows in the range. Order of time is order of `seq`, so they
        follow each other."""
        if self.before is not None and self.before >= border.archived_seq:
            return []
        return [proof for proof in border.proofs if self._overlaps(proof)]

    def _overlaps(self, proof: ProofRow) -> bool:
        return not (
            (self.before is not None and proof.last_seq <= self.before)
            or (self.after is not None and proof.first_seq >= self.after)
            or (self.created_gte is not None and proof.last_at < self.created_gte)
            or (self.created_lt is not None and proof.first_at >= self.created_lt)
        )


def reach_of(row_filter: TransactionFilter, window: Window | None = None) -> Reach:
    after, before = (None, None) if window is None else (window.after, window.before)
    assert after is None or isinstance(after, int)
    assert before is None or isinstance(before, int)
    return Reach(before, after, row_filter.created_gte, row_filter.created_lt)
