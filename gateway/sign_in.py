"""Signing in to the console by a link: a code that is good once becomes a key for some hours."""

from __future__ import annotations

from functools import partial
from typing import Final

import orjson
from aiohttp import hdrs, web

from access.keys import IssuedKey, Keys, NewKey, Principal
from access.sign_in_links import session_key
from access.tokens import Purpose
from db.shards import account_shard, found_account
from gateway.json_bodies import posted_text
from gateway.requests import KEY_PREFIX, admit, read_anonymous_body
from gateway.services import SERVICES, Services
from ledger.chain import format_time
from ledger.errors import NotFound, Unauthenticated

PATH: Final = "/console/sign-in"
MAX_BYTES: Final = 1_024
"""Maximum size of a body: a code has less than a tenth of it."""


async def _created(services: Services, principal: Principal, new: NewKey) -> IssuedKey:
    """Creates the session on its account's shard."""
    if new.account_id is None:
        return await Keys(services.database, services.clock).create_session(principal, new)
    shard = account_shard(services.database, new.account_id)
    try:
        return await Keys(shard, services.clock).create_session(principal, new)
    except (NotFound, Unauthenticated):
        # The account may have been moved.
        shard = await found_account(services.database, new.account_id)
        return await Keys(shard, services.clock).create_session(principal, new)


async def sign_in(request: web.Request) -> web.Response:
    """Raises Unauthenticated for a code that is unknown, was used, or whose key is no longer valid."""
    services = request.app[SERVICES]
    code = await posted_text(request, "code", partial(read_anonymous_body, max_bytes=MAX_BYTES))
    token = await services.tokens.redeem(code, Purpose.SIGN_IN)
    if token.payload is None:
        # A link for somebody else is opened elsewhere than where its key may be used.
        admit(request, token.principal)
    new = session_key(token, services.clock())
    issued = await _created(services, token.principal, new)
    request[KEY_PREFIX] = issued.row.prefix
    assert new.expires_at is not None
    body = {"key": issued.secret, "expiresAt": format_time(new.expires_at)}
    headers: dict[str, str] = {hdrs.CACHE_CONTROL: "no-store"}
    return web.Response(body=orjson.dumps(body), status=201, content_type="application/json", headers=headers)
