"""Bodies of clients without a key, which are held in memory before it is known who sends them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from gateway.errors import RequestError


class AnonymousBodies:
    def __init__(self, most: int) -> None:
        self._most = most
        self._running = 0

    @contextlib.contextmanager
    def reading(self) -> Iterator[None]:
        """Raises RequestError where as many are read as may be."""
        if self._running >= self._most:
            raise RequestError("UNAVAILABLE", "too many requests without a key are in progress: try again")
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1
