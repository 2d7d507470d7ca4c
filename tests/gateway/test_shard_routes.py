"""Shards behind poolers (docs/shards.md)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import click
import pytest

from db.errors import DatabaseUnavailable, SchemaMismatch
from gateway.commands.options import settings_of
from gateway.commands.worker import _once
from gateway.databases import checked_databases, open_databases
from gateway.settings import Settings
from tests import pgbouncer
from tests.gateway.command_line import run
from tests.gateway.mutations.office import opened
from tests.gateway.test_moved_accounts import moves_of
from tests.gateway.test_shards import FIRST, SECOND, created, key_of
from tests.pgbouncer import not_pooled
from tests.postgres import Postgres
from tests.replica import not_from_replica
from tests.shards import new_urls

pytestmark = [not_pooled, not_from_replica]


@pytest.fixture
async def urls(postgres_server: Postgres, postgres_template: str, tmp_path: Path) -> AsyncIterator[list[str]]:
    async with new_urls((postgres_server, postgres_template), tmp_path, 2) as made:
        yield made


async def _refused(settings: Settings) -> None:
    async with checked_databases(settings):
        raise AssertionError("the databases were accepted")


@pytest.mark.skipif(pgbouncer.PROGRAM is None, reason="pgbouncer is not installed")
async def test_each_shard_has_a_pooler(urls: list[str]) -> None:
    with pgbouncer.started(urls[0], size=4) as pooler:
        pooled = [pooler.url(url) for url in urls]
        given: dict[str, Any] = {
            "shards": pooled[1],
            "direct_database_url": urls[0],
            "direct_shards": f"1={urls[1]}",
            "pool_size": 3,
        }
        settings = settings_of({"database_url": pooled[0], **given})
        flags = [text for name in given if name != "pool_size" for text in (f"--{name.replace('_', '-')}", given[name])]
        swapped = ["--shards", pooled[1], "--direct-database-url", urls[1], "--direct-shards", f"1={urls[0]}"]
        said = await asyncio.to_thread(run, "migrate", *swapped, url=pooled[0], status=1)
        assert "direct_database_url: the URL is that of another database than its pooler reaches" in said
        assert "shard 1 joined the set" in await asyncio.to_thread(run, "migrate", *flags, url=pooled[0])

        async with opened(pooled[0], **given) as office:
            assert [await created(office, "One"), await created(office, "Two")] == [FIRST, SECOND]
            await office.call("correctBalance", accountId=SECOND, amount="10", description="Opening balance")
            key = await key_of(office, SECOND)
            moving = open_databases(settings)
            # A lock of a session, taken through the pooler, would be another client's as well.
            for database, other in zip(moving, (shard.database for shard in office.services.shards), strict=True):
                mine, theirs = database.worker_lock(), other.worker_lock()
                assert [await mine.acquire(), await theirs.acquire()] == [True, False]
                await mine.release()
            report = await moves_of(list(moving)).move(1_000_000_000_001, 0)
            assert (report.shard, report.rows, report.faults) == (0, 1, [])
            assert (await office.query("{ account { balance } }", key))["account"] == {"balance": "10.00"}
            for database in moving:
                await database.close()
            # While the gateway runs: at its end it cancels statements, which an old PgBouncer may not outlive.
            assert await _once(settings)

            with pytest.raises(DatabaseUnavailable, match=r"shard 1: .* set .* direct_shards"):
                await _refused(settings.model_copy(update={"direct_shards": None}))
            with pytest.raises(SchemaMismatch, match="the URL of shard 1 is that of another database"):
                await _refused(settings.model_copy(update={"direct_shards": f"1={urls[0]}"}))
            # A shard without a pooler is not named, or with the same URL.
            for direct in (None, f"1={urls[1]}"):
                mixed = {"database_url": pooled[0], "direct_database_url": urls[0], "shards": urls[1]}
                async with checked_databases(settings_of({**mixed, "direct_shards": direct})) as databases:
                    assert [database.is_pooled for database in databases] == [True, False]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"direct_shards": "2=postgresql://d2/billing"}, "direct_shards: there is no shard 2 in shards"),
        ({"direct_shards": "0=postgresql://d0/billing"}, "direct_shards: that of shard 0 is direct_database_url"),
        ({"direct_shards": "postgresql://s3cr3t@d1/billing"}, "direct_shards: expected the number of a shard"),
        ({"direct_shards": "1=postgresql://d1/billing 1=postgresql://d2/billing"}, "direct_shards: each shard has one"),
        ({"read_shards": "1=postgresql://s3cr3t@r1,r2/billing"}, "shard 1: .* must name one server"),
        ({"direct_shards": "1=sqlite:///s3cr3t.db"}, "shard 1: .* require PostgreSQL URLs"),
    ],
)
def test_urls_of_shards_that_cannot_be_right_are_refused(given: dict[str, str], said: str) -> None:
    with pytest.raises(click.UsageError, match=re.compile(said)) as refused:
        settings_of({"database_url": "postgresql://db0/billing", "shards": "postgresql://db1/billing", **given})
    assert "s3cr3t" not in str(refused.value)
