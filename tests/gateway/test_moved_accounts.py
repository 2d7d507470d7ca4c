"""Accounts that are moved to another shard while they are in use (docs/shards.md)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import orjson
import pytest
from sqlalchemy import text

from db import moved_accounts
from db.account_copies import COPIED, KEPT
from db.database import Database
from db.tables import metadata
from gateway.commands.worker import _once
from gateway.streams import live
from ledger import moving
from ledger.moving import AccountMoves, Report
from tests.doses import dose
from tests.gateway.command_line import run
from tests.gateway.mutations.office import Office, opened
from tests.gateway.test_shards import FIRST, changes, created, key_of, rest
from tests.gateway.test_shards import urls as urls
from tests.ledger.desk import Desk
from tests.shards import databases, formed

ANNOUNCED_SECONDS = 0.6
STATE = "{ account { balance transactions(first: 3) { totalCount nodes { id balanceAfter } } } }"


@pytest.fixture(autouse=True)
def short_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(moved_accounts, "LEASE_SECONDS", ANNOUNCED_SECONDS / 2)
    # Longer than a lease: operations look by themselves.
    monkeypatch.setattr(live, "LOOK_SECONDS", ANNOUNCED_SECONDS)


def _gateway(urls: list[str]) -> AbstractAsyncContextManager[Office]:
    # Keys are kept: looking one up would tell of a move.
    shards = " ".join(urls[1:])
    return opened(
        urls[0], shards=shards, pool_size=3, key_cache_seconds=60, heartbeat_seconds=1, points_per_second=100_000
    )


@pytest.fixture
async def offices(urls: list[str]) -> AsyncIterator[tuple[Office, Office]]:
    """Two gateways, which learn of moves each by itself."""
    await formed(*urls)
    async with AsyncExitStack() as stack:
        one, other = [await stack.enter_async_context(_gateway(urls)) for _ in range(2)]
        other.keys = one.keys
        yield one, other


def moves_of(made: list[Database], announced_seconds: float = 0) -> AccountMoves:
    assert made[0].place is not None
    return AccountMoves(made[0].place.shards, announced_seconds=announced_seconds)


async def moved(urls: list[str], account_id: int, number: int) -> Report:
    async with databases(*urls) as made:
        return await moves_of(made, ANNOUNCED_SECONDS).move(account_id, number)


def test_each_table_is_copied_or_kept() -> None:
    assert set(metadata.sorted_tables) == {*COPIED, *KEPT}
    assert not KEPT.intersection(COPIED)
    # Those of the set stay where they are, although some name accounts.
    assert not {table for table in COPIED if table.name.startswith("shard")}


async def test_a_read_that_lasts_through_a_move_and_the_way_back_is_not_confirmed(urls: list[str]) -> None:
    """It began before this process knew that the account was on the other shard."""
    await formed(*urls[:2])
    async with databases(*urls[:2]) as made, databases(*urls[:2]) as others:
        account = await Desk(made[0]).account("1.00")
        assert others[0].place is not None
        known = others[0].place.shards.moved
        place = known.place_of(account)
        assert await known.confirm([(account, place)])
        for number in (1, 0):
            await moves_of(made).move(account, number)
        await asyncio.sleep(moved_accounts.LEASE_SECONDS)
        assert not await known.confirm([(account, place)])
        assert known.shard_of(account) == place.number
        assert await known.confirm([(account, known.place_of(account))])


class Clients:
    """Clients of one account, each of whom checks all that it is told."""

    def __init__(self, offices: tuple[Office, Office], key: str) -> None:
        # A gateway that writes learns of a move at once: another one reads.
        self.writing, self.reading = offices
        self.key = key
        self.posted = 0
        """Rows that were acknowledged; each adds a dollar."""
        self.streamed = 0
        self.reads = 0
        self.exports = 0
        self.is_over = False
        self.has_posted_all = False

    @property
    def done(self) -> tuple[int, ...]:
        return self.posted, self.reads, self.exports, self.streamed

    def has_seen_all(self) -> bool:
        return self.has_posted_all and self.streamed >= self.posted

    async def post(self) -> None:
        office, number = self.writing, 0
        while not self.is_over:
            number += 1
            given = {"accountId": FIRST, "amount": "1", "promotion": "SPRING", "idempotencyKey": f"bonus {number}"}
            while True:
                told = await office.answer("grantBonus", office.keys["service"], "balance", **given)
                if "errors" not in told:
                    break
                assert told["errors"][0]["extensions"]["code"] == "UNAVAILABLE", told
            assert told["data"]["grantBonus"]["balance"] == f"{number}.00"
            self.posted = number
        self.has_posted_all = True

    async def read(self) -> None:
        seen = 0
        while not self.is_over:
            least = max(seen, self.posted)
            account = (await self.reading.query(STATE, self.key))["account"]
            seen = int(account["transactions"]["totalCount"])
            assert seen >= least
            assert account["balance"] == f"{seen}.00"
            newest = [(row["id"], row["balanceAfter"]) for row in account["transactions"]["nodes"]]
            assert newest == [(f"txn_1_{seq}", f"{seq}.00") for seq in range(seen, max(seen - 3, 0), -1)]
            self.reads += 1

    async def list(self) -> None:
        query = "{ accounts(first: 10) { nodes { id balance transactions(first: 1) { totalCount } } totalCount } }"
        while not self.is_over:
            least = self.posted
            found = (await self.reading.query(query))["accounts"]["nodes"]
            (account,) = [one for one in found if one["id"] == FIRST] or [None]
            if account is not None:
                assert int(account["transactions"]["totalCount"]) >= least

    async def export(self) -> None:
        while not self.is_over:
            least = self.posted
            status, text = await rest(self.reading, "/billing/transactions.csv", self.key)
            assert status == 200, text
            rows = text.splitlines()[1:]
            assert len(rows) >= least
            assert [row.split(",")[0] for row in rows] == [f"txn_1_{seq}" for seq in range(1, len(rows) + 1)]
            self.exports += 1

    async def follow(self) -> None:
        after = None
        while not self.has_seen_all():
            async with await changes(self.reading, self.key, after) as stream:
                async for line in stream.content:
                    text = line.decode().strip()
                    if text.startswith("id: "):
                        after = text.removeprefix("id: ")
                    elif text.startswith("data: ") and '"data"' in text:
                        row = orjson.loads(text.removeprefix("data: "))["data"]["balanceChanged"]["transaction"]
                        assert row["id"] == f"txn_1_{self.streamed + 1}"
                        self.streamed += 1
                    elif text.startswith("data: "):
                        (error,) = orjson.loads(text.removeprefix("data: "))["errors"]
                        assert error["extensions"]["code"] == "LAGGED", text
                        break
                    if self.has_seen_all():
                        break


async def while_used(clients: Clients, work: Callable[[], Awaitable[None]]) -> None:
    async with asyncio.TaskGroup() as group:
        for client in (clients.post, clients.read, clients.list, clients.export, clients.follow):
            group.create_task(client())
        try:
            await asyncio.sleep(0.5)
            await work()
            await asyncio.sleep(0.5)
        finally:
            clients.is_over = True


async def test_an_account_is_moved_while_it_is_in_use(offices: tuple[Office, Office], urls: list[str]) -> None:
    office, other = offices
    assert await created(office, "Moved") == FIRST
    await created(office, "Another")
    manager = await key_of(office, FIRST, "MANAGE")
    clients = Clients(offices, await key_of(office, FIRST))
    reports: list[Report] = []

    async def move() -> None:
        for number in (1, 2, 0):
            before = clients.done
            reports.append(await moved(urls, 1, number))
            assert all(now > then for now, then in zip(clients.done, before, strict=True))

    await while_used(clients, move)
    assert [(report.shard, report.faults) for report in reports] == [(number, []) for number in (1, 2, 0)]
    assert clients.streamed == clients.posted

    # The account's keys, and what they do.
    for one in offices:
        assert (await one.query("{ viewer { account { id } } }", manager))["viewer"]["account"]["id"] == FIRST
    child = await office.call("createApiKey", manager, "secret", scope="READ", owner="child")
    assert (await other.query(STATE, child["secret"]))["account"]["balance"] == f"{clients.posted}.00"
    await office.call("revokeApiKey", None, "apiKey { prefix }", prefix=clients.key[:12])
    found = await office.query("query ($id: String!) { find(id: $id) { account { id } } }", id=clients.key[:12])
    assert found == {"find": [{"account": {"id": FIRST}}]}
    again = await moved(urls, 1, 0)
    assert (again.rows, again.stopped_seconds, again.faults) == (clients.posted, None, [])


@pytest.mark.one_database
async def test_the_command_moves_an_account_within_its_lists(
    offices: tuple[Office, Office], urls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(moving, "ANNOUNCED_SECONDS", ANNOUNCED_SECONDS)
    office, _ = offices
    names = ["One", "Two", "Three", "Four", "Five"]
    for name in names:
        await created(office, name, externalId=name.lower(), idempotencyKey=name)
    foreign = await key_of(office, "acct_1000000000001")
    manager = await key_of(office, FIRST, "MANAGE")

    async def told(*arguments: str, status: int = 0) -> list[str]:
        given = (*arguments, "--shards", " ".join(urls[1:]))
        return (await asyncio.to_thread(run, *given, url=urls[0], status=status)).splitlines()

    async def page(query: str, after: str | None = None) -> tuple[list[str], str, str]:
        (found,) = (await office.query(query, after=after)).values()
        described = [node.get("name") or node["description"] for node in found["nodes"]]
        return described, found["pageInfo"]["endCursor"], found["totalCount"]

    volume = {"accountId": FIRST, "refType": "VOLUME", "refId": "v-1", "gib": 1, "pricePerGibDay": "0.01"}
    await office.call("setVolume", **volume)
    billed = set()
    lists = (
        "query ($after: String) { accounts(first: 2, after: $after) { nodes { name } PAGE } }",
        "query ($after: String) { auditEntries(first: 2, after: $after, CREATED) { nodes { description } PAGE } }",
    )
    page_info, created_filter = "pageInfo { endCursor } totalCount", 'filter: { act: "createAccount" }'
    queries = [one.replace("PAGE", page_info).replace("CREATED", created_filter) for one in lists]
    begun = [await page(query) for query in queries]
    for number in ("2", "1", "0"):
        assert (await told("accounts", "move", FIRST, number))[-1].startswith(f"{FIRST} is on shard {number}: ")
        # The audit list of shard 0 goes on without it.
        await key_of(office, "acct_2")
        # Workers bill it on its shard only, each day once.
        assert await _once(office.services.settings)
        query = "query ($id: ID) { account(id: $id) { transactions { totalCount } } }"
        rows = (await office.query(query, id=FIRST))["account"]["transactions"]["totalCount"]
        billed.add(rows)
        for query, (seen, cursor, total) in zip(queries, begun, strict=True):
            rest_of_it, last, _ = await page(query, cursor)
            found = [*seen, *rest_of_it, *(await page(query, last))[0]]
            assert (sorted(found), total) == (sorted(names), "5")
            assert await page(query) == (seen, cursor, total)
        listed = [line.split("\t")[0] for line in await told("accounts", "list")]
        assert listed.count(FIRST) == 1
        assert [line.split("\t")[0] for line in await told("keys", "list", "--account", FIRST)] == [manager[:12]]
        assert await told("verify") == [f"accounts: 5, rows: {rows}, faults: 0"]
        again = await office.call("createAccount", name="One", externalId="one", idempotencyKey="One")
        assert (again["account"]["id"], again["replayed"]) == (FIRST, True)
        refused = await office.answer("createAccount", office.keys["operator"], name="Six", externalId="one")
        assert refused["errors"][0]["extensions"]["code"] == "CONFLICT"
        refused = await office.answer("revokeApiKey", manager, "replayed", prefix=foreign[:12])
        assert refused["errors"][0]["extensions"]["code"] == "NOT_FOUND"
    assert len(billed) == 1
    assert int(billed.pop()) >= 29
    again = await told("accounts", "move", FIRST, "0")
    assert again[-1] == f"{FIRST} is already on shard 0: {rows} rows verified"
    assert "there is no shard 3" in (await told("accounts", "move", FIRST, "3", status=1))[0]
    assert "there is no account acct_9" in (await told("accounts", "move", "acct_9", "1", status=1))[0]


class PowerCut(Exception):
    pass


class PowerSupply:
    """Lets one transaction fail before it commits: the one with this number among those before the account has left
    its shard, or among those after that."""

    def __init__(self, made: list[Database], step: int, *, has_left: bool) -> None:
        self.is_cut = False
        self._step = step
        self._counts_after = has_left
        self._has_left = False
        self._begun = self._counted = 0
        for database in made:
            database.write = self._failing(database.write)  # type: ignore[method-assign]

    def _failing(self, write: Callable[[], Any]) -> Callable[[], Any]:
        @asynccontextmanager
        async def written() -> AsyncIterator[Any]:
            self._begun += 1
            begun, fails = self._begun, self._is_next()
            async with write() as connection:
                yield connection
                if fails:
                    self.is_cut = True
                    raise PowerCut
            # The others are within no other: the rows are copied while the account is locked.
            self._has_left = self._has_left or self._begun > begun

        return written

    def _is_next(self) -> bool:
        if self._has_left != self._counts_after:
            return False
        self._counted += 1
        return self._counted == self._step


async def test_a_move_that_is_broken_off_leaves_the_account_in_one_place(
    offices: tuple[Office, Office], urls: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is told of a move in time: all look each time."""
    monkeypatch.setattr(moved_accounts, "LEASE_SECONDS", 0)
    office, _ = offices
    assert await created(office, "Moved") == FIRST
    key = await key_of(office, FIRST)
    posted, here = 0, 0

    async def check() -> None:
        nonlocal posted
        posted += 1
        for one in offices:
            given = {"accountId": FIRST, "amount": "1", "promotion": "SPRING", "idempotencyKey": f"bonus {posted}"}
            assert (await one.call("grantBonus", **given))["balance"] == f"{posted}.00"
            assert (await one.query(STATE, key))["account"]["balance"] == f"{posted}.00"
            found = (await one.query("{ accounts { nodes { id } totalCount } }"))["accounts"]
            assert found == {"nodes": [{"id": FIRST}], "totalCount": "1"}
            entries = await one.query('{ auditEntries(filter: { act: "createAccount" }) { nodes { act } totalCount } }')
            assert entries["auditEntries"] == {"nodes": [{"act": "createAccount"}], "totalCount": "1"}

    async def steps(*, has_left: bool) -> AsyncIterator[int]:
        """Yields those at which a move was broken off."""
        nonlocal here
        step, is_cut = 1, True
        while is_cut:
            async with databases(*urls) as made:
                supply = PowerSupply(made, step, has_left=has_left)
                with suppress(PowerCut):
                    await moves_of(made).move(1, target := (here + 1) % 3)
                is_cut = supply.is_cut
            await check()
            # Every other move that can be is taken back.
            here = here if step % 2 == 0 and not has_left else target
            report = await finisher.move(1, here)
            assert (report.shard, report.faults) == (here, [])
            for number, database in enumerate(others):
                count = await database.read_live(text("SELECT count(*) FROM transactions"), {})
                assert count[0][0] == (posted if number == here else 0)
            await check()
            if is_cut:
                yield step
            step += 1 if step < 3 else dose(9, 1)

    async with databases(*urls) as others:
        finisher = moves_of(others)
        assert len([step async for step in steps(has_left=False)]) >= 3
        assert len([step async for step in steps(has_left=True)]) >= 3
