"""Subscribers that come, say so, and leave when they are told to: `python -m tests.gateway.streams.idle_crowd`.

Arguments: transport, port, key, how many. One line of standard output says that all are there; the end of standard
input makes them leave, every other one without a goodbye.
"""

from __future__ import annotations

import asyncio
import sys

from tests.gateway.streams.crowd import Seat, Transport, gathered

QUERY = "subscription { balanceChanged { cursor balance transaction { id createdAt } } }"


async def _main(transport: str, port: str, key: str, subscribers: str) -> None:
    seats = [Seat(key, QUERY, {})] * int(subscribers)
    crowd = await gathered(Transport(transport), int(port), seats, lambda _number: lambda _message: None)
    sys.stdout.write("all are there\n")
    sys.stdout.flush()
    await asyncio.to_thread(sys.stdin.read)
    for number, subscriber in enumerate(crowd):
        subscriber.leave(rudely=number % 2 == 0)
    await asyncio.sleep(0.1)


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
