"""Lines: parses records by the columns in the file's first line."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, date, datetime
from typing import NamedTuple

from ledger.errors import BadUserInput
from ledger.imports.columns import SHAPES, FileRefused, Format, check_header, format_of
from ledger.imports.fields import (
    DAY_NANOS,
    SECOND_NANOS,
    check_day,
    check_part,
    check_sum,
    day_number,
    parse_category,
    parse_cost,
    parse_count,
    parse_day,
    parse_name,
    parse_origin,
    parse_seconds,
    parse_timestamp,
    shown,
    unmarked,
)
from ledger.imports.options import ImportOptions
from ledger.imports.records import Record
from ledger.kinds import UsageOrigin
from ledger.prices import Prices
from ledger.texts import API_KEY, END_USER, EXTERNAL_ID, MODEL, PROJECT, REQUEST_ID, TextKind
from ledger.usage_prices import Quantities, UsagePrice


class LogLine(NamedTuple):
    number: int
    account: str
    timestamp_nanos: int
    model: str
    category: str
    origin: str
    input_tokens: int
    output_tokens: int
    request_id: str
    cost_nanos: int
    unpriced: str
    """Why the line has no cost and is therefore refused. The line still counts as one of the equal lines of its file.
    """
    price: UsagePrice | None
    """The price that gave the cost; None if the line has a cost, or if nano-dollars cannot state the price."""
    used: Quantities
    api_key: str = ""
    """Empty if the line names none, like the following."""
    project: str = ""
    end_user: str = ""

    @property
    def at(self) -> datetime:
        return _moment(self.timestamp_nanos)


class RollupLine(NamedTuple):
    number: int
    account: str
    day: date
    model: str
    category: str
    origin: str
    calls: int
    input_tokens: int
    output_tokens: int
    cost_nanos: int


class Parser:
    """Parses the lines of one file. Created from the file's first line."""

    def __init__(self, header: Sequence[str], options: ImportOptions, prices: Prices, today: date) -> None:
        self.format = options.format or format_of(header)
        shape = SHAPES[self.format]
        given = {
            "account": options.account,
            "model": options.model,
            "category": options.category,
            "origin": options.origin or UsageOrigin.PLATFORM.value,
        }
        check_header(header, shape, {one for one, value in given.items() if value is not None})
        self._width = len(header)
        self._cost_column = shape.column("cost_usd")
        self._places = {shape.renamed.get(column, column): place for place, column in enumerate(header)}
        self._constants = [value for one, value in given.items() if one not in self._places and value is not None]
        absent = [one for one, value in given.items() if one not in self._places and value is not None]
        # A field without a column is placed after the fields of the line: the value of an option, or the empty last
        # field.
        self._places |= {one: self._width + place for place, one in enumerate(absent)}
        self._constants.append("")
        self._today = day_number(today)
        self._prices = prices
        self._start_nanos = self._start(options.start)

    def _start(self, start: datetime | None) -> int | None:
        if self.format != Format.BURSTGPT:
            return None
        if start is None:
            raise FileRefused("the timestamps are seconds since a start time: use --start to give it")
        return parse_timestamp(start.astimezone(UTC).replace(tzinfo=None).isoformat())

    @property
    def is_log(self) -> bool:
        return self.format not in {Format.ROLLUPS, Format.EXPORT}

    def _fields(self, record: Record) -> list[str]:
        parts = record.fields
        if self.format != Format.EXPORT:
            parts = [part.strip(" ") for part in parts]
        if len(parts) != self._width:
            msg = f"the line has {len(parts)} fields, but the first line names {self._width} columns"
            raise BadUserInput(msg)
        return parts + self._constants

    def rollup(self, record: Record) -> RollupLine:
        fields, at = self._fields(record), self._places
        day = parse_day(fields[at["day"]])
        check_day(day_number(day), self._today)
        model = fields[at["model"]]
        if self.format == Format.EXPORT:
            model = unmarked(model)
        line = RollupLine(
            record.line,
            parse_name(fields[at["account"]], EXTERNAL_ID, "account"),
            day,
            parse_name(model, MODEL, "model"),
            parse_category(fields[at["category"]]),
            parse_origin(fields[at["origin"]]),
            parse_count(fields[at["calls"]], "calls"),
            parse_count(fields[at["input_tokens"]], "input_tokens"),
            parse_count(fields[at["output_tokens"]], "output_tokens"),
            parse_cost(fields[at["cost_usd"]], self._cost_column),
        )
        if "tokens" in at:
            check_sum(fields[at["tokens"]], line.input_tokens + line.output_tokens)
        return line

    def request(self, record: Record) -> LogLine:
        fields, at = self._fields(record), self._places
        time = fields[at["timestamp"]]
        nanos = parse_timestamp(time) if self._start_nanos is None else parse_seconds(time, self._start_nanos)
        check_day(nanos // DAY_NANOS, self._today)
        request_id = fields[at.get("request_id", -1)]
        model = parse_name(fields[at["model"]], MODEL, "model")
        tokens = (
            parse_count(fields[at["input_tokens"]], "input_tokens"),
            parse_count(fields[at["output_tokens"]], "output_tokens"),
        )
        if request_id:
            REQUEST_ID.checked(request_id, "request_id")
        account = parse_name(fields[at["account"]], EXTERNAL_ID, "account")
        category, origin = parse_category(fields[at["category"]]), parse_origin(fields[at["origin"]])
        used = self._quantities(fields, *tokens)
        named = (
            self._name(fields, "api_key", API_KEY),
            self._name(fields, "project", PROJECT),
            self._name(fields, "end_user", END_USER),
        )
        cost, unpriced, price = self._priced(fields[at.get("cost", -1)], model, nanos, used)
        return LogLine(
            *(record.line, account, nanos, model, category, origin, *tokens, request_id, cost, unpriced, price, used),
            *named,
        )

    def _quantities(self, fields: list[str], input_tokens: int, output_tokens: int) -> Quantities:
        """Returns all quantities of a request. Those whose cells are empty are 0."""
        at = self._places
        cached, reasoning, units = (
            fields[at.get(one, -1)] for one in ("cached_input_tokens", "reasoning_tokens", "units")
        )
        used = Quantities(
            input_tokens=input_tokens,
            cached_input_tokens=parse_count(cached, "cached_input_tokens") if cached else 0,
            output_tokens=output_tokens,
            reasoning_tokens=parse_count(reasoning, "reasoning_tokens") if reasoning else 0,
            units_nanos=parse_cost(units, "units") if units else 0,
        )
        check_part(used.cached_input_tokens, input_tokens, "cached_input_tokens", "input_tokens")
        check_part(used.reasoning_tokens, output_tokens, "reasoning_tokens", "output_tokens")
        return used

    def _name(self, fields: list[str], column: str, kind: TextKind) -> str:
        name = fields[self._places.get(column, -1)]
        return parse_name(name, kind, column) if name else ""

    def _priced(self, cost: str, model: str, nanos: int, used: Quantities) -> tuple[int, str, UsagePrice | None]:
        """Returns the cost, an empty text, and the price if there is one; or 0 and the reason why there is no cost."""
        try:
            if cost:
                return parse_cost(cost, "cost"), "", None
            at = _moment(nanos)
            price = self._prices.price(model, at, used.input_tokens)
            if price is not None:
                return price.cost_nanos(used, "a computed amount"), "", price
            rate = self._prices.rate(model, at)
            if rate is None:
                return 0, f"no price for the model {shown(model)}: add one to the --prices file", None
            return rate.cost_of(used), "", None
        except BadUserInput as error:
            return 0, str(error), None


def _moment(nanos: int) -> datetime:
    seconds, rest = divmod(nanos, SECOND_NANOS)
    return datetime.fromtimestamp(seconds, UTC).replace(microsecond=rest // 1_000)
