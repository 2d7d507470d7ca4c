from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest
from aiohttp import web

from access.keys import Keys, KeyScope, NewKey
from clients.python import generate
from gateway.app import build_app
from gateway.commands.options import settings_of
from gateway.protocol import Runner
from gateway.services import build_services
from gateway.streams.subscription import answers
from ledger.accounts import Accounts
from ledger.commands import Entry, Posting, Writer
from ledger.ids import account_id_text
from ledger.kinds import TransactionType, WriterKind
from ledger.money import NANOS
from tests.clients.troubles import Handler, Troubles

ROWS: Final = 130
UNKNOWN: Final = "eco_aaaaaaaa_" + "A" * 32

_SOURCES: Final = [
    *(Path(generate.__file__), generate.ROOT / "graphql" / "schema.graphql"),
    *(path for folder in generate.FOLDERS for path in folder.glob("*.graphql")),
]

# Tests import what it writes.
if not generate.TARGET.is_file() or generate.TARGET.stat().st_mtime < max(one.stat().st_mtime for one in _SOURCES):
    generate.main()


@dataclass
class Gateway:
    url: str
    account: str
    manage_key: str
    service_key: str
    troubles: Troubles
    """Of the service key's requests."""


@pytest.fixture
async def gateway(sqlite_file_url: str) -> AsyncIterator[Gateway]:
    """A gateway whose account has 130 rows of one dollar. The service key's first request finds it busy, the answer to
    the second is lost, and the fourth cuts all event streams."""
    services = build_services(settings_of({"database_url": sqlite_file_url, "shutdown_seconds": 5}))
    account, keys = await Accounts(services.database).create("One"), Keys(services.database)
    rows = [Entry(TransactionType.ADMIN_CORRECTION, NANOS, f"Row {number}") for number in range(1, ROWS + 1)]
    await services.ledger.post(Posting(account.id, Writer(WriterKind.OPERATOR, "tests"), rows, "post"))
    manage = (await keys.create(NewKey(KeyScope.MANAGE, "tests", account.id))).secret
    service = (await keys.create(NewKey(KeyScope.SERVICE, "tests"))).secret
    app, troubles = build_app(services, answers), Troubles(service, ["busy", "lost", "", "cut"])

    @web.middleware
    async def troubled(request: web.Request, handler: Handler) -> web.StreamResponse:
        return await troubles.handle(request, handler)

    app.middlewares.insert(0, troubled)
    runner = Runner(app, shutdown_timeout=5)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield Gateway(url, account_id_text(account.id), manage, service, troubles)
    await runner.cleanup()
