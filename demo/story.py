"""The demo's story: three accounts with a history that ends now. The same `now` gives the same story.

Ledger rows are written by the code that writes them in production, each at its own time. Usage goes through the
importer as a file of rollups.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from io import BytesIO
from random import Random
from typing import Final

from db import usage_writes
from db.database import Database
from demo import callers, developer, enterprise, inference
from demo.calls import HEADER, UsageDays
from demo.playing import ACTOR, play
from demo.scenes import history, in_order
from ledger.accounts import Accounts
from ledger.imports.importer import Importer
from ledger.imports.options import ImportOptions
from ledger.imports.sources import Source
from ledger.prices import Prices

_SEED: Final = 20_260_421
_HOURS_DAYS: Final = 35
"""Number of days whose hours are known: older ones were imported as rollups."""


@dataclass(frozen=True, slots=True)
class Story:
    account_ids: tuple[int, int, int]
    """Developer, inference-heavy, enterprise."""


async def tell(database: Database, now: datetime, enterprise_rows: int = enterprise.MOST_ROWS) -> Story:
    """Fills a database that is migrated and empty."""
    story = Story(
        (
            await _create(
                database,
                "developer",
                "Developer sandbox",
                now - timedelta(days=developer.DAYS),
                developer.SIGNUP_BONUS_NANOS,
            ),
            await _create(
                database,
                "inference",
                "Inference product",
                now - timedelta(days=inference.DAYS),
                inference.SIGNUP_BONUS_NANOS,
            ),
            await _create(database, "enterprise", "Enterprise fleet", now - timedelta(days=enterprise.DAYS)),
        )
    )
    since = (now - timedelta(days=_HOURS_DAYS)).date()
    all_callers = (callers.DEVELOPER, callers.INFERENCE, callers.ENTERPRISE)
    usages = [UsageDays(one, who, since) for one, who in zip(story.account_ids, all_callers, strict=True)]
    with _uncollected():
        await _tell_developer(database, story.account_ids[0], usages[0], now)
        await _tell_inference(database, story.account_ids[1], usages[1], now)
        await _tell_enterprise(database, story.account_ids[2], usages[2], now, enterprise_rows)
        await _import(database, usages, now)
        await _part(database, usages)
    return story


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Disables garbage collection: a story makes no cycles, and the search for them takes a seventh of its time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


async def _create(
    database: Database, kind: str, name: str, created_at: datetime, signup_bonus_nanos: int | None = None
) -> int:
    accounts = Accounts(database, lambda: created_at, ACTOR)
    return (await accounts.create(name, f"demo-{kind}", signup_bonus_nanos=signup_bonus_nanos)).id


async def _tell_developer(database: Database, account_id: int, usage: UsageDays, now: datetime) -> None:
    rng = _rng("developer")
    scenes = in_order(developer.scenes(rng, usage, now))
    await play(database, account_id, history(scenes, now, developer.SIGNUP_BONUS_NANOS, developer.refill(rng)))


async def _tell_inference(database: Database, account_id: int, usage: UsageDays, now: datetime) -> None:
    rng = _rng("inference")
    scenes = in_order(inference.scenes(rng, usage, now))
    await play(database, account_id, history(scenes, now, inference.SIGNUP_BONUS_NANOS, inference.refill(rng)))


async def _tell_enterprise(database: Database, account_id: int, usage: UsageDays, now: datetime, rows: int) -> None:
    scenes = enterprise.scenes(_rng("enterprise"), usage, now, rows)
    await play(database, account_id, history(scenes, now))


def _rng(account: str) -> Random:
    return Random(f"{_SEED} {account}")  # noqa: S311 - a story that repeats itself, no secret


async def _import(database: Database, usages: list[UsageDays], now: datetime) -> None:
    lines = "".join(line for usage in usages for line in usage.lines())
    importer = Importer(database, ImportOptions(strict=True), Prices(), lambda: now)
    report = await importer.run([Source("demo", BytesIO((HEADER + lines).encode()))])
    assert not report.refused, "the story's usage is refused"


async def _part(database: Database, usages: list[UsageDays]) -> None:
    """Parts the newest days by hour, API key, project and price, as services that record requests do."""
    async with database.write() as connection:
        for usage in usages:
            await usage_writes.delete_usage_hours(connection, usage.parted_days())
            await usage_writes.put_usage(connection, usage.hours(), usage.prices(), ())
