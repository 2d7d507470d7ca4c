from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from ledger.errors import BadUserInput

MAX_AHEAD: Final = timedelta(minutes=5)
"""How far another machine's clock may be ahead of ours."""


def checked_past(moment: datetime, now: datetime, what: str) -> datetime:
    """Returns the time itself. Raises BadUserInput if it is in the future by more than MAX_AHEAD."""
    if moment > now + MAX_AHEAD:
        minutes = MAX_AHEAD.seconds // 60
        msg = f"{what} must be at most {minutes} minutes in the future by the server's clock"
        raise BadUserInput(msg)
    return moment
