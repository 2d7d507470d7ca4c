"""Two gateways and two workers, each a process of its own, on one database."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psutil
from sqlalchemy import text

from access.keys import Keys, KeyScope, NewKey
from db.database import Database, DatabaseOptions, sqlite_url
from db.schema_version import migrate
from ledger.accounts import Accounts
from ledger.ids import account_id_text, transaction_id_text
from ledger.money import format_nanos, parse_nanos
from ledger.posting import Ledger
from tests import postgres, tcp_proxy
from tests.chaos.history import Row, Stored
from tests.chaos.load import Customer
from tests.gateway.streams.clients.processes import ROOT, GatewayProcess
from tests.ledger.desk import OPERATOR, correction, posting
from tests.postgres import Postgres
from tests.tcp_proxy import TcpProxy
from tests.tmpfs import Disk, small_disk

SETTINGS: Final = {"lock_timeout_seconds": 3, "log_level": "warning", "worker_interval_seconds": 1}
_POSTGRESQL: Final = {"fsync": "off", "max_wal_size": "'64MB'", "min_wal_size": "'32MB'"}
_CALLS: Final = {"bonus": "grantBonus", "gpu_usage": "openHold", "refund": "settleHold"}


class WorkerProcess:
    """`billing-gateway worker`."""

    def __init__(self, url: str, log: Path) -> None:
        self._environment = os.environ | {f"BILLING_{name.upper()}": str(value) for name, value in SETTINGS.items()}
        self._environment["BILLING_DATABASE_URL"] = url
        self._log = log
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        with self._log.open("ab") as log:
            command = (sys.executable, "-m", "gateway.cli", "worker")
            self._process = await asyncio.create_subprocess_exec(
                *command, cwd=ROOT, env=self._environment, stdout=log, stderr=log
            )

    @property
    def has_ended(self) -> bool:
        return self._process is not None and self._process.returncode is not None

    async def kill(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()


@dataclass
class Scene:
    direct_url: str
    """The database, not through the proxy."""
    gateways: list[GatewayProcess]
    workers: list[WorkerProcess]
    service_key: str
    customers: list[Customer]
    flooder: Customer
    disk: Disk
    server: Postgres | None = None
    """None on SQLite."""
    proxy: TcpProxy | None = None

    def memory_mib(self) -> float:
        sizes: list[int] = [psutil.Process(gateway.pid).memory_info().rss for gateway in self.gateways]
        return sum(sizes) / 2**20

    def ended_workers(self) -> int:
        return sum(worker.has_ended for worker in self.workers)

    async def stored(self) -> list[Stored]:
        database = Database(DatabaseOptions(self.direct_url))
        statement = (
            "SELECT account_id, seq, type, amount_nanos, balance_after_nanos, ref_id FROM transactions"
            " ORDER BY account_id, seq"
        )
        rows = await database.read(text(statement))
        await database.close()
        return [
            Stored(
                Row(transaction_id_text(account, seq), format_nanos(amount), format_nanos(balance)),
                account_id_text(account),
                f"{_CALLS[kind]} {ref}" if kind in _CALLS else "",
            )
            for account, seq, kind, amount, balance, ref in rows
        ]

    async def verified(self) -> str:
        """Returns what `billing-gateway verify` printed, if it is not satisfied."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateway.cli", "verify"),
            cwd=ROOT,
            env=os.environ | {"BILLING_DATABASE_URL": self.direct_url},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        printed, _ = await process.communicate()
        return printed.decode() if process.returncode else ""


async def _prepared(url: str) -> tuple[str, list[Customer]]:
    """Returns the key of a service, and accounts with a READ key and one row each."""
    database = Database(DatabaseOptions(url))
    await migrate(database)
    keys, ledger, customers = Keys(database), Ledger(database), []
    for name in ("One", "Two", "Flooder"):
        account = await Accounts(database).create(name)
        await ledger.post(posting(account.id, correction(parse_nanos("1000000.00")), writer=OPERATOR))
        key = (await keys.create(NewKey(KeyScope.READ, "chaos", account.id))).secret
        customers.append(Customer(account_id_text(account.id), key))
    service_key = (await keys.create(NewKey(KeyScope.SERVICE, "chaos"))).secret
    await database.close()
    return service_key, customers


@asynccontextmanager
async def _processes(scene: Scene) -> AsyncIterator[Scene]:
    async with AsyncExitStack() as stack:
        for kill in (*(one.kill for one in scene.gateways), *(one.kill for one in scene.workers)):
            stack.push_async_callback(kill)
        await asyncio.gather(*(gateway.start() for gateway in scene.gateways))
        for worker in scene.workers:
            await worker.start()
        yield scene


def _scene(url: str, direct_url: str, folder: Path, prepared: tuple[str, list[Customer]], disk: Disk) -> Scene:
    service_key, (*customers, flooder) = prepared
    gateways = [GatewayProcess(url, folder, "tests.chaos.gateway", **SETTINGS) for _ in range(2)]
    workers = [WorkerProcess(url, folder / f"worker-{number}.log") for number in range(2)]
    return Scene(direct_url, gateways, workers, service_key, customers, flooder, disk)


@asynccontextmanager
async def on_sqlite(folder: Path) -> AsyncIterator[Scene]:
    with small_disk(folder / "disk", 256) as disk:
        url = sqlite_url(disk.folder / "billing.db")
        async with _processes(_scene(url, url, folder, await _prepared(url), disk)) as scene:
            yield scene


@asynccontextmanager
async def on_postgresql(folder: Path) -> AsyncIterator[Scene]:
    folder.chmod(0o755)  # noqa: ASYNC240  the server runs as a user of its own
    with small_disk(folder / "disk", 512) as disk, postgres.started(_POSTGRESQL, disk.folder) as server:
        name = await server.new_database()
        prepared = await _prepared(server.url(name))
        async with tcp_proxy.before(server) as proxy:
            url = f"postgresql://{server.user}@127.0.0.1:{proxy.port}/{name}?sslmode=disable"
            scene = _scene(url, server.url(name), folder, prepared, disk)
            scene.server, scene.proxy = server, proxy
            async with _processes(scene):
                yield scene
