from __future__ import annotations

from datetime import MAXYEAR, MINYEAR, datetime

from ledger.errors import BadUserInput


def check_moment(moment: datetime, what: str) -> None:
    """Raises BadUserInput, whose message begins with `what`, for a moment that cannot be kept.

    In the years at either end of the calendar a moment of another zone may have no time in UTC, and PostgreSQL's
    driver takes the first and the last moment of all for infinity.
    """
    if moment.tzinfo is None or not MINYEAR < moment.year < MAXYEAR:
        msg = f"{what} must have a time zone, and its year must be {MINYEAR + 1} to {MAXYEAR - 1}"
        raise BadUserInput(msg)
