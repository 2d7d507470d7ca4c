"""Queries and exports that a real streaming replica answers: never behind what the client has seen."""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any, Final

import asyncpg
import pytest
from click import UsageError
from sqlalchemy import literal, select
from structlog.testing import capture_logs

from db.connections.replicas import Look, SeenUntil
from db.connections.snapshots import Wanted
from db.errors import DatabaseUnavailable
from gateway.commands.options import settings_of
from gateway.positions import POSITION
from tests.gateway.mutations.office import Office, opened
from tests.postgres import Postgres, Standby

BALANCE: Final = (
    "query ($id: ID!) { account(id: $id) { balance transactions(first: 1) { edges { cursor node { id } } } } }"
)
ANY: Final = "0-0"
OPERATIONS: Final = int(os.environ.get("REPLICA_OPERATIONS", "240"))


@pytest.fixture(scope="module")
def standby(postgres_server: Postgres) -> Iterator[Standby]:
    with postgres_server.standby() as standby:
        yield standby


@pytest.fixture
async def office(postgresql_url: str, standby: Standby) -> AsyncIterator[Office]:
    replica = standby.url(postgresql_url.split("/")[3].split("?")[0])
    async with opened(postgresql_url, read_database_urls=replica) as office:
        yield office


class Client:
    """Sends back the position of its newest answer."""

    def __init__(self, office: Office, account: str) -> None:
        self._office = office
        self.account = account
        self.position = ANY

    async def send(self, query: str, position: str | None = None, **variables: Any) -> Any:
        headers = {"Authorization": f"Bearer {self._office.keys['service']}", POSITION: position or self.position}
        body = {"query": query, "variables": variables}
        async with self._office.session.post(f"{self._office.url}/graphql", json=body, headers=headers) as response:
            self.position = max(self.position, response.headers.get(POSITION, ANY), key=lambda one: int(one[:-2]))
            return await response.json()

    async def grant(self, amount: str) -> None:
        given = {"accountId": self.account, "amount": amount, "promotion": "summer"}
        given["idempotencyKey"] = self._office.new_key()
        grant = "mutation ($input: GrantBonusInput!) { grantBonus(input: $input) { balance } }"
        assert "errors" not in await self.send(grant, input=given)

    async def balance(self, position: str | None = None) -> str:
        answer = await self.send(BALANCE, position, id=self.account)
        return str(answer["data"]["account"]["balance"])


async def _on(standby: Standby, statement: str) -> None:
    connection = await asyncpg.connect(user=standby.user, database="postgres", host=standby.host)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


def _reads(office: Office) -> int:
    replicas = office.services.database.replicas
    assert replicas is not None
    return replicas.reads["replica"]


async def _comes(look: Callable[[], Awaitable[bool]]) -> None:
    for _ in range(600):
        if await look():
            return
        await asyncio.sleep(0.05)
    raise AssertionError("it never came")


@pytest.fixture
async def client(office: Office) -> Client:
    """A client of an account whose first row the replica has."""
    client = Client(office, await office.account("1.00"))
    before = _reads(office)

    async def is_there() -> bool:
        return await client.balance() == "1.00" and _reads(office) > before

    await _comes(is_there)
    return client


@pytest.fixture
async def paused(standby: Standby, client: Client) -> AsyncIterator[None]:
    """The replica stays behind."""
    await _on(standby, "SELECT pg_wal_replay_pause()")
    yield
    await _on(standby, "SELECT pg_wal_replay_resume()")


@pytest.mark.usefixtures("paused")
async def test_a_client_sees_what_it_wrote_and_another_what_the_replica_has(
    office: Office, client: Client, standby: Standby
) -> None:
    await client.grant("2.00")
    assert await client.balance() == "3.00"
    assert await client.balance(ANY) == "1.00"
    # Without the header, a client may have seen anything.
    assert (await office.query(BALANCE, id=client.account))["account"]["balance"] == "3.00"
    await _on(standby, "SELECT pg_wal_replay_resume()")
    position, before = client.position, _reads(office)

    async def is_read_from_the_replica() -> bool:
        assert await client.balance(position) == "3.00"
        return _reads(office) > before

    await _comes(is_read_from_the_replica)


@pytest.mark.usefixtures("paused")
async def test_rows_that_the_replica_lacks_are_found_and_exported(office: Office, client: Client) -> None:
    await client.grant("2.00")
    answer = await client.send(BALANCE, id=client.account)
    [edge] = answer["data"]["account"]["transactions"]["edges"]
    by_id = await client.send("query ($id: ID!) { transaction(id: $id) { amount } }", ANY, id=edge["node"]["id"])
    assert by_id["data"]["transaction"]["amount"] == "2.00"
    older = "query ($id: ID!, $after: String) { account(id: $id) { transactions(after: $after) { nodes { amount } } } }"
    page = await client.send(older, ANY, id=client.account, after=edge["cursor"])
    assert page["data"]["account"]["transactions"]["nodes"] == [{"amount": "1.00"}]
    url = f"{office.url}/billing/transactions.csv?account={client.account}"
    headers = {"Authorization": f"Bearer {office.keys['operator']}", POSITION: ANY}
    async with office.session.get(url, headers=headers) as response:
        assert len((await response.text()).splitlines()) == 3


def test_each_url_leads_to_one_server() -> None:
    given = {"database_url": "postgresql://a@b/c", "read_database_urls": "postgresql://a@d/c postgresql://a@e,f/c"}
    with pytest.raises(UsageError, match="must name one server"):
        settings_of(given)


def test_times_before_the_clock_was_set_back_are_forgotten() -> None:
    look = Look(began=1.0, clock=100, length=10, timeline=1)
    assert look.may_be_before(look._replace(began=2.0, clock=101, length=11))
    assert not look.may_be_before(look._replace(began=2.0, clock=99))
    assert not look.may_be_before(look._replace(began=2.0, length=9))
    assert not look.may_be_before(look._replace(began=2.0, timeline=2))


async def test_positions_that_no_answer_had_are_refused(client: Client) -> None:
    for position in ("", "1", "-1-1", "1-1,1-1", "x"):
        answer = await client.send(BALANCE, position or " ", id=client.account)
        assert [error["extensions"]["code"] for error in answer["errors"]] == ["BAD_USER_INPUT"]
    # After a failover, nobody knows what that was on the old timeline.
    before = client.position
    assert await client.balance(f"{before[:-2]}-7") == "1.00"


async def test_the_primary_answers_while_a_replica_is_away(postgres_server: Postgres, postgresql_url: str) -> None:
    with postgres_server.standby() as standby:
        replica = standby.url(postgresql_url.split("/")[3].split("?")[0])
        async with opened(postgresql_url, read_database_urls=replica) as office:
            client = Client(office, await office.account("1.00"))

            async def is_read() -> bool:
                return await client.balance() == "1.00" and _reads(office) > 0

            await _comes(is_read)
            with capture_logs() as logs:
                await standby.promote()
                for _ in range(20):
                    await client.grant("1.00")
                    await client.balance()
                    await asyncio.sleep(0.02)
                assert await client.balance() == "21.00"
            assert [line["reason"] for line in logs if line["event"] == "the replica is not read"] == [
                "the server is not a standby"
            ]


async def test_a_replica_of_the_timeline_before_is_not_read(
    postgres_server: Postgres, standby: Standby, postgresql_url: str
) -> None:
    """The old primary goes on, and its log is longer than that of the new one."""
    name = postgresql_url.split("/")[3].split("?")[0]
    with postgres_server.standby() as promoted:
        async with opened(postgresql_url) as old:
            account = await old.account("1.00")
        await asyncio.sleep(0.5)
        await promoted.promote()
        await postgres_server.execute("SELECT pg_logical_emit_message(true, 'tests', repeat('longer', 1000000))")
        async with opened(promoted.url(name), read_database_urls=standby.url(name)) as office:
            client = Client(office, account)
            for dollars in range(2, 6):
                await client.grant("1.00")
                await asyncio.sleep(0.25)
                assert await client.balance() == f"{dollars}.00"
            assert office.services.database.replicas is not None
            assert office.services.database.replicas.lags() == {standby.host: None}


async def test_a_replica_that_lost_what_it_had_is_not_read(
    office: Office, client: Client, standby: Standby, postgres_server: Postgres
) -> None:
    """After a crash, a replica begins at its last checkpoint again."""
    assert office.services.database.replicas is not None
    readers = office.services.database.replicas.readers_for(SeenUntil(0, 0))
    assert readers is not None
    await postgres_server.execute("CHECKPOINT")
    await asyncio.sleep(0.5)
    await _on(standby, "CHECKPOINT")
    for _ in range(3):
        await client.grant("1.00")
    await asyncio.sleep(0.5)
    # No connection is left, and the event loop stands still: nobody looks at the replica meanwhile.
    await readers.close()
    with standby.crashed_and_behind():
        with pytest.raises(DatabaseUnavailable, match="less than before"):
            await readers.one(Wanted(select(literal(1)), {}))
        assert await client.balance(ANY) == "4.00"


async def test_a_log_that_ends_with_a_page(office: Office, client: Client, postgres_server: Postgres) -> None:
    await postgres_server.execute("SELECT pg_switch_wal()")
    before = client.position

    async def is_read() -> bool:
        await client.balance()
        position, reads = client.position, _reads(office)
        await asyncio.sleep(0.3)
        await client.balance(position)
        return position != before and _reads(office) > reads

    async with asyncio.timeout(3):
        await _comes(is_read)


async def test_random_clients_never_read_behind_themselves(office: Office, client: Client, standby: Standby) -> None:
    """Each is the only writer of its account, so it knows the balance."""
    chances = random.Random(11)
    accounts = [await office.account() for _ in range(6)]

    async def live(account: str) -> None:
        own, cents = Client(office, account), 0
        await own.balance()
        for _ in range(OPERATIONS // len(accounts)):
            if chances.random() < 0.3:
                cents += 1
                await own.grant("0.01")
            else:
                assert await own.balance() == f"{cents / 100:.2f}"
            if chances.random() < 0.3:
                await asyncio.sleep(chances.random() * 0.4)

    async def disturb() -> None:
        while True:
            for state in ("pause", "resume"):
                await _on(standby, f"SELECT pg_wal_replay_{state}()")
                await asyncio.sleep(chances.random() * 0.5)

    disturbing, before = asyncio.create_task(disturb()), _reads(office)
    await asyncio.gather(*map(live, accounts))
    disturbing.cancel()
    await asyncio.wait([disturbing])
    await _on(standby, "SELECT pg_wal_replay_resume()")
    assert _reads(office) > before
