"""A gateway for a browser to look at: the demo's story on SQLite, on a port that survives its restarts."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from aiohttp import web

from access.keys import IssuedKey, Keys, KeyScope, NewKey
from gateway.app import build_app
from gateway.commands.options import settings_of
from gateway.protocol import Runner
from gateway.services import SERVICES, Services, build_services
from ledger.commands import Entry, Posting, Ref, Writer
from ledger.ids import account_id_text
from ledger.kinds import RefType, TransactionType, WriterKind
from ledger.money import parse_nanos

STORY_ROWS: Final = 400
"""Of the enterprise account."""


@dataclass
class Gateway:
    database_url: str
    account: int
    """The inference-heavy one of the story: more than 1,000 rows, and usage on every day."""
    settings: dict[str, Any] = field(default_factory=dict)
    port: int = 0
    ahead: timedelta = timedelta(0)
    """How far its clock is before the machine's."""
    _runner: Runner | None = None

    @property
    def services(self) -> Services:
        assert self._runner is not None
        services: Services = self._runner.app[SERVICES]
        return services

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        settings = {
            "database_url": self.database_url,
            "key_cache_seconds": 0,
            "shutdown_seconds": 1,
            "lock_timeout_seconds": 60,
            **self.settings,
        }
        services = build_services(settings_of(settings), lambda: datetime.now(UTC) + self.ahead)
        self._runner = Runner(build_app(services), shutdown_timeout=1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
        self._runner = None

    async def key(self, scope: KeyScope = KeyScope.READ, **more: Any) -> IssuedKey:
        if scope in {KeyScope.READ, KeyScope.MANAGE}:
            more.setdefault("account_id", self.account)
        return await Keys(self.services.database).create(NewKey(scope, "tests", **more))

    async def revoke(self, key: IssuedKey) -> None:
        await Keys(self.services.database).revoke(key.row.prefix)

    async def charge(self, dollars: str, description: str, account: int | None = None) -> str:
        """Posts one row of API usage and returns its id."""
        entry = Entry(TransactionType.GPU_USAGE, -parse_nanos(dollars), description, Ref(RefType.API_USAGE, "live"))
        order = Posting(account or self.account, Writer(WriterKind.SERVICE, "tests"), [entry], "recordUsage")
        outcome = await self.services.ledger.post(order)
        row = outcome[0].transactions[0]
        return f"txn_{row.account_id}_{row.seq}"

    @property
    def account_id(self) -> str:
        return account_id_text(self.account)
