"""Checkpoints: the worker stores all heads daily, and verification compares them with the rows."""

from __future__ import annotations

from datetime import UTC, date
from typing import Final

from db.checkpoints import note_heads
from db.database import Database
from db.recount import Read
from db.recount.ledger_rows import StoredCheckpoint, account_ids_after, checkpoints_after
from ledger.ids import transaction_id_text
from ledger.posting import Clock, utc_now
from ledger.verification.faults import FaultKind, Faults

ACCOUNTS_AT_ONCE: Final = 1_000
CHECKPOINTS_AT_ONCE: Final = 1_000


class Checkpoints:
    """Stores all heads once per UTC day."""

    def __init__(self, database: Database, clock: Clock = utc_now) -> None:
        self._database = database
        self._clock = clock
        self._noted: date | None = None

    async def run(self) -> int:
        """Stores the heads. Returns how many."""
        day = self._clock().astimezone(UTC).date()
        if day == self._noted:
            return 0
        heads, after = 0, 0
        while ids := await account_ids_after(self._database.read, after, ACCOUNTS_AT_ONCE):
            async with self._database.write() as connection:
                heads += await note_heads(connection, day, ids[0], ids[-1])
            after = ids[-1]
        self._noted = day
        return heads


async def check_checkpoints(read: Read, account_id: int, faults: Faults) -> None:
    after = date.min
    while page := await checkpoints_after(read, account_id, after, CHECKPOINTS_AT_ONCE):
        for stored in page:
            if message := _problem(account_id, stored):
                faults.add(FaultKind.CHECKPOINT, str(stored.day), message)
        after = page[-1].day


def _problem(account_id: int, stored: StoredCheckpoint) -> str:
    name = transaction_id_text(account_id, stored.seq)
    if stored.row_hash is None:
        return f"the newest row of that day, {name}, is missing: rows were removed"
    if stored.row_hash != stored.hash:
        return f"the newest row of that day, {name}, has another hash: rows were replaced"
    return ""
