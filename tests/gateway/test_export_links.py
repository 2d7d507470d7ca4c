"""Exports by a link: what it is good for, for how long, and for whom."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from aiohttp import ClientError, web
from aiohttp.test_utils import TestClient, TestServer

from access.keys import IssuedKey, Keys, KeyScope, NewKey
from gateway.app import build_app
from gateway.commands.options import settings_of
from gateway.rest import transactions
from gateway.services import SERVICES, Services, build_services
from ledger.accounts import Accounts
from ledger.commands import Entry, Posting, Writer
from ledger.kinds import TransactionType, WriterKind
from ledger.money import NANOS
from tests.gateway.test_rest import before_each_read

pytestmark = pytest.mark.one_database

ROWS = 40


class MovedClock:
    now = datetime(2026, 11, 24, 12, tzinfo=UTC)
    pace = timedelta()
    """What passes between two looks at it."""

    def __call__(self) -> datetime:
        self.now += self.pace
        return self.now


@dataclass
class Links:
    client: TestClient[web.Request, web.Application]
    services: Services
    clock: MovedClock
    accounts: list[int]
    key: IssuedKey
    """A read key of the first account."""

    async def issue(self, scope: KeyScope = KeyScope.READ, **more: Any) -> IssuedKey:
        return await Keys(self.services.database, self.clock).create(NewKey(scope, "tests", **more))

    async def post(self, body: object, key: IssuedKey | None = None) -> tuple[int, Any]:
        headers = {"Authorization": f"Bearer {(key or self.key).secret}"}
        response = await self.client.post("/billing/export-links", json=body, headers=headers)
        assert response.headers["Cache-Control"] == "no-store"
        return response.status, await response.json()

    async def link(self, address: str, key: IssuedKey | None = None) -> str:
        status, made = await self.post({"address": address}, key)
        assert status == 201, made
        assert made["address"].startswith(f"{address.partition('?')[0]}?token=")
        return str(made["address"])

    async def refusal(self, body: object, key: IssuedKey | None = None) -> tuple[int, str, str]:
        status, answer = await self.post(body, key)
        return status, answer["error"]["code"], answer["error"]["message"]

    async def got(self, address: str, key: IssuedKey | None = None) -> tuple[int, str]:
        headers = {"Authorization": f"Bearer {key.secret}"} if key else {}
        response = await self.client.get(address, headers=headers)
        return response.status, await response.text()


@pytest.fixture
async def links(database_url: str) -> AsyncIterator[Links]:
    clock = MovedClock()
    services = build_services(settings_of({"database_url": database_url, "key_cache_seconds": 0}), clock)
    accounts = [(await Accounts(services.database, clock).create(name)).id for name in ("Mine", "Theirs")]
    key = await Keys(services.database, clock).create(NewKey(KeyScope.READ, "tests", accounts[0]))
    writer = Writer(WriterKind.SERVICE, "tests")
    bonus = Entry(TransactionType.BONUS, NANOS, "Bonus, 100% “ü”")
    await services.ledger.post(*(Posting(account, writer, [bonus], "grantBonus") for account in accounts * ROWS))
    async with TestClient(TestServer(build_app(services))) as client:
        assert client.app is not None
        yield Links(client, client.app[SERVICES], clock, accounts, key)


@pytest.mark.parametrize(
    "address",
    [
        "/billing/transactions.csv",
        "/billing/transactions.csv?types=bonus&search=100%25+%E2%80%9C%C3%BC&amount_gte=1",
        "/billing/transactions.csv?types=refund",
        "/billing/transactions.csv?types=",
        "/billing/usage.csv?day_gte=2026-11-01",
    ],
)
async def test_a_link_gives_what_the_key_gives(links: Links, address: str) -> None:
    expected = await links.got(address, links.key)
    assert expected[0] == 200
    link = await links.link(address)
    assert links.key.secret not in link
    assert re.fullmatch(r"/billing/\w+\.csv\?token=[\w-]{32}", link)
    for _ in range(2):
        assert await links.got(link) == expected
    head = await links.client.head(link)
    assert (head.status, head.headers["Content-Disposition"][:11]) == (200, "attachment;")


async def test_a_link_ends_after_five_minutes(links: Links) -> None:
    status, made = await links.post({"address": "/billing/transactions.csv"})
    assert (status, made["expiresAt"]) == (201, "2026-11-24T12:05:00.000000Z")
    links.clock.now += timedelta(minutes=5)
    status, body = await links.got(made["address"])
    assert (status, '"UNAUTHENTICATED"' in body) == (401, True)


async def test_a_link_ends_with_its_key(links: Links) -> None:
    link = await links.link("/billing/transactions.csv")
    await Keys(links.services.database).revoke(links.key.row.prefix)
    assert (await links.got(link))[0] == 401


async def test_a_download_goes_on_when_its_link_has_ended(links: Links, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transactions, "STEP_ROWS", 10)
    link = await links.link("/billing/transactions.csv")
    whole = await links.got(link)
    links.clock.pace = timedelta(minutes=2)
    assert await links.got(link) == whole
    assert (await links.got(link))[0] == 401


async def test_a_download_ends_with_its_key(links: Links, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transactions, "STEP_ROWS", 10)
    link = await links.link("/billing/transactions.csv")

    async def revoke(number: int) -> None:
        if number == 3:
            await Keys(links.services.database).revoke(links.key.row.prefix)

    steps = before_each_read(monkeypatch, transactions, revoke)
    with pytest.raises(ClientError):
        await links.got(link)
    assert max(steps) >= 3


async def test_a_link_is_for_its_export_alone(links: Links) -> None:
    token = (await links.link("/billing/transactions.csv?types=refund")).partition("=")[2]
    assert (await links.got(f"/billing/usage.csv?token={token}"))[0] == 401
    assert (await links.got(f"/billing/transactions?token={token}"))[0] == 401
    assert (await links.got(f"/billing/transactions?token={token}", links.key))[0] == 400
    for more in (f"token={token}&types=bonus", f"token={token}&token={token}"):
        status, body = await links.got(f"/billing/transactions.csv?{more}")
        assert (status, "a token cannot be combined" in body) == (400, True)
    # It is no key either.
    response = await links.client.get("/billing/transactions", headers={"Authorization": f"Bearer {token}"})
    assert response.status == 401


@pytest.mark.parametrize("token", ["", "x", "a" * 32, "%00", "%FF"])
async def test_invalid_tokens_are_refused(links: Links, token: str) -> None:
    assert (await links.got(f"/billing/transactions.csv?token={token}"))[0] == (400 if token == "%FF" else 401)


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"address": "/billing/transactions.csv?bogus=1"}, 400, "BAD_USER_INPUT"),
        ({"address": "/billing/transactions.csv?types=%FF"}, 400, "BAD_USER_INPUT"),
        ({"address": "/billing/transactions.csv?amount_gte=2&amount_lte=1"}, 400, "BAD_USER_INPUT"),
        ({"address": "/billing/transactions.csv?token=abc"}, 400, "BAD_USER_INPUT"),
        ({"address": "/billing/transactions.csv?types=bonus#part"}, 400, "BAD_USER_INPUT"),
        ({"address": "/billing/transactions"}, 400, "BAD_USER_INPUT"),
        ({"address": "https://other.example/billing/usage.csv"}, 400, "BAD_USER_INPUT"),
        ({"address": "//other.example/billing/usage.csv"}, 400, "BAD_USER_INPUT"),
        ({"address": "/billing/usage.csv?models=" + "a" * 8_000}, 400, "BAD_USER_INPUT"),
        ({"address": "/billing/usage.csv?account=acct_2"}, 404, "NOT_FOUND"),
        ({"address": 5}, 400, "BAD_USER_INPUT"),
        ({"address": "/billing/usage.csv", "more": 1}, 400, "BAD_USER_INPUT"),
        ({}, 400, "BAD_USER_INPUT"),
        ([], 400, "BAD_USER_INPUT"),
    ],
)
@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
async def test_a_link_is_refused_if_its_export_would_be(links: Links, body: object, status: int, code: str) -> None:
    assert (await links.refusal(body))[:2] == (status, code)


async def test_operators_and_services_name_the_account(links: Links) -> None:
    theirs = f"acct_{links.accounts[1]}"
    for scope in (KeyScope.OPERATOR, KeyScope.SERVICE):
        key = await links.issue(scope)
        assert (await links.refusal({"address": "/billing/transactions.csv"}, key))[1] == "BAD_USER_INPUT"
        link = await links.link(f"/billing/transactions.csv?account={theirs}", key)
        status, body = await links.got(link)
        assert (status, body.count(f",{theirs},")) == (200, ROWS)


async def test_links_are_made_with_a_key_alone(links: Links) -> None:
    response = await links.client.post("/billing/export-links", json={"address": "/billing/usage.csv"})
    assert response.status == 401
    headers = {"Authorization": f"Bearer {links.key.secret}", "Content-Type": "text/plain"}
    response = await links.client.post("/billing/export-links", data="{}", headers=headers)
    assert (response.status, (await response.json())["error"]["code"]) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert (await links.client.get("/billing/export-links")).status == 405
