"""Signing in to the console by a link: a code that is good once becomes a key of the same rights, for some hours."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import Final

import orjson
from aiohttp import hdrs, web

from access.keys import Keys, NewKey
from access.tokens import Purpose
from gateway.json_bodies import posted_text
from gateway.requests import KEY_PREFIX, admit, read_anonymous_body
from gateway.services import SERVICES
from ledger.chain import format_time

PATH: Final = "/console/sign-in"
LIFETIME: Final = timedelta(hours=12)
OWNER: Final = "console"
MAX_BYTES: Final = 1_024
"""Maximum size of a body: a code has less than a tenth of it."""


async def sign_in(request: web.Request) -> web.Response:
    """Raises Unauthenticated for a code that is unknown, was used, or whose key is no longer valid."""
    services = request.app[SERVICES]
    code = await posted_text(request, "code", partial(read_anonymous_body, max_bytes=MAX_BYTES))
    principal = admit(request, (await services.tokens.redeem(code, Purpose.SIGN_IN)).principal)
    ends = services.clock() + LIFETIME
    new = NewKey(
        scope=principal.scope,
        owner=OWNER,
        account_id=principal.account_id,
        account_ids=None if principal.account_ids is None else tuple(principal.account_ids),
        operations=None if principal.operations is None else tuple(principal.operations),
        expires_at=ends if principal.expires_at is None else min(ends, principal.expires_at),
        allowed_addresses=principal.allowed_addresses,
    )
    issued = await Keys(services.database, services.clock).create_for(principal, new)
    request[KEY_PREFIX] = issued.row.prefix
    assert new.expires_at is not None
    body = {"key": issued.secret, "expiresAt": format_time(new.expires_at)}
    headers: dict[str, str] = {hdrs.CACHE_CONTROL: "no-store"}
    return web.Response(body=orjson.dumps(body), status=201, content_type="application/json", headers=headers)
