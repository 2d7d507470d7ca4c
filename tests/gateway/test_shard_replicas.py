"""Shards that each have a real streaming replica: never behind what a client has seen, and never a part of an account
that was moved (docs/shards.md)."""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import asyncpg
import pytest
from structlog.testing import capture_logs

from db import moved_accounts
from db.account_copies import announce
from db.connections.replicas import SeenUntil
from db.moved_accounts import LEAVING, PendingMove
from db.replica_reads import ReplicaRead, replica_read
from gateway.databases import open_databases
from gateway.positions import POSITION
from gateway.streams import live
from ledger.moving import Report
from tests.gateway.mutations.office import Office, number_of, opened
from tests.gateway.test_moved_accounts import STATE, moves_of
from tests.gateway.test_replicas import ANY, _comes, _on
from tests.gateway.test_shards import FIRST, SECOND, code_of, created, key_of, rest
from tests.pgbouncer import not_pooled
from tests.postgres import Postgres, Standby
from tests.replica import not_from_replica
from tests.shards import formed, new_urls

pytestmark = [not_pooled, not_from_replica]

KEYS: Final = "{ account { apiKeys { totalCount } } }"
LEASE_SECONDS: Final = 1.0
MAX_LAG_SECONDS: Final = 2.0


@pytest.fixture(scope="module")
def standby(postgres_server: Postgres) -> Iterator[Standby]:
    """One server, which has both shards."""
    with postgres_server.standby() as standby:
        yield standby


@pytest.fixture
async def urls(postgres_server: Postgres, postgres_template: str, tmp_path: Path) -> AsyncIterator[list[str]]:
    async with new_urls((postgres_server, postgres_template), tmp_path, 2) as made:
        await formed(*made)
        yield made


@pytest.fixture
async def replicas(urls: list[str], standby: Standby) -> list[str]:
    """URLs of the replica of each shard, once it has the tables."""
    made = [standby.url(url.split("/")[3].split("?")[0]) for url in urls]

    async def is_there() -> bool:
        with suppress(asyncpg.PostgresError):
            connection = await asyncpg.connect(made[1])
            try:
                return bool(await connection.fetchval("SELECT number = 1 FROM shard_membership"))
            finally:
                await connection.close()
        return False

    await _comes(is_there)
    return made


@pytest.fixture
def short_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moved_accounts, "LEASE_SECONDS", LEASE_SECONDS)
    monkeypatch.setattr(live, "LOOK_SECONDS", 0.1)


@asynccontextmanager
async def _gateway(
    urls: list[str], replicas: list[str], max_lag_seconds: float, key_cache_seconds: float = 0
) -> AsyncIterator[Office]:
    given: dict[str, Any] = {
        "shards": urls[1],
        "read_database_urls": replicas[0],
        "read_shards": f"1={replicas[1]}",
        "max_replica_lag_seconds": max_lag_seconds,
        "pool_size": 3,
        "points_per_second": 100_000,
        "key_cache_seconds": key_cache_seconds,
    }
    async with opened(urls[0], **given) as office:
        assert [await created(office, "One"), await created(office, "Two")] == [FIRST, SECOND]
        yield office


@pytest.fixture
async def office(urls: list[str], replicas: list[str]) -> AsyncIterator[Office]:
    async with _gateway(urls, replicas, 600) as office:
        yield office


@asynccontextmanager
async def _paused(standby: Standby) -> AsyncIterator[None]:
    """The replicas stay behind."""
    await _on(standby, "SELECT pg_wal_replay_pause()")
    try:
        # Until then it may replay some more.
        await _on(
            standby,
            "DO $$ BEGIN WHILE pg_get_wal_replay_pause_state() <> 'paused' LOOP PERFORM pg_sleep(0.01); END LOOP;"
            " END $$",
        )
        yield
    finally:
        await _on(standby, "SELECT pg_wal_replay_resume()")


class Client:
    """Sends back the position of its newest answer, with a manage key of its account."""

    def __init__(self, office: Office, key: str) -> None:
        self._office = office
        self.key = key
        self.position = ANY
        self.keys = 1

    async def send(self, query: str, position: str | None = None, **variables: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.key}", POSITION: position or self.position}
        body = {"query": query, "variables": variables}
        async with self._office.session.post(f"{self._office.url}/graphql", json=body, headers=headers) as response:
            self.position = max(self.position, response.headers[POSITION], key=lambda one: int(one.split("-")[0]))
            answer = await response.json()
        assert "errors" not in answer, answer
        return answer["data"]

    async def write(self) -> None:
        create = "mutation ($input: CreateApiKeyInput!) { createApiKey(input: $input) { secret } }"
        given = {"scope": "READ", "owner": "child", "idempotencyKey": self._office.new_key()}
        await self.send(create, input=given)
        self.keys += 1

    async def seen(self, position: str | None = None) -> int:
        return int((await self.send(KEYS, position))["account"]["apiKeys"]["totalCount"])


def _reads(office: Office, shard: int) -> int:
    replicas = office.services.shards[shard].database.replicas
    assert replicas is not None
    return replicas.reads["replica"]


async def _client(office: Office, account: str, shard: int) -> Client:
    """A client whose position and key the replica has."""
    client = Client(office, await key_of(office, account, "MANAGE"))
    await client.seen()
    before = _reads(office, shard)

    async def is_read() -> bool:
        await client.seen(position)
        return _reads(office, shard) > before

    position = client.position
    await _comes(is_read)
    client.position = position
    return client


async def _moved(office: Office, account_id: int, number: int) -> Report:
    made = open_databases(office.services.settings)
    try:
        return await moves_of(list(made), 2 * LEASE_SECONDS).move(account_id, number)
    finally:
        for database in made:
            await database.close()


async def test_a_client_sees_what_it_wrote_on_its_shard(office: Office, standby: Standby) -> None:
    client = await _client(office, SECOND, 1)
    before = client.position
    time_of, timeline, shard = before.split("-")
    assert shard == "1"
    async with office.session.get(f"{office.url}/metrics") as response:
        counted = re.search(
            r'^billing_replica_reads_total{server="replica@1"} (\S+)$', await response.text(), re.MULTILINE
        )
    assert counted is not None
    assert float(counted[1]) == _reads(office, 1)
    async with _paused(standby):
        await client.write()
        assert await client.seen() == 2
        # A position of another log says nothing of this one.
        for unknown in (f"{time_of}-{timeline}-0", f"{time_of}-{timeline}", f"{time_of}-{timeline}-9"):
            assert await client.seen(unknown) == 2
        for known in (ANY, before):
            assert await client.seen(known) == 1
        # Keys of several shards are told no position, and read all primaries.
        headers = {"Authorization": f"Bearer {office.keys['operator']}", POSITION: ANY}
        body = {"query": f'{{ account(id: "{SECOND}") {{ apiKeys {{ totalCount }} }} }}'}
        async with office.session.post(f"{office.url}/graphql", json=body, headers=headers) as response:
            assert POSITION not in response.headers
            assert (await response.json())["data"]["account"]["apiKeys"]["totalCount"] == "2"
        await office.call("revokeApiKey", None, "apiKey { prefix }", prefix=client.key[:12])
        assert await code_of(office, KEYS, client.key) == "UNAUTHENTICATED"


@pytest.mark.usefixtures("short_leases")
async def test_an_account_that_came_back_is_not_read_as_it_was(office: Office, standby: Standby) -> None:
    """The replica still has the account's first time on the shard, and then the beginning of its second."""
    client = await _client(office, FIRST, 0)
    old = client.position
    assert (await _moved(office, 1, 1)).faults == []
    await client.write()
    assert await client.seen() == 2
    assert client.position.endswith("-1")
    before = _reads(office, 1)

    async def is_read() -> bool:
        assert await client.seen(ANY) == 2
        return _reads(office, 1) > before

    await _comes(is_read)
    async with _paused(standby):
        assert (await _moved(office, 1, 0)).faults == []
        assert await client.seen(ANY) == 2
        assert await client.seen(old) == 2
    before = _reads(office, 0)

    async def is_read_again() -> bool:
        assert await client.seen(ANY) == 2
        return _reads(office, 0) > before

    await _comes(is_read_again)


class Clients:
    """Clients of one account, each of whom checks all that it is told."""

    def __init__(self, office: Office, writer: Client) -> None:
        self._office = office
        self._writer = writer
        self._chances = random.Random(7)
        self._posted: list[float] = []
        """When each of the account's rows was acknowledged; each adds a dollar."""
        self.is_over = False

    async def write(self) -> None:
        while not self.is_over:
            if self._chances.random() < 0.3:
                await self._writer.write()
            assert await self._writer.seen() == self._writer.keys
            await asyncio.sleep(self._chances.random() * 0.1)

    async def post(self) -> None:
        while not self.is_over:
            await self._office.call("grantBonus", None, "balance", accountId=FIRST, amount="1", promotion="SPRING")
            self._posted.append(time.monotonic())
            await asyncio.sleep(0.05)

    async def read(self) -> None:
        """Any moment of the account that is not too old."""
        reader = Client(self._office, self._writer.key)
        while not self.is_over:
            began = time.monotonic()
            found = (await reader.send(STATE, ANY))["account"]
            rows = int(found["transactions"]["totalCount"])
            assert found["balance"] == f"{rows}.00"
            newest = [(row["id"], row["balanceAfter"]) for row in found["transactions"]["nodes"]]
            assert newest == [(f"txn_1_{seq}", f"{seq}.00") for seq in range(rows, max(rows - 3, 0), -1)]
            assert rows >= sum(at < began - MAX_LAG_SECONDS for at in self._posted)

    async def disturb(self, standby: Standby) -> None:
        while not self.is_over:
            async with _paused(standby):
                await asyncio.sleep(self._chances.random() * 0.5)
            await asyncio.sleep(self._chances.random() * 0.5)


@pytest.mark.usefixtures("short_leases")
async def test_clients_of_a_moving_account_never_read_behind_themselves(
    urls: list[str], replicas: list[str], standby: Standby
) -> None:
    # Keys are kept: looking one up would tell of a move.
    async with _gateway(urls, replicas, MAX_LAG_SECONDS, 60) as office, asyncio.TaskGroup() as group:
        clients = Clients(office, await _client(office, FIRST, 0))
        for work in (clients.write(), clients.post(), clients.read(), clients.disturb(standby)):
            group.create_task(work)
        try:
            for number in (1, 0):
                before = _reads(office, number)
                assert (await _moved(office, 1, number)).faults == []
                await asyncio.sleep(1)
                assert _reads(office, number) > before
        finally:
            clients.is_over = True


async def test_an_answer_counts_only_if_the_account_stayed(
    office: Office, standby: Standby, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = await _client(office, SECOND, 1)
    database, account = office.services.shards[1].database, number_of(SECOND)
    assert database.place is not None
    moved = database.place.shards.moved

    async def announced(move: PendingMove | None) -> None:
        async with database.write() as connection:
            await announce(connection, account, move)
        await moved.look(1, time.monotonic())

    read = replica_read(database, account, SeenUntil(0, 0))
    assert read is not None
    counted = read.counts
    assert counted
    await announced(PendingMove(LEAVING, 0, 1))
    assert not read.counts
    assert replica_read(database, account, SeenUntil(0, 0)) is None
    await announced(None)
    assert replica_read(database, account, SeenUntil(0, 0)) is not None
    with monkeypatch.context() as patch:
        # Nobody has looked for longer than that.
        patch.setattr(moved_accounts, "LEASE_SECONDS", 0)
        assert not read.counts
        assert replica_read(database, account, SeenUntil(0, 0)) is None

    # Then the primary answers.
    await office.call("correctBalance", accountId=SECOND, amount="1", description="A row")
    exported = await rest(office, "/billing/transactions.csv", client.key)
    monkeypatch.setattr(ReplicaRead, "counts", property(lambda _: False))
    assert await rest(office, "/billing/transactions.csv", client.key) == exported
    assert (exported[0], len(exported[1].splitlines())) == (200, 2)
    async with _paused(standby):
        await client.write()
        before = _reads(office, 1)
        assert await client.seen(ANY) == 2
        assert _reads(office, 1) > before


async def test_a_replica_of_another_shard_is_not_read(urls: list[str], replicas: list[str]) -> None:
    swapped: dict[str, Any] = {"shards": urls[1], "read_database_urls": replicas[1], "read_shards": f"1={replicas[0]}"}
    async with opened(urls[0], **swapped) as office:
        assert await created(office, "One") == FIRST
        client = Client(office, await key_of(office, FIRST, "MANAGE"))
        with capture_logs() as logs:
            for _ in range(4):
                await client.write()
                assert await client.seen(ANY) == client.keys
                await asyncio.sleep(0.1)
        assert _reads(office, 0) == 0
        assert {line["reason"] for line in logs if line["event"] == "the replica is not read"} == {
            "the server is not a replica of this shard"
        }
