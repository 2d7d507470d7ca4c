"""Single rows, by account and `seq`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import Select, and_

from db import tables
from db.archive.past import past_rows_by_id
from db.connections.snapshots import Read, Rows, Wanted
from db.keyed_rows import key_arrays, keyed_statement, read_with_keys
from db.rows import TransactionRow
from db.statements import columns

_ROW: Final = tables.transactions
_COLUMNS: Final = tuple(columns(_ROW, TransactionRow))
_ID: Final = (_ROW.c.account_id, _ROW.c.seq)


@lru_cache(maxsize=1)
def _with_answered_statement() -> Select[Any]:
    """Selects the rows, each with the row that it corrects. PostgreSQL only."""
    answered = _ROW.alias()
    answers = and_(answered.c.account_id == _ROW.c.account_id, answered.c.seq == _ROW.c.corrects_seq)
    return (
        keyed_statement(_COLUMNS, _ID)
        .add_columns(*(answered.c[name] for name in TransactionRow._fields))
        .outerjoin(answered, answers)
    )


def transactions_by_id(postgresql: bool, ids: Sequence[tuple[int, int]]) -> Read[dict[tuple[int, int], TransactionRow]]:
    """Reads rows by (account, seq). The read is immutable: ids in later requests come from rows that were read.

    On PostgreSQL the corrected rows are read too: they are often requested next, which would be another round trip.
    """
    width = len(_COLUMNS)

    def by_id(rows: Iterable[Any]) -> dict[tuple[int, int], TransactionRow]:
        return {(row[0], row[1]): TransactionRow._make(row) for row in rows}

    def with_answered(found: Sequence[Rows]) -> dict[tuple[int, int], TransactionRow]:
        answered = (row[width:] for row in found[0] if row[width] is not None)
        return by_id(answered) | by_id(row[:width] for row in found[0])

    past = past_rows_by_id(ids, lambda row: row)
    if postgresql:
        wanted = Wanted(_with_answered_statement(), key_arrays(_ID, set(ids)), immutable=True)
        return Read((wanted,), with_answered, past)
    return read_with_keys(_COLUMNS, _ID, set(ids), by_id, postgresql=False, immutable=True, past=past)


_HASHED: Final = (*_ID, _ROW.c.hash)


def hashes_by_id(postgresql: bool, ids: Sequence[tuple[int, int]]) -> Read[dict[tuple[int, int], bytes]]:
    """Reads the hashes of rows by (account, seq)."""

    def by_id(rows: Iterable[Any]) -> dict[tuple[int, int], bytes]:
        return {(row[0], row[1]): row[2] for row in rows}

    past = past_rows_by_id(ids, lambda row: row.hash)
    return read_with_keys(_HASHED, _ID, set(ids), by_id, postgresql=postgresql, past=past)
