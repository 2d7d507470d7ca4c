"""Finds the address that a request comes from: the other end of the connection, or what trusted proxies say of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from aiohttp import hdrs, web

from gateway.networks import Address, Networks, is_within, parse_address

MAX_HOPS: Final = 16


def _forwarded(given: Sequence[str]) -> list[Address | None]:
    """The nearest first."""
    hops = ",".join(given).rsplit(",", MAX_HOPS)[-MAX_HOPS:]
    return [parse_address(hop) for hop in reversed(hops)]


def client_address(request: web.BaseRequest, trusted: Networks) -> Address | None:
    """Returns the nearest address that is not a trusted proxy's: those before it in `X-Forwarded-For` may be false."""
    address = parse_address(request.remote or "")
    if hdrs.X_FORWARDED_FOR not in request.headers:
        return address
    for hop in _forwarded(request.headers.getall(hdrs.X_FORWARDED_FOR)):
        if hop is None or not is_within(address, trusted):
            break
        address = hop
    return address
