"""Authentication: finds the principal that an API key belongs to."""

from __future__ import annotations

import asyncio
import re
from datetime import datetime, timedelta
from typing import Final

from access.addresses import Address
from access.keys import (
    KEY_PATTERN,
    Principal,
    digest_of,
    has_valid_parent,
    is_valid,
    key_prefix_in,
    key_with_digest,
    principal_in,
    shard_of_key,
)
from db import keys as rows
from db.database import Database
from ledger.errors import Unauthenticated
from ledger.posting import Clock, utc_now

_KEY: Final = re.compile(KEY_PATTERN, re.ASCII)


class Authenticator:
    """Finds the principal of a key. Its cache is short-lived, so a revocation takes effect within seconds.

    Unknown keys are not cached: guessed keys must not push valid keys out. Times of last use are collected and written
    by `flush_last_used`, not at every request.
    """

    def __init__(
        self, database: Database, *, ttl_seconds: float, capacity: int = 10_000, clock: Clock = utc_now
    ) -> None:
        self._database = database
        self._ttl = timedelta(seconds=ttl_seconds)
        self._capacity = capacity
        self._clock = clock
        self._known: dict[bytes, tuple[datetime, Principal]] = {}
        self._looked_up: dict[bytes, tuple[datetime, asyncio.Task[Principal]]] = {}
        """Look-ups that have not ended, until when a request may use them: as long as their result is cached."""
        self._used: dict[int, tuple[Principal, datetime, str | None]] = {}

    async def principal(self, key: str) -> Principal:
        """Returns the principal of the key. Raises Unauthenticated, which does not say what is wrong with the key."""
        if _KEY.fullmatch(key) is None:
            raise Unauthenticated("the API key is not valid")
        now, digest = self._clock(), digest_of(key)
        known = self._known.get(digest)
        principal = known[1] if known is not None and known[0] > now else await self._found(key, digest, now)
        if principal.expires_at is not None and principal.expires_at <= now:
            raise Unauthenticated("the API key has expired")
        return principal

    def note_use(self, principal: Principal, address: Address | None) -> None:
        """Notes the use of a key, or of a token that stands for it, once the address is allowed."""
        self._used[principal.key_id] = (principal, self._clock(), None if address is None else str(address))

    async def _found(self, key: str, digest: bytes, now: datetime) -> Principal:
        """Looks the key up once for all requests that arrive meanwhile."""
        begun = self._looked_up.get(digest)
        if begun is None or begun[0] <= now:
            task = asyncio.create_task(self._look_up(key, digest, now))
            begun = self._looked_up[digest] = (now + self._ttl, task)
            task.add_done_callback(lambda _: self._end_look_up(digest, begun))
        return await asyncio.shield(begun[1])

    def _end_look_up(self, digest: bytes, ended: tuple[datetime, asyncio.Task[Principal]]) -> None:
        if self._looked_up.get(digest) is ended:
            del self._looked_up[digest]
        if not ended[1].cancelled():
            ended[1].exception()  # nobody may be left to see it

    async def _look_up(self, key: str, digest: bytes, now: datetime) -> Principal:
        found = await key_with_digest(self._database, digest, key_prefix_in(key) or "")
        if found is None or not is_valid(found[1], now) or not await has_valid_parent(found[0], found[1], now):
            self._known.pop(digest, None)
            raise Unauthenticated("the API key is not valid, has expired or was revoked")
        principal = principal_in(*found)
        self._remember(digest, (now + self._ttl, principal))
        return principal

    def _remember(self, digest: bytes, known: tuple[datetime, Principal]) -> None:
        self._known.pop(digest, None)
        while len(self._known) >= self._capacity:
            del self._known[next(iter(self._known))]
        if self._ttl:
            self._known[digest] = known

    async def flush_last_used(self) -> None:
        used, self._used = self._used, {}
        by_shard: dict[Database, list[int]] = {}
        for key_id in sorted(used):
            by_shard.setdefault(shard_of_key(self._database, used[key_id][0]), []).append(key_id)
        try:
            for shard, own in by_shard.items():
                async with shard.write() as connection:
                    await rows.touch_keys(connection, [(key_id, *used[key_id][1:]) for key_id in own])
                for key_id in own:
                    del used[key_id]
        except BaseException:
            self._used = used | self._used
            raise
