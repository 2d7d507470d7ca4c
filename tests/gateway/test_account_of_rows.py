"""The account of a row and of an event, by which caches that are keyed by id follow the balance."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from access.keys import KeyScope, NewKey
from console.build import find_node, install
from gateway.streams.subscription import answers
from ledger.accounts import Accounts
from ledger.commands import Entry, Posting, Writer
from ledger.kinds import TransactionType, WriterKind
from ledger.money import NANOS
from tests.gateway.streams.conftest import Gateway, Serve, serve
from tests.gateway.streams.event_client import requested
from tests.statements import watched

__all__ = ["serve"]

EXAMPLES: Final = Path(__file__).parents[2] / "docs" / "examples"
GRANT: Final = """mutation ($input: GrantBonusInput!) {
  grantBonus(input: $input) { balance transactions { id account { id balance balanceCursor } } }
}"""
CHANGES: Final = "subscription ($after: String) { balanceChanged(after: $after) { cursor balance account { %s } } }"


@pytest.fixture
async def gateway(serve: Serve) -> Gateway:
    gateway = await serve(answers)
    await post(gateway, 1, 10, 100)
    return gateway


async def post(gateway: Gateway, *dollars: int) -> None:
    writer = Writer(WriterKind.OPERATOR, "tests")
    for amount in dollars:
        entry = Entry(TransactionType.ADMIN_CORRECTION, amount * NANOS, "Given")
        await gateway.services.ledger.post(Posting(gateway.account_id, writer, [entry], "post"))


async def ask(gateway: Gateway, query: str, key: str | None = None, **variables: Any) -> Any:
    headers = {"Authorization": f"Bearer {key or gateway.key}"}
    body = {"query": query, "variables": variables}
    async with gateway.session.post(gateway.url, json=body, headers=headers) as response:
        answer = await response.json()
    assert "errors" not in answer, answer
    return answer["data"]


async def service_key(gateway: Gateway) -> str:
    return (await gateway.keys.create(NewKey(KeyScope.SERVICE, "tests"))).secret


@pytest.mark.parametrize("compiled", [True, False])
async def test_a_row_has_its_account_with_the_current_balance(serve: Serve, *, compiled: bool) -> None:
    gateway = await serve(answers, compiled_execution=compiled)
    await post(gateway, 1, 10, 100)
    fields = "id name balance status balanceCursor"
    data = await ask(gateway, f"{{ account {{ {fields} transactions {{ nodes {{ account {{ {fields} }} }} }} }} }}")
    rows = data["account"].pop("transactions")["nodes"]
    assert data["account"]["balance"] == "111.00"
    assert rows == [{"account": data["account"]}] * 3


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("{ account { id balance transactions { nodes { id } } } }", 2),
        ("{ account { id balance transactions { nodes { id account { id balance } } } } }", 2),
        ("query ($id: ID!) { transaction(id: $id) { id } }", 2),
        ("query ($id: ID!) { transaction(id: $id) { id account { id balance } } }", 2),
        ("query ($id: ID!) { transaction(id: $id) { id account { balance monthlySummary { totalCost } } } }", 2),
        ("query ($id: ID!) { node(id: $id) { ... on Transaction { account { id balance } } } }", 3),
    ],
)
async def test_the_account_of_rows_takes_no_statement_where_it_is_known(
    gateway: Gateway, query: str, count: int
) -> None:
    for _ in range(2):
        with watched(gateway.services.database) as sent:
            await ask(gateway, query, id=f"txn_{gateway.account_id}_2")
        assert len(sent) == count, sent  # the key's look-up included


async def test_a_mutation_s_rows_have_the_balance_after_it(gateway: Gateway) -> None:
    account = f"acct_{gateway.account_id}"
    given = {"accountId": account, "amount": "5.00", "promotion": "spring", "idempotencyKey": "one"}
    key = await service_key(gateway)
    payload = (await ask(gateway, GRANT, key, input=given))["grantBonus"]
    cursor = (await ask(gateway, "{ account { balanceCursor } }"))["account"]["balanceCursor"]
    expected = {"id": account, "balance": "116.00", "balanceCursor": cursor}
    assert (payload["balance"], [row["account"] for row in payload["transactions"]]) == ("116.00", [expected])


async def test_an_event_has_the_account_as_it_was_after_the_row(gateway: Gateway) -> None:
    first = (await ask(gateway, "{ account { transactions(last: 1) { edges { cursor } } } }"))["account"]
    after = first["transactions"]["edges"][0]["cursor"]
    for fields in ("id balance balanceCursor", "id name balance balanceCursor"):
        async with requested(gateway, CHANGES % fields, variables={"after": after}) as client:
            events = [(await client.next())[1]["data"]["balanceChanged"] for _ in range(2)]
        for event, balance in zip(events, ("11.00", "111.00"), strict=True):
            account = {"id": f"acct_{gateway.account_id}", "name": "One", "balance": balance}
            account["balanceCursor"] = event["cursor"]
            assert event["account"] == {name: account[name] for name in fields.split()}


async def test_an_event_s_balance_of_a_moment_is_read(gateway: Gateway) -> None:
    changes = CHANGES.replace("$after: String", "$after: String, $at: DateTime") % "now: balance(asOf: $at) balance"
    first = (await ask(gateway, "{ account { transactions(last: 1) { edges { cursor } } } }"))["account"]
    given = {"after": first["transactions"]["edges"][0]["cursor"], "at": "2100-01-01T00:00:00Z"}
    async with requested(gateway, changes, variables=given) as client:
        event = (await client.next())[1]["data"]["balanceChanged"]
    assert event["account"] == {"now": "111.00", "balance": "11.00"}


async def reads_of_an_event(gateway: Gateway, subscription: str) -> int:
    """Reads of accounts while a row is posted and its event is sent."""
    async with requested(gateway, subscription) as client:
        await client.next()
        with watched(gateway.services.database) as sent:
            await post(gateway, 5)
            await client.next()
    return sum("external_id" in text for text, _ in sent)


async def test_an_event_s_balance_takes_no_statement(gateway: Gateway) -> None:
    plain = await reads_of_an_event(gateway, "subscription { balanceChanged { balance } }")
    assert await reads_of_an_event(gateway, CHANGES % "id balance balanceCursor") == plain
    assert await reads_of_an_event(gateway, CHANGES % "id name balance") == plain + 1


async def test_another_account_is_not_reached_by_a_row(gateway: Gateway) -> None:
    other = await Accounts(gateway.services.database).create("Two")
    entry = Entry(TransactionType.ADMIN_CORRECTION, NANOS, "Given")
    writer = Writer(WriterKind.OPERATOR, "tests")
    await gateway.services.ledger.post(Posting(other.id, writer, [entry], "post"))
    headers = {"Authorization": f"Bearer {gateway.key}"}
    body = {"query": f'{{ transaction(id: "txn_{other.id}_1") {{ account {{ id }} }} }}'}
    async with gateway.session.post(gateway.url, json=body, headers=headers) as response:
        answer = await response.json()
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["NOT_FOUND"]


# With Apollo's cache


WRITES: Final = """
import { ApolloClient, gql, HttpLink, InMemoryCache } from '@apollo/client';
const { URL: address, KEY: key, ACCOUNT: id } = process.env;
const headers = { Authorization: `Bearer ${key}` };
const client = new ApolloClient({ cache: new InMemoryCache(), link: new HttpLink({ uri: address, headers }) });
const query = gql`query Balance($id: ID!) { account(id: $id) { id balance } }`;
const grant = gql`mutation Grant($input: GrantBonusInput!) {
  grantBonus(input: $input) { transactions { id account { id balance } } }
}`;
const watched = client.watchQuery({ query, variables: { id } });
let granted = false;
watched.subscribe(({ data }) => {
  if (!data) return;
  console.log(data.account.balance);
  if (granted) process.exit(0);
  granted = true;
  const input = { accountId: id, amount: '5.00', promotion: 'spring', idempotencyKey: 'one' };
  client.mutate({ mutation: grant, variables: { input } });
});
"""


@asynccontextmanager
async def node(gateway: Gateway, *arguments: str, **environment: str) -> AsyncIterator[asyncio.StreamReader]:
    """What the program prints."""
    process = await asyncio.create_subprocess_exec(
        *(str(find_node().node), *arguments),
        cwd=EXAMPLES,
        env=os.environ | environment,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        yield process.stdout
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def lines(printed: asyncio.StreamReader, count: int) -> list[str]:
    return [(await asyncio.wait_for(printed.readline(), 60)).decode().strip() for _ in range(count)]


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
async def test_apollo_s_cache_follows_the_rows_of_a_mutation(gateway: Gateway) -> None:
    await asyncio.to_thread(install, EXAMPLES)
    given = {"URL": gateway.url, "KEY": await service_key(gateway), "ACCOUNT": f"acct_{gateway.account_id}"}
    async with node(gateway, "--input-type=module", "-e", WRITES, **given) as printed:
        assert await lines(printed, 2) == ["111.00", "116.00"]


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
async def test_apollo_s_cache_follows_the_events(gateway: Gateway) -> None:
    await asyncio.to_thread(install, EXAMPLES)
    given = {"URL": gateway.url.removesuffix("/graphql"), "KEY": gateway.key}
    async with node(gateway, "balance-apollo.mjs", **given) as printed:
        assert await lines(printed, 1) == ["111.00"]
        for amount, balance in ((5, "116.00"), (-16, "100.00")):
            await post(gateway, amount)
            assert await lines(printed, 1) == [balance]
