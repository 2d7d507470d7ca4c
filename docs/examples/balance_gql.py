"""Asks for an account's balance with gql, and tells a refusal by its code.

pip install 'gql[aiohttp]>=4'
URL=http://127.0.0.1:8000 KEY=eco_… python balance_gql.py
"""

from __future__ import annotations

import asyncio
import os
import sys

from gql import Client, gql
from gql.transport.aiohttp import AIOHTTPTransport
from gql.transport.exceptions import TransportQueryError

QUERY = gql("query Balance { account { id balance } }")


async def main() -> int:
    transport = AIOHTTPTransport(
        url=f"{os.environ.get('URL', 'http://127.0.0.1:8000')}/graphql",
        headers={"Authorization": f"Bearer {os.environ['KEY']}", "Accept": "application/graphql-response+json"},
    )
    async with Client(transport=transport) as session:
        try:
            data = await session.execute(QUERY)
        except TransportQueryError as error:
            # A refusal of the gateway has a code, whatever its HTTP status is.
            sys.stdout.write(f"{(error.errors or [])[0]['extensions']['code']}\n")
            return 1
    sys.stdout.write(f"{data['account']['balance']}\n")
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
