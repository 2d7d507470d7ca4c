"""The cookie of a browser's event streams: its EventSource sends no header with a key, and no key stands in an address.

The cookie is a token, good for event streams alone, and sent by the browser to these paths alone, from pages of this
origin alone. `POST /graphql/session` sets it for a key, `DELETE` gives it up.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from aiohttp import hdrs, web

from access.keys import Principal
from access.tokens import Purpose
from gateway.errors import RequestError
from gateway.requests import RATE, admit, authenticate
from gateway.same_origin import check_origin
from gateway.services import SERVICES
from schema.costs import TOKEN

COOKIE: Final = "billing_stream"
PATH: Final = "/graphql/session"
LIFETIME: Final = timedelta(hours=12)

_SENT_TO: Final = "/graphql"


def _check_page(request: web.Request) -> None:
    """Raises RequestError where a page of another origin is at work: of the same site too, which SameSite lets pass."""
    check_origin(request)
    if request.headers.get("Sec-Fetch-Site", "same-origin") != "same-origin":
        raise RequestError("FORBIDDEN", "pages of other origins may not do this")


def _is_https(request: web.Request) -> bool:
    """Whether the browser sees HTTPS: a proxy may end TLS. A client that falsely claims it spoils its own cookie."""
    proto = request.headers.get("X-Forwarded-Proto", request.scheme).partition(",")[0].strip().lower()
    return proto == "https" or request.headers.get(hdrs.ORIGIN, "").startswith("https://")


async def begin_session(request: web.Request) -> web.Response:
    """Raises Unauthenticated, RequestError and RateExceeded."""
    _check_page(request)
    principal, services = await authenticate(request), request.app[SERVICES]
    request[RATE] = await services.admission.spend(principal, TOKEN)
    tokens = services.tokens
    token = await tokens.issue(principal, Purpose.STREAM, LIFETIME)
    former = request.cookies.get(COOKIE)
    if former is not None:
        await tokens.delete(former)
    response = web.Response(status=204)
    response.set_cookie(
        COOKIE,
        token,
        path=_SENT_TO,
        max_age=int(LIFETIME.total_seconds()),
        secure=_is_https(request),
        httponly=True,
        samesite="Strict",
    )
    return response


async def end_session(request: web.Request) -> web.Response:
    """Raises RequestError. Nothing happens where there is none."""
    _check_page(request)
    token = request.cookies.get(COOKIE)
    if token is not None:
        await request.app[SERVICES].tokens.delete(token)
    response = web.Response(status=204)
    response.del_cookie(COOKIE, path=_SENT_TO, secure=_is_https(request), httponly=True, samesite="Strict")
    return response


async def principal_of_session(request: web.Request) -> Principal | None:
    """None where there is no cookie. Raises Unauthenticated and RequestError."""
    token = request.cookies.get(COOKIE)
    if token is None:
        return None
    _check_page(request)
    services = request.app[SERVICES]
    return admit(request, (await services.tokens.redeem(token, Purpose.STREAM)).principal)
