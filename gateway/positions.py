"""Positions of clients: what a client has seen, which a read from a replica must have, too.

Where there are replicas, each answer has a position in the header `Billing-Position`. A client sends the newest one
back, or `0-0` if it has seen nothing.
"""

from __future__ import annotations

import re
from typing import Final

from aiohttp import web

from db.connections.replicas import Replicas, SeenUntil
from gateway.errors import RequestError

POSITION: Final = "Billing-Position"

_SHAPE: Final = re.compile(r"(\d{1,18})-(\d{1,10})", re.ASCII)


def position_of(request: web.BaseRequest) -> SeenUntil | None:
    """Returns None for a client that sends none: it may have seen anything. Raises RequestError for a position that no
    answer had."""
    given = request.headers.getall(POSITION, ())
    if not given:
        return None
    match = _SHAPE.fullmatch(given[0])
    if match is None or len(given) > 1:
        msg = f"{POSITION} must be given at most once, as an answer had it"
        raise RequestError("BAD_USER_INPUT", msg)
    return SeenUntil(int(match[1]), int(match[2]))


async def position_headers(replicas: Replicas) -> dict[str, str]:
    """Returns the header of an answer that is there now."""
    seen = await replicas.position()
    return {} if seen is None else {POSITION: f"{seen.microseconds}-{seen.timeline}"}
