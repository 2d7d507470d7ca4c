from __future__ import annotations

from datetime import MAXYEAR, MINYEAR, datetime

from ledger.errors import BadUserInput


def check_moment(moment: datetime, what: str) -> None:
    """Raises BadUserInput for a time that cannot be stored. The message begins with `what`.

    A time in the first or last year of the calendar may have no equivalent in UTC, and PostgreSQL's driver reads the
    first and the last possible time as infinity.
    """
    if moment.tzinfo is None or not MINYEAR < moment.year < MAXYEAR:
        msg = f"{what} must have a time zone, and its year must be {MINYEAR + 1} to {MAXYEAR - 1}"
        raise BadUserInput(msg)
