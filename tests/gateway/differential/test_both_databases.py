"""The same random calls to a gateway on SQLite and to one on PostgreSQL have the same answers.

`DIFFERENTIAL_STORIES=100 DIFFERENTIAL_STEPS=300 DIFFERENTIAL_SEED=1000` tells more and other stories. A story that
fails names its seed and the step; the same seed tells it again.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict
from itertools import zip_longest
from pprint import pformat
from typing import Any, Final

import pytest

from db.database import Database, DatabaseOptions
from db.schema_version import migrate
from gateway.jobs import build_jobs
from tests.gateway.differential.calls import Call, Side
from tests.gateway.differential.chance import Chance, put_in
from tests.gateway.differential.gapless import go_on_from_newest, number_without_gaps
from tests.gateway.differential.random_calls import Story
from tests.gateway.mutations.office import contents, opened
from tests.postgres import Postgres
from tests.stripe_objects import SECRET
from tests.stripe_stand_in import settings, standing_in

STORIES: Final = int(os.environ.get("DIFFERENTIAL_STORIES", "4"))
STEPS: Final = int(os.environ.get("DIFFERENTIAL_STEPS", "60"))
FIRST_SEED: Final = int(os.environ.get("DIFFERENTIAL_SEED", "1"))

UNICODE: Final = "LOCALE_PROVIDER builtin BUILTIN_LOCALE 'PG_UNICODE_FAST' LOCALE 'C'"
"""A locale whose lower() folds all letters. Every second story is told to a database that has it."""

SHORT_STEPS: Final = {
    "gateway.rest.transactions.STEP_ROWS": 3,
    "gateway.rest.usage.STEP_ROWS": 3,
    "ledger.imports.sources.BATCH_RECORDS": 4,
    "ledger.storage.DAYS_AT_ONCE": 1,
}
"""Lists of a story are short: in half of the stories, so are the steps that read and write them."""


@pytest.fixture(scope="module")
async def unicode_template(postgres_server: Postgres) -> str:
    name = await postgres_server.new_database("template0", UNICODE)
    database = Database(DatabaseOptions(postgres_server.url(name)))
    await migrate(database)
    await database.close()
    return name


@pytest.fixture
async def other_url(
    seed: int, postgres_server: Postgres, postgres_template: str, unicode_template: str
) -> AsyncIterator[str]:
    """Of the story's database on PostgreSQL."""
    name = await postgres_server.new_database(unicode_template if seed % 2 else postgres_template)
    yield postgres_server.url(name)
    await postgres_server.drop(name)


@asynccontextmanager
async def _side(database_url: str) -> AsyncIterator[Side]:
    async with standing_in() as stripe:
        given = settings(stripe, stripe_webhook_secrets=SECRET)
        async with opened(database_url, **given) as office:
            services = office.services
            if services.database.is_postgresql:
                await number_without_gaps(services.database)
            jobs = build_jobs(services.settings, services.database, services.stripe_api, office.clock)
            yield Side(office, stripe, {job.name: job for job in jobs})


async def _answered(side: Side, call: Call, chance: Chance, seed: str) -> Any:
    """The answer, and what Stripe was asked for meanwhile."""
    chance.random.seed(seed)
    if side.office.services.database.is_postgresql:
        await go_on_from_newest(side.office.services.database)
    answer = await call.answer(side)
    asked = [asdict(one) for one in side.stand_in.asked[side.asked :]]
    side.asked = len(side.stand_in.asked)
    return answer, asked


def _differing(name: str, answers: list[Any], place: str) -> str:
    one, other = (pformat(answer, width=120) for answer in answers)
    return f"{name} differs, {place}\n\nSQLite:\n{one}\n\nPostgreSQL:\n{other}"


@pytest.mark.parametrize("seed", range(FIRST_SEED, FIRST_SEED + STORIES))
async def test_same_calls_have_same_answers(
    seed: int, sqlite_file_url: str, other_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    chance = Chance()
    put_in(chance, monkeypatch)
    for name, size in SHORT_STEPS.items() if seed % 4 < 2 else ():
        monkeypatch.setattr(name, size)
    async with AsyncExitStack() as stack:
        sides = []
        for url in (sqlite_file_url, other_url):
            chance.random.seed(seed)
            sides.append(await stack.enter_async_context(_side(url)))
        story = Story(seed, sides[0])
        for step in range(STEPS):
            drawn = story.draw()
            answers = [await _answered(side, drawn.call, chance, f"{seed}/{step}") for side in sides]
            place = f"seed {seed}, step {step}:\n{pformat(drawn.call, width=120)}"
            assert answers[0] == answers[1], _differing("the answer", answers, place)
            assert "INTERNAL" not in str(answers[0]), f"{answers[0]}, {place}"
            story.learn(drawn, answers[0][0])
        kept = [await contents(side.office.services.database) for side in sides]
        for table, rows in kept[0].items():
            pairs = zip_longest(rows, kept[1][table])
            assert (found := [pair for pair in pairs if pair[0] != pair[1]]) == [], f"seed {seed}, {table}: {found[:3]}"
