"""Errors by their codes.

BillingError            any refusal; `code` says which, also one that this version does not know
├── Unavailable         UNAVAILABLE: the gateway or the network failed; the client has tried again already
├── RateLimited         RATE_LIMITED, with `retry_after`
├── Unauthenticated, Forbidden, NotFound, BadUserInput, BadCursor, Archived, Conflict,
│   IdempotencyConflict, InsufficientBalance, PaymentFailed, QueryTooComplex, Internal, RequestRefused
├── LimitExceeded       LIMIT_EXCEEDED, with `limit`, `remaining` and `resets_at`
└── Lagged              LAGGED: the client subscribes again by itself
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final


class BillingError(Exception):
    """The gateway refused an operation. `errors` has all its errors as they were sent."""

    def __init__(self, code: str, message: str, errors: Sequence[Mapping[str, Any]] = ()) -> None:
        super().__init__(f"{message} ({code})")
        self.code = code
        self.message = message
        self.errors = tuple(errors)

    @property
    def extensions(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.errors[0].get("extensions", {}) if self.errors else {}
        return found

    @property
    def retry_after(self) -> float | None:
        """Seconds to wait before the next attempt, if the gateway told."""
        seconds = self.extensions.get("retryAfter")
        return None if seconds is None else float(seconds)


class Unauthenticated(BillingError):
    """The key is missing, unknown, revoked or expired."""


class Forbidden(BillingError):
    """The key does not allow the operation."""


class NotFound(BillingError):
    """There is no such object, or the key does not cover it."""


class BadUserInput(BillingError):
    """A value was refused."""


class BadCursor(BillingError):
    """The cursor is of another list, or its row is not in the ledger any more."""


class Archived(BillingError):
    """What was asked for needs rows that were moved to the archive, and is not answered from there."""


class Conflict(BillingError):
    """The state of the object does not allow the call."""


class IdempotencyConflict(BillingError):
    """The key was used for a call with other input."""


class InsufficientBalance(BillingError):
    """The balance does not cover the amount."""


class LimitExceeded(BillingError):
    """A spend limit does not allow the amount."""

    @property
    def limit(self) -> str:
        """Id of the spend limit."""
        return str(self.extensions["limit"])

    @property
    def remaining(self) -> Decimal:
        return Decimal(self.extensions["remaining"])

    @property
    def resets_at(self) -> datetime | None:
        resets_at = self.extensions.get("resetsAt")
        return None if resets_at is None else datetime.fromisoformat(resets_at)


class PaymentFailed(BillingError):
    """The payment was refused."""


class QueryTooComplex(BillingError):
    """The operation costs more than the gateway allows."""


class RateLimited(BillingError):
    """The key has spent its points, or too much is in progress."""


class Lagged(BillingError):
    """The subscriber was too slow: the stream goes on after `cursor`."""

    @property
    def cursor(self) -> str:
        return str(self.extensions["cursor"])


class Unavailable(BillingError):
    """The gateway cannot be reached, or cannot reach its database."""


class Internal(BillingError):
    """A defect of the gateway: quote the request id of the extensions."""


class RequestRefused(BillingError):
    """The request itself will not do: its document, type, size or method."""


CLASSES: Final[Mapping[str, type[BillingError]]] = {
    "ARCHIVED": Archived,
    "BAD_CURSOR": BadCursor,
    "BAD_USER_INPUT": BadUserInput,
    "CONFLICT": Conflict,
    "FORBIDDEN": Forbidden,
    "GRAPHQL_PARSE_FAILED": RequestRefused,
    "GRAPHQL_VALIDATION_FAILED": RequestRefused,
    "IDEMPOTENCY_CONFLICT": IdempotencyConflict,
    "INSUFFICIENT_BALANCE": InsufficientBalance,
    "INTERNAL": Internal,
    "LAGGED": Lagged,
    "LIMIT_EXCEEDED": LimitExceeded,
    "METHOD_NOT_ALLOWED": RequestRefused,
    "NOT_FOUND": NotFound,
    "PAYLOAD_TOO_LARGE": RequestRefused,
    "PAYMENT_FAILED": PaymentFailed,
    "PERSISTED_QUERY_NOT_FOUND": RequestRefused,
    "PERSISTED_QUERY_NOT_SUPPORTED": RequestRefused,
    "QUERY_TOO_COMPLEX": QueryTooComplex,
    "RATE_LIMITED": RateLimited,
    "REQUEST_TIMEOUT": Unavailable,
    "UNAUTHENTICATED": Unauthenticated,
    "UNAVAILABLE": Unavailable,
    "UNSUPPORTED_MEDIA_TYPE": RequestRefused,
}


def error_of(errors: Sequence[Mapping[str, Any]]) -> BillingError:
    """The error of the first of `errors[]`."""
    first = errors[0]
    code = str(first.get("extensions", {}).get("code", "INTERNAL"))
    return CLASSES.get(code, BillingError)(code, str(first.get("message", code)), errors)


def error_of_rest(status: int, text: str) -> BillingError:
    """The error of an answer that is not GraphQL's: a proxy's, for one."""
    if status in (401, 403):
        code = "UNAUTHENTICATED" if status == 401 else "FORBIDDEN"
    else:
        code = "RATE_LIMITED" if status == 429 else "UNAVAILABLE"
    return CLASSES[code](code, f"the answer has status {status} and is not GraphQL: {text[:200]}")
