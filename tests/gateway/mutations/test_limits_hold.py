"""Limits that hold: authorizations, captures and holds sent to three gateways, which are killed, as is PostgreSQL.

`LIMIT_CALLS=10000` sends that many instead of 400; with `-s` it prints what was counted.
"""

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, Final, NamedTuple

from aiohttp import ClientError
from sqlalchemy import select

from db.limit_rows import AuthorizationRow, SpendLimitRow
from db.limit_tables import authorizations
from db.limits import read_reservations
from db.rows import TransactionRow
from db.tables import transactions
from ledger.attribution import Attribution
from ledger.ids import authorization_id_text
from ledger.money import format_nanos
from ledger.spending import scope_of
from ledger.windows import SpendWindow
from tests.gateway.mutations.office import Office, document, number_of
from tests.gateway.streams.clients.processes import GatewayProcess
from tests.ledger.recompute import differences
from tests.ledger.test_authorizations import limits, put_limit
from tests.postgres import Postgres

CALLS: Final = int(os.environ.get("LIMIT_CALLS", "400"))
CLIENTS: Final = 24
GATEWAY_KILLS: Final = max(3, CALLS // 400)
EXPIRY_TOLERANCE: Final = timedelta(seconds=1)
"""A posting counts what expired since its group read the reservations."""

RED, BLUE = "red", "blue"


def _scaled(dollars: int) -> str:
    """Returns an amount that the calls exhaust when most of them are sent."""
    return format_nanos(dollars * 10**9 * CALLS // 400)


class Refusal(NamedTuple):
    account_id: int
    who: Attribution
    amount_nanos: int
    code: str
    limit: str | None
    sent: datetime
    answered: datetime


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass
class Scene:
    office: Office
    gateways: list[GatewayProcess]
    accounts: list[str]
    refusals: list[Refusal] = field(default_factory=list)
    ended: dict[str, datetime] = field(default_factory=dict)
    """When the answer said that an authorization was captured or released, by its id."""
    counted: Counter[str] = field(default_factory=Counter)

    async def send(self, name: str, selection: str, given: dict[str, Any]) -> tuple[Any, datetime]:
        """Sends to any gateway until one answers. Returns the answer, and when its call was sent."""
        headers = {"Authorization": f"Bearer {self.office.keys['service']}"}
        body = {"query": document(name, selection), "variables": {"input": given}}
        random = Random(given["idempotencyKey"])
        while True:
            url, sent = f"{random.choice(self.gateways).address}/graphql", _now()
            try:
                async with self.office.session.post(url, json=body, headers=headers) as response:
                    answer = await response.json()
            except (ClientError, TimeoutError, ValueError):
                self.counted["lost answers"] += 1
            else:
                code = answer["errors"][0]["extensions"]["code"] if "errors" in answer else None
                if code not in {"UNAVAILABLE", "RATE_LIMITED", "INTERNAL"}:
                    return answer, sent
                self.counted[str(code)] += 1
            await asyncio.sleep(0.05)

    async def call(self, number: int) -> None:
        """Carries out the n-th call: the same whenever it is asked for."""
        random = Random(number)
        account = random.choice(self.accounts)
        who = Attribution(random.choice(["", "key-1", "key-2"]), random.choice(["", RED, BLUE]))
        nanos = random.randint(1, 50) * 10**7
        named = {"apiKeyId": who.api_key or None, "project": who.project or None}
        given: dict[str, Any] = {
            "idempotencyKey": f"call {number}",
            "accountId": account,
            "amount": format_nanos(nanos),
            **named,
        }
        if random.random() < 0.2:
            start = _now()
            period = {"periodStart": start.isoformat(), "periodEnd": (start + timedelta(hours=1)).isoformat()}
            resource = {"refType": "GPU_INSTANCE", "refId": str(number)}
            # The same times, whenever the call is repeated.
            await self.judge("openHold", "balance", given | resource | period, who, nanos)
            return
        given["ttlSeconds"] = random.choice([1, 2, 60])
        answer = await self.judge("authorizeUsage", "authorization { id }", given, who, nanos)
        if answer is None:
            return
        authorization, end = answer["authorization"]["id"], random.random()
        if end < 0.2 and given["ttlSeconds"] < 60:
            self.counted["left to expire"] += 1
        elif end < 0.35:
            released = {"idempotencyKey": f"release {number}", "authorizationId": authorization}
            await self.end("releaseAuthorization", released)
        else:
            await self.capture(number, account, authorization, random.randint(0, nanos))

    async def judge(
        self, name: str, selection: str, given: dict[str, Any], who: Attribution, nanos: int
    ) -> dict[str, Any] | None:
        """Sends, and notes a refusal. Returns the payload, if it was carried out."""
        answer, sent = await self.send(name, selection, given)
        if "errors" not in answer:
            self.counted[name] += 1
            payload: dict[str, Any] = answer["data"][name]
            return payload
        extensions = answer["errors"][0]["extensions"]
        self.counted[extensions["code"]] += 1
        account_id = number_of(given["accountId"])
        self.refusals.append(Refusal(account_id, who, nanos, extensions["code"], extensions.get("limit"), sent, _now()))
        return None

    async def end(self, name: str, given: dict[str, Any]) -> None:
        answer, _ = await self.send(name, "balance", given)
        code = answer["errors"][0]["extensions"]["code"] if "errors" in answer else name
        assert code in {name, "CONFLICT"}, answer
        self.ended[given["authorizationId"]] = _now()
        self.counted["ended too late" if code == "CONFLICT" else name] += 1

    async def capture(self, number: int, account: str, authorization: str, nanos: int) -> None:
        at = _now().isoformat()
        one = {"id": f"request {number}", "at": at, "model": "m", "category": "CHAT", "cost": format_nanos(nanos)}
        given = {"idempotencyKey": f"capture {number}", "accountId": account, "authorizationId": authorization}
        await self.end("recordUsage", given | {"requests": [one]})


class Change(NamedTuple):
    """A change of what is spent and reserved."""

    at: datetime
    who: Attribution
    spent_nanos: int
    reserved_nanos: int


def _changes(
    account_id: int,
    rows: Sequence[TransactionRow],
    found: Sequence[AuthorizationRow],
    answered: Mapping[str, datetime] | None = None,
) -> Iterator[Change]:
    """Yields what changed. With `answered`, reservations last as long as a gateway may still have counted them."""
    for row in rows:
        if row.account_id == account_id and row.type == "gpu_usage":
            yield Change(row.created_at, Attribution(row.api_key or "", row.project or ""), -row.amount_nanos, 0)
    for one in found:
        if one.account_id == account_id:
            yield Change(one.created_at, scope_of(one), 0, one.amount_nanos)
            is_expired = one.closed_at is None or one.closed_at > one.expires_at
            ended = one.expires_at if is_expired else one.closed_at
            assert ended is not None
            if answered is not None:
                # It was closed between these two moments: `closed_at` is read before the commit.
                name = authorization_id_text(account_id, one.number)
                ended = ended + EXPIRY_TOLERANCE if is_expired else max(ended, answered[name])
            yield Change(ended, scope_of(one), 0, -one.amount_nanos)


def _committed(changes: Sequence[Change], scope: Attribution) -> Iterator[tuple[datetime, int]]:
    """Yields what is spent and reserved after each moment, for a limit of the scope."""
    total = 0
    ordered = sorted(one for one in changes if scope.covers(one.who))
    for number, one in enumerate(ordered):
        total += one.spent_nanos + one.reserved_nanos
        if number + 1 == len(ordered) or ordered[number + 1].at > one.at:
            yield one.at, total


def _largest_between(steps: Sequence[tuple[datetime, int]], start: datetime, end: datetime) -> int:
    """Returns the largest committed amount from start to end."""
    before = [total for at, total in steps if at <= start]
    return max([*before[-1:], *(total for at, total in steps if start < at <= end)], default=0)


async def _kill_gateways(scene: Scene, random: Random) -> None:
    for _ in range(GATEWAY_KILLS):
        await asyncio.sleep(random.uniform(0.5, 1.0))
        gateway = random.choice(scene.gateways)
        await gateway.kill()
        scene.counted["gateways killed"] += 1
        try:
            await gateway.start()
        except AssertionError:
            # PostgreSQL was killed while it started, and it ended, as it should: a service manager starts it again.
            await gateway.start()


async def _kill_postgres(scene: Scene, postgres: Postgres) -> None:
    await asyncio.sleep(1.5)
    await postgres.kill_backend()
    scene.counted["PostgreSQL killed"] += 1


async def test_no_limit_is_exceeded_whatever_dies(
    office: Office, database_url: str, postgres_server: Postgres, tmp_path: Path
) -> None:
    is_postgresql = office.services.database.is_postgresql
    accounts = [await office.account(_scaled(60)), await office.account(_scaled(6))]
    hot = number_of(accounts[0])
    put = office.services.database, hot
    await put_limit(*put, 1, _scaled(15), window=SpendWindow.TOTAL)
    await put_limit(*put, 2, _scaled(4), Attribution("key-1"), SpendWindow.TOTAL)
    await put_limit(*put, 3, _scaled(5), Attribution(project=RED), SpendWindow.TOTAL)
    await put_limit(*put, 4, _scaled(1), Attribution("key-2", BLUE), SpendWindow.TOTAL)
    gateways = [GatewayProcess(database_url, tmp_path) for _ in range(3 if is_postgresql else 1)]
    scene = Scene(office, gateways, accounts)
    numbers = iter(range(CALLS))

    async def client() -> None:
        for number in numbers:
            await scene.call(number)

    async with AsyncExitStack() as stack:
        for gateway in gateways:
            stack.push_async_callback(gateway.kill)
            await gateway.start()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_kill_gateways(scene, Random(1)))
            if is_postgresql:
                tasks.create_task(_kill_postgres(scene, postgres_server))
            for _ in range(CLIENTS):
                tasks.create_task(client())
    await _check(scene, await limits(office.services.database))
    print(dict(scene.counted))  # noqa: T201


async def _check(scene: Scene, put: Sequence[SpendLimitRow]) -> None:
    database = scene.office.services.database
    async with database.snapshot() as snapshot:
        columns = [transactions.c[name] for name in TransactionRow._fields]
        rows = [TransactionRow._make(row) for row in await snapshot.rows(select(*columns))]
        columns = [authorizations.c[name] for name in AuthorizationRow._fields]
        found = [AuthorizationRow._make(row) for row in await snapshot.rows(select(*columns))]
    everything: dict[int, list[tuple[datetime, int]]] = {}
    for account_id in map(number_of, scene.accounts):
        strict = list(_changes(account_id, rows, found))
        everything[account_id] = list(_committed(list(_changes(account_id, rows, found, scene.ended)), Attribution()))
        # Nothing is committed beyond the balance that the account began with.
        opening = next(row.amount_nanos for row in rows if row.account_id == account_id and row.seq == 1)
        assert max(total for _, total in _committed(strict, Attribution())) <= opening
    hot = number_of(scene.accounts[0])
    strict, tolerant = list(_changes(hot, rows, found)), list(_changes(hot, rows, found, scene.ended))
    steps = {}
    for limit in put:
        scope, limit_id = scope_of(limit), f"limit_{hot}_{limit.number}"
        assert max(total for _, total in _committed(strict, scope)) <= limit.amount_nanos
        assert limit.spent_nanos == sum(one.spent_nanos for one in strict if scope.covers(one.who))
        steps[limit_id] = limit.amount_nanos, list(_committed(tolerant, scope))
    for refusal in scene.refusals:
        if refusal.code == "LIMIT_EXCEEDED":
            assert refusal.limit is not None
            most, committed = steps[refusal.limit]
        else:
            assert refusal.code == "INSUFFICIENT_BALANCE"
            most, committed = (
                next(row.amount_nanos for row in rows if row[:2] == (refusal.account_id, 1)),
                everything[refusal.account_id],
            )
        largest = _largest_between(committed, refusal.sent, refusal.answered)
        assert largest + refusal.amount_nanos > most, refusal
    assert scene.counted["LIMIT_EXCEEDED"] > 0
    assert scene.counted["INSUFFICIENT_BALANCE"] > 0
    later = _now() + timedelta(seconds=60)
    async with database.write() as connection:
        left = await read_reservations(connection, {number_of(one) for one in scene.accounts}, later)
    assert not any(left.values())
    assert await differences(database) == []
