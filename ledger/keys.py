"""API keys: `eco_`, a visible prefix, and a secret that is shown once and kept as its SHA-256 alone.

The secret has 192 random bits, so a fast digest is enough: there is nothing to guess or to look up in a table.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

from db import accounts, usage_writes
from db import keys as rows
from db.database import Database, WriteConnection
from db.rows import ApiKeyRow
from ledger.audit import Actor
from ledger.errors import BadUserInput, Conflict, NotFound, Unauthenticated
from ledger.ids import account_id_text
from ledger.moves import checked_text
from ledger.posting import Clock, LedgerTransaction, utc_now

_KEY: Final = re.compile(r"eco_[a-z2-7]{8}_[A-Za-z0-9_-]{32}", re.ASCII)
_PREFIX_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz234567"


class KeyScope(StrEnum):
    READ = "read"
    MANAGE = "manage"
    SERVICE = "service"
    OPERATOR = "operator"


class ServiceOperation(StrEnum):
    """What a service key may be narrowed to: the names of mutations."""

    OPEN_HOLD = "openHold"
    RENEW_HOLD = "renewHold"
    SETTLE_HOLD = "settleHold"
    RECORD_USAGE = "recordUsage"
    GRANT_BONUS = "grantBonus"


OF_ACCOUNTS: Final = frozenset({KeyScope.READ, KeyScope.MANAGE})


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks: what one valid key may see and do."""

    key_id: int
    key_prefix: str
    scope: KeyScope
    account_id: int | None
    account_ids: frozenset[int] | None
    """The accounts of a service key; None for all."""
    operations: frozenset[str] | None
    """The operations of a service key; None for all."""
    expires_at: datetime | None


@dataclass(frozen=True, slots=True)
class NewKey:
    scope: KeyScope
    owner: str
    account_id: int | None = None
    account_ids: tuple[int, ...] | None = None
    operations: tuple[str, ...] | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class IssuedKey:
    secret: str
    """The whole key. It is not kept: whoever loses it rotates it."""
    row: ApiKeyRow


def digest_of(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def _new_secret() -> tuple[str, str]:
    prefix = "eco_" + "".join(secrets.choice(_PREFIX_LETTERS) for _ in range(8))
    return prefix, f"{prefix}_{secrets.token_urlsafe(24)}"


def _json_list(values: tuple[Any, ...] | None) -> str | None:
    return None if values is None else json.dumps(sorted(values))


def _set(text: str | None) -> frozenset[Any] | None:
    return None if text is None else frozenset(json.loads(text))


def principal_of(row: ApiKeyRow) -> Principal:
    return Principal(
        key_id=row.id,
        key_prefix=row.prefix,
        scope=KeyScope(row.scope),
        account_id=row.account_id,
        account_ids=_set(row.account_ids),
        operations=_set(row.operations),
        expires_at=row.expires_at,
    )


def _with_article(scope: KeyScope) -> str:
    return f"an {scope}" if scope == KeyScope.OPERATOR else f"a {scope}"


def _check_new(key: NewKey, now: datetime) -> None:
    checked_text(key.owner, "owner", 200)
    if key.scope in OF_ACCOUNTS and key.account_id is None:
        msg = f"{_with_article(key.scope)} key needs an account"
        raise BadUserInput(msg)
    if key.scope not in OF_ACCOUNTS and key.account_id is not None:
        msg = f"{_with_article(key.scope)} key is of no single account"
        raise BadUserInput(msg)
    if key.scope != KeyScope.SERVICE and (key.account_ids is not None or key.operations is not None):
        raise BadUserInput("only a service key has a list of accounts or operations")
    unknown = set(key.operations or ()).difference(ServiceOperation)
    if unknown:
        msg = f"operations must be of {', '.join(ServiceOperation)}"
        raise BadUserInput(msg)
    if key.expires_at is not None and key.expires_at <= now:
        raise BadUserInput("the key would have expired already")


async def _check_accounts(connection: WriteConnection, key: NewKey) -> None:
    named = {key.account_id} if key.account_id is not None else set(key.account_ids or ())
    missing = named - await usage_writes.existing_accounts(connection, named) if named else set()
    if missing:
        raise _no_account(min(missing))


def _no_account(account_id: int) -> NotFound:
    return NotFound(f"there is no account {account_id_text(account_id)}")


class Keys:
    def __init__(self, database: Database, clock: Clock = utc_now) -> None:
        self._database = database
        self._clock = clock

    async def create(self, key: NewKey) -> IssuedKey:
        now = self._clock()
        _check_new(key, now)
        prefix, secret = _new_secret()
        values = {
            "prefix": prefix,
            "digest": digest_of(secret),
            "scope": key.scope.value,
            "account_id": key.account_id,
            "account_ids": _json_list(key.account_ids),
            "operations": _json_list(key.operations),
            "owner": key.owner,
            "created_at": now,
            "expires_at": key.expires_at,
        }
        async with self._database.write() as connection:
            await _check_accounts(connection, key)
            return IssuedKey(secret, await rows.insert_key(connection, values))

    async def list(self, account_id: int | None = None) -> list[ApiKeyRow]:
        if account_id is not None:
            async with self._database.snapshot() as snapshot:
                if not await accounts.accounts_by_id(snapshot, [account_id]):
                    raise _no_account(account_id)
        return await rows.all_keys(self._database, account_id)

    async def rotate(self, prefix: str, grace: timedelta = timedelta()) -> IssuedKey:
        """A new key with the old one's rights; the old one goes on for `grace`, at most a week."""
        if not timedelta() <= grace <= timedelta(days=7):
            raise BadUserInput("the grace must be between 0 seconds and 7 days")
        now = self._clock()
        new_prefix, secret = _new_secret()
        async with self._database.write() as connection:
            old = await rows.key_by_prefix(connection, prefix)
            if old is None:
                msg = f"there is no key {prefix}"
                raise NotFound(msg)
            if not is_valid(old, now):
                msg = f"the key {prefix} has expired or was revoked: create a new one"
                raise Conflict(msg)
            if old.replaced_by is not None:
                msg = f"the key {prefix} was rotated already and is in its grace: rotate the one that took its place"
                raise Conflict(msg)
            values = old._asdict() | {
                "prefix": new_prefix,
                "digest": digest_of(secret),
                "created_at": now,
                "last_used_at": None,
                "revoked_at": None,
            }
            del values["id"]
            new = await rows.insert_key(connection, values)
            ends = now + grace if old.expires_at is None else min(now + grace, old.expires_at)
            ending = {"expires_at": ends} if grace else {"revoked_at": now}
            await rows.update_key(connection, old.id, {"replaced_by": new.id, **ending})
        return IssuedKey(secret, new)

    async def revoke(self, prefix: str) -> ApiKeyRow:
        """Revoking twice keeps the first time."""
        now = self._clock()
        async with self._database.write() as connection:
            row = await rows.key_by_prefix(connection, prefix)
            if row is None:
                msg = f"there is no key {prefix}"
                raise NotFound(msg)
            if row.revoked_at is None:
                await rows.update_key(connection, row.id, {"revoked_at": now})
                row = row._replace(revoked_at=now)
        return row


async def acting_key(transaction: LedgerTransaction, principal: Principal) -> Actor:
    """Who acts, by the key as it is now: what is noted for ever is not done by a key that was revoked a second ago.

    Raises Unauthenticated.
    """
    row = await rows.key_by_id(transaction.connection, principal.key_id, lock=False)
    if row is None or not is_valid(row, transaction.clock()):
        raise Unauthenticated("the API key has expired or was revoked")
    return Actor(row.prefix, row.owner)


def is_valid(row: ApiKeyRow, now: datetime) -> bool:
    return row.revoked_at is None and (row.expires_at is None or now < row.expires_at)


async def valid_keys(database: Database, key_ids: Collection[int], now: datetime) -> set[int]:
    """Those of the keys that are valid, by one statement."""
    return await rows.valid_key_ids(database, key_ids, now)


class Authenticator:
    """From a key to its principal, with a cache so short that a revocation takes effect within seconds.

    Unknown keys are not remembered: guessing must not push valid keys out. Times of last use are gathered and
    written by `flush_last_used`, not at every request.
    """

    def __init__(
        self, database: Database, *, ttl_seconds: float, capacity: int = 10_000, clock: Clock = utc_now
    ) -> None:
        self._database = database
        self._ttl = timedelta(seconds=ttl_seconds)
        self._capacity = capacity
        self._clock = clock
        self._known: dict[bytes, tuple[datetime, Principal]] = {}
        self._used: dict[int, datetime] = {}

    async def principal(self, key: str) -> Principal:
        """Raises Unauthenticated, without saying what is wrong with the key."""
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
        self._used[principal.key_id] = now
        return principal

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
                await rows.touch_keys(connection, sorted(used.items()))
        except BaseException:
            self._used = used | self._used
            raise
