"""Statements are compiled once for all databases that a process of the tests opens.

Each test opens a database of its own, whose engine would compile all statements anew: a fifth of the CPU time of a test
that posts a few rows. A gateway compiles them once and keeps them, too.
"""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from typing import Any, Final
from unittest import mock
from weakref import WeakKeyDictionary

from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

_Key = tuple[Any, ...]
_CREATED: Final = "db.connections.engines.create_async_engine"


class _Compiled(dict[_Key, Any]):
    """SQLAlchemy looks for a statement of a dialect, of which each engine has one: here all have those of its class."""

    def get(self, key: _Key, default: Any = None) -> Any:
        return super().get((type(key[0]), *key[1:]), default)

    def __setitem__(self, key: _Key, compiled: Any) -> None:
        super().__setitem__((type(key[0]), *key[1:]), compiled)


@contextmanager
def shared() -> Iterator[None]:
    compiled = _Compiled()
    memos: dict[type[Any], MutableMapping[Any, Any]] = {}

    def create(*arguments: Any, **options: Any) -> AsyncEngine:
        engine = create_async_engine(*arguments, **options)
        engine.sync_engine._compiled_cache = compiled
        dialect = engine.sync_engine.dialect
        dialect._type_memos = memos.setdefault(type(dialect), WeakKeyDictionary())
        return engine

    with mock.patch(_CREATED, create):
        yield
