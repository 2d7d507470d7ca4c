"""API keys: `eco_`, a visible prefix, and a secret that is shown once. Only the secret's SHA-256 is stored.

The secret has 192 random bits, so a fast digest is enough: it cannot be guessed or looked up in a table.
"""

from __future__ import annotations

import hashlib
import json
import re
import secrets
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, NamedTuple, TypeVar

from access import addresses
from access.addresses import Networks
from db import accounts, usage_writes
from db import keys as rows
from db.database import Database
from db.errors import DatabaseError, DatabaseUnavailable
from db.moved_accounts import MAX_TRIES
from db.rows import ApiKeyRow
from db.shards import Place, account_shard, found_account, home_of, place_of, shard_of_id
from ledger.accounts import locked_account
from ledger.audit import COMMAND_LINE, Actor, AuditedAction, note
from ledger.chain import format_time
from ledger.errors import BadUserInput, Conflict, NotFound, Unauthenticated
from ledger.ids import account_id_text
from ledger.moments import check_moment
from ledger.posting import Clock, Ledger, LedgerTransaction, utc_now
from ledger.texts import OWNER

Found = TypeVar("Found")

MAX_ACCOUNTS: Final = 1_000
MAX_VALID_KEYS: Final = 100
"""Maximum per account, besides sessions."""
MAX_SESSIONS: Final = 1_000
"""Maximum number of valid sessions per account, with the keys that they created."""
MAX_POINTS_PER_SECOND: Final = 100_000_000
MAX_BURST_POINTS: Final = 1_000_000_000
BURST_SECONDS: Final = 10
"""Seconds whose points can be spent at once, where no burst is set."""
MAX_GRACE: Final = timedelta(days=7)

KEY_PATTERN: Final = r"eco_[a-z2-7]{8}_[A-Za-z0-9_-]{32}"
"""Public, for scanners that look for leaked keys: docs/operating.md."""

_PREFIX: Final = re.compile(r"eco_[a-z2-7]{8}", re.ASCII)
_KEY: Final = re.compile(KEY_PATTERN, re.ASCII)
_PREFIX_LETTERS: Final = "abcdefghijklmnopqrstuvwxyz234567"


class KeyScope(StrEnum):
    READ = "read"
    MANAGE = "manage"
    SERVICE = "service"
    OPERATOR = "operator"


class ServiceOperation(StrEnum):
    """Names of the mutations that a service key can be restricted to."""

    OPEN_HOLD = "openHold"
    RENEW_HOLD = "renewHold"
    SETTLE_HOLD = "settleHold"
    RECORD_USAGE = "recordUsage"
    GRANT_BONUS = "grantBonus"
    SET_VOLUME = "setVolume"
    DELETE_VOLUME = "deleteVolume"
    SET_INSTANCE_RATE = "setInstanceRate"
    AUTHORIZE_USAGE = "authorizeUsage"
    RELEASE_AUTHORIZATION = "releaseAuthorization"
    MARK_USAGE_COMPLETE = "markUsageComplete"
    CREATE_SIGN_IN_LINK = "createSignInLink"
    """Only for a key that names it: what a customer may do is more than to write the ledger."""


class KeyRate(NamedTuple):
    points_per_second: int
    burst_points: int
    """Most points that the key can spend at once."""


OF_ACCOUNTS: Final = frozenset({KeyScope.READ, KeyScope.MANAGE})


@dataclass(frozen=True, slots=True)
class Principal:
    """The caller: what one valid key may see and do."""

    key_id: int
    key_prefix: str
    scope: KeyScope
    account_id: int | None
    account_ids: frozenset[int] | None
    """Accounts of a service key; None means all."""
    operations: frozenset[str] | None
    """Operations of a service key; None means all."""
    expires_at: datetime | None
    allowed_addresses: Networks | None = None
    """None for all."""
    rate: KeyRate | None = None
    """None for the rate of the scope."""
    account_rows: int = 0
    """Ledger rows of the account when the key was looked up; 0 if they were not counted."""
    parent_id: int | None = None
    """The key that this session ends with, if it may be on another shard."""


@dataclass(frozen=True, slots=True)
class NewKey:
    scope: KeyScope
    owner: str
    account_id: int | None = None
    account_ids: tuple[int, ...] | None = None
    operations: tuple[str, ...] | None = None
    expires_at: datetime | None = None
    allowed_addresses: Networks | None = None
    session_of: int | None = None
    """The key that this session ends with."""


class IssuedKey(NamedTuple):
    secret: str
    """The whole key. It is not stored: an owner who loses the key must rotate it."""
    row: ApiKeyRow


def key_prefix_in(text: str) -> str | None:
    """Returns the visible prefix of a text that is a key or a prefix, or None."""
    return text[: len("eco_") + 8] if _PREFIX.fullmatch(text) or _KEY.fullmatch(text) else None


def digest_of(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


def _new_prefix() -> str:
    return "eco_" + "".join(secrets.choice(_PREFIX_LETTERS) for _ in range(8))


def _new_secret(place: Place[Database] | None) -> tuple[str, str]:
    prefix = _new_prefix()
    while place is not None and not place.fits(prefix):
        prefix = _new_prefix()
    return prefix, f"{prefix}_{secrets.token_urlsafe(24)}"


def _json_list(values: tuple[Any, ...] | None) -> str | None:
    return None if values is None else json.dumps(sorted(values))


def _set(text: str | None) -> frozenset[Any] | None:
    return None if text is None else frozenset(json.loads(text))


def principal_of(row: ApiKeyRow, account_rows: int = 0) -> Principal:
    return Principal(
        key_id=row.id,
        key_prefix=row.prefix,
        scope=KeyScope(row.scope),
        account_id=row.account_id,
        account_ids=_set(row.account_ids),
        operations=_set(row.operations),
        expires_at=row.expires_at,
        allowed_addresses=addresses.read(row.allowed_addresses),
        rate=_rate_of(row),
        account_rows=account_rows,
        parent_id=_parent_of(row),
    )


def _parent_of(row: ApiKeyRow) -> int | None:
    return None if row.session_of is None or shard_of_id(row.session_of) == shard_of_id(row.id) else row.session_of


def principal_in(database: Database, row: ApiKeyRow, account_rows: int = 0) -> Principal:
    """Returns the principal of a key that was read from the database. A session that was moved with its account is no
    longer where its parent is."""
    principal = principal_of(row, account_rows)
    return replace(principal, parent_id=row.session_of) if _was_moved(database, row) else principal


def _was_moved(database: Database, row: ApiKeyRow) -> bool:
    return database.place is not None and database.place.number != shard_of_id(row.id)


def shard_of_key(database: Database, principal: Principal) -> Database:
    """Returns the database of the set that has the principal's key, as far as is known."""
    if principal.account_id is None:
        return home_of(database, principal.key_id)
    return account_shard(database, principal.account_id)


def _rate_of(row: ApiKeyRow) -> KeyRate | None:
    if row.points_per_second is None or row.burst_points is None:
        return None
    return KeyRate(row.points_per_second, row.burst_points)


def _with_article(scope: KeyScope) -> str:
    return f"an {scope}" if scope == KeyScope.OPERATOR else f"a {scope}"


def _check_new(key: NewKey, now: datetime) -> None:
    OWNER.checked(key.owner, "owner")
    if key.scope in OF_ACCOUNTS and key.account_id is None:
        msg = f"{_with_article(key.scope)} key requires an account"
        raise BadUserInput(msg)
    if key.scope not in OF_ACCOUNTS and key.account_id is not None:
        msg = f"{_with_article(key.scope)} key must not have an account"
        raise BadUserInput(msg)
    if key.scope != KeyScope.SERVICE and (key.account_ids is not None or key.operations is not None):
        raise BadUserInput("only a service key can have a list of accounts or operations")
    if len(key.account_ids or ()) > MAX_ACCOUNTS:
        msg = f"a service key can list at most {MAX_ACCOUNTS} accounts; omit the list for all accounts"
        raise BadUserInput(msg)
    unknown = set(key.operations or ()).difference(ServiceOperation)
    if unknown:
        msg = f"operations must be from {', '.join(ServiceOperation)}"
        raise BadUserInput(msg)
    if key.expires_at is not None:
        _check_end(key.expires_at, now)


def _check_end(expires_at: datetime, now: datetime) -> None:
    check_moment(expires_at, "the key's end")
    if expires_at <= now:
        raise BadUserInput("the expiry time must be in the future")


async def _check_accounts(transaction: LedgerTransaction, key: NewKey, now: datetime) -> None:
    if key.account_id is not None:
        await locked_account(transaction, key.account_id)
        await _check_room(transaction, key, key.account_id, now)
    named = set(key.account_ids or ())
    missing = named - await _existing(transaction, named) if named else set()
    if missing:
        raise _no_account(min(missing))


async def _existing(transaction: LedgerTransaction, named: set[int]) -> set[int]:
    """Returns the accounts that exist, on whichever shard."""
    place = place_of(transaction.connection)
    own = {number for number in named if place is None or shard_of_id(number) == place.number}
    found = await usage_writes.existing_accounts(transaction.connection, own) if own else set()
    if place is not None:
        for number in named - own:
            if await accounts.has_account(place.shards.of_id(number), number):
                found.add(number)
    return found


async def _check_room(transaction: LedgerTransaction, key: NewKey, account_id: int, now: datetime) -> None:
    """Raises Conflict if the account, which must be locked, has too many keys."""
    sessions = key.session_of is not None
    valid = await rows.valid_key_count(transaction.connection, account_id, now, sessions=sessions)
    limit, kind = (MAX_SESSIONS, "sessions") if sessions else (MAX_VALID_KEYS, "keys")
    if valid >= limit:
        msg = f"{account_id_text(account_id)} already has {valid} valid {kind}; the limit is {limit}: revoke one"
        raise Conflict(msg)


def _no_account(account_id: int) -> NotFound:
    return NotFound(f"there is no account {account_id_text(account_id)}")


async def create_key(transaction: LedgerTransaction, new: NewKey, actor: Actor) -> IssuedKey:
    """Creates a key. Raises BadUserInput, NotFound for an unknown account, and Conflict if the account has too many
    keys."""
    now = transaction.clock()
    _check_new(new, now)
    await _check_accounts(transaction, new, now)
    prefix, secret = _new_secret(place_of(transaction.connection))
    values = {
        "prefix": prefix,
        "digest": digest_of(secret),
        "scope": new.scope.value,
        "account_id": new.account_id,
        "account_ids": _json_list(new.account_ids),
        "operations": _json_list(new.operations),
        "owner": new.owner,
        "created_at": now,
        "expires_at": new.expires_at,
        "allowed_addresses": addresses.stored(new.allowed_addresses),
        "session_of": new.session_of,
    }
    row = await rows.insert_key(transaction.connection, values)
    entry = AuditedAction(
        "createApiKey",
        actor,
        row.account_id,
        prefix,
        f"{row.scope} {'key' if new.session_of is None else 'session'} of {row.owner}",
        new_value=describe_key(row),
    )
    await note(transaction, entry)
    return IssuedKey(secret, row)


def describe_key(row: ApiKeyRow) -> str:
    """Returns what the key may do in one line, for the audit list."""
    ends = "until revoked" if row.expires_at is None else f"until {format_time(row.expires_at)}"
    listed = [f"only {', '.join(json.loads(row.operations))}"] if row.operations is not None else []
    allowed = [f"from {', '.join(json.loads(row.allowed_addresses))}"] if row.allowed_addresses is not None else []
    rate = [_describe_rate(row)] if row.points_per_second is not None else []
    return "; ".join((f"{row.scope}, {ends}", *listed, *allowed, *rate))


def _describe_rate(row: ApiKeyRow) -> str:
    rate = _rate_of(row)
    if rate is None:
        return "the rate of its scope"
    return f"{rate.points_per_second} points a second, {rate.burst_points} at once"


async def locked_key(transaction: LedgerTransaction, prefix: str) -> ApiKeyRow:
    """Locks the key and returns it. Raises NotFound."""
    row = await rows.key_by_prefix(transaction.connection, prefix) if _PREFIX.fullmatch(prefix) else None
    if row is None:
        raise no_key(prefix)
    return row


def no_key(prefix: str) -> NotFound:
    return NotFound(f"there is no key {prefix if _PREFIX.fullmatch(prefix) else 'with such a prefix: eco_k3x7q2ab'}")


def check_grace(grace: timedelta) -> None:
    if not timedelta() <= grace <= MAX_GRACE:
        msg = f"the grace period must be between 0 seconds and {MAX_GRACE.days} days"
        raise BadUserInput(msg)


async def rotate_key(transaction: LedgerTransaction, old: ApiKeyRow, grace: timedelta, actor: Actor) -> IssuedKey:
    """Creates a key with the rights of the old key, which stays valid for `grace`. Raises BadUserInput and Conflict."""
    check_grace(grace)
    now = transaction.clock()
    if not is_valid(old, now):
        msg = f"the key {old.prefix} has expired or was revoked: create a new one"
        raise Conflict(msg)
    if old.replaced_by is not None:
        msg = f"the key {old.prefix} was already rotated and is in its grace period: rotate the key that replaced it"
        raise Conflict(msg)
    prefix, secret = _new_secret(place_of(transaction.connection))
    fresh = {"prefix": prefix, "digest": digest_of(secret), "created_at": now, "revoked_at": None}
    values = old._asdict() | fresh | {"last_used_at": None, "last_used_address": None}
    del values["id"]
    new = await rows.insert_key(transaction.connection, values)
    ends = now + grace if old.expires_at is None else min(now + grace, old.expires_at)
    ending = {"expires_at": ends} if grace else {"revoked_at": now}
    await rows.update_key(transaction.connection, old.id, {"replaced_by": new.id, **ending})
    await rows.end_sessions(transaction.connection, old.id, **ending)
    entry = AuditedAction(
        "rotateApiKey",
        actor,
        old.account_id,
        old.prefix,
        f"{prefix} takes its place",
        old_value=describe_key(old),
        new_value=describe_key(old._replace(expires_at=ends)) if grace else "revoked",
    )
    await note(transaction, entry)
    return IssuedKey(secret, new)


async def revoke_key(transaction: LedgerTransaction, row: ApiKeyRow, actor: Actor) -> ApiKeyRow:
    """Revokes the key and its sessions. Revoking a key again keeps the first time and adds no audit entry."""
    if row.revoked_at is not None:
        return row
    now = transaction.clock()
    await rows.update_key(transaction.connection, row.id, {"revoked_at": now})
    await rows.end_sessions(transaction.connection, row.id, revoked_at=now)
    entry = AuditedAction(
        "revokeApiKey", actor, row.account_id, row.prefix, old_value=describe_key(row), new_value="revoked"
    )
    await note(transaction, entry)
    return row._replace(revoked_at=now)


async def set_key_rate(transaction: LedgerTransaction, row: ApiKeyRow, rate: KeyRate | None, actor: Actor) -> ApiKeyRow:
    """Gives the key a rate of its own, or that of its scope. Raises BadUserInput."""
    _check_rate(rate)
    points_per_second, burst_points = rate or (None, None)
    changed = row._replace(points_per_second=points_per_second, burst_points=burst_points)
    if changed == row:
        return row
    values = {"points_per_second": points_per_second, "burst_points": burst_points}
    await rows.update_key(transaction.connection, row.id, values)
    old, new = _describe_rate(row), _describe_rate(changed)
    entry = AuditedAction("setApiKeyRate", actor, row.account_id, row.prefix, old_value=old, new_value=new)
    await note(transaction, entry)
    return changed


def key_rate(points_per_second: int | None, burst_points: int | None) -> KeyRate | None:
    """Returns the rate; without a burst, that of BURST_SECONDS. Raises BadUserInput."""
    if points_per_second is None:
        if burst_points is not None:
            raise BadUserInput("burst requires pointsPerSecond")
        return None
    seconds_of_points = min(points_per_second * BURST_SECONDS, MAX_BURST_POINTS)
    return KeyRate(points_per_second, seconds_of_points if burst_points is None else burst_points)


def _check_rate(rate: KeyRate | None) -> None:
    if rate is None:
        return
    if not 1 <= rate.points_per_second <= MAX_POINTS_PER_SECOND:
        msg = f"pointsPerSecond must be between 1 and {MAX_POINTS_PER_SECOND}"
        raise BadUserInput(msg)
    if not 1 <= rate.burst_points <= MAX_BURST_POINTS:
        msg = f"burst must be between 1 and {MAX_BURST_POINTS}"
        raise BadUserInput(msg)


class Keys:
    """Creates, rotates and revokes keys, each in its own transaction, for callers with direct access to the
    database."""

    def __init__(self, database: Database, clock: Clock = utc_now, actor: Actor = COMMAND_LINE) -> None:
        self._database = database
        self._ledger = Ledger(database, clock)
        self._actor = actor

    async def create(self, new: NewKey) -> IssuedKey:
        return await self._ledger.within(lambda transaction: create_key(transaction, new, self._actor))

    async def create_session(self, principal: Principal, new: NewKey) -> IssuedKey:
        """Creates a key that ends with the principal's key, which a sign-in link was made with. The session may be used
        from everywhere, unless the new key says otherwise.

        Raises Unauthenticated if that key has ended meanwhile, and Conflict if the account has too many sessions.
        """

        async def created(transaction: LedgerTransaction) -> IssuedKey:
            # Locked: whoever revokes the key meanwhile must find the session.
            row = await acting_row(transaction, principal, lock=True)
            check_end(row, new.expires_at)
            return await create_key(transaction, replace(new, session_of=row.session_of or row.id), actor_of(row))

        return await self._ledger.within(created)

    async def list(self, account_id: int | None = None) -> list[ApiKeyRow]:
        if account_id is not None:
            async with self._database.snapshot() as snapshot:
                if not await snapshot.read(  # pragma: no branch  the end of `async with`
                    accounts.accounts_by_id(snapshot.is_postgresql, [account_id])
                ):
                    raise _no_account(account_id)
        return await rows.all_keys(self._database, account_id)

    async def rotate(self, prefix: str, grace: timedelta = timedelta()) -> IssuedKey:
        async def rotated(transaction: LedgerTransaction) -> IssuedKey:
            return await rotate_key(transaction, await locked_key(transaction, prefix), grace, self._actor)

        return await self._ledger.within(rotated)

    async def revoke(self, prefix: str) -> ApiKeyRow:
        async def revoked(transaction: LedgerTransaction) -> ApiKeyRow:
            return await revoke_key(transaction, await locked_key(transaction, prefix), self._actor)

        return await self._ledger.within(revoked)

    async def set_rate(self, prefix: str, rate: KeyRate | None) -> ApiKeyRow:
        async def changed(transaction: LedgerTransaction) -> ApiKeyRow:
            return await set_key_rate(transaction, await locked_key(transaction, prefix), rate, self._actor)

        return await self._ledger.within(changed)


async def acting_key(transaction: LedgerTransaction, principal: Principal) -> Actor:
    """Returns the actor of the key, as the key is now: an audit entry must not name a key that was revoked a second
    ago.

    Raises Unauthenticated.
    """
    return actor_of(await acting_row(transaction, principal))


def actor_of(row: ApiKeyRow) -> Actor:
    return Actor(row.prefix, row.owner, row.scope)


async def acting_row(transaction: LedgerTransaction, principal: Principal, *, lock: bool = False) -> ApiKeyRow:
    """The key as it is now. Raises Unauthenticated.

    A key of another shard is read there and not locked: sessions that it begins look it up (`has_valid_parent`).
    """
    place, now = place_of(transaction.connection), transaction.clock()
    # A key of an account acts on its account's shard only.
    is_elsewhere = place is not None and principal.account_id is None and shard_of_id(principal.key_id) != place.number
    home = None if place is None else place.shards.databases[place.number]
    if place is not None and is_elsewhere:
        home = place.shards.of_id(principal.key_id)
        row = await rows.read_key(home, principal.key_id)
    else:
        row = await rows.key_by_id(transaction.connection, principal.key_id, lock=lock)
    if row is None or not is_valid(row, now):
        raise Unauthenticated("the API key has expired or was revoked")
    if home is not None and not await has_valid_parent(home, row, now):
        raise Unauthenticated("the API key has expired or was revoked")
    return row


def check_child(parent: ApiKeyRow, expires_at: datetime | None, allowed: Networks | None) -> None:
    """A key that a key creates ends no later than it, whatever its scope, and can be used from nowhere else.

    Raises BadUserInput.
    """
    check_end(parent, expires_at)
    if not addresses.are_within(allowed, addresses.read(parent.allowed_addresses)):
        raise BadUserInput("allowedAddresses must be within those of the calling key")


def check_end(parent: ApiKeyRow, expires_at: datetime | None) -> None:
    """Raises BadUserInput if a key that ends at this time would outlive the key that creates it."""
    if parent.expires_at is not None and (expires_at is None or expires_at > parent.expires_at):
        msg = f"expiresAt must not be later than the expiry of the calling key, {format_time(parent.expires_at)}"
        raise BadUserInput(msg)


def is_valid(row: ApiKeyRow, now: datetime) -> bool:
    return row.revoked_at is None and (row.expires_at is None or now < row.expires_at)


async def key_with_digest(database: Database, digest: bytes, prefix: str) -> tuple[Database, ApiKeyRow, int] | None:
    """Returns the key with the number of its account's ledger rows, and the shard that has it: prefixes of keys that
    are younger than the set say which, or which one knows where the key was moved to."""
    failure: DatabaseError | None = None
    for one in (database,) if database.place is None else database.place.shards.of_text(prefix):
        try:
            found = await followed(one, lambda shard: rows.key_by_digest(shard, digest))
        except DatabaseError as error:
            # The key may be older than the set: then another shard has it.
            failure = error
        else:
            if found is not None:
                return found[0], *found[1]
    if failure is not None:
        raise failure
    return None


async def followed(
    database: Database, look_up: Callable[[Database], Awaitable[Found | None]]
) -> tuple[Database, Found] | None:
    """Looks something of a key up, where the key is: if it was moved with its account, on the shard that has it now.
    Returns what was found, with the shard."""
    for _ in range(MAX_TRIES):
        try:
            found = await look_up(database)
        except rows.KeyElsewhere as elsewhere:
            database = await found_account(database, elsewhere.account_id)
        else:
            return None if found is None else (database, found)
    raise DatabaseUnavailable("the key's account is being moved")


async def shard_of_prefix(database: Database, prefix: str) -> int:
    """Returns the shard that has the key with this prefix, or 0."""
    if database.place is not None and _PREFIX.fullmatch(prefix):
        for one in database.place.shards.of_text(prefix):
            found = await followed(one, lambda shard: _prefix_in(shard, prefix))
            if found is not None and found[0].place is not None:
                return found[0].place.number
    return 0


async def _prefix_in(database: Database, prefix: str) -> str | None:
    return prefix if await rows.has_key(database, prefix) else None


async def has_valid_parent(database: Database, row: ApiKeyRow, now: datetime) -> bool:
    """Returns whether the key that the session ends with is valid, if it may be on another shard than the session.
    `database` has the session."""
    parent_id = principal_in(database, row).parent_id
    if parent_id is None:
        return True
    home = home_of(database, parent_id)
    parent = await rows.read_key(home, parent_id)
    if parent is None and home is not database:
        # A key of the same account: it was moved with it.
        parent = await rows.read_key(database, parent_id)
    return parent is not None and is_valid(parent, now)


async def valid_keys(database: Database, principals: Collection[Principal], now: datetime) -> set[int]:
    """Returns the ids of the keys that are valid. Takes one statement, or one for each shard that has some."""
    valid: set[int] = set()
    left = principals
    while left:
        asked = {one.key_id: shard_of_key(database, one) for one in left}
        valid |= await _valid_keys(database, left, now)
        # Keys that are not valid where they were may have been moved.
        left = [
            one
            for one in left
            if one.key_id not in valid
            and one.account_id is not None
            and await found_account(database, one.account_id) is not asked[one.key_id]
        ]
    return valid


async def _valid_keys(database: Database, principals: Collection[Principal], now: datetime) -> set[int]:
    asked: dict[Database, set[int]] = {}
    for one in principals:
        own = shard_of_key(database, one)
        asked.setdefault(own, set()).add(one.key_id)
        if one.parent_id is not None:
            asked[own].add(one.parent_id)
            asked.setdefault(home_of(database, one.parent_id), set()).add(one.parent_id)
    valid: set[int] = set()
    for shard, key_ids in asked.items():
        valid |= await rows.valid_key_ids(shard, key_ids, now)
    return {one.key_id for one in principals if {one.key_id, one.parent_id} - {None} <= valid}
