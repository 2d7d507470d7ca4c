"""Signing operators' staff in by OpenID Connect: the provider says who it is, and the console gets a session.

The authorization code flow with PKCE. What must come back unchanged is in a cookie of ten minutes that scripts cannot
read; nothing is stored before the provider has answered for the person.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic
from typing import Any, Final
from urllib.parse import urlencode

import aiohttp
import orjson
import structlog
from aiohttp import hdrs, web
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet
from yarl import URL

from access.keys import Keys, KeyScope, NewKey, principal_of
from access.sign_in_links import own_session
from access.tokens import Purpose
from gateway.errors import RequestError
from gateway.services import SERVICES, Services
from gateway.settings import Settings
from ledger.audit import Actor
from ledger.errors import Forbidden, Unauthenticated

PATH: Final = "/console/operators/sign-in"
CALLBACK: Final = "/console/operators/callback"
SESSION: Final = timedelta(hours=8)

_COOKIE: Final = "billing_staff"
_COOKIE_PATH: Final = "/console/operators"
_COOKIE_SECONDS: Final = 600
_CODE_LIFETIME: Final = timedelta(minutes=1)
_TIMEOUT: Final = aiohttp.ClientTimeout(total=10)
_MAX_ANSWER_BYTES: Final = 262_144
# Never `none`, and no shared secrets: whoever knows the client's secret could sign.
_ALGORITHMS: Final = ("RS256", "ES256")
_CLOCK_LEEWAY_SECONDS: Final = 60
_ENDPOINTS: Final = ("authorization_endpoint", "token_endpoint", "jwks_uri")
_AT_ONCE: Final = 8
_KNOWN_SECONDS: Final = 300.0
_REFUSED: Final = "the sign-in was not confirmed: start again"

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Provider:
    issuer: str
    client_id: str
    client_secret: str
    operators: frozenset[str]
    """Verified e-mail addresses of those who may sign in, in lower case."""
    public_url: str

    @property
    def redirect_uri(self) -> str:
        return f"{self.public_url}{CALLBACK}"


def provider_of(settings: Settings) -> Provider:
    # Settings are checked together: all are given, or none is, and without them there is no route here.
    assert settings.oidc_issuer is not None
    assert settings.oidc_client_id is not None
    assert settings.oidc_client_secret is not None
    assert settings.public_url is not None
    return Provider(
        settings.oidc_issuer,
        settings.oidc_client_id,
        settings.oidc_client_secret.get_secret_value(),
        settings.oidc_operators_listed,
        settings.public_url,
    )


async def _answer(client: aiohttp.ClientSession, method: str, url: str, **options: Any) -> dict[str, Any]:
    """Returns the provider's JSON object. Raises RequestError if there is none."""
    try:
        async with client.request(method, url, allow_redirects=False, **options) as response:
            response.raise_for_status()
            body = await response.content.read(_MAX_ANSWER_BYTES)
            found = orjson.loads(body) if response.content.at_eof() else None
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        # The provider's text may repeat what was sent.
        log.warning("identity provider failed", reason=type(error).__name__)
        raise RequestError("UNAVAILABLE", "the identity provider did not answer: try again") from None
    if not isinstance(found, dict):
        raise RequestError("UNAVAILABLE", "the identity provider did not answer with an object")
    return found


class StaffSignIn:
    """The two pages of a sign-in. Anyone may open them, so few at once ask the provider, and its addresses are kept."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._known: Mapping[str, Any] = {}
        self._known_until = 0.0

    @asynccontextmanager
    async def _client(self) -> AsyncIterator[aiohttp.ClientSession]:
        if self._slots.locked():
            raise RequestError("UNAVAILABLE", "too many people sign in at the moment: try again")
        async with self._slots, aiohttp.ClientSession(timeout=_TIMEOUT) as client:
            yield client

    async def _configuration(self, client: aiohttp.ClientSession) -> Mapping[str, Any]:
        if monotonic() < self._known_until:
            return self._known
        issuer = self._provider.issuer
        found = await _answer(client, "GET", f"{issuer.rstrip('/')}/.well-known/openid-configuration")
        if found.get("issuer") != issuer or not all(isinstance(found.get(name), str) for name in _ENDPOINTS):
            raise RequestError("UNAVAILABLE", "the identity provider's configuration is not that of the issuer")
        self._known, self._known_until = found, monotonic() + _KNOWN_SECONDS
        return found

    async def begin(self, _request: web.Request) -> web.Response:
        """Leads the browser to the provider."""
        provider = self._provider
        async with self._client() as client:
            configuration = await self._configuration(client)
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        asked = {
            "response_type": "code",
            "client_id": provider.client_id,
            "redirect_uri": provider.redirect_uri,
            "scope": "openid email",
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        endpoint = URL(configuration["authorization_endpoint"])
        response = _redirect(str(endpoint.update_query(asked)))
        response.set_cookie(
            _COOKIE,
            ".".join((state, nonce, verifier)),
            path=_COOKIE_PATH,
            max_age=_COOKIE_SECONDS,
            secure=provider.public_url.startswith("https://"),
            httponly=True,
            # The provider leads back from another site: Strict would not be sent then.
            samesite="Lax",
        )
        return response

    async def finish(self, request: web.Request) -> web.Response:
        """Leads to the console, signed in. Raises Unauthenticated for an answer that this browser did not ask for, and
        Forbidden for people who are not listed."""
        services = request.app[SERVICES]
        parts = request.cookies.get(_COOKIE, "").split(".")
        given = request.query
        if len(parts) != 3 or not hmac.compare_digest(parts[0].encode(), given.get("state", "").encode()):
            raise Unauthenticated(_REFUSED)
        _, nonce, verifier = parts
        if not given.get("code"):
            raise Unauthenticated(_REFUSED)
        claims = await self._claims(given["code"], nonce, verifier, int(services.clock().timestamp()))
        email = claims.get("email")
        # A person who may set any address at the provider, unverified, must not become somebody else.
        if not isinstance(email, str) or claims.get("email_verified") is not True:
            raise Forbidden("the identity provider names no verified e-mail address")
        if email.lower() not in self._provider.operators:
            raise Forbidden("this person is not listed as an operator")
        response = _redirect(f"/console/#code={await _code(services, email.lower())}")
        response.del_cookie(_COOKIE, path=_COOKIE_PATH)
        return response

    async def _claims(self, code: str, nonce: str, verifier: str, now: int) -> dict[str, Any]:
        """Exchanges the code for the ID token. Returns its claims. Raises Unauthenticated if one of them is wrong."""
        provider = self._provider
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": provider.redirect_uri,
            "code_verifier": verifier,
            "client_id": provider.client_id,
            "client_secret": provider.client_secret,
        }
        async with self._client() as client:
            configuration = await self._configuration(client)
            headers = {hdrs.CONTENT_TYPE: "application/x-www-form-urlencoded"}
            answer = await _answer(
                client, "POST", configuration["token_endpoint"], data=urlencode(form).encode(), headers=headers
            )
            keys = await _answer(client, "GET", configuration["jwks_uri"])
        wanted = jwt.JWTClaimsRegistry(
            now=now,
            leeway=_CLOCK_LEEWAY_SECONDS,
            iss={"essential": True, "value": provider.issuer},
            aud={"essential": True, "value": provider.client_id},
            exp={"essential": True},
            iat={"essential": True},
            nonce={"essential": True, "value": nonce},
        )
        try:
            token = jwt.decode(str(answer.get("id_token")), KeySet.import_key_set(keys), _ALGORITHMS)  # type: ignore[arg-type]
            wanted.validate(token.claims)
        except (JoseError, ValueError, KeyError, TypeError) as error:
            log.warning("identity token refused", reason=type(error).__name__)
            raise Unauthenticated(_REFUSED) from None
        return token.claims


def _redirect(location: str) -> web.Response:
    headers: dict[str, str] = {hdrs.LOCATION: location, hdrs.CACHE_CONTROL: "no-store"}
    return web.Response(status=302, headers=headers | {"Referrer-Policy": "no-referrer"})


async def _code(services: Services, email: str) -> str:
    """Returns the code of a sign-in link. Nobody has its key: the session ends with it when it is revoked."""
    new = NewKey(KeyScope.OPERATOR, email, expires_at=services.clock() + SESSION)
    key = await Keys(services.database, services.clock, Actor("openid-connect", email)).create(new)
    return await services.tokens.issue(principal_of(key.row), Purpose.SIGN_IN, _CODE_LIFETIME, own_session(email))


def add_staff_routes(app: web.Application, settings: Settings) -> None:
    pages = StaffSignIn(provider_of(settings))
    app.router.add_get(PATH, pages.begin)
    app.router.add_get(CALLBACK, pages.finish)
