"""Why a stream did not begin, or went no further."""

from __future__ import annotations

from typing import Any, Final

from gateway import operations
from gateway.operations import Refused
from gateway.services import Services
from gateway.streams.subscription import Ended
from ledger.errors import Unauthenticated

KEY_ENDED: Final = Unauthenticated("the API key has expired or was revoked")


def errors_of(services: Services, error: Exception) -> list[dict[str, Any]]:
    """Returns the errors as they are sent to the client; internal ones are logged with their cause."""
    if isinstance(error, Refused | Ended):
        return error.errors
    return operations.errors_of(services, error)


def code_of(errors: list[dict[str, Any]]) -> str:
    return str(errors[0]["extensions"]["code"])
