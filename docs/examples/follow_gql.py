"""Follows an account's balance over WebSocket with gql, into a SQLite file: every row of its ledger once, in order,
whatever breaks.

    pip install 'gql[websockets]>=4'
    URL=http://127.0.0.1:8000 KEY=eco_… STORE=rows.db python follow_gql.py

A row and the cursor after it are written in one transaction: so each row is there once, even if this program is killed.
"""

from __future__ import annotations

import asyncio
import os
import random
import sqlite3
import sys
from typing import Any

from gql import Client, GraphQLRequest, gql
from gql.transport.exceptions import TransportError, TransportQueryError
from gql.transport.websockets import WebsocketsTransport
from websockets.exceptions import ConnectionClosed

ADDRESS = os.environ.get("URL", "http://127.0.0.1:8000")
KEY = os.environ["KEY"]

POSITION = gql("{ account { balanceCursor } }")
CHANGES = gql(
    """
    subscription Follow($after: String!) {
      balanceChanged(after: $after) {
        cursor
        balance
        transaction { id createdAt type amount balanceAfter description }
      }
    }
    """
)


class Store:
    def __init__(self, path: str) -> None:
        self._connection = sqlite3.connect(path)
        with self._connection:
            self._connection.execute("CREATE TABLE IF NOT EXISTS place (cursor TEXT NOT NULL)")
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS rows"
                " (number INTEGER PRIMARY KEY, id TEXT UNIQUE NOT NULL, amount TEXT NOT NULL, balance TEXT NOT NULL)"
            )

    def cursor(self) -> str | None:
        found = self._connection.execute("SELECT cursor FROM place").fetchone()
        return None if found is None else str(found[0])

    def begin(self, cursor: str) -> None:
        with self._connection:
            self._connection.execute("INSERT INTO place VALUES (?)", (cursor,))

    def handle(self, change: dict[str, Any]) -> None:
        row = change["transaction"]
        with self._connection:
            self._connection.execute(
                "INSERT INTO rows (id, amount, balance) VALUES (?, ?, ?)", (row["id"], row["amount"], change["balance"])
            )
            self._connection.execute("UPDATE place SET cursor = ?", (change["cursor"],))


async def follow(store: Store) -> None:
    """Until the connection is lost or the subscription ended."""
    transport = WebsocketsTransport(
        url=f"{ADDRESS.replace('http', 'ws', 1)}/graphql",
        subprotocols=[WebsocketsTransport.GRAPHQLWS_SUBPROTOCOL],
        init_payload={"Authorization": f"Bearer {KEY}"},
    )
    async with Client(transport=transport) as session:
        if store.cursor() is None:
            # The first time: the position of now. From here on nothing is missed, even if this program is killed
            # before it has seen a single row.
            store.begin((await session.execute(POSITION))["account"]["balanceCursor"])
        subscription = GraphQLRequest(CHANGES, variable_values={"after": store.cursor()})
        async for answer in session.subscribe(subscription):
            store.handle(answer["balanceChanged"])


def passes(error: Exception) -> bool:
    """Whether the same request can succeed later."""
    if isinstance(error, TransportQueryError):
        code = (error.errors or [{}])[0].get("extensions", {}).get("code")
        return code in {"LAGGED", "UNAVAILABLE", "RATE_LIMITED", "INTERNAL"}
    closed = error.__cause__
    if isinstance(closed, ConnectionClosed) and closed.rcvd is not None:
        return not 4400 <= closed.rcvd.code < 4499 or closed.rcvd.code == 4408
    return True


async def main() -> None:
    store = Store(os.environ.get("STORE", "rows.db"))
    failures = 0
    while True:
        before = store.cursor()
        try:
            await follow(store)
        except (TransportError, TimeoutError) as error:
            sys.stderr.write(f"{error.__cause__ or error}\n")
            if not passes(error):
                sys.exit(1)
        failures = failures + 1 if store.cursor() == before else 0
        # Spread, so that not everybody comes back in the same moment.
        await asyncio.sleep(min(0.25 * 2**failures, 30) * random.uniform(0.5, 1))


if __name__ == "__main__":
    asyncio.run(main())
