"""Parquet: ledger rows in files, and the ledger's own statements on them, by DuckDB.

The statements are those for SQLite, whose times are whole microseconds, as in the files. So filters, order, cursors and
totals have one definition.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any, Final, TypeVar

import orjson
from sqlalchemy import BigInteger, Executable, LargeBinary, Select, bindparam, select
from sqlalchemy.dialects import sqlite

from db import tables
from db.archive.errors import ArchiveDamaged, ArchiveUnavailable
from db.archive.store import ArchiveFile, ArchiveStore
from db.connections.snapshots import Read, Rows, Wanted
from db.connections.sqlite_batches import text_and_values
from db.rows import FOLDED_OF_TRANSACTIONS, TransactionRow, values_of_transaction
from db.statements import columns

Found = TypeVar("Found")
_Convert = Callable[[Any], Any]

_TABLE: Final = tables.transactions
_COLUMNS: Final = (*TransactionRow._fields, *FOLDED_OF_TRANSACTIONS)
_DIALECT: Final = sqlite.dialect(paramstyle="qmark")

_GROUP_ROWS: Final = 4_096
"""Rows of a part of a file. A page reads only the parts whose range of `seq` it reaches."""

_OPTIONS: Final[dict[str, str | int | float | list[str]]] = {
    "memory_limit": "256MB",
    "threads": 1,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}


@lru_cache(maxsize=1)
def _instance(process: int) -> Any:
    """Returns the DuckDB of the process. What does not fit into its memory goes to a folder for temporary files."""
    try:
        import duckdb
    except ImportError as error:
        raise ArchiveUnavailable("the archive needs DuckDB: pip install 'billing-gateway[archive]'") from error
    folder = str(Path(gettempdir(), f"billing-archive-of-process-{process}"))
    return duckdb.connect(":memory:", config={**_OPTIONS, "temp_directory": folder})


def connected() -> Any:
    """Returns a connection to DuckDB, with views of its own. All of a process share its memory limit."""
    return _instance(os.getpid()).cursor()


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"


def _bound(type_: Any) -> _Convert | None:
    convert: _Convert | None = type_.dialect_impl(_DIALECT).bind_processor(_DIALECT)
    return convert


def _result(type_: Any) -> _Convert | None:
    convert: _Convert | None = type_.dialect_impl(_DIALECT).result_processor(_DIALECT, None)
    return convert


_BYTES: Final = frozenset(name for name in _COLUMNS if isinstance(_TABLE.c[name].type, LargeBinary))
_TO_FILE: Final[dict[str, _Convert]] = {
    name: convert for name in _COLUMNS if name not in _BYTES and (convert := _bound(_TABLE.c[name].type)) is not None
}


def _kind(name: str) -> str:
    is_number = isinstance(_TABLE.c[name].type, BigInteger) or name in _TO_FILE
    return "BIGINT" if is_number else "VARCHAR"


_KINDS: Final = ", ".join(f"{name}: '{_kind(name)}'" for name in _COLUMNS)
_SELECTED: Final = ", ".join(f"unhex({name}) AS {name}" if name in _BYTES else name for name in _COLUMNS)


def _line(row: TransactionRow) -> bytes:
    values = values_of_transaction(row)
    values |= {name: values[name].hex() for name in _BYTES}
    values |= {name: convert(values[name]) for name, convert in _TO_FILE.items()}
    return orjson.dumps(values)


def parquet_of(rows: Sequence[TransactionRow]) -> bytes:
    """Returns the rows as a file, after comparing what is read from it. Raises ArchiveDamaged if it differs."""
    with TemporaryDirectory() as folder:
        source, target = Path(folder, "rows.json"), Path(folder, "rows.parquet")
        source.write_bytes(b"\n".join(map(_line, rows)))
        with connected() as connection:
            connection.execute(
                f"COPY (SELECT {_SELECTED} FROM read_json({_text(str(source))}, format = 'newline_delimited',"  # noqa: S608  names of columns
                f" columns = {{{_KINDS}}})) TO {_text(str(target))}"
                f" (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {_GROUP_ROWS})"
            )
            if ArchivedRows(connection, [target]).all_rows() != list(rows):
                raise ArchiveDamaged("a row cannot be archived: the row that is read back from the file differs")
        return target.read_bytes()


@lru_cache(maxsize=512)
def _results(statement: Executable) -> list[_Convert | None]:
    """Returns how the statement's columns are converted; None for those that need no conversion."""
    assert isinstance(statement, Select), "the archive answers no statement that is written as text"
    return [_result(column.type) for column in statement.selected_columns]


def _converted(row: Sequence[Any], results: Sequence[_Convert | None]) -> tuple[Any, ...]:
    return tuple(value if convert is None else convert(value) for value, convert in zip(row, results, strict=True))


_ALL: Final = select(*columns(_TABLE, TransactionRow)).order_by(_TABLE.c.seq)
_BETWEEN: Final = _ALL.where(
    _TABLE.c.seq >= bindparam("first", type_=BigInteger()), _TABLE.c.seq <= bindparam("last", type_=BigInteger())
)


_OF_SEQS: Final = _ALL.where(_TABLE.c.seq.in_(bindparam("seqs", expanding=True)))


class ArchivedRows:
    """Files that DuckDB has opened as the table of ledger rows."""

    def __init__(self, connection: Any, paths: Sequence[Path], last_seq: int | None = None) -> None:
        """With `last_seq`, later rows of the files are left out."""
        self._connection = connection
        listed = ", ".join(_text(str(path)) for path in paths)
        until = "" if last_seq is None else f" WHERE seq <= {last_seq}"
        rows = f"SELECT * FROM read_parquet([{listed}]){until}"  # noqa: S608
        connection.execute(f"CREATE OR REPLACE TEMPORARY VIEW {_TABLE.name} AS {rows}")

    def rows(self, wanted: Wanted) -> Rows:
        return self._found(*text_and_values(wanted.statement, wanted.parameters), _results(wanted.statement))

    def _found(self, text: str, values: Sequence[Any], results: Sequence[_Convert | None]) -> Rows:
        rows = self._connection.execute(text, values).fetchall()
        return [_converted(row, results) for row in rows]

    def read(self, read: Read[Found]) -> Found:
        """Answers a read of one account that was made for SQLite."""
        return read.made([self.rows(wanted) for wanted in read.wanted])

    def all_rows(self) -> list[TransactionRow]:
        return [TransactionRow._make(row) for row in self.rows(Wanted(_ALL, {}))]

    def rows_of(self, seqs: Sequence[int]) -> list[TransactionRow]:
        return [TransactionRow._make(row) for row in self.rows(Wanted(_OF_SEQS, {"seqs": list(seqs)}))]

    def rows_between(self, first_seq: int, last_seq: int) -> list[TransactionRow]:
        given = {"first": first_seq, "last": last_seq}
        return [TransactionRow._make(row) for row in self.rows(Wanted(_BETWEEN, given))]


@contextmanager
def opened(store: ArchiveStore, files: Sequence[ArchiveFile]) -> Iterator[ArchivedRows]:
    """Opens files of one account. Their bytes are compared with their names first.

    Raises ArchiveDamaged and ArchiveUnavailable.
    """
    with TemporaryDirectory() as folder:
        paths = []
        for number, file in enumerate(files):
            path = Path(folder, f"{number}.parquet")
            path.write_bytes(store.read(file))
            paths.append(path)
        with connected() as connection:
            yield ArchivedRows(connection, paths)
