"""Recording usage: what counts once, what is refused, and what the months come to."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import Any

import pytest
from sqlalchemy import text

from db import writes
from db.database import Database
from db.errors import NumberOutOfRange
from db.rows import UsageDayRow
from ledger.errors import NotFound
from ledger.usage import (
    MAX_COUNT,
    Rollup,
    UsageRequest,
    Verdict,
    id_digest,
    line_digest,
    nth_digest,
    record_requests,
    record_rollups,
)

_DAY = date(2026, 11, 9)


async def _account(database: Database, name: str = "one") -> int:
    async with database.write() as connection:
        row = await writes.insert_account(
            connection, external_id=name, name=name, created_at=datetime(2026, 11, 1, tzinfo=UTC)
        )
    return row.id


def _request(account_id: int, request_id: str, **changes: Any) -> UsageRequest:
    request = UsageRequest(account_id, _DAY, "m", "chat", "platform", 10, 2, 300, id_digest(request_id), hour=0)
    request = request._replace(**changes)
    return request._replace(hour=24 * (request.day - date(1970, 1, 1)).days)


def _rollup(account_id: int, **changes: Any) -> Rollup:
    replace = changes.pop("replace", False)
    row = UsageDayRow(account_id, _DAY, "m", "chat", "platform", 5, 50, 10, 1500)
    return Rollup(row._replace(**changes), replace)


async def _requests(database: Database, *requests: UsageRequest) -> list[Verdict]:
    async with database.write() as connection:
        return await record_requests(connection, requests)


async def _rollups(database: Database, *rollups: Rollup) -> list[Verdict]:
    async with database.write() as connection:
        return await record_rollups(connection, rollups)


async def _days(database: Database) -> Sequence[tuple[object, ...]]:
    rows = await database.read(
        text(
            "SELECT model, category, calls, input_tokens, output_tokens, cost_nanos, fed_by FROM usage_days"
            " ORDER BY account_id, day, model, category, origin"
        )
    )
    return [tuple(row) for row in rows]


async def _months(database: Database) -> Sequence[tuple[object, ...]]:
    rows = await database.read(
        text(
            "SELECT month, platform_calls, user_inference_calls, tokens FROM monthly_figures ORDER BY account_id, month"
        )
    )
    return [tuple(row) for row in rows]


def test_different_requests_have_different_digests() -> None:
    line = line_digest(1, "m", "chat", 2, 3)
    others = [line_digest(2, "m", "chat", 2, 3), line_digest(1, "n", "chat", 2, 3), line_digest(1, "m", "chat", 23, 3)]
    digests = [line, nth_digest(line, 2), nth_digest(line, 3), id_digest("m"), id_digest("n"), *others]
    assert len(set(digests)) == len(digests)
    assert {len(digest) for digest in digests} == {16}
    assert nth_digest(line, 1) == line


async def test_a_request_counts_once(database: Database) -> None:
    account_id = await _account(database)
    taken = await _requests(database, _request(account_id, "a"), _request(account_id, "b"), _request(account_id, "a"))
    assert taken == [Verdict.TAKEN, Verdict.TAKEN, Verdict.KNOWN]
    assert await _requests(database, _request(account_id, "b", input_tokens=99)) == [Verdict.KNOWN]
    assert await _days(database) == [("m", "chat", 2, 20, 4, 600, "requests")]
    assert await _months(database) == [("2026-11", 2, 0, 24)]


async def test_request_ids_are_scoped_to_the_account(database: Database) -> None:
    one, two = await _account(database), await _account(database, "two")
    assert await _requests(database, _request(two, "a"), _request(one, "a")) == [Verdict.TAKEN] * 2
    assert await _months(database) == [("2026-11", 1, 0, 12)] * 2


async def test_months_count_calls_by_origin_and_tokens_of_chat_and_embedding(database: Database) -> None:
    account_id = await _account(database)
    await _rollups(
        database,
        _rollup(account_id),
        _rollup(account_id, category="embedding", origin="user_inference", calls=7),
        _rollup(account_id, category="image", calls=100, input_tokens=1000),
        _rollup(account_id, category="audio", origin="user_inference", calls=1000, input_tokens=1000),
        _rollup(account_id, category="video", calls=10_000, output_tokens=1000),
        _rollup(account_id, day=date(2026, 10, 31), calls=3),
    )
    assert await _months(database) == [("2026-10", 3, 0, 60), ("2026-11", 10_105, 1_007, 120)]


async def test_a_rollup_is_known_or_differs(database: Database) -> None:
    account_id = await _account(database)
    other = _rollup(account_id, calls=6)
    assert await _rollups(database, _rollup(account_id), _rollup(account_id), other) == [
        Verdict.TAKEN,
        Verdict.KNOWN,
        Verdict.DIFFERS,
    ]
    assert await _rollups(database, _rollup(account_id), other) == [Verdict.KNOWN, Verdict.DIFFERS]
    assert await _months(database) == [("2026-11", 5, 0, 60)]


async def test_replacing_changes_the_month_by_the_difference(database: Database) -> None:
    account_id = await _account(database)
    await _rollups(database, _rollup(account_id), _rollup(account_id, model="n", calls=1))
    less = _rollup(account_id, calls=2, input_tokens=1, replace=True)
    assert await _rollups(database, less) == [Verdict.TAKEN]
    assert await _rollups(database, less) == [Verdict.KNOWN]
    assert await _months(database) == [("2026-11", 3, 0, 71)]


async def test_a_day_is_fed_by_requests_or_by_a_rollup(database: Database) -> None:
    account_id = await _account(database)
    await _requests(database, _request(account_id, "a"))
    assert await _rollups(database, _rollup(account_id)) == [Verdict.FED_BY_REQUESTS]
    assert await _rollups(database, _rollup(account_id, replace=True)) == [Verdict.TAKEN]
    assert await _requests(database, _request(account_id, "a"), _request(account_id, "b")) == [
        Verdict.KNOWN,
        Verdict.FED_BY_ROLLUP,
    ]
    assert await _days(database) == [("m", "chat", 5, 50, 10, 1500, "rollup")]
    assert await _months(database) == [("2026-11", 5, 0, 60)]
    # What was refused was not remembered as counted.
    assert await _requests(database, _request(account_id, "b", model="n")) == [Verdict.TAKEN]


@pytest.mark.parametrize("figure", ["calls", "input_tokens", "output_tokens", "cost_nanos"])
async def test_largest_figures_are_stored_exactly(database: Database, figure: str) -> None:
    account_id = await _account(database)
    rollup = _rollup(account_id, **{"category": "image", figure: MAX_COUNT})
    assert await _rollups(database, rollup) == [Verdict.TAKEN]
    rows = await database.read(text(f"SELECT {figure} FROM usage_days"))
    assert [tuple(row) for row in rows] == [(MAX_COUNT,)]


async def test_sums_beyond_64_bits_write_nothing(database: Database) -> None:
    account_id = await _account(database)
    full = _rollup(account_id, calls=MAX_COUNT, input_tokens=0, output_tokens=0)
    await _rollups(database, full)
    for too_much in (
        _rollup(account_id, model="n", calls=1),
        _rollup(account_id, model="n", calls=0, input_tokens=MAX_COUNT, output_tokens=1),
    ):
        with pytest.raises(NumberOutOfRange):
            await _rollups(database, _rollup(account_id, model="z", calls=0), too_much)
    with pytest.raises(NumberOutOfRange):
        await _requests(
            database,
            _request(account_id, "a", model="n", cost_nanos=MAX_COUNT),
            _request(account_id, "b", model="n", cost_nanos=1),
        )
    assert await _months(database) == [("2026-11", MAX_COUNT, 0, 0)]
    assert len(await _days(database)) == 1
    assert await _requests(database, _request(account_id, "a", day=date(2026, 10, 1))) == [Verdict.TAKEN]


async def test_unknown_account_error_names_the_account(database: Database) -> None:
    with pytest.raises(NotFound, match="acct_99"):
        await _requests(database, _request(99, "a"))
    with pytest.raises(NotFound, match="acct_99"):
        await _rollups(database, _rollup(99))
