"""CSV lines (RFC 4180), built by PostgreSQL: this costs a fraction of transferring the rows to Python.

The lines are byte for byte those that `gateway/rest` builds from the same rows for SQLite
(`tests/gateway/test_csv_lines.py`). Types, ids and times need no quotes; free text may need them.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Numeric,
    Select,
    String,
    and_,
    case,
    collate,
    func,
    literal_column,
    select,
)
from sqlalchemy.sql.selectable import FromClause

from db.archive.reach import reach_of
from db.attribution_rows import USAGE_HOUR_KEY
from db.connections.snapshots import Past, Rows, Snapshot
from db.filters import TransactionFilter, UsageFilter, UsageHourFilter, Window
from db.statements import THE_ACCOUNT
from db.transactions.pages import transaction_page_statement
from db.usage import usage_page_statement
from db.usage_hours import hour_page_statement

_TO_QUOTE: Final = '",\r\n'
# Text that spreadsheets take for a formula: see gateway/rest/exports.py.
_FORMULA: Final = "^'*[=+@\t\r\n＝＋－＠-]"

Part = ColumnElement[Any]
Cell = tuple[str | Part, ...]
"""The parts of a cell, concatenated. A str is constant text, any other part is formatted by PostgreSQL, and null is
empty."""


class Lines(NamedTuple):
    """The lines of consecutive rows."""

    text: bytes
    row_count: int
    last: Any
    """Position of the last row; None if there is no row."""


def _constant(text: str) -> ColumnElement[str]:
    """Returns a constant that is written into the statement instead of sent as a parameter each time."""
    quoted = text.replace("'", "''")
    return literal_column(f"'{quoted}'", String())


def _money(nanos: Part) -> Part:
    """Formats money with two fraction digits, or more if needed."""
    dollars = nanos * literal_column("0.000000001", Numeric())
    is_whole_cents = nanos % literal_column("10000000") == literal_column("0")
    return case((is_whole_cents, func.round(dollars, literal_column("2"))), else_=func.trim_scale(dollars))


def _time(moment: Part) -> Part:
    return func.to_char(func.timezone(_constant("UTC"), moment), _constant('YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))


def _matches(text: Part, pattern: str) -> ColumnElement[bool]:
    return text.bool_op("~")(_constant(pattern))


def _is_plain(text: Part) -> ColumnElement[bool]:
    """Whether the text begins with a letter and needs no quotes, as most texts. Costs half as much as a regular
    expression."""
    first = collate(text, "C")
    return and_(
        first >= _constant("A"),
        first < _constant("{"),
        *(func.strpos(text, _constant(character)) == literal_column("0") for character in _TO_QUOTE),
    )


def _free_text(text: Part) -> Part:
    safe = case((_matches(text, _FORMULA), func.concat(_constant("'"), text)), else_=text)
    quoted = func.concat(_constant('"'), func.replace(safe, _constant('"'), _constant('""')), _constant('"'))
    has_to_be_quoted = _matches(text, f"[{_TO_QUOTE}]")
    return case((_is_plain(text), text), (has_to_be_quoted, quoted), else_=safe)


def _transaction(row: Any) -> list[Cell]:
    account, seq = row.account_id, row.seq
    corrected = case((row.corrects_seq.is_not(None), func.concat(_constant("txn_"), account, _constant("_"))))
    return [
        ("txn_", account, "_", seq),
        ("acct_", account),
        (seq,),
        (_time(row.created_at),),
        (row.type,),
        (_money(row.amount_nanos),),
        (_money(row.balance_after_nanos),),
        (_free_text(row.description),),
        (row.source,),
        (row.ref_type,),
        (_free_text(row.ref_id),),
        (_free_text(row.actor),),
        (corrected, row.corrects_seq),
        (_time(row.period_start),),
        (_time(row.period_end),),
        (func.encode(row.hash, _constant("hex")),),
    ]


def _usage_day(row: Any) -> list[Cell]:
    return [
        ("acct_", row.account_id),
        (func.to_char(row.day, _constant("YYYY-MM-DD")),),
        (_free_text(row.model),),
        (row.category,),
        (row.origin,),
        (row.calls,),
        (row.input_tokens,),
        (row.output_tokens,),
        # Each of the two may be as large as 64 bits allow.
        (row.input_tokens.cast(Numeric()) + row.output_tokens,),
        (_money(row.cost_nanos),),
    ]


def _usage_hour(row: Any) -> list[Cell]:
    start = func.to_timestamp(row.hour * literal_column("3600", BigInteger()))
    return [
        ("acct_", row.account_id),
        (_time(start),),
        (row.span_hours,),
        (_free_text(row.model),),
        (row.category,),
        (row.origin,),
        (_free_text(row.api_key),),
        (_free_text(row.project),),
        (row.calls,),
        (row.input_tokens,),
        (row.cached_input_tokens,),
        (row.output_tokens,),
        (row.reasoning_tokens,),
        (_money(row.units_nanos),),
        (_money(row.cost_nanos),),
        (_money(row.input_nanos),),
        (_money(row.cached_input_nanos),),
        (_money(row.output_nanos),),
        (_money(row.reasoning_nanos),),
        (_money(row.unit_nanos),),
        (_money(row.call_nanos),),
        (_time(row.valid_from),),
        (_time(row.valid_until),),
        (row.source,),
    ]


def _line(cells: list[Cell]) -> Part:
    """Returns the line as one call. A part costs only its formatting, and constant texts in a row are merged."""
    parts: list[Part] = []
    ours = ""
    for cell in cells:
        for part in cell:
            if isinstance(part, str):
                ours += part
                continue
            parts += [_constant(ours), part] if ours else [part]
            ours = ""
        ours += ","
    return func.concat(*parts, _constant("\r\n"))


def _lines(page: FromClause, cells: list[Cell], position: list[Part]) -> Select[Any]:
    """Selects one row: the lines of the page in order, their number, and the position of the last line."""
    # Return the bytes that are sent to the client, so that Python need not decode them.
    text = func.textsend(func.string_agg(_line(cells), _constant("")))
    return select(text, func.count(), *(func.array_agg(one)[func.count()] for one in position)).select_from(page)


@lru_cache(maxsize=512)
def _transaction_lines(page_statement: Select[Any]) -> Select[Any]:
    page = page_statement.subquery("page")
    return _lines(page, _transaction(page.c), [page.c.seq])


@lru_cache(maxsize=512)
def _usage_lines(page_statement: Select[Any]) -> Select[Any]:
    page = page_statement.subquery("page")
    return _lines(page, _usage_day(page.c), [page.c.day, page.c.model, page.c.category, page.c.origin])


@lru_cache(maxsize=512)
def _hour_lines(page_statement: Select[Any]) -> Select[Any]:
    page = page_statement.subquery("page_with_prices")
    return _lines(page, _usage_hour(page.c), [page.c[name] for name in USAGE_HOUR_KEY[1:]])


async def transaction_lines(
    snapshot: Snapshot, account_id: int, row_filter: TransactionFilter, window: Window
) -> Lines | None:
    """Reads the lines of `transaction_pages`' rows. Their position is the `seq`. None if rows may be in the archive."""
    statement, parameters = transaction_page_statement(snapshot.is_postgresql, row_filter, window)
    reach = reach_of(row_filter, window)
    past: Past[Rows] = Past((account_id,), lambda _, borders: reach.meets_any(borders), lambda *_: ())
    rows = await snapshot.rows(_transaction_lines(statement), parameters | {THE_ACCOUNT: account_id}, past)
    if not rows:
        return None
    ((text, count, seq),) = rows
    return Lines(text or b"", count, seq)


async def usage_lines(snapshot: Snapshot, account_id: int, row_filter: UsageFilter, window: Window) -> Lines:
    """Reads the lines of `usage_pages`' rows. Their position is that of a window."""
    statement, parameters = usage_page_statement(snapshot.is_postgresql, row_filter, window)
    ((text, count, *position),) = await snapshot.rows(_usage_lines(statement), parameters | {THE_ACCOUNT: account_id})
    return Lines(text or b"", count, tuple(position) if count else None)


async def usage_hour_lines(snapshot: Snapshot, account_id: int, row_filter: UsageHourFilter, window: Window) -> Lines:
    """Reads the lines of `usage_hours_page`'s rows. Their position is that of a window."""
    statement, parameters = hour_page_statement(snapshot.is_postgresql, row_filter, window)
    ((text, count, *position),) = await snapshot.rows(_hour_lines(statement), parameters | {THE_ACCOUNT: account_id})
    return Lines(text or b"", count, tuple(position) if count else None)
