"""PostgreSQL batches: several reads as one statement, which costs one round trip and sees one snapshot.

Each read becomes a row of arrays, one for each of its columns, and the batch is the one row of all of them:

    SELECT * FROM (SELECT array_agg(c0), array_agg(c1) FROM (SELECT … ORDER BY … LIMIT $1) AS q(c0, c1)) AS p0,
                  (SELECT array_agg(c0) FROM (SELECT …) AS q(c0)) AS p1

Arrays are quicker to send and to decode than rows, and zipped together they are the rows again. `array_agg` keeps the
order of a sorted subquery. The statements are SQLAlchemy's, compiled once; the driver runs the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import asyncpg
from sqlalchemy import Executable
from sqlalchemy.dialects.postgresql import asyncpg as dialect
from sqlalchemy.sql.compiler import SQLCompiler

_DIALECT: Final = dialect.dialect()  # type: ignore[no-untyped-call]
_PARAMETER: Final = re.compile(r"\$(\d+)")


@dataclass(frozen=True, slots=True)
class Compiled:
    text: str
    """The statement, with parameters `$1`, `$2`, …."""
    names: tuple[str, ...]
    """Names of the parameters, in order."""
    constants: dict[str, Any]
    """Values of parameters that the statement itself contains."""
    processors: dict[str, Callable[[Any], Any]]
    width: int
    """Number of columns."""

    def values(self, parameters: dict[str, Any]) -> list[Any]:
        given = self.constants | parameters if self.constants else parameters
        if self.processors:
            processors = self.processors
            return [processors[name](given[name]) if name in processors else given[name] for name in self.names]
        return [given[name] for name in self.names]


# A statement is either created once for its shape and kept, or created for a single read.
@lru_cache(maxsize=1_024)
def compiled(statement: Executable) -> Compiled:
    made = statement.compile(dialect=_DIALECT)  # type: ignore[attr-defined]
    assert isinstance(made, SQLCompiler)
    names = tuple(made.positiontup or ())
    processors: dict[str, Any] = dict(made._bind_processors)  # noqa: SLF001
    return Compiled(
        made.string,
        names,
        {name: value for name, value in made.params.items() if value is not None},
        {name: processors[name] for name in names if name in processors},
        len(made._result_columns),  # noqa: SLF001
    )


@lru_cache(maxsize=1_024)
def batch_text(parts: tuple[Executable, ...]) -> str:
    rows = []
    before = 0
    for number, part in enumerate(map(compiled, parts)):
        columns = [f"c{column}" for column in range(part.width)]
        text = _PARAMETER.sub(lambda found, before=before: f"${int(found[1]) + before}", part.text)  # type: ignore[misc]
        arrays = ", ".join(f"array_agg({column})" for column in columns)
        rows.append(f"(SELECT {arrays} FROM ({text}) AS q({', '.join(columns)})) AS p{number}")  # noqa: S608
        before += len(part.names)
    return f"SELECT * FROM {', '.join(rows)}"  # noqa: S608


async def run_batch(
    connection: asyncpg.Connection[Any], reads: Sequence[tuple[Executable, dict[str, Any]]]
) -> list[list[Any]]:
    """Returns the rows of each read, all from one moment."""
    values = [value for statement, parameters in reads for value in compiled(statement).values(parameters)]
    if len(reads) == 1:
        return [await connection.fetch(compiled(reads[0][0]).text, *values)]
    parts = tuple(statement for statement, _ in reads)
    row = await connection.fetchrow(batch_text(parts), *values)
    assert row is not None
    return rows_of_batch(parts, row)


def rows_of_batch(parts: Sequence[Executable], row: Sequence[Any]) -> list[list[tuple[Any, ...]]]:
    """Returns the rows of each part."""
    found = []
    start = 0
    for part in parts:
        end = start + compiled(part).width
        arrays = row[start:end]
        found.append([] if arrays[0] is None else list(zip(*arrays, strict=True)))
        start = end
    return found
