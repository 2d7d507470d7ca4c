"""SQLite batches: several reads as one statement, which takes one turn of the connection's thread and sees one
snapshot.

As on PostgreSQL (`postgresql_batches`) each read becomes a row of arrays, one for each of its columns; here they are
JSON:

    SELECT * FROM (WITH q(c0, c1) AS (SELECT … ORDER BY … LIMIT ?)
                   SELECT json_group_array(c0), json_group_array(c1) FROM q) AS p0, …

The driver lets go of the interpreter's lock for each row that it fetches, and has to wait for it again while requests
are answered: with all rows in one it waits once. A subquery of an aggregate keeps its order. Statements are
SQLAlchemy's, compiled once for each shape.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, NamedTuple

import orjson
from sqlalchemy import Executable, LargeBinary
from sqlalchemy.dialects.sqlite import aiosqlite as dialect
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import TypeEngine

from db.connections.sqlite import SqliteConnection
from db.connections.steps import Steps

_DIALECT: Final = dialect.dialect()

Decode = Callable[[Any], Any]


class _Value(NamedTuple):
    """The source of a parameter's value."""

    name: str
    place: int | None
    """The index in a list of values."""
    processor: Callable[[Any], Any] | None

    def of(self, given: dict[str, Any]) -> Any:
        value = given[self.name] if self.place is None else given[self.name][self.place]
        return value if self.processor is None else self.processor(value)


@dataclass(frozen=True, slots=True, eq=False)
class _Compiled:
    text: str
    values: tuple[_Value, ...]
    """Values of the parameters, in order."""
    constants: dict[str, Any]
    """Values of parameters that the statement itself contains."""
    columns: tuple[str, ...]
    """Names of the collected columns."""
    decodes: tuple[tuple[int, Decode], ...]
    """Columns whose values have no type in JSON or SQLite."""


@lru_cache(maxsize=1_024)
def _compiled_with_names(statement: Executable) -> tuple[SQLCompiler, tuple[str, ...]]:
    """Returns the compiled statement and the names of the parameters that are lists."""
    made = statement.compile(dialect=_DIALECT)  # type: ignore[attr-defined]
    assert isinstance(made, SQLCompiler)
    return made, tuple(name for name, bind in made.binds.items() if bind.expanding)


def text_of(statement: Executable) -> str:
    return _compiled_with_names(statement)[0].string


def names_columns(statement: Executable) -> bool:
    return bool(_compiled_with_names(statement)[0]._result_columns)  # noqa: SLF001


def text_and_values(statement: Executable, parameters: dict[str, Any]) -> tuple[str, list[Any]]:
    """Returns a single statement as SQLite takes it."""
    shaped = _shaped(statement, parameters)
    given = shaped.constants | parameters
    return shaped.text, [value.of(given) for value in shaped.values]


def _decode(of: TypeEngine[Any]) -> Decode | None:
    if isinstance(of, LargeBinary):
        return _bytes
    return of.dialect_impl(_DIALECT).result_processor(_DIALECT, None)


def _bytes(text: str) -> bytes | None:
    """Decodes hexadecimal text. SQLite's text is the same for null and for no bytes, and no column holds no bytes."""
    return bytes.fromhex(text) or None


@lru_cache(maxsize=1_024)
def _compiled(statement: Executable, lengths: tuple[int, ...]) -> _Compiled:
    """Compiles the statement. `lengths` are the lengths of its lists, whose values are separate parameters."""
    made, lists = _compiled_with_names(statement)
    given: dict[str, Any] = dict.fromkeys(made.binds)
    given.update((name, [None] * length) for name, length in zip(lists, lengths, strict=True))
    state = made.construct_expanded_state(given)
    places: dict[str, tuple[str, int | None]] = {
        expanded: (name, index)
        for name, several in state.parameter_expansion.items()
        for index, expanded in enumerate(several)
    }
    processors: dict[str, Any] = {**made._bind_processors, **state.processors}  # noqa: SLF001
    types = [column.type for column in made._result_columns]  # noqa: SLF001
    return _Compiled(
        text=state.statement,
        values=tuple(
            _Value(*places.get(name, (name, None)), processor=processors.get(name)) for name in state.positiontup or ()
        ),
        constants={name: value for name, value in made.params.items() if value is not None},
        columns=tuple(
            f"hex(c{number})" if isinstance(of, LargeBinary) else f"c{number}" for number, of in enumerate(types)
        ),
        decodes=tuple((number, decode) for number, of in enumerate(types) if (decode := _decode(of)) is not None),
    )


def _shaped(statement: Executable, parameters: dict[str, Any]) -> _Compiled:
    _, lists = _compiled_with_names(statement)
    return _compiled(statement, tuple(len(parameters[name]) for name in lists))


@lru_cache(maxsize=1_024)
def _batch_text(parts: tuple[_Compiled, ...]) -> str:
    rows = []
    for number, part in enumerate(parts):
        names = ", ".join(f"c{column}" for column in range(len(part.columns)))
        arrays = ", ".join(f"json_group_array({column})" for column in part.columns)
        rows.append(f"(WITH q({names}) AS ({part.text}) SELECT {arrays} FROM q) AS p{number}")  # noqa: S608
    return f"SELECT * FROM {', '.join(rows)}"  # noqa: S608


async def run_batch(
    connection: SqliteConnection, reads: Sequence[tuple[Executable, dict[str, Any]]]
) -> list[list[tuple[Any, ...]]]:
    """Returns the rows of each read, all from one moment."""
    parts = tuple(_shaped(statement, parameters) for statement, parameters in reads)
    values: list[Any] = []
    steps = Steps()
    for part, (_, parameters) in zip(parts, reads, strict=True):
        await steps.rest()
        given = part.constants | parameters if part.constants else parameters
        values += [value.of(given) for value in part.values]
    if len(parts) == 1 and not parts[0].columns:
        # Without types of columns, so that rows come as the driver returns them.
        return [await connection.fetch(parts[0].text, values)]
    [row] = await connection.fetch(_batch_text(parts), values)
    return await _rows_of_batch(parts, row)


async def _rows_of_batch(parts: Sequence[_Compiled], row: Sequence[str]) -> list[list[tuple[Any, ...]]]:
    """Decodes column by column, and lets others run between those of a long page."""
    found = []
    start = 0
    steps = Steps()
    for part in parts:
        end = start + len(part.columns)
        arrays: list[list[Any]] = []
        for text in row[start:end]:
            await steps.rest()
            arrays.append(orjson.loads(text))
        for number, decode in part.decodes:
            await steps.rest()
            arrays[number] = list(map(decode, arrays[number]))
        found.append(list(zip(*arrays, strict=True)))
        start = end
    return found
