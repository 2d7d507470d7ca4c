"""Three gateways before the cluster: two know all servers, one reaches the primary through PgBouncer and HAProxy."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from aiohttp import ClientSession

from tests.failover.cluster import DATABASE, PASSWORD, Cluster, comes

_STARTED: Final = re.compile(r'"address": ?"(http://127\.0\.0\.1:\d+)"')
_HAPROXY_PORT: Final = 5000
_PGBOUNCER_PORT: Final = 6432

# Patroni answers 200 at /primary on the primary only.
_HAPROXY: Final = """
defaults
    mode tcp
    timeout connect 2s
    timeout client 1h
    timeout server 1h
    timeout check 1s
listen primary
    bind 127.0.0.1:{port}
    option httpchk OPTIONS /primary
    http-check expect status 200
    default-server inter 1s fall 2 rise 1 on-marked-down shutdown-sessions
{servers}
"""
_PGBOUNCER: Final = """
[databases]
* = host=127.0.0.1 port={haproxy} user={user} password={password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 20
max_client_conn = 500
server_login_retry = 1
"""


class Gateways:
    def __init__(self, cluster: Cluster, folder: Path, user: str | None) -> None:
        self._cluster = cluster
        self._folder = folder
        self._user = user
        self._processes: list[subprocess.Popen[bytes]] = []
        self.urls: list[str] = []

    def _environment(self, number: int) -> Mapping[str, str]:
        direct = self._cluster.primary_url
        settings = {
            "BILLING_DATABASE_URL": direct,
            "BILLING_READ_DATABASE_URLS": " ".join(self._cluster.url(host) for host in self._cluster.hosts),
            "BILLING_SERVICE_POINTS_PER_SECOND": "1000000",
            "BILLING_POOL_SIZE": "6",
        }
        if number == 2:
            settings["BILLING_DATABASE_URL"] = f"postgresql://{DATABASE}@127.0.0.1:{_PGBOUNCER_PORT}/{DATABASE}"
            settings["BILLING_DIRECT_DATABASE_URL"] = direct
        return os.environ | settings

    def migrate(self) -> None:
        command = [sys.executable, "-m", "gateway.cli", "migrate"]
        subprocess.run(command, env=self._environment(0), check=True, timeout=120, stdout=subprocess.DEVNULL)

    def _run(self, name: str, command: list[str], **options: Any) -> None:
        with (self._folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **options)
        self._processes.append(process)

    def _start_proxies(self) -> None:
        hosts = self._cluster.hosts
        servers = "\n".join(f"    server {host.name} {host.address}:5432 check port 8008" for host in hosts)
        haproxy = self._folder / "haproxy.cfg"
        haproxy.write_text(_HAPROXY.format(port=_HAPROXY_PORT, servers=servers))
        self._run("haproxy", [shutil.which("haproxy") or "/usr/sbin/haproxy", "-db", "-f", str(haproxy)])
        pgbouncer = self._folder / "pgbouncer.ini"
        pgbouncer.write_text(
            _PGBOUNCER.format(haproxy=_HAPROXY_PORT, user=DATABASE, password=PASSWORD, port=_PGBOUNCER_PORT)
        )
        # It refuses to run as root.
        self._run("pgbouncer", [shutil.which("pgbouncer") or "/usr/sbin/pgbouncer", str(pgbouncer)], user=self._user)

    async def start(self) -> None:
        self._start_proxies()
        for number in range(3):
            command = [sys.executable, "-m", "gateway.cli", "serve", "--port", "0"]
            self._run(f"gateway{number}", command, env=self._environment(number))
        self.urls += [await comes(partial(self._address, number), 60, "a gateway") for number in range(3)]

    async def _address(self, number: int) -> str | None:
        found = _STARTED.search((self._folder / f"gateway{number}.log").read_text())
        return found[1] if found else None

    async def reads_by(self, source: str, session: ClientSession) -> int:
        """Returns the number of reads that the primary or replicas answered."""
        metric = re.compile(rf'^billing_replica_reads_total{{.*"{source}".*}} (\S+)$', re.MULTILINE)
        found = 0.0
        for url in self.urls:
            async with session.get(f"{url}/metrics") as response:
                found += sum(map(float, metric.findall(await response.text())))
        return round(found)

    async def verify(self) -> int:
        """The whole ledger: returns the exit status of the command."""
        command = [sys.executable, "-m", "gateway.cli", "verify"]
        with (self._folder / "verify.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(*command, env=self._environment(0), stdout=log, stderr=log)
            return await process.wait()

    def stop(self) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            process.wait(40)
