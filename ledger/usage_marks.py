"""Usage marks: what services report about the completeness of an account's usage."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from db import usage_marks
from db.database import WriteConnection
from ledger.chain import format_time
from ledger.errors import Conflict
from ledger.moments import check_moment
from ledger.past import checked_past
from ledger.texts import SERVICE

MAX_SERVICES: Final = 100
"""Maximum number of services that report usage for one account."""


@dataclass(frozen=True, slots=True)
class UsageMark:
    service: str
    until: datetime | None
    """The service has reported all usage before this moment. None if it no longer reports usage."""


async def put_mark(connection: WriteConnection, account_id: int, mark: UsageMark, now: datetime) -> None:
    """Stores or withdraws the mark. The account must be locked.

    Raises BadUserInput, and Conflict if the service's mark is later, or if too many services report for the account.
    """
    SERVICE.checked(mark.service, "service")
    if mark.until is None:
        await usage_marks.delete_mark(connection, account_id, mark.service)
        return
    check_moment(mark.until, "until")
    until = checked_past(mark.until.astimezone(UTC), now, "until")
    stored = await usage_marks.marks_of(connection, account_id)
    before = stored.get(mark.service)
    if before is not None and until < before:
        msg = f"until must not be before {format_time(before)}, until which the service's usage is already complete"
        raise Conflict(msg)
    if before is None and len(stored) >= MAX_SERVICES:
        msg = f"{MAX_SERVICES} services already report usage for the account, which is the maximum"
        raise Conflict(msg)
    await usage_marks.put_mark(connection, account_id, mark.service, until)
