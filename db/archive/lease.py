"""Lease: for a while after a look, a process knows that the archive has no row, and reads ledger rows without borders.

Most databases never move a row, and reading the border with each page takes a third of a short page's time. Whoever
moves the first file of a database stores its proof, then waits `FIRST_MOVE_SECONDS` before a row leaves. A lease that
was given before the proof has long ended by then, and so have the statements that were sent under it.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Final

LEASE_SECONDS: Final = 30.0
FIRST_MOVE_SECONDS: Final = 300.0


class Lease:
    def __init__(self, has_proofs: Callable[[], Awaitable[bool]]) -> None:
        """`has_proofs` asks the primary."""
        self._has_proofs = has_proofs
        self._began = 0.0
        self._until = 0.0
        self._is_looking = False

    @property
    def is_held(self) -> bool:
        return time.monotonic() < self._until

    async def renew(self) -> None:
        """Looks again if half of the lease is over. Another caller that is looking is not waited for."""
        began = time.monotonic()
        if self._is_looking or began < self._began + LEASE_SECONDS / 2:
            return
        self._is_looking = True
        try:
            has_proofs = await self._has_proofs()
        finally:
            self._is_looking = False
        self._began = began
        self._until = 0.0 if has_proofs else began + LEASE_SECONDS
