"""Steps of work for a page of many rows, so that the event loop answers others in between."""

from __future__ import annotations

import asyncio
from time import perf_counter
from typing import Final

SECONDS: Final = 0.0005


class Steps:
    __slots__ = ("_began",)

    def __init__(self) -> None:
        self._began = perf_counter()

    async def rest(self) -> None:
        """Lets others run if the steps since the last rest have taken their time."""
        if perf_counter() - self._began > SECONDS:
            await asyncio.sleep(0)
            self._began = perf_counter()
