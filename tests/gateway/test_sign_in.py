"""Links that sign in to the console: a code becomes a key, once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from access.keys import IssuedKey, Keys, KeyScope, NewKey, principal_of
from access.tokens import Purpose
from gateway.app import build_app
from gateway.commands.options import settings_of
from gateway.services import Services, build_services
from ledger.accounts import Accounts

HOUR = timedelta(hours=1)


class MovedClock:
    now = datetime(2026, 11, 24, 12, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@dataclass
class Door:
    client: TestClient[web.Request, web.Application]
    services: Services
    clock: MovedClock
    account: int

    async def issue(self, scope: KeyScope, **more: Any) -> IssuedKey:
        return await Keys(self.services.database, self.clock).create(NewKey(scope, "tests", **more))

    async def code(self, key: IssuedKey, purpose: Purpose = Purpose.SIGN_IN) -> str:
        return await self.services.tokens.issue(principal_of(key.row), purpose, HOUR)

    async def sign_in(self, body: object) -> tuple[int, Any]:
        response = await self.client.post("/console/sign-in", json=body)
        assert response.headers["Cache-Control"] == "no-store"
        return response.status, await response.json()

    async def viewer(self, key: str) -> Any:
        query = {"query": "{ viewer { scope keyExpiresAt account { id } } }"}
        response = await self.client.post("/graphql", json=query, headers={"Authorization": f"Bearer {key}"})
        return (await response.json()).get("data", {}).get("viewer")


@pytest.fixture
async def door(database_url: str) -> AsyncIterator[Door]:
    clock = MovedClock()
    services = build_services(settings_of({"database_url": database_url, "key_cache_seconds": 0}), clock)
    account = (await Accounts(services.database, clock).create("Mine")).id
    async with TestClient(TestServer(build_app(services))) as client:
        yield Door(client, services, clock, account)


async def test_a_code_becomes_a_key_of_the_same_rights_once(door: Door) -> None:
    code = await door.code(await door.issue(KeyScope.MANAGE, account_id=door.account))
    status, made = await door.sign_in({"code": code})
    assert (status, made["expiresAt"]) == (201, "2026-11-25T00:00:00.000000Z")
    assert await door.viewer(made["key"]) == {
        "scope": "MANAGE",
        "keyExpiresAt": "2026-11-25T00:00:00.000000Z",
        "account": {"id": f"acct_{door.account}"},
    }
    status, again = await door.sign_in({"code": code})
    assert (status, again["error"]["code"]) == (401, "UNAUTHENTICATED")
    door.clock.now += 12 * HOUR
    assert await door.viewer(made["key"]) is None


async def test_only_one_of_many_at_once_signs_in(door: Door) -> None:
    code = await door.code(await door.issue(KeyScope.OPERATOR))
    found = await asyncio.gather(*(door.sign_in({"code": code}) for _ in range(8)))
    assert sorted(status for status, _ in found) == [201, *[401] * 7]


async def test_the_lists_of_a_service_s_key_are_kept(door: Door) -> None:
    key = await door.issue(KeyScope.SERVICE, account_ids=(door.account,), operations=("openHold",))
    _, made = await door.sign_in({"code": await door.code(key)})
    [row] = [row for row in await Keys(door.services.database).list() if row.prefix == made["key"][:12]]
    assert (row.account_ids, row.operations, row.owner) == (key.row.account_ids, key.row.operations, "console")


async def test_the_key_does_not_outlive_the_one_that_the_link_was_made_with(door: Door) -> None:
    ends = door.clock.now + 2 * HOUR
    key = await door.issue(KeyScope.READ, account_id=door.account, expires_at=ends)
    _, made = await door.sign_in({"code": await door.code(key)})
    assert made["expiresAt"] == "2026-11-24T14:00:00.000000Z"


async def test_codes_that_are_not_valid(door: Door) -> None:
    key = await door.issue(KeyScope.READ, account_id=door.account)
    late, revoked, other = await door.code(key), await door.code(key), await door.code(key, Purpose.EXPORT)
    assert (await door.sign_in({"code": other}))[0] == 401
    door.clock.now += HOUR
    assert (await door.sign_in({"code": late}))[0] == 401
    door.clock.now -= HOUR
    await Keys(door.services.database).revoke(key.row.prefix)
    assert (await door.sign_in({"code": revoked}))[0] == 401
    for code in ("", "x", "a" * 32, key.secret):
        assert (await door.sign_in({"code": code}))[0] == 401


@pytest.mark.parametrize("body", [{}, [], {"code": 5}, {"code": None}, {"code": "a", "key": "b"}, "code"])
@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
async def test_bad_bodies(door: Door, body: object) -> None:
    status, answer = await door.sign_in(body)
    assert (status, answer["error"]["code"]) == (400, "BAD_USER_INPUT")
