"""Authentication: finds the principal that an API key belongs to."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Final

from access.addresses import Address
from access.keys import KEY_PATTERN, Principal, digest_of, is_valid, principal_of
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
        self._used: dict[int, tuple[datetime, str | None]] = {}

    async def principal(self, key: str) -> Principal:
        """Returns the principal of the key. Raises Unauthenticated, which does not say what is wrong with the key."""
        if _KEY.fullmatch(key) is None:
            raise Unauthenticated("the API key is not valid")
        now, digest = self._clock(), digest_of(key)
        known = self._known.get(digest)
        if known is None or known[0] <= now:
            known = (now + self._ttl, await self._look_up(digest, now))
            self._remember(digest, known)
        principal = known[1]
        if principal.expires_at is not None and principal.expires_at <= now:
            raise Unauthenticated("the API key has expired")
        return principal

    def note_use(self, principal: Principal, address: Address | None) -> None:
        """Notes the use of a key, or of a token that stands for it, once the address is allowed."""
        self._used[principal.key_id] = (self._clock(), None if address is None else str(address))

    async def _look_up(self, digest: bytes, now: datetime) -> Principal:
        row = await rows.key_by_digest(self._database, digest)
        if row is None or not is_valid(row, now):
            self._known.pop(digest, None)
            raise Unauthenticated("the API key is not valid, has expired or was revoked")
        return principal_of(row)

    def _remember(self, digest: bytes, known: tuple[datetime, Principal]) -> None:
        self._known.pop(digest, None)
        while len(self._known) >= self._capacity:
            del self._known[next(iter(self._known))]
        if self._ttl:
            self._known[digest] = known

    async def flush_last_used(self) -> None:
        used, self._used = self._used, {}
        if not used:
            return
        try:
            async with self._database.write() as connection:
                await rows.touch_keys(connection, [(key_id, *used[key_id]) for key_id in sorted(used)])
        except BaseException:
            self._used = used | self._used
            raise
