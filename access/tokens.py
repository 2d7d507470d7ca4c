"""Tokens: random texts that stand for an API key in a place where the key must not appear, such as a cookie or a URL.

A token has one purpose and a short lifetime, and never outlives its key: a token is invalid if its key was revoked or
has expired. Only its SHA-256 is stored, as for keys.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from access.keys import Principal, followed, has_valid_parent, is_valid, principal_in, shard_of_key
from db import keys
from db import tokens as rows
from db.database import Database, WriteConnection
from db.rows import ApiKeyRow, TokenRow
from db.shards import found_account, place_of
from ledger.errors import Unauthenticated
from ledger.posting import Clock, utc_now

MAX_LIVE: Final = 1_000
"""Maximum number of tokens per key and purpose. One more deletes the oldest."""
MAX_LINKS: Final = 10_000
"""The same for sign-in links, which one key makes for many customers."""

MAX_LIFETIME: Final = timedelta(days=1)
BATCH: Final = 1_000

_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{32}", re.ASCII)


class Purpose(StrEnum):
    STREAM = "stream"
    """The event streams of a browser. The token is in a cookie."""
    EXPORT = "export"
    """One download. The token is in its URL; the payload says what is downloaded."""
    SIGN_IN = "sign_in"
    """A link that signs in. The token can be redeemed once."""


_ONCE: Final = frozenset({Purpose.SIGN_IN})


@dataclass(frozen=True, slots=True)
class Token:
    principal: Principal
    payload: str | None
    expires_at: datetime


def _digest_of(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()


async def insert_token(
    connection: WriteConnection,
    key: ApiKeyRow,
    purpose: Purpose,
    now: datetime,
    lifetime: timedelta,
    payload: str | None = None,
) -> str:
    """Returns a new token of the key, which must be locked."""
    token, place = secrets.token_urlsafe(24), place_of(connection)
    while place is not None and not place.fits(token):
        token = secrets.token_urlsafe(24)
    kept = MAX_LINKS if purpose in _ONCE else MAX_LIVE
    await rows.delete_oldest_tokens(connection, key.id, purpose.value, kept - 1)
    await rows.insert_token(
        connection, TokenRow(_digest_of(token), purpose.value, key.id, payload, now, now + lifetime, None)
    )
    return token


class Tokens:
    def __init__(self, database: Database, clock: Clock = utc_now) -> None:
        self._database = database
        self._clock = clock

    async def issue(
        self, principal: Principal, purpose: Purpose, lifetime: timedelta, payload: str | None = None
    ) -> str:
        """Returns a new token, which is not stored. Raises Unauthenticated if the key has been revoked or has
        expired."""
        assert timedelta() < lifetime <= MAX_LIFETIME
        now, shard = self._clock(), shard_of_key(self._database, principal)
        while True:
            async with shard.write() as connection:
                key = await keys.key_by_id(connection, principal.key_id)
                if key is not None and is_valid(key, now):
                    return await insert_token(connection, key, purpose, now, lifetime, payload)
            tried = shard
            if principal.account_id is not None:
                shard = await found_account(self._database, principal.account_id)
            if shard is tried:
                raise Unauthenticated("the API key has expired or was revoked")

    async def redeem(self, token: str, purpose: Purpose) -> Token:
        """Redeems the token. Raises Unauthenticated, which does not say what is wrong with the token."""
        while True:
            shard, found = await self._find(token)
            redeemed = await self._redeemed(shard, found, purpose)
            if redeemed is not None:
                return redeemed
            if (await self._find(token))[0] is shard:
                raise Unauthenticated(_REFUSED)

    async def _redeemed(
        self, shard: Database, found: tuple[TokenRow, ApiKeyRow] | None, purpose: Purpose
    ) -> Token | None:
        """Returns None if the token was used, or moved with its key. Raises Unauthenticated."""
        now = self._clock()
        if found is None or found[0].purpose != purpose or found[0].expires_at <= now or not is_valid(found[1], now):
            raise Unauthenticated(_REFUSED)
        if not await has_valid_parent(shard, found[1], now):
            raise Unauthenticated(_REFUSED)
        if purpose in _ONCE and not await self._use(shard, found[0], now):
            return None
        return Token(principal_in(shard, found[1]), found[0].payload, found[0].expires_at)

    async def _find(self, token: str) -> tuple[Database, tuple[TokenRow, ApiKeyRow] | None]:
        """Returns the token with its key, and the database that has it."""
        place = self._database.place
        if _TOKEN.fullmatch(token) is not None:
            for database in (self._database,) if place is None else place.shards.of_text(token):
                found = await followed(database, lambda shard: rows.token_by_digest(shard, _digest_of(token)))
                if found is not None:
                    return found
        return self._database, None

    async def _use(self, shard: Database, token: TokenRow, now: datetime) -> bool:
        async with shard.write() as connection:
            return await rows.use_token(connection, token.digest, now)

    async def delete(self, token: str) -> None:
        """Deletes the token. Does nothing if there is no such token.

        Anyone may send an unknown token, so it must not take a turn at the writer.
        """
        home, found = await self._find(token)
        if found is None:
            return
        async with home.write() as connection:
            await rows.delete_token(connection, _digest_of(token))

    async def delete_expired(self) -> int:
        """Deletes expired tokens in short transactions. Returns how many."""
        total, deleted = 0, BATCH
        while deleted == BATCH:
            async with self._database.write() as connection:
                deleted = await rows.delete_expired_tokens(connection, self._clock(), BATCH)
            total += deleted
        return total


_REFUSED: Final = "the token is not valid, has expired or was already used: request a new one with the API key"
