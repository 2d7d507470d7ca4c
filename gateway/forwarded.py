"""Requests that come through trusted proxies, counted by the address of their client."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator

from aiohttp import hdrs, web

from gateway.client_address import client_address
from gateway.errors import RequestError
from gateway.networks import Address, Networks


class ForwardedRequests:
    """A proxy's connections are of many clients: what each may have are requests and streams in progress."""

    def __init__(self, trusted: Networks, max_per_address: int) -> None:
        self._trusted = trusted
        self._max_per_address = max_per_address
        self._running: Counter[Address] = Counter()

    @contextlib.contextmanager
    def running(self, request: web.BaseRequest) -> Iterator[None]:
        """Raises RequestError where the client has as many as it may."""
        if hdrs.X_FORWARDED_FOR not in request.headers:
            yield
            return
        address = client_address(request, self._trusted)
        if address is None:
            yield
            return
        if self._running[address] >= self._max_per_address:
            raise RequestError("RATE_LIMITED", "too many requests from this address are in progress: wait for some")
        self._running[address] += 1
        try:
            yield
        finally:
            self._running[address] -= 1
            if not self._running[address]:
                del self._running[address]
