"""Databases that many tests want filled alike: each is filled once, and each test gets a copy of its own."""

from __future__ import annotations

import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, TypeVar

from db.database import Database, DatabaseOptions, sqlite_url
from tests.postgres import Postgres

Filled = TypeVar("Filled")
Fill = Callable[[Database], Awaitable[Filled]]

Source = Path | tuple[Postgres, str]
"""A migrated, empty database: a file of SQLite, or a server and the name of a template."""

_filled: Final[dict[tuple[Source, Any], tuple[str, Any]]] = {}


class Copies:
    """The copies of one test."""

    def __init__(self, source: Source, folder: Path) -> None:
        self._source = source
        self._folder = folder
        self._made: list[str] = []

    async def of(self, fill: Fill[Filled]) -> tuple[str, Filled]:
        """Returns the URL of a copy of the database that `fill` filled, and what it returned then."""
        key = self._source, fill
        if key not in _filled:
            name = await self._new(self._source, self._folder / "filled.db")
            database = Database(DatabaseOptions(self._url(name)))
            found = await fill(database)
            await database.close()
            _filled[key] = name, found
        name, filled = _filled[key]
        source = Path(name) if isinstance(self._source, Path) else (self._source[0], name)
        copy = await self._new(source, self._folder / "billing.db")
        self._made.append(copy)
        return self._url(copy), filled

    @staticmethod
    async def _new(source: Source, target: Path) -> str:
        """Returns the path or the name of a new database."""
        if not isinstance(source, Path):
            return await source[0].new_database(source[1])
        shutil.copy(source, target)
        return str(target)

    def _url(self, name: str) -> str:
        return sqlite_url(Path(name)) if isinstance(self._source, Path) else self._source[0].url(name)

    async def drop(self) -> None:
        if not isinstance(self._source, Path):
            for name in self._made:
                await self._source[0].drop(name)
