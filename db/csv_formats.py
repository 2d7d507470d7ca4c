"""CSV formats: how each database writes the values of cells.

Both write what `ledger.money.format_nanos` and `ledger.chain.format_time` write, and quote as Python's `csv` does.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Numeric,
    String,
    and_,
    case,
    collate,
    func,
    literal_column,
)

_TO_QUOTE: Final = '",\r\n'
# First characters that make a spreadsheet take a text for a formula: see gateway/rest/exports.py.
_FORMULA: Final = "=+@\t\r\n＝＋－＠-"

Column = ColumnElement[Any]
Value = ColumnElement[Any]
"""A formatted value, or a column that needs no format. Null is an empty cell."""


class CsvFormat(Protocol):
    def money(self, nanos: Column) -> Value:
        """Formats money with two fraction digits, or more if needed."""

    def time(self, moment: Column) -> Value: ...

    def hour(self, hour: Column) -> Value:
        """Formats the start of an hour, which is counted from 1970."""

    def day(self, day: Column) -> Value: ...

    def free_text(self, text: Column) -> Value:
        """Adds quotes where they are needed, and an apostrophe before a formula."""

    def hexadecimal(self, digest: Column) -> Value: ...

    def total(self, one: Column, other: Column) -> Value:
        """Adds up two numbers, each of which may be as large as 64 bits allow."""

    def transaction_id(self, account_id: Column, seq: Column) -> Value:
        """Formats the id of a row. Null if `seq` is null."""

    def line(self, values: list[str | Value]) -> Value:
        """Concatenates the values. A str is constant text."""

    def text(self, lines: Value) -> ColumnElement[Any]:
        """Concatenates the lines of all rows: the bytes or the text of a step."""

    def last(self, column: Column) -> ColumnElement[Any]:
        """Selects the value of the last row."""


def _constant(text: str) -> ColumnElement[str]:
    """Returns a constant that is written into the statement instead of sent as a parameter each time."""
    return literal_column(_quoted(text), String())


def _quoted(text: str) -> str:
    doubled = text.replace("'", "''")
    return f"'{doubled}'"


def _number(text: str) -> ColumnElement[int]:
    return literal_column(text, BigInteger())


class PostgresCsv:
    def money(self, nanos: Column) -> Value:
        dollars = nanos * literal_column("0.000000001", Numeric())
        is_whole_cents = nanos % _number("10000000") == _number("0")
        return case((is_whole_cents, func.round(dollars, _number("2"))), else_=func.trim_scale(dollars))

    def time(self, moment: Column) -> Value:
        return func.to_char(func.timezone(_constant("UTC"), moment), _constant('YYYY-MM-DD"T"HH24:MI:SS.US"Z"'))

    def hour(self, hour: Column) -> Value:
        return self.time(func.to_timestamp(hour * _number("3600")))

    def day(self, day: Column) -> Value:
        return func.to_char(day, _constant("YYYY-MM-DD"))

    def free_text(self, text: Column) -> Value:
        is_formula = self._matches(text, f"^'*[{_FORMULA}]")
        safe = case((is_formula, func.concat(_constant("'"), text)), else_=text)
        quoted = func.concat(_constant('"'), func.replace(safe, _constant('"'), _constant('""')), _constant('"'))
        has_to_be_quoted = self._matches(text, f"[{_TO_QUOTE}]")
        return case((self._is_plain(text), text), (has_to_be_quoted, quoted), else_=safe)

    def hexadecimal(self, digest: Column) -> Value:
        return func.encode(digest, _constant("hex"))

    def total(self, one: Column, other: Column) -> Value:
        return one.cast(Numeric()) + other

    def transaction_id(self, account_id: Column, seq: Column) -> Value:
        return case((seq.is_not(None), func.concat(_constant("txn_"), account_id, _constant("_"), seq)))

    def line(self, values: list[str | Value]) -> Value:
        return func.concat(*(_constant(one) if isinstance(one, str) else one for one in values))

    def text(self, lines: Value) -> ColumnElement[Any]:
        # Bytes as they are sent to the client, so that Python need not decode them.
        return func.textsend(func.string_agg(lines, _constant("")))

    def last(self, column: Column) -> ColumnElement[Any]:
        return func.array_agg(column)[func.count()]

    def _matches(self, text: Column, pattern: str) -> ColumnElement[bool]:
        return text.bool_op("~")(_constant(pattern))

    def _is_plain(self, text: Column) -> ColumnElement[bool]:
        """Whether the text begins with a letter and needs no quotes, as most texts. Costs half as much as a regular
        expression."""
        first = collate(text, "C")
        return and_(
            first >= _constant("A"),
            first < _constant("{"),
            *(func.strpos(text, _constant(character)) == _number("0") for character in _TO_QUOTE),
        )


_SINCE_YEAR_0: Final = 62_167_219_200
"""Seconds from year 0 to 1970. Counted from year 0 no time is negative, so division rounds down."""


class SqliteCsv:
    """Writes SQL as text: SQLite binds `||` more tightly than all other operators, which SQLAlchemy does not know."""

    def money(self, nanos: Column) -> Value:
        n = _name(nanos)
        fraction = f"substr('00000000' || (abs({n}) % 1000000000), -9)"
        return _text(
            f"CASE WHEN {n} < 0 THEN '-' ELSE '' END || (abs({n}) / 1000000000) || '.' ||"
            f" CASE WHEN {n} % 10000000 = 0 THEN substr({fraction}, 1, 2) ELSE rtrim({fraction}, '0') END"
        )

    def time(self, moment: Column) -> Value:
        since_year_0 = f"({_name(moment)} + {_SINCE_YEAR_0}000000)"
        seconds = f"{since_year_0} / 1000000 - {_SINCE_YEAR_0}"
        fraction = f"substr('00000' || ({since_year_0} % 1000000), -6)"
        return _text(f"strftime('%Y-%m-%dT%H:%M:%S.', {seconds}, 'unixepoch') || {fraction} || 'Z'")

    def hour(self, hour: Column) -> Value:
        return _text(f"strftime('%Y-%m-%dT%H:%M:%S.000000Z', {_name(hour)} * 3600, 'unixepoch')")

    def day(self, day: Column) -> Value:
        return day

    def free_text(self, text: Column) -> Value:
        t = _name(text)
        first = ", ".join(map(_quoted, _FORMULA))
        safe = f"CASE WHEN substr(ltrim({t}, ''''), 1, 1) IN ({first}) THEN '''' || {t} ELSE {t} END"
        has_to_be_quoted = " OR ".join(f"instr({t}, {_quoted(character)})" for character in _TO_QUOTE)
        quoted = f"""'"' || replace({safe}, '"', '""') || '"'"""
        return _text(
            f"CASE WHEN {has_to_be_quoted} THEN {quoted} WHEN {t} >= 'A' AND {t} < '{{' THEN {t} ELSE {safe} END"
        )

    def hexadecimal(self, digest: Column) -> Value:
        return _text(f"lower(hex({_name(digest)}))")

    def total(self, one: Column, other: Column) -> Value:
        a, b, part = _name(one), _name(other), 10**18
        rest = f"({a} % {part} + {b} % {part})"
        return _text(
            f"CASE WHEN {a} <= {2**63 - 1} - {b} THEN {a} + {b} ELSE"
            f" ({a} / {part} + {b} / {part} + {rest} / {part})"
            f" || substr('{'0' * 17}' || ({rest} % {part}), -18) END"
        )

    def transaction_id(self, account_id: Column, seq: Column) -> Value:
        return _text(f"'txn_' || {_name(account_id)} || '_' || {_name(seq)}")

    def line(self, values: list[str | Value]) -> Value:
        # `printf` writes nothing for null.
        format_ = "".join(one.replace("%", "%%") if isinstance(one, str) else "%s" for one in values)
        return func.printf(_constant(format_), *(one for one in values if not isinstance(one, str)))

    def text(self, lines: Value) -> ColumnElement[Any]:
        return func.group_concat(lines, _constant(""), type_=String())

    def last(self, column: Column) -> ColumnElement[Any]:
        return func.json_extract(func.json_group_array(column), _constant("$[#-1]"), type_=column.type)


def _name(column: Any) -> str:
    return f"{column.table.name}.{column.name}"


def _text(text: str) -> ColumnElement[str]:
    return literal_column(f"({text})", String())


CSV_FORMATS: Final[dict[bool, CsvFormat]] = {True: PostgresCsv(), False: SqliteCsv()}
"""Keyed by whether the database is PostgreSQL."""
