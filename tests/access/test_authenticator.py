from __future__ import annotations

import asyncio

import pytest

from access.authenticator import Authenticator
from access.keys import Keys, KeyScope, NewKey, principal_of
from db import keys as key_rows
from db.database import Database
from db.errors import DatabaseFull
from db.rows import ApiKeyRow
from ledger.errors import Unauthenticated
from tests.ledger.desk import HOUR, START, Desk


@pytest.fixture
def keys(desk: Desk) -> Keys:
    return Keys(desk.database, lambda: desk.now)


def _authenticator(desk: Desk, capacity: int = 10) -> Authenticator:
    """Remembers keys for a day."""
    return Authenticator(desk.database, ttl_seconds=86_400, capacity=capacity, clock=lambda: desk.now)


async def test_cached_key_expires_on_time(desk: Desk, keys: Keys) -> None:
    authenticator = _authenticator(desk)
    issued = await keys.create(NewKey(KeyScope.OPERATOR, "tests", expires_at=START + HOUR))
    assert await authenticator.principal(issued.secret) == principal_of(issued.row)
    desk.now += HOUR
    with pytest.raises(Unauthenticated, match="the API key has expired"):
        await authenticator.principal(issued.secret)


async def test_oldest_cached_key_is_evicted_first(desk: Desk, keys: Keys) -> None:
    authenticator = _authenticator(desk, capacity=2)
    first, second, third = [await keys.create(NewKey(KeyScope.OPERATOR, "tests")) for _ in range(3)]
    for one in (first, second, third):
        await authenticator.principal(one.secret)
    for one in (first, second, third):
        await keys.revoke(one.row.prefix)
    # The first one is read anew, and found revoked. The others are remembered.
    with pytest.raises(Unauthenticated):
        await authenticator.principal(first.secret)
    for one in (second, third):
        assert await authenticator.principal(one.secret) == principal_of(one.row)


@pytest.mark.parametrize(("ttl_seconds", "look_ups"), [(60, 1), (0, 5)])
async def test_requests_that_arrive_together_share_a_look_up_as_long_as_a_key_is_cached(
    desk: Desk, keys: Keys, monkeypatch: pytest.MonkeyPatch, ttl_seconds: int, look_ups: int
) -> None:
    authenticator = Authenticator(desk.database, ttl_seconds=ttl_seconds, clock=lambda: desk.now)
    issued = await keys.create(NewKey(KeyScope.OPERATOR, "tests"))
    original, digests = key_rows.key_by_digest, []

    async def counted(database: Database, digest: bytes) -> tuple[ApiKeyRow, int] | None:
        digests.append(digest)
        return await original(database, digest)

    monkeypatch.setattr(key_rows, "key_by_digest", counted)
    found = await asyncio.gather(*(authenticator.principal(issued.secret) for _ in range(5)))
    assert (found, len(digests)) == ([principal_of(issued.row)] * 5, look_ups)
    assert authenticator._looked_up == {}
    wrong = issued.secret[:-1] + ("A" if issued.secret[-1] != "A" else "B")
    refused = await asyncio.gather(*(authenticator.principal(wrong) for _ in range(5)), return_exceptions=True)
    assert ([type(one) for one in refused], len(digests)) == ([Unauthenticated] * 5, 2 * look_ups)


async def test_time_of_use_is_written_again_after_a_failure(
    desk: Desk, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    authenticator = _authenticator(desk)
    issued = await keys.create(NewKey(KeyScope.OPERATOR, "tests"))
    authenticator.note_use(await authenticator.principal(issued.secret), None)

    async def fail(*_arguments: object) -> None:
        raise DatabaseFull

    with monkeypatch.context() as failing:
        failing.setattr(key_rows, "touch_keys", fail)
        with pytest.raises(DatabaseFull):
            await authenticator.flush_last_used()
    await authenticator.flush_last_used()
    assert [row.last_used_at for row in await keys.list()] == [START]
