"""PostgreSQL signals: NOTIFY and LISTEN, each on its own connection.

NOTIFY in a posting transaction would make all commits of the server wait for each other, because it holds one lock for
the whole cluster until the commit is written. So it is sent after the commit, for all accounts of a few milliseconds
together. If a process dies in between, its notification is lost, and the feed's poll finds the rows.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Collection, Iterator
from typing import Final

import structlog

from db.connections.postgresql import PostgresConnection
from db.errors import CONNECTION_LOST, DatabaseUnavailable
from db.feed.signals import OnPosted

CHANNEL: Final = "billing_posted"
NOTIFY_SECONDS: Final = 0.005
"""Time between two notifications of one process."""
FIRST_BACKOFF_SECONDS: Final = 0.1
MAX_BACKOFF_SECONDS: Final = 5.0
KEEPALIVE_SECONDS: Final = 10.0

# A notification is a transaction, but need not be on disk: if a crash of the server loses it, the poll finds the rows.
_NOTIFY: Final = "SELECT set_config('synchronous_commit', 'off', true), pg_notify($1, $2)"

_ACCOUNTS_IN_PAYLOAD: Final = 300
"""A payload has at most 7,999 bytes."""

log = structlog.get_logger()


def _payloads(account_ids: Collection[int]) -> Iterator[str]:
    ordered = sorted(account_ids)
    for start in range(0, len(ordered), _ACCOUNTS_IN_PAYLOAD):
        yield " ".join(map(str, ordered[start : start + _ACCOUNTS_IN_PAYLOAD]))


def _accounts_in(payload: str) -> list[int] | None:
    """Returns None for an invalid payload: any program may notify."""
    try:
        return [int(one) for one in payload.split()]
    except ValueError:
        return None


class PostgresSignals:
    def __init__(self, connect: Callable[[], Awaitable[PostgresConnection]]) -> None:
        self._connect = connect
        self._unsent: set[int] = set()
        self._sending: asyncio.Task[None] | None = None
        self._sender: PostgresConnection | None = None
        self._sender_pid: int | None = None
        self._listening: asyncio.Task[None] | None = None

    def announce(self, account_ids: Collection[int]) -> None:
        self._unsent.update(account_ids)
        if self._sending is None or self._sending.done():
            self._sending = asyncio.get_running_loop().create_task(self._send())

    async def _send(self) -> None:
        while self._unsent:
            try:
                await self._send_now()
            except (*CONNECTION_LOST, DatabaseUnavailable) as error:
                # Listeners poll too: a late row is better than a queue of waiting notifications.
                log.warning("notification not sent", reason=type(error).__name__)
                self._unsent.clear()
                self._drop_sender()
                await asyncio.sleep(FIRST_BACKOFF_SECONDS)
            else:
                await asyncio.sleep(NOTIFY_SECONDS)

    async def _send_now(self) -> None:
        if self._sender is None:
            self._sender = await self._connect()
            self._sender_pid = self._sender.get_server_pid()
        unsent, self._unsent = self._unsent, set()
        for payload in _payloads(unsent):
            await self._sender.execute(_NOTIFY, CHANNEL, payload)

    def _drop_sender(self) -> None:
        sender, self._sender = self._sender, None
        if sender is not None:
            sender.terminate()

    def listen(self, on_posted: OnPosted) -> None:
        self._listening = asyncio.get_running_loop().create_task(self._listen(on_posted))

    async def _listen(self, on_posted: OnPosted) -> None:
        backoff = FIRST_BACKOFF_SECONDS
        while True:
            try:
                connection = await self._connect()
                try:
                    await self._listen_on(connection, on_posted)
                finally:
                    connection.terminate()
            except (*CONNECTION_LOST, DatabaseUnavailable) as error:
                log.warning("not listening to the database: only polling", reason=type(error).__name__)
                # Random, so that many processes do not reconnect to a restarted server at once.
                await asyncio.sleep(backoff * random.uniform(0.5, 1))  # noqa: S311
                backoff = min(backoff * 2, MAX_BACKOFF_SECONDS)
            else:
                backoff = FIRST_BACKOFF_SECONDS

    async def _listen_on(self, connection: PostgresConnection, on_posted: OnPosted) -> None:
        """Listens until the connection is lost."""
        lost = asyncio.Event()
        connection.add_termination_listener(lambda _connection: lost.set())

        def posted(_connection: object, pid: int, _channel: str, payload: object) -> None:
            # This process already knows its own posts.
            if pid != self._sender_pid:
                on_posted(_accounts_in(str(payload)))

        await connection.add_listener(CHANNEL, posted)
        # Rows may have been announced while nobody listened.
        on_posted(None)
        while not lost.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(KEEPALIVE_SECONDS):
                    await lost.wait()
            if not lost.is_set():
                # If a firewall has dropped the connection, only its use shows that.
                await connection.execute("SELECT", timeout=KEEPALIVE_SECONDS)

    async def may_have_moved(self) -> bool:
        return True

    async def close(self) -> None:
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.wait([self._listening])
        if self._sending is not None and not self._sending.done():
            await asyncio.wait([self._sending], timeout=1)
            self._sending.cancel()
        sender, self._sender = self._sender, None
        if sender is not None:
            with contextlib.suppress(*CONNECTION_LOST):
                await sender.close(timeout=1)
