"""Unbilled: logs what the worker could not bill, once until the reason changes or it is billed."""

from __future__ import annotations

from typing import Final

import structlog

from db.errors import LockUnavailable, NumberOutOfRange
from db.volumes import ResourceKey
from ledger.errors import BillingError
from ledger.ids import account_id_text

log = structlog.get_logger()

REFUSALS = (BillingError, NumberOutOfRange, LockUnavailable)
"""Errors that concern only one account. Any other error ends the round."""

PATIENCE: Final = 0.1
"""Fraction of the lock timeout that the worker waits for a lock. The next round bills what was skipped."""


class Unbilled:
    def __init__(self, event: str) -> None:
        self._event = event
        self._reasons: dict[ResourceKey, str] = {}

    def refused(self, key: ResourceKey, reason: Exception) -> None:
        """Logs the refusal, unless the previous round logged the same."""
        if self._reasons.get(key) != str(reason):
            self._reasons[key] = str(reason)
            log.error(self._event, account=account_id_text(key[0]), resource=key[2], reason=str(reason))

    def billed(self, key: ResourceKey) -> None:
        self._reasons.pop(key, None)
