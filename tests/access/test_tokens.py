from __future__ import annotations

import asyncio
import hashlib
from datetime import timedelta

import pytest
from sqlalchemy import func, select

from access import tokens as access_tokens
from access.keys import Keys, KeyScope, NewKey, Principal, principal_of
from access.tokens import Purpose, Token, Tokens
from db import tables
from db.database import Database
from ledger.errors import Unauthenticated
from tests.ledger.desk import HOUR, Desk

SECOND = timedelta(seconds=1)


@pytest.fixture
def keys(desk: Desk) -> Keys:
    return Keys(desk.database, lambda: desk.now)


@pytest.fixture
def made(desk: Desk) -> Tokens:
    return Tokens(desk.database, lambda: desk.now)


@pytest.fixture
async def principal(desk: Desk, keys: Keys) -> Principal:
    return principal_of((await keys.create(NewKey(KeyScope.READ, "tests", await desk.account()))).row)


async def _count(database: Database) -> int:
    (row,) = await database.read(select(func.count()).select_from(tables.tokens))
    return int(row[0])


async def _refused(made: Tokens, token: str, purpose: Purpose) -> None:
    with pytest.raises(Unauthenticated, match="the token is not valid, has expired or was already used"):
        await made.redeem(token, purpose)


async def test_token_works_for_its_key_until_it_expires(desk: Desk, made: Tokens, principal: Principal) -> None:
    token = await made.issue(principal, Purpose.EXPORT, HOUR, "transactions.csv")
    expected = Token(principal, "transactions.csv", desk.now + HOUR)
    desk.now += HOUR - SECOND
    assert [await made.redeem(token, Purpose.EXPORT) for _ in range(3)] == [expected] * 3
    desk.now += SECOND
    await _refused(made, token, Purpose.EXPORT)


async def test_token_works_only_for_its_purpose(made: Tokens, principal: Principal) -> None:
    token = await made.issue(principal, Purpose.STREAM, HOUR)
    await _refused(made, token, Purpose.EXPORT)
    await _refused(made, token, Purpose.SIGN_IN)
    assert (await made.redeem(token, Purpose.STREAM)).principal == principal


@pytest.mark.parametrize("token", ["", "A" * 32, "A" * 33, "\udcff", "é" * 32])
async def test_invalid_tokens_get_the_same_error(made: Tokens, principal: Principal, token: str) -> None:
    await made.issue(principal, Purpose.STREAM, HOUR)
    await _refused(made, token, Purpose.STREAM)


async def test_sign_in_link_works_once_under_concurrent_use(made: Tokens, principal: Principal) -> None:
    token = await made.issue(principal, Purpose.SIGN_IN, HOUR)
    tried = await asyncio.gather(*(made.redeem(token, Purpose.SIGN_IN) for _ in range(8)), return_exceptions=True)
    assert [one.principal for one in tried if isinstance(one, Token)] == [principal]
    assert [type(one) for one in tried if not isinstance(one, Token)] == [Unauthenticated] * 7
    await _refused(made, token, Purpose.SIGN_IN)


async def test_token_is_invalid_when_its_key_is_revoked_or_expired(
    desk: Desk, keys: Keys, made: Tokens, principal: Principal
) -> None:
    revoked = await made.issue(principal, Purpose.STREAM, HOUR)
    await keys.revoke(principal.key_prefix)
    await _refused(made, revoked, Purpose.STREAM)
    short = NewKey(KeyScope.OPERATOR, "tests", expires_at=desk.now + SECOND)
    expiring = await made.issue(principal_of((await keys.create(short)).row), Purpose.STREAM, HOUR)
    assert (await made.redeem(expiring, Purpose.STREAM)).principal.scope == KeyScope.OPERATOR
    desk.now += SECOND
    await _refused(made, expiring, Purpose.STREAM)


async def test_issue_fails_if_the_key_ended_in_the_meantime(
    desk: Desk, keys: Keys, made: Tokens, principal: Principal
) -> None:
    await keys.revoke(principal.key_prefix)
    with pytest.raises(Unauthenticated, match="the API key has expired or was revoked"):
        await made.issue(principal, Purpose.STREAM, HOUR)
    assert await _count(desk.database) == 0


async def test_deleted_token_is_invalid(desk: Desk, made: Tokens, principal: Principal) -> None:
    token, other = [await made.issue(principal, Purpose.STREAM, HOUR) for _ in range(2)]
    await made.delete(token)
    await made.delete("nothing")
    await _refused(made, token, Purpose.STREAM)
    assert (await made.redeem(other, Purpose.STREAM)).principal == principal


async def test_token_is_stored_only_as_a_digest(desk: Desk, made: Tokens, principal: Principal) -> None:
    token = await made.issue(principal, Purpose.STREAM, HOUR)
    (row,) = await desk.database.read(select(tables.tokens))
    assert row[0] == hashlib.sha256(token.encode()).digest()
    assert token not in repr(tuple(row))


async def test_number_of_tokens_per_key_and_purpose_is_limited(
    desk: Desk, made: Tokens, principal: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access_tokens, "MAX_LIVE", 3)
    download = await made.issue(principal, Purpose.EXPORT, HOUR)
    tokens = []
    for _ in range(5):
        desk.now += SECOND
        tokens.append(await made.issue(principal, Purpose.STREAM, HOUR))
    for old in tokens[:2]:
        await _refused(made, old, Purpose.STREAM)
    for new in tokens[2:]:
        assert (await made.redeem(new, Purpose.STREAM)).principal == principal
    assert (await made.redeem(download, Purpose.EXPORT)).principal == principal


async def test_expired_tokens_are_deleted_in_batches(
    desk: Desk, made: Tokens, principal: Principal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(access_tokens, "BATCH", 2)
    for hours in (1, 1, 1, 1, 2, 3, 3):
        await made.issue(principal, Purpose.STREAM, hours * HOUR)
    assert await made.delete_expired() == 0
    desk.now += 2 * HOUR
    assert await made.delete_expired() == 5
    assert await _count(desk.database) == 2
