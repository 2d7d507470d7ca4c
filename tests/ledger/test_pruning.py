"""Rows that are kept for a limited time, and what the worker deletes of them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select

from db.attribution_rows import RequestDetailRow
from db.attribution_tables import request_details
from db.database import Database
from db.limit_rows import AuthorizationRow
from db.limit_tables import authorizations
from ledger.pruning import Pruning
from ledger.usage import id_digest
from tests.ledger.desk import DAY, HOUR, START, Desk
from tests.statements import watched

NOW = START + 100 * DAY


@pytest.fixture
def desk(database: Database) -> Desk:
    return Desk(database)


def request(account_id: int, number: int, at: datetime) -> RequestDetailRow:
    name = f"r-{number}"
    texts = ("m", "chat", "platform", None, None, None)
    return RequestDetailRow(account_id, at, id_digest(name), name, *texts, 1, 0, 1, 0, 0, 5, 0)


def authorization(account_id: int, number: int, created_at: datetime, **changed: Any) -> AuthorizationRow:
    ended = created_at + timedelta(minutes=5)
    row = AuthorizationRow(account_id, number, "open", 10, 0, created_at, ended, None, "", "", None)
    return row._replace(**changed)


async def put(database: Database, *rows: RequestDetailRow | AuthorizationRow) -> None:
    async with database.write() as connection:
        for row in rows:
            table = request_details if isinstance(row, RequestDetailRow) else authorizations
            await connection.execute(insert(table).values(**row._asdict()))


async def kept_requests(database: Database) -> list[tuple[int, str]]:
    rows = await database.read(select(request_details.c.account_id, request_details.c.request_id))
    return sorted((row[0], row[1]) for row in rows)


async def kept_authorizations(database: Database) -> list[tuple[int, int]]:
    rows = await database.read(select(authorizations.c.account_id, authorizations.c.number))
    return sorted((row[0], row[1]) for row in rows)


async def test_old_requests_are_deleted_in_short_steps(desk: Desk) -> None:
    first, second, third = [await desk.account() for _ in range(3)]
    limit = NOW - 35 * DAY
    old = [request(first, number, limit - number * HOUR) for number in range(1, 8)]
    # Two requests of one moment, which a step may divide.
    old += [request(second, 1, limit - DAY), request(second, 2, limit - DAY), request(second, 3, limit - DAY)]
    new = [request(first, 8, limit), request(second, 4, NOW), request(third, 1, NOW - DAY)]
    await put(desk.database, *old, *new)
    with watched(desk.database) as sent:
        assert await Pruning(desk.database, 35, lambda: NOW, rows_at_once=2).run() == len(old)
    assert await kept_requests(desk.database) == [(first, "r-8"), (second, "r-4"), (third, "r-1")]
    assert sum(statement.startswith("DELETE") for statement, _ in sent) == 6


async def test_zero_days_keep_no_request(desk: Desk) -> None:
    account_id = await desk.account()
    await put(desk.database, request(account_id, 1, NOW - HOUR), authorization(account_id, 1, NOW - DAY))
    await put(desk.database, authorization(account_id, 2, NOW - HOUR))
    assert await Pruning(desk.database, 0, lambda: NOW).run() == 1
    assert await kept_requests(desk.database) == []
    assert await kept_authorizations(desk.database) == [(account_id, 1), (account_id, 2)]


async def test_ended_authorizations_are_deleted_except_the_highest_number(desk: Desk) -> None:
    account_id, other = await desk.account(), await desk.account()
    limit = NOW - 35 * DAY
    old = limit - DAY
    await put(
        desk.database,
        authorization(account_id, 1, old, state="captured", captured_nanos=5, closed_at=old),
        authorization(account_id, 2, old, expires_at=limit),
        authorization(account_id, 3, old, state="captured", captured_nanos=50, closed_at=NOW - DAY),
        authorization(account_id, 4, old),
        authorization(account_id, 5, old, state="released", closed_at=old),
        authorization(account_id, 6, NOW - DAY),
        authorization(other, 1, old),
        authorization(other, 2, old),
    )
    assert await Pruning(desk.database, 35, lambda: NOW, rows_at_once=2).run() == 4
    # Number 2 has not ended before the limit, and number 3 was captured after it.
    assert await kept_authorizations(desk.database) == [(account_id, 2), (account_id, 3), (account_id, 6), (other, 2)]


async def test_pruning_runs_once_an_hour_and_reports_it(desk: Desk) -> None:
    account_id, now = await desk.account(), NOW
    reported: list[datetime] = []
    pruning = Pruning(desk.database, 1, lambda: now, reported.append)
    assert await pruning.run() == 0
    await put(desk.database, request(account_id, 1, NOW - 2 * DAY))
    now = NOW + HOUR - timedelta(seconds=1)
    assert await pruning.run() == 0
    now = NOW + HOUR
    assert await pruning.run() == 1
    assert reported == [NOW, NOW + HOUR]


async def test_cost_of_a_round_does_not_depend_on_what_is_kept(desk: Desk) -> None:
    """An account whose oldest rows are new needs no statement of its own."""
    account_ids = [await desk.account() for _ in range(5)]
    await put(desk.database, *(request(account_id, 1, NOW) for account_id in account_ids))
    with watched(desk.database) as sent:
        assert await Pruning(desk.database, 35, lambda: NOW).run() == 0
    assert len(sent) == 2
