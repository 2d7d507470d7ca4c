"""The peers' authentication: the digest of the key is looked up among those read at the start.

Left out: expiry, revocation, times of last use, service keys' lists of accounts.
"""

from __future__ import annotations

import hashlib

from aiohttp import web

from benchmarks.peers.stores import Store

Accounts = dict[bytes, int | None]
"""By a key's digest; None for a key that opens every account."""


async def read_keys(store: Store) -> Accounts:
    return {bytes(row[0]): row[1] for row in await store.fetch("SELECT digest, account_id FROM api_keys")}


def check_account(keys: Accounts, request: web.Request, *account_ids: int) -> None:
    key = request.headers.get("Authorization", "").removeprefix("Bearer ")
    try:
        own = keys[hashlib.sha256(key.encode()).digest()]
    except KeyError as error:
        raise web.HTTPUnauthorized from error
    if own is not None and any(account_id != own for account_id in account_ids):
        raise web.HTTPNotFound
