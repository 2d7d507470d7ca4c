"""Several hosts in one database URL: which is used, and what happens when it is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import pytest
from sqlalchemy import Boolean, text

from db.database import Database
from db.errors import DatabaseUnavailable
from tests import tcp_proxy
from tests.db.connections.test_silence import GUARD_SECONDS, opened
from tests.postgres import Postgres, Standby

_IS_STANDBY: Final = text("SELECT pg_is_in_recovery()").columns(standby=Boolean)


async def _uses_standby(database: Database) -> bool:
    """By all its ways to the server: it uses the same for all."""
    async with asyncio.timeout(GUARD_SECONDS):
        (read,) = await database.read(_IS_STANDBY)
        async with database.write() as connection:
            written = (await connection.execute(_IS_STANDBY)).scalar_one()
    assert read[0] == written
    return bool(written)


async def _comes_true(asked: Callable[[], object]) -> None:
    async with asyncio.timeout(GUARD_SECONDS):
        while True:
            try:
                if await asked():  # type: ignore[misc]
                    return
            except DatabaseUnavailable:
                pass
            await asyncio.sleep(0.1)


async def test_the_hosts_are_used_as_the_url_says(postgres_server: Postgres, postgresql_url: str) -> None:
    name = postgresql_url.split("@/")[1].split("?")[0]
    with postgres_server.standby() as standby:
        hosts = f"{postgres_server.host},{standby.host}"
        turned = f"{standby.host},{postgres_server.host}"
        expected = {
            ("any", hosts): False,
            ("any", turned): True,
            ("primary", turned): False,
            ("read-write", turned): False,
            ("standby", hosts): True,
            ("read-only", hosts): True,
            ("prefer-standby", hosts): True,
        }
        for (attributes, listed), is_standby in expected.items():
            url = f"postgresql://{standby.user}@/{name}?host={listed}&port=5432,5432&target_session_attrs={attributes}"
            async with opened(url) as database:
                assert await _uses_standby(database) == is_standby, (attributes, listed)
        only = f"postgresql://{standby.user}@/{name}?host={{}}&port=5432&target_session_attrs={{}}"
        async with opened(only.format(postgres_server.host, "prefer-standby")) as database:
            assert not await _uses_standby(database)
        async with opened(only.format(standby.host, "primary")) as database:
            with pytest.raises(DatabaseUnavailable, match="target_session_attrs"):
                await database.read(_IS_STANDBY)


async def test_a_host_that_is_not_there_is_passed_over(postgres_server: Postgres, postgresql_url: str) -> None:
    name = postgresql_url.split("@/")[1].split("?")[0]
    async with tcp_proxy.before(postgres_server) as silent, tcp_proxy.before(postgres_server) as proxy:
        silent.silent = True
        hosts = f"127.0.0.1:1,127.0.0.1:{silent.port},127.0.0.1:{proxy.port}"
        async with opened(f"postgresql://{postgres_server.user}@{hosts}/{name}?sslmode=disable") as database:
            assert not await _uses_standby(database)


async def test_the_other_host_takes_over_when_the_primary_is_lost(
    postgres_server: Postgres, postgresql_url: str
) -> None:
    name = postgresql_url.split("@/")[1].split("?")[0]
    with postgres_server.standby() as standby:
        async with tcp_proxy.before(postgres_server) as first, tcp_proxy.before(standby) as second:
            hosts = f"127.0.0.1:{first.port},127.0.0.1:{second.port}"
            parameters = "sslmode=disable&target_session_attrs=primary"
            async with opened(f"postgresql://{standby.user}@{hosts}/{name}?{parameters}") as database:
                assert not await _uses_standby(database)
                assert second.connections == 0
                first.silent = True
                await standby.promote()
                await _comes_true(lambda: _writes_on(standby, database))


async def _writes_on(standby: Standby, database: Database) -> bool:
    async with database.write() as connection:
        await connection.execute(text("UPDATE schema_compatibility SET oldest_program = oldest_program"))
        path = (await connection.execute(text("SHOW unix_socket_directories"))).scalar_one()
    return bool(path == standby.host)
