"""Buckets that all processes share, in Redis. Only processes with a `rate_limit_url` import this module."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import structlog
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError

from gateway.rates import Balance, Buckets, Rate, RateExceeded

log = structlog.get_logger()

LOST_SECONDS: Final = 2.0
"""Time after which a connection that does not answer is given up. Nobody waits for it that long."""

AWAY_SECONDS: Final = 1.0
"""Time for which Redis is not asked after it failed."""

MISSES: Final = 3
"""Late answers in a row until Redis counts as away."""

LAST_TURNS: Final = 10
"""Turns of the event loop in which an answer that is there reaches its call, however long they take."""

_KEY_PREFIX: Final = "billing:points:"

# The clock is that of Redis, so that those of the processes need not agree. After it was set back, a bucket is written
# even if it refuses: else it would fill only from the time that it has. A bucket that is full again is forgotten.
_SPEND: Final = """
local points, rate, burst = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local kept = redis.call('HMGET', KEYS[1], 'left', 'at')
local left, at = tonumber(kept[1] or burst), tonumber(kept[2] or now)
left = math.min(burst, left + math.max(0, now - at) * rate)
local taken = left >= math.min(points, burst)
if taken then left = left - points end
if taken or now < at then
  redis.call('HSET', KEYS[1], 'left', string.format('%.6f', left), 'at', string.format('%.6f', now))
  redis.call('PEXPIRE', KEYS[1], math.ceil((burst - left) / rate * 1000) + 1000)
end
return {taken and 1 or 0, string.format('%.6f', left)}
"""


class _Call(NamedTuple):
    arguments: tuple[float | str, ...]
    answered: asyncio.Future[list[Any]]


class _Script:
    """Runs the script for all calls that came meanwhile at once, over one connection."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._digest = ""
        self._calls: list[_Call] = []
        self._running: asyncio.Task[None] | None = None

    def call(self, *arguments: float | str) -> asyncio.Future[list[Any]]:
        call = _Call(arguments, asyncio.get_running_loop().create_future())
        self._calls.append(call)
        if self._running is None:
            self._running = asyncio.create_task(self._run())
        return call.answered

    async def load(self) -> None:
        self._digest = await self._redis.script_load(_SPEND)

    async def _run(self) -> None:
        try:
            while calls := [one for one in self._calls if not one.answered.cancelled()]:
                self._calls.clear()
                await self._send(calls)
        finally:
            self._running = None

    async def _send(self, calls: list[_Call]) -> None:
        try:
            answers = await self._answers(calls)
            if any(isinstance(one, NoScriptError) for one in answers):
                await self.load()
                answers = await self._answers(calls)
        except (RedisError, OSError) as error:
            answers = [error] * len(calls)
        for one, answer in zip(calls, answers, strict=True):
            _end(one.answered, answer)

    async def _answers(self, calls: list[_Call]) -> list[Any]:
        pipeline = self._redis.pipeline(transaction=False)
        for one in calls:
            pipeline.evalsha(self._digest, 1, *one.arguments)
        return await pipeline.execute(raise_on_error=False)

    async def close(self) -> None:
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait({self._running})
        with contextlib.suppress(RedisError, OSError):
            await self._redis.aclose()


def _end(future: asyncio.Future[list[Any]], answer: list[Any] | Exception) -> None:
    if future.done():
        return
    if isinstance(answer, Exception):
        future.set_exception(answer)
        future.exception()  # its client may have left
    else:
        future.set_result(answer)


def _redis(url: str) -> Redis:
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=1,
        timeout=LOST_SECONDS,
        socket_timeout=LOST_SECONDS,
        socket_connect_timeout=LOST_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )
    return Redis.from_pool(pool)


def is_usable(url: str) -> bool:
    """Whether Redis' client knows the options after the `?` of the URL."""
    try:
        _redis(url).connection_pool.make_connection()  # type: ignore[no-untyped-call]
    except (ValueError, TypeError, RedisError):
        return False
    return True


class SharedBuckets:
    """Spends from buckets in Redis, in one round trip. While Redis is away or slow, the process spends from buckets of
    its own, which go on from what Redis said last: nothing is refused because Redis is down."""

    def __init__(self, url: str, timeout_seconds: float, own: Buckets, fell_back: Callable[[], object]) -> None:
        self._timeout = timeout_seconds
        self._own = own
        self._fell_back = fell_back
        self._script = _Script(_redis(url))
        self._away_until: float | None = None
        self._misses = 0
        self._missed_at = 0.0

    async def open(self) -> None:
        """Connects, so that the first calls need not wait for that."""
        try:
            async with asyncio.timeout(LOST_SECONDS):
                await self._script.load()
        except (RedisError, OSError, TimeoutError) as error:
            self._went_away(error)

    async def spend(self, key: str, points: float, rate: Rate) -> Balance:
        """Raises RateExceeded, and takes nothing then."""
        if self._is_away():
            return self._spend_own(key, points, rate)
        began = time.monotonic()
        try:
            taken, text = await self._answer(self._script.call(_KEY_PREFIX + key, points, *rate))
        except TimeoutError as late:
            self._missed(late, began)
            return self._spend_own(key, points, rate)
        except (RedisError, OSError) as error:
            self._went_away(error)
            return self._spend_own(key, points, rate)
        self._answered()
        balance = Balance(rate, float(text))
        self._own.keep(key, balance)
        if not taken:
            raise RateExceeded(balance, points)
        return balance

    async def _answer(self, answered: asyncio.Future[list[Any]]) -> list[Any]:
        """Raises TimeoutError."""
        await asyncio.wait({answered}, timeout=self._timeout)
        for _ in range(LAST_TURNS):
            if answered.done():
                return answered.result()
            await asyncio.sleep(0)
        answered.cancel()
        raise TimeoutError

    def _is_away(self) -> bool:
        """One call in each interval asks Redis again, while others do not wait for it."""
        if self._away_until is None:
            return False
        now = time.monotonic()
        if now < self._away_until:
            return True
        self._away_until = now + AWAY_SECONDS
        return False

    def _spend_own(self, key: str, points: float, rate: Rate) -> Balance:
        self._fell_back()
        return self._own.spend(key, points, rate)

    def _missed(self, error: TimeoutError, began: float) -> None:
        # Calls that waited side by side were late once.
        if began >= self._missed_at:
            self._misses += 1
            self._missed_at = time.monotonic()
        if self._misses >= MISSES:
            self._went_away(error)

    def _went_away(self, error: Exception) -> None:
        if self._away_until is None:
            self._away_until = time.monotonic() + AWAY_SECONDS
            # The text of the error has the address.
            log.warning("rate limits not shared: Redis does not answer", reason=type(error).__name__)

    def _answered(self) -> None:
        self._misses = 0
        if self._away_until is not None:
            self._away_until = None
            log.info("rate limits are shared again: Redis answers")

    async def close(self) -> None:
        await self._script.close()
