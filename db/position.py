"""Position: a place in an account's ledger. Tells whether the ledger still has the row of the position.

A ledger that was restored from a backup, or failed over to a server without the newest rows, may have other rows with
the same `seq`. The hashes of these rows and of all later rows differ.
"""

from __future__ import annotations

from typing import Final, NamedTuple

NO_HASH: Final = b""
"""The hash at position 0, before the first row."""


class Position(NamedTuple):
    seq: int
    """The `seq` of the newest row before the position; 0 for the beginning."""
    hash: bytes | None = None
    """The hash of that row, or its first bytes; None if unknown."""

    def is_at(self, found: bytes | None) -> bool:
        """Returns whether a row with this `seq` is the row of the position, by its hash. None means that there is no
        such row."""
        if self.seq == 0:
            return True
        return found is not None and (self.hash is None or found.startswith(self.hash))
