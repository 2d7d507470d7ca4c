"""The programs of docs/clients.md, run unchanged with the real packages."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from console.build import find_node, install
from gateway.streams.subscription import answers
from ledger.commands import Entry, Posting, Writer
from ledger.kinds import TransactionType, WriterKind
from ledger.money import NANOS
from tests.doses import IS_NIGHTLY
from tests.gateway.streams.conftest import Gateway, Serve, serve

__all__ = ["serve"]

EXAMPLES: Final = Path(__file__).parents[2] / "docs" / "examples"
UNKNOWN: Final = "eco_aaaaaaaa_" + "A" * 32
ASKING: Final = ("balance-curl.sh", "balance_gql.py")
FOLLOWING: Final = ("balance-apollo.mjs", "balance-urql.mjs")

pytestmark = pytest.mark.parametrize("backend", ["sqlite"], indirect=True)


@pytest.fixture(scope="module", autouse=True)
def packages() -> None:
    install(EXAMPLES)


@pytest.fixture
async def gateway(serve: Serve) -> Gateway:
    gateway = await serve(answers)
    await post(gateway, 111)
    return gateway


async def post(gateway: Gateway, dollars: int) -> None:
    entry = Entry(TransactionType.ADMIN_CORRECTION, dollars * NANOS, "Given")
    writer = Writer(WriterKind.OPERATOR, "tests")
    await gateway.services.ledger.post(Posting(gateway.account_id, writer, [entry], "post"))


def runner(program: str) -> str:
    return {".mjs": str(find_node().node), ".py": sys.executable, ".sh": "sh"}[Path(program).suffix]


@asynccontextmanager
async def running(
    gateway: Gateway, program: str, key: str | None = None, folder: Path = EXAMPLES
) -> AsyncIterator[asyncio.StreamReader]:
    """What the program prints."""
    process = await asyncio.create_subprocess_exec(
        *(runner(program), program),
        cwd=folder,
        env=os.environ | {"URL": gateway.url.removesuffix("/graphql"), "KEY": key or gateway.key},
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    try:
        yield process.stdout
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def line_of(printed: asyncio.StreamReader) -> str:
    return (await asyncio.wait_for(printed.readline(), 60)).decode().strip()


@pytest.mark.parametrize("program", ASKING + FOLLOWING)
async def test_a_program_shows_the_balance_or_the_code_of_a_refusal(gateway: Gateway, program: str) -> None:
    async with running(gateway, program) as printed:
        assert await line_of(printed) == "111.00"
    async with running(gateway, program, UNKNOWN) as printed:
        assert await line_of(printed) == "UNAUTHENTICATED"


@pytest.mark.parametrize("program", FOLLOWING)
async def test_a_program_follows_the_balance(gateway: Gateway, program: str) -> None:
    async with running(gateway, program) as printed:
        assert await line_of(printed) == "111.00"
        for amount, balance in ((5, "116.00"), (-16, "100.00")):
            await post(gateway, amount)
            assert await line_of(printed) == balance


async def run(gateway: Gateway, folder: Path, *command: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=folder,
        env=os.environ | {"URL": gateway.url.removesuffix("/graphql"), "KEY": gateway.key},
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await asyncio.wait_for(process.communicate(), 180)
    assert process.returncode == 0, said.decode()
    return said.decode()


@pytest.mark.skipif(not IS_NIGHTLY, reason="by day make clients does this for our client")
async def test_types_are_generated_from_the_gateway_s_schema(gateway: Gateway) -> None:
    folder, node = EXAMPLES / "typed", str(find_node().node)
    await asyncio.to_thread(install, folder)
    await run(gateway, folder, node, "node_modules/.bin/graphql-codegen", "--config", "codegen.mjs")
    await run(gateway, folder, node, "node_modules/typescript/bin/tsc")
    said = await run(gateway, folder, node, "built/balance.js")
    assert said.splitlines() == ["111.00", f"txn_{gateway.account_id}_1 111.00 Given"]


async def test_relay_compiles_its_operations_and_follows_the_balance(gateway: Gateway) -> None:
    folder = EXAMPLES / "relay"
    await asyncio.to_thread(install, folder)
    await run(gateway, folder, str(find_node().node), "node_modules/relay-compiler/cli.js")
    async with running(gateway, "balance.mjs", folder=folder) as printed:
        assert await line_of(printed) == "111.00"
        await post(gateway, 5)
        assert await line_of(printed) == "116.00"
    async with running(gateway, "balance.mjs", UNKNOWN, folder) as printed:
        assert await line_of(printed) == "UNAUTHENTICATED"


AUDITS: Final = """
import { serverAudits } from 'graphql-http';
const { URL: url, KEY: key } = process.env;
const fetchFn = (address, { headers, ...init } = {}) =>
  fetch(address, { ...init, headers: { ...headers, Authorization: `Bearer ${key}` } });
for (const audit of serverAudits({ url: `${url}/graphql`, fetchFn })) {
  const result = await audit.fn();
  if (result.status !== 'ok') console.log(result.status, audit.name, result.reason);
}
console.log('done');
"""


async def test_the_audits_of_graphql_http_find_nothing(gateway: Gateway) -> None:
    assert await run(gateway, EXAMPLES, str(find_node().node), "--input-type=module", "-e", AUDITS) == "done\n"
