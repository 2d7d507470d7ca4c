"""Operators' staff sign in by OpenID Connect, at a provider that this file plays."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import pytest
from aiohttp import CookieJar, web
from aiohttp.test_utils import TestClient, TestServer
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

from access.keys import Keys
from gateway.app import build_app
from gateway.commands.options import settings_of
from gateway.services import Services, build_services

NOW: Final = datetime(2026, 11, 24, 12, tzinfo=UTC)
BEGIN, CALLBACK = "/console/operators/sign-in", "/console/operators/callback"


@dataclass
class Provider:
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "one"}))
    signing: RSAKey | None = None
    changed: dict[str, Any] = field(default_factory=dict)
    """Claims of the next token that differ."""
    asked: dict[str, str] = field(default_factory=dict)
    posted: dict[str, Any] = field(default_factory=dict)
    issuer: str = ""

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/.well-known/openid-configuration", self._configuration)
        app.router.add_get("/keys", self._keys)
        app.router.add_post("/token", self._token)
        return app

    async def _configuration(self, _request: web.Request) -> web.Response:
        ends = {"authorization_endpoint": "authorize", "token_endpoint": "token", "jwks_uri": "keys"}
        return web.json_response({"issuer": self.issuer} | {k: f"{self.issuer}/{v}" for k, v in ends.items()})

    async def _keys(self, _request: web.Request) -> web.Response:
        return web.json_response(KeySet([self.key]).as_dict(private=False))

    async def _token(self, request: web.Request) -> web.Response:
        self.posted = dict(await request.post())
        seconds = int(NOW.timestamp())
        claims = {
            "iss": self.issuer,
            "aud": "billing",
            "iat": seconds,
            "exp": seconds + 60,
            "nonce": self.asked["nonce"],
            "email": "Ada@Example.com",
            "email_verified": True,
        } | self.changed
        token = jwt.encode({"alg": "RS256", "kid": "one"}, claims, self.signing or self.key)
        return web.json_response({"id_token": token, "token_type": "Bearer"})


@dataclass
class Door:
    client: TestClient[web.Request, web.Application]
    services: Services
    provider: Provider

    async def begin(self) -> str:
        """Returns the state that the provider would send back."""
        async with self.client.get(BEGIN, allow_redirects=False) as response:
            assert response.status == 302
            asked = parse_qs(urlsplit(response.headers["Location"]).query)
        self.provider.asked = {name: values[0] for name, values in asked.items()}
        return self.provider.asked["state"]

    async def come_back(self, state: str, code: str = "c") -> tuple[int, str]:
        async with self.client.get(CALLBACK, params={"state": state, "code": code}, allow_redirects=False) as response:
            if response.status == 302:
                return 302, response.headers["Location"]
            return response.status, (await response.json())["error"]["code"]


@pytest.fixture
async def door(database_url: str) -> AsyncIterator[Door]:
    provider = Provider()
    async with TestServer(provider.app()) as server:
        provider.issuer = f"http://127.0.0.1:{server.port}"
        settings = settings_of(
            {
                "database_url": database_url,
                "key_cache_seconds": 0,
                "public_url": "http://billing.example.com",
                "oidc_issuer": provider.issuer,
                "oidc_client_id": "billing",
                "oidc_client_secret": "s3cret",
                "oidc_operators": "ada@example.com, bob@example.com",
            }
        )
        services = build_services(settings, lambda: NOW)
        async with TestClient(TestServer(build_app(services)), cookie_jar=CookieJar(unsafe=True)) as client:
            yield Door(client, services, provider)


pytestmark = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)


async def test_a_listed_person_gets_an_operator_session(door: Door) -> None:
    state = await door.begin()
    asked = door.provider.asked
    assert (asked["response_type"], asked["scope"], asked["client_id"]) == ("code", "openid email", "billing")
    assert asked["redirect_uri"] == f"http://billing.example.com{CALLBACK}"
    status, location = await door.come_back(state)
    assert (status, location.partition("=")[0]) == (302, "/console/#code")
    assert door.provider.posted["client_secret"] == "s3cret"
    assert door.provider.posted["code_verifier"] not in asked["code_challenge"]
    async with door.client.post("/console/sign-in", json={"code": location.partition("=")[2]}) as response:
        session = await response.json()
    headers = {"Authorization": f"Bearer {session['key']}"}
    query = {"query": "{ viewer { scope keyExpiresAt } auditEntries(first: 2) { nodes { actor owner keyPrefix } } }"}
    async with door.client.post("/graphql", json=query, headers=headers) as response:
        data = (await response.json())["data"]
    assert data["viewer"] == {"scope": "OPERATOR", "keyExpiresAt": "2026-11-24T20:00:00.000000Z"}
    parent, child = [one for one in await Keys(door.services.database).list() if one.owner == "ada@example.com"]
    assert (child.prefix, child.session_of) == (session["key"][:12], parent.id)
    assert data["auditEntries"]["nodes"] == [
        {"actor": parent.prefix, "owner": "ada@example.com", "keyPrefix": child.prefix},
        {"actor": "openid-connect", "owner": "ada@example.com", "keyPrefix": parent.prefix},
    ]
    # The answer is good once: its cookie is gone.
    assert await door.come_back(state) == (401, "UNAUTHENTICATED")
    await Keys(door.services.database).revoke(parent.prefix)
    async with door.client.post("/graphql", json=query, headers=headers) as response:
        assert response.status == 401


async def test_an_unconfirmed_identity_is_refused(door: Door) -> None:
    issuer = door.provider.issuer
    door.provider.issuer += "/other"
    async with door.client.get(BEGIN, allow_redirects=False) as response:
        assert response.status == 503
    door.provider.issuer = issuer
    seconds = int(NOW.timestamp())
    for changed, expected in (
        ({"email": "eve@example.com"}, (403, "FORBIDDEN")),
        ({"email_verified": False}, (403, "FORBIDDEN")),
        ({"email_verified": "true"}, (403, "FORBIDDEN")),
        ({"email": None}, (403, "FORBIDDEN")),
        ({"nonce": "another"}, (401, "UNAUTHENTICATED")),
        ({"aud": "another"}, (401, "UNAUTHENTICATED")),
        ({"iss": "https://evil.example"}, (401, "UNAUTHENTICATED")),
        ({"exp": seconds - 61}, (401, "UNAUTHENTICATED")),
        ({"iat": seconds + 3600}, (401, "UNAUTHENTICATED")),
    ):
        door.provider.changed = changed
        assert await door.come_back(await door.begin()) == expected, changed
    door.provider.changed = {}
    await door.begin()
    assert await door.come_back("another state") == (401, "UNAUTHENTICATED")
    assert await door.come_back(await door.begin(), code="") == (401, "UNAUTHENTICATED")
    # Signed by a key that the provider does not publish.
    door.provider.signing = RSAKey.generate_key(2048, {"kid": "one"})
    assert await door.come_back(await door.begin()) == (401, "UNAUTHENTICATED")
    assert await Keys(door.services.database).list() == []


@pytest.mark.parametrize("name", ["oidc_issuer", "oidc_client_id", "oidc_client_secret", "oidc_operators"])
def test_settings_go_together(backend: str, name: str) -> None:
    assert backend == "sqlite"
    with pytest.raises(Exception, match="go together"):
        settings_of({name: "https://id.example.com"})
