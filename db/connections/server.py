from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

FORGET_SECONDS: Final = 60.0
"""Time after which the server itself has ended an idle transaction."""


class Server:
    """One host and port of the URL."""

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        self.arguments = arguments
        self.is_silent = False
        self.answered_at = 0.0
        self.asked_at = 0.0
        self.ended: dict[int, float] = {}
        """Processes of the server whose connections were ended here, and when."""

    @property
    def name(self) -> str:
        host, port = self.arguments.get("host"), self.arguments.get("port")
        return str(host or "localhost") + (f":{port}" if port else "")

    def forget_old(self) -> None:
        oldest = asyncio.get_running_loop().time() - FORGET_SECONDS
        self.ended = {pid: at for pid, at in self.ended.items() if at > oldest}

    def note_answer(self) -> None:
        self.answered_at = asyncio.get_running_loop().time()


def each_server(arguments: Mapping[str, Any]) -> list[Server]:
    """asyncpg itself would give all hosts together the time that one may take."""
    hosts, ports = arguments.get("host"), arguments.get("port")
    if not isinstance(hosts, list):
        return [Server(arguments)]
    paired = zip(hosts, ports if isinstance(ports, list) else [ports] * len(hosts), strict=True)
    return [Server({**arguments, "host": host, "port": port}) for host, port in paired]
