"""The one mapping from what went wrong to what goes over the wire."""

from __future__ import annotations

from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

from db.archive.errors import ArchiveError, RowsArchived
from db.errors import ClockWrong, DatabaseUnavailable, NumberOutOfRange, SchemaMismatch, StatementTimeout
from execution.limits import ListTooLong
from gateway.rates import RateExceeded, TooCostly
from gateway.slots import QueueFull
from ledger.chain import format_time
from ledger.errors import BillingError, Lagged, LimitExceeded
from ledger.recharges import RechargeBlock
from ledger.stripe.failures import PaymentsNotSetUp, StripeUnavailable, TooManyRequests

RETRY_SECONDS: Final = 1
"""For who was refused because too much is in progress."""


@dataclass(frozen=True, slots=True)
class Problem:
    code: str
    message: str
    internal: bool = False
    """The cause is ours and must be logged; the client learns only its request id."""
    details: dict[str, Any] = field(default_factory=dict)
    """Members of the extensions besides the code."""


class RequestError(Exception):
    """A request that is refused before it reaches a resolver."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


STATUS: Final[dict[str, HTTPStatus]] = {
    "GRAPHQL_PARSE_FAILED": HTTPStatus.BAD_REQUEST,
    "GRAPHQL_VALIDATION_FAILED": HTTPStatus.BAD_REQUEST,
    "BAD_USER_INPUT": HTTPStatus.BAD_REQUEST,
    "BAD_CURSOR": HTTPStatus.BAD_REQUEST,
    "QUERY_TOO_COMPLEX": HTTPStatus.BAD_REQUEST,
    "PERSISTED_QUERY_NOT_FOUND": HTTPStatus.BAD_REQUEST,
    "PERSISTED_QUERY_NOT_SUPPORTED": HTTPStatus.BAD_REQUEST,
    "UNAUTHENTICATED": HTTPStatus.UNAUTHORIZED,
    "INSUFFICIENT_BALANCE": HTTPStatus.PAYMENT_REQUIRED,
    "LIMIT_EXCEEDED": HTTPStatus.PAYMENT_REQUIRED,
    "PAYMENT_FAILED": HTTPStatus.PAYMENT_REQUIRED,
    "FORBIDDEN": HTTPStatus.FORBIDDEN,
    "NOT_FOUND": HTTPStatus.NOT_FOUND,
    "METHOD_NOT_ALLOWED": HTTPStatus.METHOD_NOT_ALLOWED,
    "CONFLICT": HTTPStatus.CONFLICT,
    "IDEMPOTENCY_CONFLICT": HTTPStatus.CONFLICT,
    "PAYLOAD_TOO_LARGE": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "UNSUPPORTED_MEDIA_TYPE": HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    "LAGGED": HTTPStatus.CONFLICT,
    "ARCHIVED": HTTPStatus.CONFLICT,
    "RATE_LIMITED": HTTPStatus.TOO_MANY_REQUESTS,
    "REQUEST_TIMEOUT": HTTPStatus.REQUEST_TIMEOUT,
    "INTERNAL": HTTPStatus.INTERNAL_SERVER_ERROR,
    "UNAVAILABLE": HTTPStatus.SERVICE_UNAVAILABLE,
}


def problem_of(error: BaseException) -> Problem:
    if isinstance(error, TooManyRequests | RateExceeded):
        return Problem("RATE_LIMITED", str(error), details={"retryAfter": error.retry_after_seconds})
    if isinstance(error, TooCostly | ListTooLong | QueueFull):
        return _not_admitted(error)
    if isinstance(error, StripeUnavailable):
        details = {"reason": RechargeBlock.PAYMENTS_NOT_SET_UP.name} if isinstance(error, PaymentsNotSetUp) else {}
        return Problem(error.code, str(error), details=details, internal=True)
    if isinstance(error, BillingError | RequestError):
        return _as_it_says(error)
    if isinstance(error, ClockWrong):
        return Problem("UNAVAILABLE", str(error))
    if isinstance(error, ArchiveError):
        return _of_archive(error)
    return _of_database(error)


def _of_database(error: BaseException) -> Problem:
    if isinstance(error, DatabaseUnavailable | SchemaMismatch):
        return Problem("UNAVAILABLE", "the ledger cannot be reached at the moment: try again", internal=True)
    if isinstance(error, StatementTimeout):
        return Problem(
            "QUERY_TOO_COMPLEX", "the query took too long to read: narrow its filter, for example by createdAt"
        )
    if isinstance(error, NumberOutOfRange):
        return Problem("BAD_USER_INPUT", "a sum exceeds the 64-bit range: narrow the filter, or split the call")
    return Problem("INTERNAL", "internal error", internal=True)


def _of_archive(error: ArchiveError) -> Problem:
    if isinstance(error, RowsArchived):
        return Problem("ARCHIVED", str(error))
    return Problem("UNAVAILABLE", "archived ledger rows cannot be read at the moment: try again", internal=True)


def _as_it_says(error: BillingError | RequestError) -> Problem:
    return Problem(error.code, str(error), details=_details(error))


def _details(error: BillingError | RequestError) -> dict[str, Any]:
    if isinstance(error, Lagged):
        return {"cursor": error.cursor}
    if isinstance(error, LimitExceeded):
        resets_at = None if error.resets_at is None else format_time(error.resets_at)
        return {"limit": error.limit, "remaining": error.remaining, "resetsAt": resets_at}
    is_crowded = isinstance(error, RequestError) and error.code == "RATE_LIMITED"
    return {"retryAfter": RETRY_SECONDS} if is_crowded else {}


def _not_admitted(error: TooCostly | ListTooLong | QueueFull) -> Problem:
    if not isinstance(error, QueueFull):
        return Problem("QUERY_TOO_COMPLEX", str(error))
    return Problem("UNAVAILABLE", f"{error}: try again in a second", details={"retryAfter": 1})


def extensions_of(problem: Problem, request_id: str) -> dict[str, Any]:
    if problem.code == "INTERNAL":
        return {"code": problem.code, "requestId": request_id}
    return {"code": problem.code, **problem.details}
