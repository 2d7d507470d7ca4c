"""Failures: errors of calls of Stripe's API, as the layers above see them.

PaymentFailed          PAYMENT_FAILED         the card was declined, or its bank wants its owner to confirm (402)
TooManyRequests        RATE_LIMITED           Stripe is asked too often (429)
IdempotencyConflict    IDEMPOTENCY_CONFLICT   the key was used with other arguments
StripeUnavailable      UNAVAILABLE            no answer in time, an error of Stripe's, or a key that it refuses
PaymentsNotSetUp       UNAVAILABLE            the gateway has no secret key
CallInProgress         UNAVAILABLE            the same call, by its idempotency key, is being carried out (409)
StripeRefused          INTERNAL               the call itself is wrong: it names what Stripe doesn't have
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import Final

import stripe

from ledger.errors import BillingError, IdempotencyConflict

RETRY_AFTER_SECONDS: Final = 5.0
MAX_RETRY_AFTER_SECONDS: Final = 300.0
MAX_MESSAGE: Final = 300


class PaymentFailed(BillingError):
    code = "PAYMENT_FAILED"

    def __init__(self, message: str, payment_intent: str | None = None) -> None:
        super().__init__(message)
        self.payment_intent = payment_intent


class TooManyRequests(BillingError):
    code = "RATE_LIMITED"

    def __init__(self, retry_after_seconds: float) -> None:
        super().__init__("too many payment requests: try again later")
        self.retry_after_seconds = retry_after_seconds


class StripeUnavailable(BillingError):
    """The outcome of the call is unknown. The call may be repeated with the same idempotency key."""

    code = "UNAVAILABLE"

    def __init__(self, reason: str) -> None:
        super().__init__("payments are unavailable at the moment: try again")
        self.reason = reason


class PaymentsNotSetUp(StripeUnavailable):
    """The gateway has no secret key of Stripe's. To try again does not help."""

    def __init__(self) -> None:
        super().__init__("Stripe's secret key is not set")
        self.args = ("card payments are not set up on this gateway",)


class CallInProgress(StripeUnavailable):
    """The same call is still running. If repeated in a moment, the call gets the answer of the running one."""


class StripeRefused(Exception):
    """Stripe refused the call. The text is Stripe's, for logs and operators."""


def _retry_after(headers: Mapping[str, str] | None) -> float:
    given = (headers or {}).get("Retry-After", "")
    seconds = float(given) if given.isascii() and given.isdigit() else RETRY_AFTER_SECONDS
    return min(seconds, MAX_RETRY_AFTER_SECONDS)


def _declined(error: stripe.CardError) -> PaymentFailed:
    found = error.error
    payment = getattr(getattr(found, "payment_intent", None), "id", None)
    code = getattr(found, "decline_code", None) or error.code
    message = (error.user_message or "the payment was declined")[:MAX_MESSAGE]
    return PaymentFailed(f"{message} ({code})" if code else message, payment)


def failure_of(error: stripe.StripeError) -> Exception:
    match error:
        case stripe.CardError():
            return _declined(error)
        case stripe.RateLimitError():
            return TooManyRequests(_retry_after(error.headers))
        case stripe.IdempotencyError():
            return IdempotencyConflict(
                "the idempotency key was already used for another payment with different arguments"
            )
        case stripe.InvalidRequestError():
            return StripeRefused(str(error)[:MAX_MESSAGE])
    # Connection errors, timeouts, errors of Stripe, and keys that Stripe refuses.
    reason = f"{type(error).__name__}: {str(error)[:MAX_MESSAGE]}"
    return CallInProgress(reason) if error.http_status == HTTPStatus.CONFLICT else StripeUnavailable(reason)


@contextlib.contextmanager
def translated() -> Iterator[None]:
    try:
        yield
    except stripe.StripeError as error:
        raise failure_of(error) from error
