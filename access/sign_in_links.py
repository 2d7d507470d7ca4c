"""Sign-in links: a customer whom a platform has signed in opens the console without a key of their own.

The link has a token that can be redeemed once. It becomes a session: a key of one account that ends after some hours,
and no later than the key that made the link.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Final

from access.keys import OF_ACCOUNTS, KeyScope, NewKey, Principal
from access.tokens import Purpose, Token, insert_token
from db import keys
from db.rows import ApiKeyRow
from db.shards import place_of, shard_of_id
from ledger.errors import BadUserInput
from ledger.posting import LedgerTransaction
from ledger.texts import ADDRESS, OWNER

CONSOLE: Final = "/console/"
SESSION: Final = timedelta(hours=12)
"""How long a session lasts unless its link says otherwise."""
SESSION_OWNER: Final = "console"
MIN_LINK_SECONDS: Final = 30
MAX_LINK_SECONDS: Final = 3_600
MIN_SESSION_SECONDS: Final = 300
MAX_SESSION_SECONDS: Final = 86_400

# The Billing page and its parameters: no other path, no fragment, and nothing that a browser would read as a host.
_RETURN_PATH: Final = re.compile(r"/console/(\?[A-Za-z0-9._~!$&'()*+,;=:@/?%-]*)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Grant:
    """The rights that a link gives. Kept with the token."""

    account_id: int
    scope: str
    owner: str
    seconds: int
    """Maximum duration of the session."""


@dataclass(frozen=True, slots=True)
class NewLink:
    grant: Grant
    expires_in: timedelta
    return_path: str = CONSOLE


def check_link(link: NewLink) -> None:
    """Raises BadUserInput."""
    grant = link.grant
    OWNER.checked(grant.owner, "owner")
    if grant.scope not in OF_ACCOUNTS:
        raise BadUserInput("scope must be READ or MANAGE")
    _check_seconds("expiresInSeconds", link.expires_in.total_seconds(), MIN_LINK_SECONDS, MAX_LINK_SECONDS)
    _check_seconds("sessionSeconds", grant.seconds, MIN_SESSION_SECONDS, MAX_SESSION_SECONDS)
    ADDRESS.checked(link.return_path, "returnPath")
    if _RETURN_PATH.fullmatch(link.return_path) is None:
        raise BadUserInput("returnPath must be /console/ with parameters of the page: /console/?tab=usage")


def _check_seconds(argument: str, seconds: float, low: int, high: int) -> None:
    if not low <= seconds <= high:
        msg = f"{argument} must be {low} to {high}"
        raise BadUserInput(msg)


async def create_link(transaction: LedgerTransaction, caller: ApiKeyRow, link: NewLink) -> str:
    """Returns the address of the link, without its origin. The caller's key must be locked."""
    payload = json.dumps(asdict(link.grant))
    token = await _link_token(transaction, caller, link.expires_in, payload)
    # The token follows the #: browsers do not send that part, so the token is in no log.
    return f"{link.return_path}#code={token}"


async def _link_token(transaction: LedgerTransaction, caller: ApiKeyRow, lifetime: timedelta, payload: str) -> str:
    """Returns a new token on the shard of the caller's key. If that is another one, the token is committed first:
    nobody knows it if the transaction fails."""
    place, now = place_of(transaction.connection), transaction.clock()
    if place is None or shard_of_id(caller.id) == place.number:
        return await insert_token(transaction.connection, caller, Purpose.SIGN_IN, now, lifetime, payload)
    async with place.shards.of_id(caller.id).write() as connection:
        await keys.key_by_id(connection, caller.id)
        return await insert_token(connection, caller, Purpose.SIGN_IN, now, lifetime, payload)


def session_key(token: Token, now: datetime) -> NewKey:
    """Returns the key to create for a redeemed token. Without a grant it has the rights of the key of the token."""
    if token.payload is None:
        return _own_session(token.principal, now)
    given = json.loads(token.payload)
    if "account_id" not in given:
        return _own_session(token.principal, now, **given)
    grant = Grant(**given)
    return NewKey(
        KeyScope(grant.scope),
        grant.owner,
        account_id=grant.account_id,
        expires_at=_end(token.principal, now + timedelta(seconds=grant.seconds)),
    )


def own_session(owner: str) -> str:
    """Returns the payload of a token whose session has the rights of its key and this owner."""
    return json.dumps({"owner": owner})


def _own_session(principal: Principal, now: datetime, owner: str = SESSION_OWNER) -> NewKey:
    return NewKey(
        principal.scope,
        owner,
        account_id=principal.account_id,
        account_ids=None if principal.account_ids is None else tuple(principal.account_ids),
        operations=None if principal.operations is None else tuple(principal.operations),
        expires_at=_end(principal, now + SESSION),
        allowed_addresses=principal.allowed_addresses,
    )


def _end(principal: Principal, end: datetime) -> datetime:
    return end if principal.expires_at is None else min(end, principal.expires_at)
