"""Apollo Client names its queries: the example of docs/documents.md, run by Node.js."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp.test_utils import TestServer
from structlog.testing import capture_logs

from access.keys import Keys, KeyScope, NewKey
from console.build import find_node, install
from gateway.app import build_app
from gateway.commands.options import settings_of
from gateway.services import build_services
from gateway.trusted_documents import digest_of
from ledger.accounts import Accounts

EXAMPLES: Final = Path(__file__).parents[2] / "docs" / "examples"
TEXT: Final = "query Balance {\n  account {\n    id\n    balance\n    __typename\n  }\n}"
"""As Apollo Client sends it."""


@pytest.fixture(scope="module", autouse=True)
def packages() -> None:
    install(EXAMPLES)


async def run(url: str, **settings: Any) -> tuple[list[str], str, list[tuple[str, int, list[str]]]]:
    """What the example printed, what it complained of, and the requests that it sent."""
    services = build_services(settings_of({"database_url": url} | settings))
    account = await Accounts(services.database).create("One")
    key = (await Keys(services.database).create(NewKey(KeyScope.READ, "tests", account.id))).secret
    async with TestServer(build_app(services)) as server:
        address = str(server.make_url("")).rstrip("/")
        with capture_logs() as logs:
            process = await asyncio.create_subprocess_exec(
                *(str(find_node().node), "persisted-queries-apollo.mjs"),
                cwd=EXAMPLES,
                env=os.environ | {"URL": address, "KEY": key},
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            said, complained = await asyncio.wait_for(process.communicate(), 60)
    requests = [(line["method"], line["status"], line["codes"]) for line in logs if line["event"] == "request"]
    return said.decode().split(), complained.decode(), requests


async def test_a_query_is_sent_once_and_named_from_then_on(sqlite_file_url: str) -> None:
    balances, complained, requests = await run(sqlite_file_url)
    assert (balances, complained) == (["0.00", "0.00"], "")
    assert requests == [("GET", 400, ["PERSISTED_QUERY_NOT_FOUND"]), ("POST", 200, []), ("GET", 200, [])]


async def test_without_persisted_queries_the_text_is_sent(sqlite_file_url: str) -> None:
    balances, complained, requests = await run(sqlite_file_url, persisted_query_bytes=0)
    assert (balances, complained) == (["0.00", "0.00"], "")
    assert requests == [("GET", 400, ["PERSISTED_QUERY_NOT_SUPPORTED"]), ("POST", 200, []), ("POST", 200, [])]


async def test_a_trusted_document_is_never_sent(sqlite_file_url: str, tmp_path: Path) -> None:
    manifest = tmp_path / "documents.json"
    await asyncio.to_thread(manifest.write_text, json.dumps({digest_of(TEXT): TEXT}))
    given = {"trusted_documents": str(manifest), "trusted_documents_only": True}
    balances, _, requests = await run(sqlite_file_url, **given)
    assert balances == ["0.00", "0.00"]
    assert requests == [("GET", 200, [])] * 2
