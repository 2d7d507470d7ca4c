from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final, Protocol

from sqlalchemy import Connection

from db.clocks import Clock, ClockReading
from db.connections.borders import ANY_BORDER
from db.errors import DatabaseError, SchemaMismatch, translated
from db.schema_version import Tables, tables_of

ANSWER_SECONDS: Final = 1.5

OK: Final = "ok"
UNKNOWN: Final = "unknown"


@dataclass(frozen=True, slots=True)
class Health:
    """Each is `OK`, `UNKNOWN`, or the reason why not."""

    reachable: str = UNKNOWN
    schema: str = UNKNOWN
    readable: str = UNKNOWN
    writable: str = UNKNOWN
    disk: str = UNKNOWN
    corrupt: str = UNKNOWN
    tables: Tables | None = None
    clock: ClockReading | None = None
    """Reads the server's clock. PostgreSQL only."""
    newest_row: datetime | None = None
    """SQLite: its time."""
    warnings: tuple[str, ...] = field(default=())

    @property
    def reads(self) -> bool:
        return self.reachable == self.schema == self.readable == OK and self.corrupt in {OK, UNKNOWN}

    @property
    def writes(self) -> bool:
        return self.reads and self.writable == OK and self.disk in {OK, UNKNOWN}

    def reasons(self, *, writes: bool) -> list[str]:
        """Why it cannot be read, or neither read nor written."""
        asked = [self.reachable, self.schema, self.readable, self.corrupt]
        asked += [self.writable, self.disk] if writes else []
        return list(dict.fromkeys(reason for reason in asked if reason not in {OK, UNKNOWN}))

    def failed(self, reason: str) -> Health:
        """The first that was not found to be in order is not, for this reason."""
        name = next(name for name in ("reachable", "schema", "readable", "writable") if getattr(self, name) != OK)
        changes: dict[str, Any] = {name: reason}
        return replace(self, **changes)


class HealthCheck(Protocol):
    async def look(self, clock: Clock) -> Health:
        """Within `ANSWER_SECONDS`, whatever the database does. Raises nothing."""

    async def close(self) -> None: ...


def schema_of(connection: Connection) -> tuple[str, Tables | None]:
    try:
        found = tables_of(connection)
    except SchemaMismatch as mismatch:
        return str(mismatch), None
    return OK, found


def readable(connection: Connection, *, knows_archive: bool) -> str:
    """Why not all ledger rows can be read, although the database answers."""
    if knows_archive or connection.execute(ANY_BORDER).first() is None:
        return OK
    return "ledger rows were moved to the archive: set archive_url to where they are"


async def refusal(work: Awaitable[None], kind: type[DatabaseError] = DatabaseError) -> str:
    """Why the database refuses it; `UNKNOWN` if for a reason of another kind."""
    try:
        with translated():
            await work
    except DatabaseError as error:
        return str(error) if isinstance(error, kind) else UNKNOWN
    return OK
