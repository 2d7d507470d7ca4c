"""Two databases that share the accounts (docs/shards.md): the life of accounts on both, through the API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse

from access.keys import KeyScope, NewKey, ServiceOperation
from db.database import sqlite_url
from db.errors import SchemaMismatch
from db.schema_version import newest
from db.shard_set import check_set
from db.shards import shard_of_text
from gateway.commands.options import settings_of
from gateway.commands.worker import _built, _metrics_text, _once
from ledger.accounts import Accounts
from ledger.verification.accounts import verify_account
from tests.copies import Source
from tests.gateway.command_line import run
from tests.gateway.mutations.office import Office, number_of, opened
from tests.ledger.desk import START
from tests.postgres import Postgres
from tests.shards import databases, formed, new_urls
from tests.tcp_proxy import before

FIRST, SECOND = "acct_1", "acct_1000000000001"
HOUR = timedelta(hours=1)
BALANCES = "query ($one: ID!, $two: ID!) { one: account(id: $one) { ...f } two: account(id: $two) { ...f } }"
FIELDS = "fragment f on Account { id balance transactions { nodes { amount } totalCount } apiKeys { totalCount } }"
ACCOUNTS = "query ($first: Int, $after: String) { accounts(first: $first, after: $after) { PAGE } }"
AUDIT = "query ($first: Int, $after: String) { auditEntries(first: $first, after: $after) { PAGE } }"
PAGE = "edges { cursor node { NODE } } totalCount pageInfo { endCursor hasNextPage hasPreviousPage }"
CHANGES = "subscription ($id: ID) { balanceChanged(accountId: $id) { balance transaction { id } account { name } } }"


@pytest.fixture
async def urls(empty_database: Source, tmp_path: Path) -> AsyncIterator[list[str]]:
    """URLs of three databases with tables."""
    async with new_urls(empty_database, tmp_path, 3) as made:
        yield made


@pytest.fixture
async def office(urls: list[str]) -> AsyncIterator[Office]:
    await formed(*urls[:2])
    async with opened(urls[0], shards=urls[1], pool_size=3) as office:
        yield office


async def created(office: Office, name: str, **given: Any) -> str:
    return str((await office.call("createAccount", name=name, **given))["account"]["id"])


async def key_of(office: Office, account: str, scope: str = "READ") -> str:
    made = await office.call("createApiKey", None, "secret", accountId=account, scope=scope, owner="customer")
    return str(made["secret"])


async def code_of(office: Office, query: str, key: str, **variables: Any) -> str:
    (error,) = (await office.send(query, key, variables))["errors"]
    return str(error["extensions"]["code"])


async def rest(office: Office, path: str, key: str) -> tuple[int, str]:
    async with office.session.get(f"{office.url}{path}", headers={"Authorization": f"Bearer {key}"}) as response:
        return response.status, await response.text()


async def pages(office: Office, query: str, first: int, node: str) -> tuple[list[Any], list[int]]:
    """The nodes of all pages, and the totals that the pages say."""
    text = query.replace("PAGE", PAGE).replace("NODE", node)
    found, totals, after, more = [], [], None, True
    while more:
        (page,) = (await office.query(text, first=first, after=after)).values()
        assert page["pageInfo"]["hasPreviousPage"] == (after is not None)
        found += [edge["node"] for edge in page["edges"]]
        totals.append(int(page["totalCount"]))
        # Any row's cursor goes on where the row ends.
        if after is None:
            (rest,) = (await office.query(text, first=1, after=page["edges"][0]["cursor"])).values()
            assert [edge["node"] for edge in rest["edges"]] == found[1:2]
        after, more = page["pageInfo"]["endCursor"], page["pageInfo"]["hasNextPage"]
    return found, totals


async def test_accounts_on_two_shards_live_alike(office: Office) -> None:
    assert [await created(office, "One"), await created(office, "Two"), await created(office, "Three")] == [
        *(FIRST, SECOND),
        "acct_2",
    ]
    for account in (FIRST, SECOND):
        await office.call("correctBalance", accountId=account, amount="10", description="Opening balance")
    # One query of an operator reads both.
    await key_of(office, SECOND)
    found = await office.query(BALANCES + FIELDS, one=FIRST, two=SECOND)
    rows = {"nodes": [{"amount": "10.00"}], "totalCount": "1"}
    assert found == {
        "one": {"id": FIRST, "balance": "10.00", "transactions": rows, "apiKeys": {"totalCount": "0"}},
        "two": {"id": SECOND, "balance": "10.00", "transactions": rows, "apiKeys": {"totalCount": "1"}},
    }
    # A service posts on both.
    for account in (FIRST, SECOND):
        given = {"accountId": account, "amount": "2.50", "promotion": "SPRING"}
        assert (await office.call("grantBonus", **given, idempotencyKey="bonus"))["balance"] == "12.50"
        assert (await office.call("grantBonus", **given, idempotencyKey="bonus"))["replayed"]

    # An account's keys see their own shard's account only, and what they see is the same everywhere.
    manager, reader = await key_of(office, SECOND, "MANAGE"), await key_of(office, FIRST)
    assert [shard_of_text(key[:12]) for key in (manager, reader)] == [1, shard_of_text(reader[:12])]
    own = "{ account { id balance transactions { nodes { id } } } }"
    (newest, oldest) = (await office.query(own, manager))["account"]["transactions"]["nodes"]
    assert (newest["id"], oldest["id"]) == ("txn_1000000000001_2", "txn_1000000000001_1")
    assert await code_of(office, "query ($id: ID) { account(id: $id) { id } }", reader, id=SECOND) == "NOT_FOUND"
    assert await code_of(office, '{ transaction(id: "txn_1_1") { id } }', manager) == "NOT_FOUND"
    assert await code_of(office, '{ account(id: "acct_9000000000001") { id } }', office.keys["operator"]) == "NOT_FOUND"
    status, text = await rest(office, "/billing/transactions.csv", manager)
    assert (status, text.count("\r\n")) == (200, 3)
    assert (status, text) == await rest(office, f"/billing/transactions.csv?account={SECOND}", office.keys["operator"])
    page = await rest(office, f"/billing/transactions?account={SECOND}&limit=1", office.keys["operator"])
    assert page == await rest(office, "/billing/transactions?limit=1", manager)
    assert page[0] == 200

    # One database answers them, in no more steps than without shards.
    for key in (manager, reader):
        assert office.services.of(await office.services.authenticator.principal(key)).others == ()

    # Keys: made by a key, rotated by an operator, and revoked, which counts at once.
    child = await office.call("createApiKey", manager, "secret", scope="READ", owner="child")
    rotated = await office.call("rotateApiKey", None, "secret", prefix=child["secret"][:12], graceSeconds=0)
    assert await code_of(office, own, child["secret"]) == "UNAUTHENTICATED"
    assert (await office.query(own, rotated["secret"]))["account"]["id"] == SECOND
    assert (
        await office.query("query ($id: String!) { find(id: $id) { account { id } } }", id=rotated["secret"][:12])
    ) == {"find": [{"account": {"id": SECOND}}]}
    await office.call("revokeApiKey", manager, "apiKey { prefix }", prefix=rotated["secret"][:12])
    assert await code_of(office, own, rotated["secret"]) == "UNAUTHENTICATED"
    listed: dict[str, Any] = {"scope": "SERVICE", "owner": "us", "accountIds": [FIRST, SECOND]}
    assert (await office.call("createApiKey", None, "apiKey { accountIds }", **listed))["apiKey"] == {
        "accountIds": [FIRST, SECOND]
    }
    missing = await office.answer(
        "createApiKey", office.keys["operator"], **listed | {"accountIds": ["acct_1000000000009"]}
    )
    assert missing["errors"][0]["message"] == "there is no account acct_1000000000009"

    async with office.session.get(f"{office.url}/readyz") as response:
        ready = await response.json()
    assert (ready["writes"], [shard["reads"] for shard in ready["shards"].values()]) == (True, [True, True])
    for shard in office.services.shards:
        await shard.authenticator.flush_last_used()
        for row in await Accounts(shard.database).newest(10):
            assert (await verify_account(shard.database, row.id)).faults == []
    assert await _once(office.services.settings)


@pytest.mark.one_database
async def test_a_session_ends_with_the_service_key_on_the_first_shard(office: Office) -> None:
    for name in ("One", "Two"):
        await created(office, name)
    operations = (ServiceOperation.CREATE_SIGN_IN_LINK.value,)
    service = await office.key(NewKey(KeyScope.SERVICE, "platform", operations=operations))
    sessions = []
    for account in (FIRST, SECOND):
        link = await office.call("createSignInLink", service, accountId=account, scope="MANAGE", owner="ada")
        code = {"code": link["url"].partition("#code=")[2]}
        async with office.session.post(f"{office.url}/console/sign-in", json=code) as response:
            sessions.append((await response.json())["key"])
        async with office.session.post(f"{office.url}/console/sign-in", json=code) as response:
            assert response.status == 401
        viewer = await office.query("{ viewer { account { id } } }", sessions[-1])
        assert viewer == {"viewer": {"account": {"id": account}}}
    streams = [await changes(office, key) for key in sessions]
    await office.call("revokeApiKey", None, "apiKey { prefix }", prefix=service[:12])
    for key, stream in zip(sessions, streams, strict=True):
        assert await code_of(office, "{ viewer { scope } }", key) == "UNAUTHENTICATED"
        # The stream ends by itself.
        await asyncio.wait_for(stream.read(), 30)


async def changes(office: Office, key: str, after: str | None = None, **variables: Any) -> ClientResponse:
    headers = {"Authorization": f"Bearer {key}", "Accept": "text/event-stream"}
    if after is not None:
        headers["Last-Event-ID"] = after
    body = {"query": CHANGES, "variables": variables}
    return await office.session.post(f"{office.url}/graphql", json=body, headers=headers)


async def next_event(stream: ClientResponse) -> tuple[str, str]:
    """The id and the data of the next event."""
    lines: list[str] = []
    async with asyncio.timeout(30):
        while not lines or not lines[-1].startswith("data: "):
            lines.append((await stream.content.readline()).decode().strip())
    return lines[-2].removeprefix("id: "), lines[-1].removeprefix("data: ")


async def test_streams_follow_the_account_s_shard(office: Office) -> None:
    for name in ("One", "Two"):
        await created(office, name)
    own = await changes(office, await key_of(office, SECOND))
    foreign = await changes(office, office.keys["operator"], id=SECOND)
    other = await changes(office, office.keys["operator"], id=FIRST)
    for account, amount in ((FIRST, "1"), (SECOND, "2"), (SECOND, "3")):
        await office.call("correctBalance", accountId=account, amount=amount, description="Row")
    seen = [await next_event(own), await next_event(own)]
    assert [data for _, data in seen] == [
        '{"data":{"balanceChanged":{"balance":"2.00","transaction":{"id":"txn_1000000000001_1"},"account":{"name":"Two"}}}}',
        '{"data":{"balanceChanged":{"balance":"5.00","transaction":{"id":"txn_1000000000001_2"},"account":{"name":"Two"}}}}',
    ]
    assert [await next_event(foreign), await next_event(foreign)] == seen
    assert '"txn_1_1"' in (await next_event(other))[1]
    resumed = await changes(office, office.keys["operator"], seen[0][0], id=SECOND)
    assert await next_event(resumed) == seen[1]
    for stream in (own, foreign, other, resumed):
        stream.close()


async def test_lists_of_both_shards_are_paged_without_a_gap_or_a_repeat(office: Office) -> None:
    # The clocks of the servers that created them differ.
    for number, hours in enumerate((3, 1, 2, 5, 5, 5, 4, 9, 0)):
        office.now = START + hours * HOUR
        await created(office, f"Number {number}")
    office.now = START + 10 * HOUR
    expected = {f"Number {number}" for number in range(9)}
    for first in (2, 3, 50):
        found, totals = await pages(office, ACCOUNTS, first, "id name createdAt")
        assert {node["name"] for node in found} == expected
        assert (len(found), set(totals)) == (9, {9})
        for shard in (0, 1):
            numbers = [number_of(node["id"]) for node in found]
            own = [number for number in numbers if number // 10**12 == shard]
            assert own == sorted(own, reverse=True)
    entries, totals = await pages(office, AUDIT, 4, "act description account { name }")
    named = [entry["account"]["name"] for entry in entries if entry["act"] == "createAccount"]
    assert sorted(named) == sorted(expected)
    assert set(totals) == {len(entries)}

    # Accounts that come after the first page are not in later ones.
    query = ACCOUNTS.replace("PAGE", PAGE).replace("NODE", "name")
    (page,) = (await office.query(query, first=1)).values()
    await created(office, "Late")
    await created(office, "Later")
    (later,) = (await office.query(query, first=50, after=page["pageInfo"]["endCursor"])).values()
    names = [edge["node"]["name"] for edge in page["edges"] + later["edges"]]
    assert sorted(names) == sorted(expected)
    assert await code_of(office, query, office.keys["operator"], first=1, after="AQM") == "BAD_CURSOR"


async def test_an_external_id_and_a_call_are_of_one_shard(urls: list[str]) -> None:
    async with databases(urls[0]) as (first,):
        await Accounts(first).create("Old", "old")
    await formed(*urls[:2])
    async with (
        opened(urls[0], shards=urls[1], pool_size=3) as office,
        opened(urls[0], shards=urls[1], pool_size=3) as other,
    ):
        operator = office.keys["operator"]
        told = await asyncio.gather(
            *(
                one.answer("createAccount", operator, "account { id }", name="Same", externalId="same")
                for _ in range(3)
                for one in (office, other)
            )
        )
        codes = [one["errors"][0]["extensions"]["code"] for one in told if "errors" in one]
        assert codes == ["CONFLICT"] * 5
        again = await asyncio.gather(
            *(
                one.answer("createAccount", operator, "account { id }", name="Once", idempotencyKey="once")
                for _ in range(3)
                for one in (office, other)
            )
        )
        assert len({one["data"]["createAccount"]["account"]["id"] for one in again}) == 1
        for given, code in (
            ({"externalId": "old"}, "CONFLICT"),
            ({"externalId": "same"}, "CONFLICT"),
            ({"idempotencyKey": "once"}, "IDEMPOTENCY_CONFLICT"),
            ({"externalId": "acct_7"}, "BAD_USER_INPUT"),
        ):
            refused = await office.answer("createAccount", operator, "account { id }", **{"name": "No", **given})
            assert refused["errors"][0]["extensions"]["code"] == code
        (page,) = (await office.query("{ accounts { nodes { id name } } }")).values()
        assert sorted(node["name"] for node in page["nodes"]) == ["Old", "Once", "Same"]
        found = await office.query('{ find(id: "same") { account { name } } }')
        assert found == {"find": [{"account": {"name": "Same"}}]}


async def test_a_set_has_its_members_in_their_order(urls: list[str]) -> None:
    assert await formed(*urls[:2]) == [0, 1]
    assert await formed(*urls[:2]) == []
    one, two, three = urls
    for given, message in (
        ([one], "shard 0 of a set"),
        ([two], "shard 1 of a set"),
        ([two, one], "shard 1 was named as shard 0"),
        ([one, three], "shard 1 does not belong to the set yet"),
        ([one, two, three], "shard 2 does not belong to the set yet"),
    ):
        async with databases(*given) as made:
            with pytest.raises(SchemaMismatch, match=message):
                await check_set(made[0])
    with pytest.raises(SchemaMismatch, match="shard 1 of the set is another database"):
        await formed(one, three)
    with pytest.raises(SchemaMismatch, match="shard 1 was named as shard 0"):
        await formed(two, one)
    async with databases(three) as (lone,):
        await check_set(lone)
        await Accounts(lone).create("Full")
    with pytest.raises(SchemaMismatch, match="only an empty one can join"):
        await formed(one, two, three)
    async with databases(one, two) as made:
        await check_set(made[0])


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
async def test_a_shard_is_added_to_a_set(urls: list[str]) -> None:
    await formed(*urls[:2])
    assert await formed(*urls) == [2]
    async with databases(*urls[:2]) as made:
        with pytest.raises(SchemaMismatch, match="the set has 3 shards, not 2"):
            await check_set(made[0])
    async with opened(urls[0], shards=" ".join(urls[1:])) as office:
        ids = [await created(office, "Next") for _ in range(3)]
        assert ids == [FIRST, SECOND, "acct_2000000000001"]


@pytest.mark.parametrize("backend", ["postgresql"], indirect=True)
async def test_a_shard_that_is_away_takes_only_its_own_accounts_with_it(
    urls: list[str], postgres_server: Postgres
) -> None:
    await formed(*urls[:2])
    async with before(postgres_server) as proxy:
        name = urls[0].partition("?")[0].rpartition("/")[2]
        through = f"postgresql://{postgres_server.user}@127.0.0.1:{proxy.port}/{name}"
        async with opened(through, shards=urls[1], pool_size=2, database_silence_seconds=0.5) as office:
            for account in ("One", "Two"):
                await created(office, account)
            keys = [await key_of(office, account) for account in (FIRST, SECOND)]
            await office.query("{ account { balance } }", keys[0])
            proxy.silent = True
            assert await code_of(office, "{ account { balance } }", keys[0]) == "UNAVAILABLE"
            assert await office.query("{ account { balance } }", keys[1]) == {"account": {"balance": "0.00"}}
            async with office.session.get(f"{office.url}/readyz") as response:
                ready = await response.json()
            assert (response.status, [shard["reads"] for shard in ready["shards"].values()]) == (200, [False, True])
            assert ready["message"].startswith("shard 0: ")


@pytest.mark.one_database
async def test_commands_work_on_the_shard_that_has_what_they_name(urls: list[str], tmp_path: Path) -> None:
    await formed(*urls[:2])

    async def told(*arguments: str, status: int = 0) -> list[str]:
        given = (*arguments, "--shards", urls[1])
        return (await asyncio.to_thread(run, *given, url=urls[0], status=status)).splitlines()

    assert [await told("accounts", "create", "--name", "A", "--external-id", name) for name in ("a", "b")] == [
        [FIRST],
        [SECOND],
    ]
    refused = await told("accounts", "create", "--name", "A", "--external-id", "b", status=1)
    assert "an account with the external id b already exists" in refused[0]
    assert [line.split("\t")[0] for line in await told("accounts", "list")] == [SECOND, FIRST]
    (key,) = await told("keys", "create", "--scope", "read", "--account", SECOND, "--owner", "me")
    assert [line.split("\t")[0] for line in await told("keys", "list")] == [key[:12]]
    assert (await told("keys", "revoke", key[:12]))[0].startswith(f"{key[:12]} revoked")
    assert await told("verify") == ["accounts: 2, rows: 0, faults: 0"]
    assert await told("migrate") == [f"shard {number}: the tables already have version {newest()}" for number in (0, 1)]
    alone = await asyncio.to_thread(run, "accounts", "list", url=urls[0], status=1)
    assert "the database is shard 0 of a set" in alone
    empty = ("accounts", "list", "--shards", sqlite_url(tmp_path / "empty.db"))
    refused = (await asyncio.to_thread(run, *empty, url=urls[0], status=1)).splitlines()
    assert "shard 1: the database has no tables yet" in refused[0]


@pytest.mark.one_database
async def test_the_worker_s_metrics_name_the_shard(urls: list[str]) -> None:
    await formed(*urls[:2])
    settings = settings_of({"database_url": urls[0], "shards": urls[1]})
    async with _built(settings) as workers:
        assert [await worker.once() for _, worker in workers] == [True, True]
        text = _metrics_text(workers).decode()
    for shard in ("0", "1"):
        assert f'billing_worker_rounds_total{{job="storage",outcome="done",shard="{shard}"}} 1.0' in text
