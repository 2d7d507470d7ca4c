"""CSV lines (RFC 4180), built by the database: this costs a fraction of transferring the rows to Python, and the event
loop does none of it.

The lines are byte for byte those that `gateway/rest` builds from archived rows (`tests/gateway/test_csv_lines.py`).
Types, ids and times need no quotes; free text may need them. `db/csv_formats.py` has what differs between databases.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, func, select
from sqlalchemy.sql.selectable import FromClause

from db.archive.reach import reach_of
from db.attribution_rows import USAGE_HOUR_KEY
from db.connections.snapshots import Past, Rows, Snapshot
from db.csv_formats import CSV_FORMATS, CsvFormat
from db.filters import TransactionFilter, UsageFilter, UsageHourFilter, Window
from db.statements import THE_ACCOUNT
from db.transactions.pages import transaction_page_statement
from db.usage import usage_page_statement
from db.usage_hours import hour_page_statement

Part = ColumnElement[Any]
Cell = tuple[str | Part, ...]
"""The parts of a cell, concatenated. A str is constant text, any other part is a value of `CsvFormat`."""


class Lines(NamedTuple):
    """The lines of consecutive rows."""

    text: bytes
    row_count: int
    last: Any
    """Position of the last row; None if there is no row."""


def _transaction(row: Any, to: CsvFormat) -> list[Cell]:
    account, seq = row.account_id, row.seq
    return [
        ("txn_", account, "_", seq),
        ("acct_", account),
        (seq,),
        (to.time(row.created_at),),
        (row.type,),
        (to.money(row.amount_nanos),),
        (to.money(row.balance_after_nanos),),
        (to.free_text(row.description),),
        (row.source,),
        (row.ref_type,),
        (to.free_text(row.ref_id),),
        (to.free_text(row.actor),),
        (to.transaction_id(account, row.corrects_seq),),
        (to.time(row.period_start),),
        (to.time(row.period_end),),
        (to.hexadecimal(row.hash),),
    ]


def _usage_day(row: Any, to: CsvFormat) -> list[Cell]:
    return [
        ("acct_", row.account_id),
        (to.day(row.day),),
        (to.free_text(row.model),),
        (row.category,),
        (row.origin,),
        (row.calls,),
        (row.input_tokens,),
        (row.output_tokens,),
        (to.total(row.input_tokens, row.output_tokens),),
        (to.money(row.cost_nanos),),
    ]


def _usage_hour(row: Any, to: CsvFormat) -> list[Cell]:
    return [
        ("acct_", row.account_id),
        (to.hour(row.hour),),
        (row.span_hours,),
        (to.free_text(row.model),),
        (row.category,),
        (row.origin,),
        (to.free_text(row.api_key),),
        (to.free_text(row.project),),
        (row.calls,),
        (row.input_tokens,),
        (row.cached_input_tokens,),
        (row.output_tokens,),
        (row.reasoning_tokens,),
        (to.money(row.units_nanos),),
        (to.money(row.cost_nanos),),
        (to.money(row.input_nanos),),
        (to.money(row.cached_input_nanos),),
        (to.money(row.output_nanos),),
        (to.money(row.reasoning_nanos),),
        (to.money(row.unit_nanos),),
        (to.money(row.call_nanos),),
        (to.time(row.valid_from),),
        (to.time(row.valid_until),),
        (row.source,),
    ]


def _line(cells: list[Cell], to: CsvFormat) -> Part:
    """Returns the line as one call. A part costs only its formatting, and constant texts in a row are merged."""
    parts: list[str | Part] = []
    ours = ""
    for cell in cells:
        for part in cell:
            if isinstance(part, str):
                ours += part
                continue
            parts += [ours, part] if ours else [part]
            ours = ""
        ours += ","
    return to.line([*parts, "\r\n"])


Cells = Callable[[Any, CsvFormat], list[Cell]]


def _lines(page: FromClause, cells: Cells, position: Sequence[Part], *, postgresql: bool) -> Select[Any]:
    """Selects one row: the lines of the page in order, their number, and the position of the last line."""
    to = CSV_FORMATS[postgresql]
    text = to.text(_line(cells(page.c, to), to))
    return select(text, func.count(), *map(to.last, position)).select_from(page)


@lru_cache(maxsize=512)
def _transaction_lines(page_statement: Select[Any], postgresql: bool) -> Select[Any]:
    page = page_statement.subquery("page")
    return _lines(page, _transaction, [page.c.seq], postgresql=postgresql)


@lru_cache(maxsize=512)
def _usage_lines(page_statement: Select[Any], postgresql: bool) -> Select[Any]:
    page = page_statement.subquery("page")
    position = [page.c.day, page.c.model, page.c.category, page.c.origin]
    return _lines(page, _usage_day, position, postgresql=postgresql)


@lru_cache(maxsize=512)
def _hour_lines(page_statement: Select[Any], postgresql: bool) -> Select[Any]:
    page = page_statement.subquery("page_with_prices")
    position = [page.c[name] for name in USAGE_HOUR_KEY[1:]]
    return _lines(page, _usage_hour, position, postgresql=postgresql)


def _bytes(text: bytes | str | None) -> bytes:
    return text.encode() if isinstance(text, str) else text or b""


async def transaction_lines(
    snapshot: Snapshot, account_id: int, row_filter: TransactionFilter, window: Window
) -> Lines | None:
    """Reads the lines of `transaction_pages`' rows. Their position is the `seq`. None if rows may be in the archive."""
    page, parameters = transaction_page_statement(snapshot.is_postgresql, row_filter, window)
    statement = _transaction_lines(page, snapshot.is_postgresql)
    reach = reach_of(row_filter, window)
    past: Past[Rows] = Past((account_id,), lambda _, borders: reach.meets_any(borders), lambda *_: ())
    rows = await snapshot.rows(statement, parameters | {THE_ACCOUNT: account_id}, past)
    if not rows:
        return None
    ((text, count, seq),) = rows
    return Lines(_bytes(text), count, seq)


async def usage_lines(snapshot: Snapshot, account_id: int, row_filter: UsageFilter, window: Window) -> Lines:
    """Reads the lines of `usage_pages`' rows. Their position is that of a window."""
    page, parameters = usage_page_statement(snapshot.is_postgresql, row_filter, window)
    statement = _usage_lines(page, snapshot.is_postgresql)
    ((text, count, *position),) = await snapshot.rows(statement, parameters | {THE_ACCOUNT: account_id})
    return Lines(_bytes(text), count, tuple(position) if count else None)


async def usage_hour_lines(snapshot: Snapshot, account_id: int, row_filter: UsageHourFilter, window: Window) -> Lines:
    """Reads the lines of `usage_hours_page`'s rows. Their position is that of a window."""
    page, parameters = hour_page_statement(snapshot.is_postgresql, row_filter, window)
    statement = _hour_lines(page, snapshot.is_postgresql)
    ((text, count, *position),) = await snapshot.rows(statement, parameters | {THE_ACCOUNT: account_id})
    return Lines(_bytes(text), count, tuple(position) if count else None)
