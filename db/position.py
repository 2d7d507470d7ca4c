"""A position in an account's ledger, and whether the ledger still is the one that the position was taken from.

A ledger that was restored from a backup, or failed over to a server that lacked the newest rows, may have other rows
of the same `seq`. Their hashes differ, and so do those of all rows after them.
"""

from __future__ import annotations

from typing import Final, NamedTuple

NO_HASH: Final = b""
"""The hash at position 0, before the first row."""


class Position(NamedTuple):
    seq: int
    """Of the newest row that lies before it; 0 for the beginning."""
    hash: bytes | None = None
    """That row's hash, or its first bytes; None if unknown."""

    def is_at(self, found: bytes | None) -> bool:
        """Whether the row of this `seq`, whose hash was found, is the row that was meant. None: there is no row."""
        if self.seq == 0:
            return True
        return found is not None and (self.hash is None or found.startswith(self.hash))
