"""Three servers with PostgreSQL, Patroni and etcd, as operators run them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final

import asyncpg
from aiohttp import ClientError, ClientSession, ClientTimeout

from tests.failover.hosts import Host

CONFIGURATION: Final = Path(__file__).parents[2] / "deploy" / "patroni" / "patroni.yml"
DATABASE: Final = "billing"
PASSWORD: Final = "of-the-drill"
_ROLES: Final = {"leader": "running", "sync_standby": "streaming", "replica": "streaming"}
_PATRONI: Final = os.environ.get("FAILOVER_PATRONI", f"{Path(sys.executable).parent}/patroni")


async def comes(look: Callable[[], Awaitable[Any]], seconds: float, what: str) -> Any:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            for _ in range(int(seconds * 10) + 1):
                if found := await look():
                    return found
                await asyncio.sleep(0.1)
    msg = f"{what} did not come within {seconds:.0f} seconds"
    raise AssertionError(msg)


class Cluster:
    def __init__(self, hosts: list[Host], programs: Path, session: ClientSession) -> None:
        self.hosts = hosts
        self._programs = programs
        self._session = session

    def url(self, *hosts: Host, query: str = "") -> str:
        listed = ",".join(host.address for host in hosts)
        return f"postgresql://{DATABASE}:{PASSWORD}@{listed}/{DATABASE}{query}"

    @property
    def primary_url(self) -> str:
        return self.url(*self.hosts, query="?target_session_attrs=read-write")

    def give_to_user(self, host: Host) -> None:
        if host.user is not None:
            shutil.chown(host.folder, host.user, host.user)

    def start(self, host: Host) -> None:
        peers = ",".join(f"{one.name}=http://{one.address}:2380" for one in self.hosts)
        etcd = [
            *("etcd", "--name", host.name, "--data-dir", f"{host.folder}/etcd", "--logger", "zap"),
            *("--listen-peer-urls", f"http://{host.address}:2380"),
            *("--initial-advertise-peer-urls", f"http://{host.address}:2380"),
            *("--listen-client-urls", f"http://{host.address}:2379"),
            *("--advertise-client-urls", f"http://{host.address}:2379"),
            *("--initial-cluster", peers, "--initial-cluster-token", "billing"),
        ]
        environment = {"PATH": f"{self._programs}:{os.environ['PATH']}", "HOME": str(host.folder), "LC_ALL": "C.UTF-8"}
        host.start("etcd", etcd, environment)
        settings = {
            "PATRONI_NAME": host.name,
            "PATRONI_ETCD3_HOSTS": ",".join(f"{one.address}:2379" for one in self.hosts),
            "PATRONI_RESTAPI_LISTEN": f"{host.address}:8008",
            "PATRONI_RESTAPI_CONNECT_ADDRESS": f"{host.address}:8008",
            "PATRONI_POSTGRESQL_LISTEN": f"{host.address}:5432",
            "PATRONI_POSTGRESQL_CONNECT_ADDRESS": f"{host.address}:5432",
            "PATRONI_POSTGRESQL_DATA_DIR": f"{host.folder}/data",
            "PATRONI_POSTGRESQL_BIN_DIR": str(self._programs),
            "PATRONI_POSTGRESQL_PGPASS": f"{host.folder}/pgpass",
            "PATRONI_SUPERUSER_USERNAME": "postgres",
            "PATRONI_SUPERUSER_PASSWORD": PASSWORD,
            "PATRONI_REPLICATION_USERNAME": "replicator",
            "PATRONI_REPLICATION_PASSWORD": PASSWORD,
        }
        host.start("patroni", [_PATRONI, str(CONFIGURATION)], environment | settings)

    async def _members(self, host: Host) -> dict[str, tuple[str, str]]:
        """Returns role and state of all servers by name, as this one sees them; empty if it does not say."""
        with contextlib.suppress(ClientError, OSError, TimeoutError):
            url = f"http://{host.address}:8008/cluster"
            async with self._session.get(url, timeout=ClientTimeout(1)) as answer:
                found = (await answer.json())["members"]
                return {one["name"]: (one["role"], one["state"]) for one in found}
        return {}

    async def is_whole(self) -> bool:
        """Whether all servers run and see the same primary: one that was cut off may still see itself as that."""
        views = await asyncio.gather(*map(self._members, self.hosts))
        wanted = sorted(_ROLES.items())
        return all(view == views[0] and sorted(view.values()) == wanted for view in views)

    async def wait_until_whole(self) -> None:
        await comes(self.is_whole, 120, "a primary with a synchronous and an asynchronous standby")

    async def primary(self) -> Host:
        """While the cluster is whole."""
        roles = await self._members(self.hosts[0])
        [found] = [host for host in self.hosts if roles[host.name][0] == "leader"]
        return found

    async def prepare(self) -> None:
        """Makes the gateways' role and database."""
        primary = await self.primary()
        connection = await self.connect(primary, "postgres", "postgres")
        try:
            await connection.execute(f"CREATE ROLE {DATABASE} LOGIN PASSWORD '{PASSWORD}' IN ROLE pg_read_all_stats")
            await connection.execute(f"CREATE DATABASE {DATABASE} OWNER {DATABASE}")
            await connection.execute("CREATE TABLE probes (number bigint)")
        finally:
            await connection.close()

    async def connect(self, host: Host, user: str = DATABASE, database: str = DATABASE) -> Any:
        return await asyncpg.connect(host=host.address, user=user, password=PASSWORD, database=database, timeout=2)

    async def commits(self, host: Host) -> bool:
        """Whether a commit on the host succeeds, which waits for its synchronous standby."""
        try:
            async with asyncio.timeout(3):
                connection = await self.connect(host, "postgres", "postgres")
                try:
                    await connection.execute("INSERT INTO probes VALUES (1)")
                finally:
                    connection.terminate()
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError):
            return False
        return True

    async def wait_for_another_primary(self, old: Host | None) -> Host:
        """Waits until a commit succeeds on a server other than the old primary; on any if None."""

        async def look() -> Host | None:
            others = [host for host in self.hosts if host is not old]
            found = await asyncio.gather(*map(self.commits, others))
            return next((host for host, commits in zip(others, found, strict=True) if commits), None)

        host: Host = await comes(look, 120, "a new primary")
        return host
