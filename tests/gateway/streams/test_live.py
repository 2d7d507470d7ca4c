"""Streams end with their keys, by one look at all keys of the process."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta

import pytest

from access.keys import Keys, KeyScope, NewKey, Principal, principal_of
from db.errors import DatabaseError
from gateway.commands.options import settings_of
from gateway.services import Services, build_services
from gateway.streams.live import Ending, LiveStreams
from tests.ledger.desk import START
from tests.statements import watched


@dataclass(eq=False)
class Noted:
    principal: Principal | None
    endings: list[Ending] = field(default_factory=list)

    def end(self, ending: Ending) -> None:
        self.endings.append(ending)


@pytest.fixture
async def services(database_url: str) -> Services:
    return build_services(settings_of({"database_url": database_url}), lambda: START)


async def _principal(services: Services, *, seconds: float | None = None) -> Principal:
    expires_at = None if seconds is None else START + timedelta(seconds=seconds)
    new = NewKey(KeyScope.OPERATOR, "tests", expires_at=expires_at)
    return principal_of((await Keys(services.database, services.clock).create(new)).row)


async def test_one_statement_tells_of_all_keys_whose_streams_must_end(services: Services) -> None:
    keys = Keys(services.database, services.clock)
    valid, revoked, rotated, graced, expiring = [
        await _principal(services, seconds=one) for one in (9, None, None, None, 5)
    ]
    await keys.revoke(revoked.key_prefix)
    await keys.rotate(rotated.key_prefix)
    await keys.rotate(graced.key_prefix, timedelta(seconds=5))
    expired = replace(valid, key_id=10**9, expires_at=START)
    unknown = replace(valid, key_id=10**9 + 1)
    live = LiveStreams()
    streams = {
        name: [Noted(principal) for _ in range(3)]
        for name, principal in {
            "valid": valid,
            "revoked": revoked,
            "rotated": rotated,
            "graced": graced,
            "expiring": expiring,
            "expired": expired,
            "unknown": unknown,
            "not known yet": None,
        }.items()
    }
    for noted in streams.values():
        for one in noted:
            live.enter(one)
    with watched(services.database) as sent:
        await live.end_with_their_keys(services)
    assert len(sent) == 1, sent
    ended = {name for name, noted in streams.items() if [one.endings for one in noted] == [[Ending.KEY]] * 3}
    assert ended == {"revoked", "rotated", "expired", "unknown"}
    assert all(one.endings == [] for name in streams.keys() - ended for one in streams[name])

    later = replace(services, clock=lambda: START + timedelta(seconds=6))
    await live.end_with_their_keys(later)
    assert [one.endings for one in streams["graced"] + streams["expiring"]] == [[Ending.KEY]] * 6
    assert [one.endings for one in streams["valid"]] == [[]] * 3
    await services.database.close()


async def test_without_streams_nothing_is_asked(services: Services) -> None:
    live = LiveStreams()
    gone = Noted(await _principal(services))
    live.enter(gone)
    live.leave(gone)
    with watched(services.database) as sent:
        await live.end_with_their_keys(services)
    assert sent == []
    await services.database.close()


async def test_keys_end_by_the_clock_while_the_database_cannot_be_asked(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    expired, valid = Noted(await _principal(services, seconds=5)), Noted(await _principal(services))
    live = LiveStreams()
    for one in (expired, valid):
        live.enter(one)

    async def unreachable(*_: object) -> None:
        raise DatabaseError("away")

    later = replace(services, clock=lambda: START + timedelta(seconds=5))
    monkeypatch.setattr(services.database, "read", unreachable)
    with pytest.raises(DatabaseError):
        await live.end_with_their_keys(later)
    assert (expired.endings, valid.endings) == ([Ending.KEY], [])
    await services.database.close()
