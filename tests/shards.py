"""Sets of shards for tests: new databases, opened as one set."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from db.database import Database, DatabaseOptions, sqlite_url
from db.shard_set import form_set
from db.shards import join
from tests.copies import Source


@asynccontextmanager
async def new_urls(source: Source, folder: Path, count: int) -> AsyncIterator[list[str]]:
    """URLs of databases with tables."""
    if isinstance(source, Path):
        paths = [folder / f"{number}.db" for number in range(count)]
        for path in paths:
            shutil.copy(source, path)
        yield [sqlite_url(path) for path in paths]
        return
    server, template = source
    names = [await server.new_database(template) for _ in range(count)]
    yield [server.url(name) for name in names]
    for name in names:
        await server.drop(name)


@asynccontextmanager
async def databases(
    *urls: str, build: Callable[[DatabaseOptions], Database] = Database
) -> AsyncIterator[list[Database]]:
    made = [build(DatabaseOptions(url)) for url in urls]
    if len(made) > 1:
        join(made)
    try:
        yield made
    finally:
        for database in made:
            await database.close()


async def formed(*urls: str) -> list[int]:
    async with databases(*urls) as made:
        return await form_set(made)
