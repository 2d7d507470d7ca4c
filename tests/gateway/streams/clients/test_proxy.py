"""Subscriptions through nginx, by the configuration of the guide. Skipped where nginx is not installed."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest

from tests.gateway.streams.clients.ledger_accounts import Accountant
from tests.gateway.streams.clients.partners import EXAMPLES, PROGRAMS
from tests.gateway.streams.clients.processes import GatewayProcess
from tests.ports import free_port

NGINX: Final = shutil.which("nginx")

pytestmark = [
    pytest.mark.parametrize("backend", ["sqlite"]),
    pytest.mark.skipif(NGINX is None, reason="nginx is not installed"),
]


@pytest.fixture
async def proxy(gateway: GatewayProcess, tmp_path: Path) -> AsyncIterator[str]:
    """Its address."""
    port = free_port()
    given = (EXAMPLES / "nginx.conf").read_text()
    changed = given.replace("127.0.0.1:8000", f"127.0.0.1:{gateway.port}").replace("listen 8080", f"listen {port}")
    assert changed.count(str(gateway.port)) == changed.count(str(port)) == 1
    temporary = "".join(
        f"{name}_temp_path {tmp_path}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    main = f"daemon off; pid {tmp_path}/nginx.pid; error_log {tmp_path}/nginx.log; events {{}}\n"
    configuration = tmp_path / "nginx.conf"
    configuration.write_text(f"{main}http {{\naccess_log off;\n{temporary}{changed}}}\n")
    assert NGINX is not None
    process = await asyncio.create_subprocess_exec(NGINX, "-p", tmp_path, "-c", configuration)
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    await process.wait()


async def test_each_row_is_there_before_the_next_is_posted(
    accountant: Accountant, gateway: GatewayProcess, proxy: str, tmp_path: Path
) -> None:
    """Nothing waits in a buffer; and what breaks behind the proxy is taken up again."""
    account = await accountant.open_account()
    programs = [kind(name, proxy, account.key.secret, tmp_path) for name, kind in PROGRAMS.items()]
    await asyncio.gather(*(program.start() for program in programs))
    await asyncio.gather(*(program.began() for program in programs))
    for _ in range(3):
        for _ in range(3):
            await accountant.post(account.id)
            expected = await accountant.rows_after_opening(account.id)
            await asyncio.gather(*(program.has_received(expected[-1]) for program in programs))
        await gateway.kill()
        await gateway.start()
    for program in programs:
        assert await program.received() == expected, program.name
        await program.kill()
