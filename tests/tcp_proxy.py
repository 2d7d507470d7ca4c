"""A TCP port before the test's PostgreSQL, which can lose connections without a word, as a firewall or a dead host."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Final

from tests.postgres import Postgres, Standby

_CHUNK: Final = 65_536


class TcpProxy:
    def __init__(self, server: Postgres | Standby) -> None:
        self.port = 0
        self.silent = False
        """Connections are taken, and nothing is passed on: those that are there, and new ones."""
        self._socket_path = f"{server.host}/.s.PGSQL.5432"
        self._lost: set[asyncio.StreamWriter] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def connections(self) -> int:
        return len(self._writers)

    def lose_all(self) -> None:
        """Passes nothing on for the connections that are there. New ones work."""
        self._lost |= self._writers

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self._writers.add(writer)
        behind: asyncio.StreamWriter | None = None
        try:
            # Cancelled at the end of the test only.
            with contextlib.suppress(OSError, asyncio.CancelledError):
                behind_reader, behind = await asyncio.open_unix_connection(self._socket_path)
                await asyncio.gather(self._copy(reader, behind, writer), self._copy(behind_reader, writer, writer))
        finally:
            for one in (writer, behind):
                if one is not None:
                    one.close()
            self._writers.discard(writer)
            self._tasks.discard(task)

    async def _copy(self, reader: asyncio.StreamReader, to: asyncio.StreamWriter, client: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(_CHUNK):
                if client not in self._lost and not self.silent:
                    to.write(data)
                    await to.drain()
            if client not in self._lost and not self.silent:
                to.close()

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[TcpProxy]:
        listening = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = int(listening.sockets[0].getsockname()[1])
        try:
            yield self
        finally:
            listening.close()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)


def before(server: Postgres | Standby) -> contextlib.AbstractAsyncContextManager[TcpProxy]:
    return TcpProxy(server).listening()
