"""Refusals: every error that a client can receive, with its code.

    BillingError
    ├── Unauthenticated        UNAUTHENTICATED         no key, or one that is unknown, expired or revoked
    ├── Forbidden              FORBIDDEN               the key may not do this
    ├── NotFound               NOT_FOUND               no such object, or one of another account
    ├── BadUserInput           BAD_USER_INPUT          a value that no state of the data would make right
    ├── BadCursor              BAD_CURSOR              not a cursor of this list, or its row is not in the ledger
    ├── Conflict               CONFLICT                right input, wrong state: a hold that is settled already
    ├── IdempotencyConflict    IDEMPOTENCY_CONFLICT    the key was used with another payload
    ├── InsufficientBalance    INSUFFICIENT_BALANCE    the balance does not cover the hold
    ├── LimitExceeded          LIMIT_EXCEEDED          a spend limit does not allow the amount
    ├── Lagged                 LAGGED                  a subscriber fell too far behind: it resumes from a cursor
    └── QueryTooComplex        QUERY_TOO_COMPLEX       more rows than one operation may ask for

Errors of the database are in `db.errors`; `gateway.errors` maps both to what goes over the wire.
"""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar


class BillingError(Exception):
    """Base of all refusals. The text is meant for the client: it names the argument or object and says what was
    expected."""

    code: ClassVar[str]


class Unauthenticated(BillingError):
    code = "UNAUTHENTICATED"


class Forbidden(BillingError):
    code = "FORBIDDEN"


class NotFound(BillingError):
    code = "NOT_FOUND"


class BadUserInput(BillingError):
    code = "BAD_USER_INPUT"


class BadCursor(BillingError):
    code = "BAD_CURSOR"


class Conflict(BillingError):
    code = "CONFLICT"


class IdempotencyConflict(BillingError):
    code = "IDEMPOTENCY_CONFLICT"


class InsufficientBalance(BillingError):
    code = "INSUFFICIENT_BALANCE"


class LimitExceeded(BillingError):
    code = "LIMIT_EXCEEDED"

    def __init__(self, message: str, limit: str, remaining: str, resets_at: datetime | None) -> None:
        super().__init__(message)
        self.limit = limit
        """The limit's id."""
        self.remaining = remaining
        """A decimal; negative if the limit is exceeded."""
        self.resets_at = resets_at
        """None for a limit that never resets."""


class Lagged(BillingError):
    code = "LAGGED"

    def __init__(self, message: str, cursor: str) -> None:
        super().__init__(message)
        self.cursor = cursor
        """The cursor of the last event that was sent. No later event was sent."""


class QueryTooComplex(BillingError):
    code = "QUERY_TOO_COMPLEX"
