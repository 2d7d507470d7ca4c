"""Client of the billing gateway: typed operations, paging, subscriptions that resume, idempotent mutations."""

from billing_gateway_client.client import BillingClient, Retries
from billing_gateway_client.errors import (
    BadCursor,
    BadUserInput,
    BillingError,
    Conflict,
    Forbidden,
    IdempotencyConflict,
    InsufficientBalance,
    Internal,
    Lagged,
    LimitExceeded,
    NotFound,
    PaymentFailed,
    QueryTooComplex,
    RateLimited,
    RequestRefused,
    Unauthenticated,
    Unavailable,
)

__all__ = [
    "BadCursor",
    "BadUserInput",
    "BillingClient",
    "BillingError",
    "Conflict",
    "Forbidden",
    "IdempotencyConflict",
    "InsufficientBalance",
    "Internal",
    "Lagged",
    "LimitExceeded",
    "NotFound",
    "PaymentFailed",
    "QueryTooComplex",
    "RateLimited",
    "RequestRefused",
    "Retries",
    "Unauthenticated",
    "Unavailable",
]
