"""Clients that follow spend limits, and are killed between the events of one row."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from random import Random
from typing import Any, Final

import pytest

from console.build import find_node
from ledger.accounts import locked_account
from ledger.attribution import NOBODY, Attribution
from ledger.ids import spend_limit_id_text, transaction_id_text
from ledger.limit_settings import LimitSettings, set_limit
from ledger.posting import Ledger, LedgerTransaction
from ledger.windows import SpendWindow
from resolvers.cursors import LedgerCursorWriter
from tests.doses import dose
from tests.gateway.streams.clients.ledger_accounts import Accountant, FollowedAccount
from tests.gateway.streams.clients.partners import ARRIVAL_SECONDS, EXAMPLES
from tests.gateway.streams.clients.processes import GatewayProcess
from tests.ledger.desk import Desk, api_usage, posting
from tests.ledger.test_authorizations import events as limit_events

pytestmark = pytest.mark.parametrize("backend", ["sqlite"])

QUERY: Final = """subscription ($after: String) {
  spendLimitReached(after: $after) { cursor percent limit { id } transaction { id } }
}"""

GQL: Final = f"""
import asyncio, json, os
from gql import Client, GraphQLRequest, gql
from gql.transport.websockets import WebsocketsTransport

async def main():
    transport = WebsocketsTransport(
        url=os.environ["URL"].replace("http", "ws", 1) + "/graphql",
        subprotocols=[WebsocketsTransport.GRAPHQLWS_SUBPROTOCOL],
        init_payload={{"Authorization": "Bearer " + os.environ["KEY"]}},
    )
    async with Client(transport=transport) as session:
        request = GraphQLRequest(gql({QUERY!r}), variable_values={{"after": os.environ["AFTER"]}})
        async for answer in session.subscribe(request):
            print(json.dumps(answer), flush=True)

asyncio.run(main())
"""

_FOLLOW: Final = f"""
const query = {json.dumps(QUERY)};
for await (const {{ data, errors }} of client.iterate({{ query, variables: {{ after: process.env.AFTER }} }})) {{
  if (errors) throw errors;
  process.stdout.write(`${{JSON.stringify(data)}}\\n`);
}}
"""
GRAPHQL_WS: Final = f"""
import {{ createClient }} from 'graphql-ws';
import WebSocket from 'ws';
const client = createClient({{
  url: `${{process.env.URL.replace(/^http/, 'ws')}}/graphql`,
  webSocketImpl: WebSocket,
  connectionParams: {{ Authorization: `Bearer ${{process.env.KEY}}` }},
  retryAttempts: 0,
}});
{_FOLLOW}"""
GRAPHQL_SSE: Final = f"""
import {{ createClient }} from 'graphql-sse';
const client = createClient({{
  url: `${{process.env.URL}}/graphql`,
  headers: {{ Authorization: `Bearer ${{process.env.KEY}}` }},
  retryAttempts: 0,
}});
{_FOLLOW}"""
CURL: Final = f"""
curl --silent --no-buffer -H "Authorization: Bearer $KEY" -H 'Content-Type: application/json' \\
  -H 'Accept: text/event-stream' -H "Last-Event-ID: $AFTER" --data '{json.dumps({"query": QUERY})}' "$URL/graphql"
"""


def _command(client: str) -> list[str]:
    if client in {"graphql-ws", "graphql-sse"}:
        script = GRAPHQL_WS if client == "graphql-ws" else GRAPHQL_SSE
        return [str(find_node().node), "--input-type=module", "--eval", script]
    return [sys.executable, "-c", GQL] if client == "gql" else ["bash", "-c", CURL]


@asynccontextmanager
async def _running(client: str, environment: Mapping[str, str]) -> AsyncIterator[asyncio.StreamReader]:
    process = await asyncio.create_subprocess_exec(
        *_command(client),
        cwd=EXAMPLES,
        env=os.environ | environment,
        stdout=asyncio.subprocess.PIPE,
        # A client that finds no gateway says so and ends.
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        yield process.stdout
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def _next(output: asyncio.StreamReader) -> dict[str, Any] | None:
    """The next event; None if the client ended."""
    while line := (await output.readline()).decode().removeprefix("data: "):
        if line.startswith("{"):
            answer = json.loads(line)
            event: dict[str, Any] = answer.get("data", answer)["spendLimitReached"]
            return event
    return None


async def _follow(
    client: str, gateway: GatewayProcess, account: FollowedAccount, after: str, wanted: int
) -> list[tuple[str, str, int]]:
    """(row, limit, percentage) of each event that the client was given, by itself or by those that came after it."""
    found: list[tuple[str, str, int]] = []
    random = Random(client)
    while len(found) < wanted:
        environment = {"URL": gateway.address, "KEY": account.key.secret, "AFTER": after}
        async with _running(client, environment) as output:
            for _ in range(random.randint(1, 5)):
                event = await _next(output) if len(found) < wanted else None
                if event is None:
                    break
                found.append((event["transaction"]["id"], event["limit"]["id"], event["percent"]))
                after = event["cursor"]
    return found


async def _have_limits(ledger: Ledger, account_id: int) -> None:
    async def put(transaction: LedgerTransaction) -> None:
        locked = await locked_account(transaction, account_id)
        for scope, nanos in ((NOBODY, 200), (Attribution("k"), 100), (Attribution("", "p"), 50)):
            await set_limit(transaction, locked, LimitSettings(scope, SpendWindow.TOTAL, nanos, (10, 20, 50, 90, 100)))

    await ledger.within(put)


@pytest.mark.parametrize("client", ["gql", "graphql-sse", "graphql-ws", "curl"][: dose(2, 4)])
async def test_a_client_that_is_killed_between_events_gets_each_once(
    accountant: Accountant, gateway: GatewayProcess, client: str
) -> None:
    account = await accountant.open_account()
    ledger = Ledger(accountant.database)
    await _have_limits(ledger, account.id)
    newest = (await Desk(accountant.database).rows(account.id))[-1]
    after = LedgerCursorWriter(account.id).of_row(newest.seq, newest.hash)

    async def spend() -> None:
        for number in range(20):
            usage = posting(account.id, api_usage(12))
            await ledger.post(replace(usage, attribution=Attribution("k", "p" if number % 2 else "q")))
            if number == 10:
                await gateway.kill()
                await gateway.start()

    async with asyncio.timeout(ARRIVAL_SECONDS):
        found, _ = await asyncio.gather(_follow(client, gateway, account, after, 15), spend())
    told = await limit_events(accountant.database)
    assert found == [
        (
            transaction_id_text(account.id, event.seq),
            spend_limit_id_text(account.id, event.limit_number),
            event.percent,
        )
        for event in told
    ]
    assert len({event.seq for event in told}) < len(told) == 15
