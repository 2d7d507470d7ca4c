"""The time that one operation or one page may take as a whole, however many statements that is."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from gateway.errors import RequestError


@contextlib.asynccontextmanager
async def deadline(seconds: float, *, writes: bool = False) -> AsyncIterator[None]:
    """Cancels the block when the time is up, and its statements at the database. Raises RequestError then."""
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            yield
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise _exceeded(seconds, writes=writes) from error


def _exceeded(seconds: float, *, writes: bool) -> RequestError:
    began = f"the operation took longer than {seconds:g} seconds"
    if writes:
        # The commit may have been under way.
        return RequestError("UNAVAILABLE", f"{began}, and may have been done: repeat it with the same idempotencyKey")
    return RequestError("QUERY_TOO_COMPLEX", f"{began}: ask for less, or narrow its filters, for example by createdAt")
