"""Connections that tell a tracer of each statement: its kind and its tables, never its parameters.

Nothing here is used unless `DatabaseOptions.trace` is set.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from asyncpg.prepared_stmt import PreparedStatement
from sqlalchemy import event
from sqlalchemy.ext.asyncio import AsyncEngine

from db.connections.postgresql import PostgresConnection
from db.connections.sqlite import SqliteConnection
from db.tables import metadata

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.engine import ExceptionContext

_WORD: Final = re.compile(r"\w+")
_CHANGE: Final = re.compile(r"\b(?:INSERT|UPDATE|DELETE)\b")
_TABLE: Final = re.compile(r'\b(?:FROM|JOIN|INTO|UPDATE)\s+"?(\w+)')


class Statement(NamedTuple):
    system: str
    kind: str
    """The statement's first word, or what it changes: SELECT, INSERT, BEGIN, …"""
    tables: tuple[str, ...]
    """Names of the tables, in order, each once."""


Trace: TypeAlias = Callable[[Statement], AbstractContextManager[None]]
"""Entered before a statement is sent, and left when its rows are there."""


@lru_cache(maxsize=512)
def described(system: str, text: str) -> Statement:
    found = _WORD.search(text)
    kind = found[0].upper() if found else ""
    if kind == "WITH":
        change = _CHANGE.search(text)
        kind = change[0] if change else "SELECT"
    named = dict.fromkeys(name for name in _TABLE.findall(text) if name in metadata.tables)
    return Statement(system, kind, tuple(named))


def _traced_statement(trace: Trace) -> type[PreparedStatement]:
    class Traced(PreparedStatement):  # type: ignore[misc]
        __slots__ = ()

        async def fetch(self, *arguments: Any, **options: Any) -> Any:
            with trace(described("postgresql", self._query)), self._connection.waiting:
                return await super().fetch(*arguments, **options)

        async def executemany(self, *arguments: Any, **options: Any) -> Any:
            with trace(described("postgresql", self._query)), self._connection.waiting:
                return await super().executemany(*arguments, **options)

    return Traced


_METHODS: Final = ("execute", "executemany", "fetch", "fetchrow", "fetchval")
"""Methods of the driver's connection that send the statement that is their first argument."""


def _traced_method(method: Callable[..., Any], trace: Trace) -> Callable[..., Any]:
    async def called(connection: PostgresConnection, query: str, *arguments: Any, **options: Any) -> Any:
        with trace(described("postgresql", query)):
            return await method(connection, query, *arguments, **options)

    return called


def traced(kind: type[PostgresConnection], trace: Trace) -> type[PostgresConnection]:
    """Returns a class of connections like `kind` whose statements are traced."""
    statement_class = _traced_statement(trace)

    async def prepare(connection: PostgresConnection, query: str, **options: Any) -> Any:
        statement = await kind.prepare(connection, query, **options)
        return statement_class(connection, query, statement._state)  # noqa: SLF001  the driver has no class to name for it

    methods = {name: _traced_method(getattr(kind, name), trace) for name in _METHODS}
    return type("Traced", (kind,), {**methods, "prepare": prepare})


def traced_sqlite(trace: Trace) -> type[SqliteConnection]:
    """Returns a class of connections for reading whose statements are traced."""

    class Traced(SqliteConnection):
        async def fetch(self, statement: str, parameters: Any = ()) -> list[Any]:
            with trace(described("sqlite", statement)):
                return await super().fetch(statement, parameters)

    return Traced


def trace_engine(engine: AsyncEngine, trace: Trace) -> None:
    """Traces what SQLAlchemy sends. A connection sends one statement at a time."""
    entered: dict[int, AbstractContextManager[None]] = {}

    @event.listens_for(engine.sync_engine, "before_cursor_execute")
    def begin(connection: Connection, _cursor: object, statement: str, *_: object) -> None:
        span = entered[id(connection)] = trace(described("sqlite", statement))
        span.__enter__()

    @event.listens_for(engine.sync_engine, "after_cursor_execute")
    def end(connection: Connection, *_: object) -> None:
        entered.pop(id(connection)).__exit__(None, None, None)

    @event.listens_for(engine.sync_engine, "handle_error")
    def fail(failed: ExceptionContext) -> None:
        span = entered.pop(id(failed.connection), None)
        if span is not None:
            error = failed.original_exception
            span.__exit__(type(error), error, None)
