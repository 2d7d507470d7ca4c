"""What happens to happen: decided by a seed and the name of the thing, so in the same way however often and in
whatever order it is asked."""

from __future__ import annotations

import asyncio
import datetime
import decimal
import math
from collections.abc import Callable, Generator
from hashlib import blake2b
from typing import Any, Final, NoReturn

from graphql import GraphQLError, Undefined

from db.errors import DatabaseUnavailable
from ledger.errors import BadUserInput, NotFound

_ALL: Final = 2**64
_SHARES: Final = (0.0, 0.01, 0.04, 0.15)
"""How much goes wrong: nothing, or one in so many."""


class Chances:
    def __init__(self, seed: int, without: frozenset[str] = frozenset()) -> None:
        self.seed = seed
        self.happened: set[str] = set()
        """The faults that were met, by name."""
        self._without = without
        self._share = _SHARES[self.number("share") % len(_SHARES)]

    def number(self, *name: object) -> int:
        """64 random bits."""
        digest = blake2b(repr((self.seed, name)).encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return int.from_bytes(digest)

    def fault(self, *name: object, times: float = 1) -> int | None:
        """Random bits to choose a fault by, or None where all goes well."""
        number = self.number("fault", *name)
        if number >= self._share * times * _ALL:
            return None
        shown = repr(name)
        if shown in self._without:
            return None
        self.happened.add(shown)
        return self.number("kind", *name)

    def turns(self, *name: object) -> int:
        """How often the loop comes round before the thing is there."""
        return max(0, self.number("turns", *name) % 6 - 2)


class Later:
    """Not there at once, and no coroutine: what is never awaited leaves no warning."""

    def __init__(self, turns: int, value: Any = None, error: Exception | None = None) -> None:
        self._turns = turns
        self._value = value
        self._error = error

    def __repr__(self) -> str:
        return "later"

    def __await__(self) -> Generator[None, None, Any]:
        for _ in range(self._turns):
            yield
        if self._error is not None:
            raise self._error
        return self._value


class Odd:
    def __repr__(self) -> str:
        return "odd"


class Text(str):
    """Equal to its text, and not of the class that compiled code expects."""

    __slots__ = ()


SPOILT: Final[tuple[Callable[[int], Any], ...]] = (
    lambda _number: None,
    lambda _number: None,
    lambda _number: "no_such",
    lambda number: number % 2**45,
    lambda _number: 2.0,
    lambda _number: 2.5,
    lambda _number: math.nan,
    lambda number: bool(number & 1),
    lambda _number: b"bytes",
    lambda _number: decimal.Decimal("1.5"),
    lambda _number: datetime.date(2026, 11, 2),
    lambda _number: datetime.datetime(2026, 11, 2),  # noqa: DTZ001  not aware, as it should be
    lambda _number: Odd(),
    lambda _number: 2**31,
    lambda _number: decimal.Decimal(-1),
    lambda _number: Text("active"),
    lambda _number: Undefined,
    lambda _number: [],
    lambda _number: {"no": "such"},
    lambda number: fault_error(number),
    lambda number: fault_error(number + 1),
    lambda number: Later(number % 3, "later"),
    lambda number: Later(number % 3, None),
    lambda number: Later(number % 3, error=fault_error(number)),
)


def spoilt(number: int) -> Any:
    """What a value is replaced by: null, another type, an exception, or something still to be awaited."""
    return SPOILT[number % len(SPOILT)](number // len(SPOILT))


def fault_error(number: int) -> Exception:
    kinds = (NotFound, BadUserInput, RuntimeError, ValueError, KeyError, DatabaseUnavailable, GraphQLError)
    return kinds[number % len(kinds)](f"fault {number % 1_000}")


def raise_fault(number: int) -> NoReturn:
    raise fault_error(number)


async def turned(turns: int) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)


def guarded(shared: asyncio.Future[Any]) -> asyncio.Future[Any]:
    """A future of one's own with the outcome of the shared one.

    The reference executor cancels what it awaits when a sibling fails. Somebody else may be waiting for it.
    """
    own = shared.get_loop().create_future()

    def settle(_shared: asyncio.Future[Any]) -> None:
        if own.done():
            return
        error = shared.exception()
        if error is None:
            own.set_result(shared.result())
        else:
            own.set_exception(error)
            own.exception()

    if shared.done():
        settle(shared)
    else:
        shared.add_done_callback(settle)
    return own


class Answers:
    """Futures by their key, as dataloaders give them: shared, done at once or after some turns of the loop."""

    def __init__(self, chances: Chances, name: str, found: Callable[[Any], Any], *, guard: bool) -> None:
        self._chances = chances
        self._name = name
        self._found = found
        self._guard = guard
        self._futures: dict[Any, asyncio.Future[Any]] = {}

    def load(self, key: Any) -> asyncio.Future[Any]:
        future = self._futures.get(key)
        if future is None:
            loop = asyncio.get_running_loop()
            future = self._futures[key] = loop.create_future()
            self._settle(loop, future, key, self._chances.turns(self._name, key))
        return guarded(future) if self._guard else future

    def _settle(self, loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any], key: Any, turns: int) -> None:
        if turns:
            loop.call_soon(self._settle, loop, future, key, turns - 1)
            return
        if future.done():
            return
        number = self._chances.fault(self._name, key, times=2)
        try:
            if number is not None:
                raise fault_error(number)
            future.set_result(self._found(key))
        except Exception as error:  # noqa: BLE001  a spoilt key cannot be looked for either
            future.set_exception(error)
            future.exception()  # asked for ahead, it may not be waited for
