"""Importing usage from CSV files, line by line, in memory that does not grow with the file.

What is kept for a file, beside a batch of lines: the id of each account that it names; of a log without request
ids, how often each of the last `WINDOW` distinct lines was seen (about 40 MB; more only where more lines than that
have one and the same timestamp), which is what finding the n-th such line takes; of rollups that replace, 16 bytes
for each line taken (about 100 with the set around them). Lines count one by one, quoted line breaks are refused:
a field with one would be refused anyway.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from enum import StrEnum
from functools import lru_cache
from hashlib import blake2b
from typing import BinaryIO, Final, NamedTuple

from db import usage_writes, writes
from db.database import Database, WriteConnection
from db.errors import NumberOutOfRange
from ledger.errors import BadUserInput
from ledger.ids import parse_account_id
from ledger.kinds import UsageCategory, UsageOrigin
from ledger.money import parse_nanos
from ledger.moves import checked_text
from ledger.posting import Clock, utc_now
from ledger.prices import Prices
from ledger.usage import (
    MAX_COUNT,
    Rollup,
    UsageRequest,
    Verdict,
    id_digest,
    line_digest,
    nth_digest,
    record_requests,
    record_rollups,
)

BATCH_LINES: Final = 5_000
WINDOW: Final = 200_000
MAX_LINE_BYTES: Final = 65_536
MAX_NAME: Final = 200
MAX_REQUEST_ID: Final = 255

_SECOND: Final = 1_000_000_000
_DAY_SECONDS: Final = 86_400
_EPOCH_DAY: Final = date(1970, 1, 1).toordinal()
_LOCKED_AT_ONCE: Final = 5_000

_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ]([01]\d|2[0-3]):([0-5]\d):([0-5]\d)(?:\.(\d{1,9}))?"
    r" ?(?:[Zz]|UTC|([+-])([01]\d|2[0-3]):?([0-5]\d))?",
    re.ASCII,
)
_SECONDS = re.compile(r"(\d{1,11})(?:\.(\d{1,9}))?", re.ASCII)
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_COUNT = re.compile(r"\d{1,19}", re.ASCII)


class Format(StrEnum):
    ROLLUPS = "rollups"
    REQUESTS = "requests"
    AZURE = "azure"
    BURSTGPT = "burstgpt"


@dataclass(frozen=True, slots=True)
class ImportOptions:
    model: str | None = None
    """Model, account, category and origin stand in for a column that a file lacks."""
    account: str | None = None
    category: str | None = None
    origin: str | None = None
    start: datetime | None = None
    """What BurstGPT's seconds are counted from."""
    format: Format | None = None
    strict: bool = False
    create_accounts: bool = False
    replace: bool = False


@dataclass(frozen=True, slots=True)
class Source:
    name: str
    stream: BinaryIO
    """Read from its start to its end; twice, and so seekable, with `strict`."""


class Refusal(NamedTuple):
    line: int
    reason: str


@dataclass(slots=True)
class FileReport:
    name: str
    format: Format | None = None
    taken: int = 0
    known: int = 0
    refused: int = 0
    calls: int = 0
    """Of the lines taken."""


@dataclass(slots=True)
class ImportReport:
    """What is committed so far; complete once `Importer.run` returns."""

    files: list[FileReport] = field(default_factory=list)
    accounts_created: int = 0

    @property
    def refused(self) -> int:
        return sum(file.refused for file in self.files)


class SourceUnreadable(Exception):
    """Reading a file failed half-way: a broken disk or pipe. The database is not to blame."""


class FileRefused(Exception):
    """The first line already shows that no line of the file can be taken."""


def shown(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "…")


# Fields


@lru_cache(maxsize=4096)
def _name(text: str, what: str, longest: int = MAX_NAME) -> str:
    return checked_text(text, what, longest)


def _count(text: str, what: str) -> int:
    if _COUNT.fullmatch(text) and (count := int(text)) <= MAX_COUNT:
        return count
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()):
        msg = f"{what} must be a whole number, not {shown(text)}"
    elif digits != text:
        msg = f"{what} must not be negative: {shown(text)}"
    else:
        msg = f"{what} must be at most {MAX_COUNT}, not {shown(text)}"
    raise BadUserInput(msg)


@lru_cache(maxsize=64)
def _category(text: str) -> str:
    try:
        return UsageCategory(text.lower()).value
    except ValueError:
        msg = f"category must be one of {', '.join(UsageCategory)}, not {shown(text)}"
        raise BadUserInput(msg) from None


@lru_cache(maxsize=64)
def _origin(text: str) -> str:
    try:
        return UsageOrigin(text.lower()).value
    except ValueError:
        msg = f"origin must be one of {', '.join(UsageOrigin)}, not {shown(text)}"
        raise BadUserInput(msg) from None


def _cost(text: str, what: str) -> int:
    nanos = parse_nanos(text, what)
    if nanos < 0:
        msg = f"{what} must not be negative: {shown(text)}"
        raise BadUserInput(msg)
    return nanos


@lru_cache(maxsize=4096)
def _day(text: str) -> date:
    try:
        day = date.fromisoformat(text) if _DAY.fullmatch(text) else None
    except ValueError:
        day = None
    if day is None:
        msg = f"the day must be a date such as 2026-11-09, not {shown(text)}"
        raise BadUserInput(msg)
    return day


@lru_cache(maxsize=4096)
def _day_of(day_number: int) -> date:
    return date.fromordinal(_EPOCH_DAY + day_number)


def _fraction_nanos(digits: str | None) -> int:
    return int(digits.ljust(9, "0")) if digits else 0


def parse_timestamp(text: str) -> int:
    """Nanoseconds since 1970, UTC unless the text names an offset. Raises BadUserInput."""
    match = _TIME.fullmatch(text)
    if match is None:
        msg = f"the timestamp must be one such as 2026-11-09T12:30:00.25Z, not {shown(text)}"
        raise BadUserInput(msg)
    day, hours, minutes, seconds, fraction, sign, offset_hours, offset_minutes = match.groups()
    whole = (_day(day).toordinal() - _EPOCH_DAY) * _DAY_SECONDS + int(hours) * 3600 + int(minutes) * 60 + int(seconds)
    if sign:
        offset = int(offset_hours) * 3600 + int(offset_minutes) * 60
        whole += offset if sign == "-" else -offset
    return whole * _SECOND + _fraction_nanos(fraction)


def _parse_seconds(text: str, start_nanos: int) -> int:
    match = _SECONDS.fullmatch(text)
    if match is None:
        msg = f"the timestamp must be a number of seconds since the start, not {shown(text)}"
        raise BadUserInput(msg)
    return start_nanos + int(match[1]) * _SECOND + _fraction_nanos(match[2])


def _check_day(day_number: int, today: int) -> None:
    if day_number > today:
        msg = f"the day is in the future: today is {_day_of(today)} (UTC)"
        raise BadUserInput(msg)
    if day_number < 0:
        raise BadUserInput("the day is before 1970")


# Lines


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
    """Why the line has no cost, and so is refused. It still counts as one of the equal lines of its file."""


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


@dataclass(frozen=True, slots=True)
class _Shape:
    required: frozenset[str]
    optional: frozenset[str]
    renamed: dict[str, str] = field(default_factory=dict)
    ignored: frozenset[str] = frozenset()

    @property
    def columns(self) -> Set[str]:
        return {self.column(one) for one in self.required | self.optional} | self.ignored

    def column(self, one: str) -> str:
        """The header of what the line calls `one`."""
        return next((header for header, renamed in self.renamed.items() if renamed == one), one)


_LOG = frozenset({"timestamp", "account", "model", "category", "input_tokens", "output_tokens"})
_LOG_OPTIONAL = frozenset({"request_id", "cost", "origin"})

_SHAPES: Final[dict[Format, _Shape]] = {
    Format.ROLLUPS: _Shape(
        frozenset({"account", "day", "model", "category", "calls", "input_tokens", "output_tokens", "cost_usd"}),
        frozenset({"origin"}),
    ),
    Format.REQUESTS: _Shape(_LOG, _LOG_OPTIONAL),
    Format.AZURE: _Shape(_LOG, _LOG_OPTIONAL, {"contexttokens": "input_tokens", "generatedtokens": "output_tokens"}),
    Format.BURSTGPT: _Shape(
        _LOG,
        _LOG_OPTIONAL,
        {"request tokens": "input_tokens", "response tokens": "output_tokens"},
        frozenset({"total tokens", "log type", "session id", "elapsed time"}),
    ),
}

_TELLING: Final[dict[str, Format]] = {
    "contexttokens": Format.AZURE,
    "generatedtokens": Format.AZURE,
    "request tokens": Format.BURSTGPT,
    "response tokens": Format.BURSTGPT,
    "day": Format.ROLLUPS,
    "cost_usd": Format.ROLLUPS,
    "timestamp": Format.REQUESTS,
    "input_tokens": Format.REQUESTS,
}
"""The format that a column speaks for; of several, the first in this order."""


def split_line(raw: bytes) -> list[str]:
    """The fields. Raises BadUserInput for what is no line of CSV text."""
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        msg = f"invalid UTF-8 at byte {error.start + 1} of the line"
        raise BadUserInput(msg) from None
    if not text.isprintable():
        raise BadUserInput("the line contains control characters")
    if '"' not in text:
        return [part.strip(" ") for part in text.split(",")]
    try:
        return [part.strip(" ") for part in next(csv.reader([text], strict=True))]
    except csv.Error as error:
        msg = f"the line's quotes don't match: {error}"
        raise BadUserInput(msg) from None


def _format_of(header: Sequence[str]) -> Format:
    for column, found in _TELLING.items():
        if column in header:
            return found
    raise FileRefused(
        "the first line names no column of usage: a rollup has account,day,model,category,calls,input_tokens,"
        "output_tokens,cost_usd, a log at least timestamp,model,input_tokens,output_tokens"
    )


def _check_header(header: Sequence[str], shape: _Shape, given: Set[str]) -> None:
    for column in header:
        if column not in shape.columns:
            msg = f"unknown column {shown(column)}: known are {', '.join(sorted(shape.columns))}"
            raise FileRefused(msg)
        if header.count(column) > 1:
            msg = f"the column {shown(column)} is there twice"
            raise FileRefused(msg)
    for one in sorted(shape.required - given):
        if shape.column(one) not in header:
            option = f": add it or give --{one}" if one in {"account", "model", "category"} else ""
            msg = f"the column {shape.column(one)} is missing{option}"
            raise FileRefused(msg)


class Parser:
    """Turns the lines of one file into what they say; it is made from the file's first line."""

    def __init__(self, header: Sequence[str], options: ImportOptions, prices: Prices, today: date) -> None:
        self.format = options.format or _format_of(header)
        shape = _SHAPES[self.format]
        given = {
            "account": options.account,
            "model": options.model,
            "category": options.category,
            "origin": options.origin or UsageOrigin.PLATFORM.value,
        }
        _check_header(header, shape, {one for one, value in given.items() if value is not None})
        self._width = len(header)
        self._places = {shape.renamed.get(column, column): place for place, column in enumerate(header)}
        self._constants = [value for one, value in given.items() if one not in self._places and value is not None]
        absent = [one for one, value in given.items() if one not in self._places and value is not None]
        # A field that no column has lies behind the line's own: that of an option, or the empty last one.
        self._places |= {one: self._width + place for place, one in enumerate(absent)}
        self._constants.append("")
        self._today = today.toordinal() - _EPOCH_DAY
        self._prices = prices
        self._start_nanos = self._start(options.start)

    def _start(self, start: datetime | None) -> int | None:
        if self.format != Format.BURSTGPT:
            return None
        if start is None:
            raise FileRefused("the timestamps are seconds since a start: give --start")
        return parse_timestamp(start.astimezone(UTC).replace(tzinfo=None).isoformat())

    @property
    def is_log(self) -> bool:
        return self.format != Format.ROLLUPS

    def _fields(self, raw: bytes) -> list[str]:
        parts = split_line(raw)
        if len(parts) != self._width:
            msg = f"{len(parts)} fields, but the first line names {self._width} columns"
            raise BadUserInput(msg)
        return parts + self._constants

    def rollup(self, number: int, raw: bytes) -> RollupLine:
        fields, at = self._fields(raw), self._places
        day = _day(fields[at["day"]])
        _check_day(day.toordinal() - _EPOCH_DAY, self._today)
        return RollupLine(
            number,
            _name(fields[at["account"]], "account"),
            day,
            _name(fields[at["model"]], "model"),
            _category(fields[at["category"]]),
            _origin(fields[at["origin"]]),
            _count(fields[at["calls"]], "calls"),
            _count(fields[at["input_tokens"]], "input_tokens"),
            _count(fields[at["output_tokens"]], "output_tokens"),
            _cost(fields[at["cost_usd"]], "cost_usd"),
        )

    def request(self, number: int, raw: bytes) -> LogLine:
        fields, at = self._fields(raw), self._places
        time = fields[at["timestamp"]]
        nanos = parse_timestamp(time) if self._start_nanos is None else _parse_seconds(time, self._start_nanos)
        _check_day(nanos // (_DAY_SECONDS * _SECOND), self._today)
        request_id = fields[at.get("request_id", -1)]
        model = _name(fields[at["model"]], "model")
        tokens = (
            _count(fields[at["input_tokens"]], "input_tokens"),
            _count(fields[at["output_tokens"]], "output_tokens"),
        )
        if len(request_id) > MAX_REQUEST_ID:
            checked_text(request_id, "request_id", MAX_REQUEST_ID)
        account = _name(fields[at["account"]], "account")
        category, origin = _category(fields[at["category"]]), _origin(fields[at["origin"]])
        cost, unpriced = self._priced(fields[at.get("cost", -1)], model, nanos, *tokens)
        return LogLine(number, account, nanos, model, category, origin, *tokens, request_id, cost, unpriced)

    def _priced(self, cost: str, model: str, nanos: int, input_tokens: int, output_tokens: int) -> tuple[int, str]:
        """The cost, or why there is none."""
        try:
            if cost:
                return _cost(cost, "cost"), ""
            rate = self._prices.rate(model, datetime.fromtimestamp(nanos // _SECOND, UTC))
            if rate is None:
                return 0, f"no price is known for the model {shown(model)}: give it one with --prices"
            return rate.cost_nanos(input_tokens, output_tokens), ""
        except BadUserInput as error:
            return 0, str(error)


@dataclass(slots=True)
class Batch:
    """Some thousand lines that follow each other."""

    requests: list[LogLine] = field(default_factory=list)
    rollups: list[RollupLine] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    read_bytes: int = 0
    last_line: int = 1

    @property
    def takeable(self) -> Iterable[LogLine | RollupLine]:
        yield from (line for line in self.requests if not line.unpriced)
        yield from self.rollups

    @property
    def all_refusals(self) -> list[Refusal]:
        unpriced = (Refusal(line.number, line.unpriced) for line in self.requests if line.unpriced)
        return sorted([*self.refusals, *unpriced])


def _raw_lines(stream: BinaryIO) -> Iterator[bytes]:
    """A line longer than the limit comes cut off, one byte over it."""
    while raw := stream.readline(MAX_LINE_BYTES + 1):
        rest = raw
        while len(rest) > MAX_LINE_BYTES and not rest.endswith(b"\n"):
            rest = stream.readline(MAX_LINE_BYTES + 1)
        yield raw


def _header(raw: bytes) -> list[str]:
    if not raw.strip():
        raise FileRefused("the first line is empty: it must name the columns")
    if len(raw) > MAX_LINE_BYTES:
        raise FileRefused("the first line is too long to name columns: this is no CSV file")
    try:
        return [column.lower() for column in split_line(raw.removeprefix(b"\xef\xbb\xbf").rstrip(b"\r\n"))]
    except BadUserInput as error:
        msg = f"this is no CSV file: {error}"
        raise FileRefused(msg) from error


def _parse_into(batch: Batch, parser: Parser, number: int, raw: bytes) -> None:
    line = raw.rstrip(b"\r\n")
    if not line:
        return
    try:
        if len(raw) > MAX_LINE_BYTES:
            msg = f"the line is longer than {MAX_LINE_BYTES} bytes"
            raise BadUserInput(msg)
        if parser.is_log:
            batch.requests.append(parser.request(number, line))
        else:
            batch.rollups.append(parser.rollup(number, line))
    except BadUserInput as error:
        batch.refusals.append(Refusal(number, str(error)))


class SourceReader:
    """Reads one file in batches. Raises FileRefused when its first line is no header of usage."""

    def __init__(self, source: Source, options: ImportOptions, prices: Prices, today: date) -> None:
        self._lines = self._readable(_raw_lines(source.stream), source.name)
        header = next(self._lines, b"")
        self._read_bytes = len(header)
        self.parser = Parser(_header(header), options, prices, today)

    @staticmethod
    def _readable(lines: Iterator[bytes], name: str) -> Iterator[bytes]:
        try:
            yield from lines
        except OSError as error:
            msg = f"{name} can't be read: {error.strerror or error}"
            raise SourceUnreadable(msg) from error

    def batches(self) -> Iterator[Batch]:
        batch = Batch(read_bytes=self._read_bytes)
        for number, raw in enumerate(self._lines, 2):
            batch.read_bytes += len(raw)
            batch.last_line = number
            _parse_into(batch, self.parser, number, raw)
            if number % BATCH_LINES == 0:
                yield batch
                batch = Batch()
        yield batch


# What is remembered of a file


class Numbering:
    """Which of the equal lines of its file a line is: 1, 2, 3 …

    Kept are the lines around the present one in time, so a file in order of time, either way, or nearly so, is
    numbered exactly however long it is. Where lines that were dropped might be needed, the answer is None, never
    a guess: the line would be lost or count twice.
    """

    def __init__(self, window: int = WINDOW) -> None:
        self._window = self._limit = window
        self._seen: dict[int, int] = {}
        self._dropped_through: int | None = None
        self._dropped_from: int | None = None

    def number(self, account_id: int, timestamp_nanos: int, digest: bytes) -> int | None:
        if self._dropped_through is not None and timestamp_nanos <= self._dropped_through:
            return None
        if self._dropped_from is not None and timestamp_nanos >= self._dropped_from:
            return None
        key = timestamp_nanos << 64 | hash((account_id, digest)) & 2**64 - 1
        number = self._seen[key] = self._seen.get(key, 0) + 1
        if len(self._seen) > self._limit:
            self._drop_far_from(timestamp_nanos)
            self._limit = max(self._window, 2 * len(self._seen))
        return number

    def _drop_far_from(self, timestamp_nanos: int) -> None:
        """Drops the half that lies farthest, but nothing of the present timestamp."""
        by_distance = sorted(self._seen, key=lambda key: abs((key >> 64) - timestamp_nanos))
        half = by_distance[len(by_distance) // 2 :]
        for key in half:
            time = key >> 64
            if time < timestamp_nanos:
                self._dropped_through = max(time, self._dropped_through or time)
            elif time > timestamp_nanos:
                self._dropped_from = min(time, self._dropped_from or time)
        through, later = self._dropped_through, self._dropped_from
        self._seen = {
            key: count
            for key, count in self._seen.items()
            if (through is None or key >> 64 > through) and (later is None or key >> 64 < later)
        }


class _FileState:
    def __init__(self, name: str) -> None:
        self.name = name
        self.numbering = Numbering()
        self.replaced: set[bytes] = set()


class _Accounts:
    """The ids of the accounts that the files name."""

    def __init__(self, create: bool, clock: Clock) -> None:
        self._create = create
        self._clock = clock
        self.ids: dict[str, int] = {}

    async def find(self, connection: WriteConnection, names: Set[str]) -> int:
        """Looks up those that are not known yet, and creates what may be created; how many it created."""
        missing = names - self.ids.keys()
        if not missing:
            return 0
        await self._find_by_id(connection, missing)
        missing -= self.ids.keys()
        self.ids |= await writes.accounts_by_external_id(connection, missing)
        missing = {name for name in missing - self.ids.keys() if parse_account_id(name) is None}
        if not (missing and self._create):
            return 0
        await usage_writes.create_accounts(connection, missing, self._clock())
        self.ids |= await writes.accounts_by_external_id(connection, missing)
        return len(missing)

    async def _find_by_id(self, connection: WriteConnection, names: Set[str]) -> None:
        by_id = {account_id: name for name in names if (account_id := parse_account_id(name)) is not None}
        found = await usage_writes.existing_accounts(connection, by_id)
        self.ids |= {by_id[account_id]: account_id for account_id in found}

    def refusal(self, name: str) -> str:
        hint = "" if self._create or parse_account_id(name) is not None else " (--create-accounts creates it)"
        return f"there is no account {shown(name)}{hint}"


_REASONS: Final[dict[Verdict, str]] = {
    Verdict.DIFFERS: "this account, day, model, category and origin is known with other figures"
    " (--replace takes those of the file)",
    Verdict.FED_BY_REQUESTS: "this account, day, model, category and origin is known from single requests"
    " (--replace takes the figures of the file instead)",
    Verdict.FED_BY_ROLLUP: "this account, day, model, category and origin is known from a rollup:"
    " the request would count twice",
}

_OUT_OF_ORDER: Final = (
    "the line is too far from the order of time to tell whether it is there before: sort the file by timestamp,"
    " or give its lines request ids"
)


@dataclass(slots=True)
class _Outcome:
    """What a batch came to, to be reported once it is committed."""

    taken: int = 0
    known: int = 0
    calls: int = 0
    accounts_created: int = 0
    refusals: list[Refusal] = field(default_factory=list)

    def judge(self, line: int, verdict: Verdict, calls: int) -> None:
        if verdict == Verdict.TAKEN:
            self.taken += 1
            self.calls += calls
        elif verdict == Verdict.KNOWN:
            self.known += 1
        else:
            self.refusals.append(Refusal(line, _REASONS[verdict]))


class _RolledBack(Exception):
    """Takes a strict import out of its transaction."""


def _keep_quiet(*_: object) -> None:
    pass


class Importer:
    def __init__(
        self,
        database: Database,
        options: ImportOptions,
        prices: Prices,
        clock: Clock = utc_now,
        *,
        on_refusals: Callable[[str, Sequence[Refusal]], None] = _keep_quiet,
        on_bytes: Callable[[int], None] = _keep_quiet,
    ) -> None:
        """`on_bytes` hears of every byte read: twice of each with `strict`."""
        self._database = database
        self._options = options
        self._prices = prices
        self._clock = clock
        self._on_refusals = on_refusals
        self._on_bytes = on_bytes
        self._accounts = _Accounts(options.create_accounts, clock)
        self._place = ""
        self.report = ImportReport()

    async def run(self, sources: Sequence[Source]) -> ImportReport:
        """Raises DatabaseError or SourceUnreadable; `report` then says what is committed."""
        self.report.files = [FileReport(source.name) for source in sources]
        pairs = list(zip(sources, self.report.files, strict=True))
        try:
            if self._options.strict:
                await self._all_or_nothing(pairs)
            else:
                for source, file in pairs:
                    await self._in_batches(source, file)
        except NumberOutOfRange as error:
            msg = f"{self._place}: {error}"
            raise NumberOutOfRange(msg) from error
        return self.report

    def _open(self, source: Source, file: FileReport) -> SourceReader | None:
        try:
            reader = SourceReader(source, self._options, self._prices, self._clock().astimezone(UTC).date())
        except FileRefused as error:
            self._refuse(file, [Refusal(1, str(error))])
            return None
        file.format = reader.parser.format
        return reader

    def _refuse(self, file: FileReport, refusals: Sequence[Refusal]) -> None:
        if refusals:
            file.refused += len(refusals)
            self._on_refusals(file.name, refusals)

    def _book(self, file: FileReport, outcome: _Outcome) -> None:
        file.taken += outcome.taken
        file.known += outcome.known
        file.calls += outcome.calls
        self.report.accounts_created += outcome.accounts_created
        self._refuse(file, outcome.refusals)

    async def _in_batches(self, source: Source, file: FileReport) -> None:
        reader = self._open(source, file)
        if reader is None:
            return
        state = _FileState(file.name)
        for batch in reader.batches():
            outcome = _Outcome(refusals=batch.all_refusals)
            if batch.requests or batch.rollups:
                async with self._database.write() as connection:
                    await self._record(connection, batch, state, outcome)
            outcome.refusals.sort()
            self._book(file, outcome)
            self._on_bytes(batch.read_bytes)

    async def _all_or_nothing(self, pairs: Sequence[tuple[Source, FileReport]]) -> None:
        """Reads all files before it writes, so that the accounts are known and locked in the order of their ids:
        an account locked batch by batch and kept to the end would wait for others in a circle.
        """
        names: set[str] = set()
        for source, file in pairs:
            names |= self._checked(source, file)
        if self.report.refused:
            return
        outcomes: list[_Outcome] = []
        try:
            async with self._database.write() as connection:
                created = await self._lock_all(connection, names)
                for source, file in pairs:
                    outcomes.append(await self._record_all(connection, source, file))
                if any(outcome.refusals for outcome in outcomes):
                    raise _RolledBack
        except _RolledBack:
            for (_, file), outcome in zip(pairs, outcomes, strict=True):
                self._refuse(file, outcome.refusals)
            return
        self.report.accounts_created = created
        for (_, file), outcome in zip(pairs, outcomes, strict=True):
            self._book(file, outcome)

    def _checked(self, source: Source, file: FileReport) -> set[str]:
        """The accounts that the file names; its refusals are reported."""
        names: set[str] = set()
        reader = self._open(source, file)
        if reader is not None:
            for batch in reader.batches():
                names |= {line.account for line in batch.takeable}
                self._refuse(file, batch.all_refusals)
                self._on_bytes(batch.read_bytes)
        source.stream.seek(0)
        return names

    async def _lock_all(self, connection: WriteConnection, names: Set[str]) -> int:
        created = await self._accounts.find(connection, names)
        ids = sorted(set(self._accounts.ids.values()))
        for start in range(0, len(ids), _LOCKED_AT_ONCE):
            await writes.lock_accounts(connection, ids[start : start + _LOCKED_AT_ONCE])
        return created

    async def _record_all(self, connection: WriteConnection, source: Source, file: FileReport) -> _Outcome:
        outcome, state = _Outcome(), _FileState(file.name)
        reader = self._open(source, file)
        assert reader is not None, "the file changed while it was read"
        for batch in reader.batches():
            await self._record(connection, batch, state, outcome)
            self._on_bytes(batch.read_bytes)
        return outcome

    async def _record(self, connection: WriteConnection, batch: Batch, state: _FileState, outcome: _Outcome) -> None:
        self._place = f"{state.name}, lines up to {batch.last_line}"
        names = {line.account for line in batch.takeable}
        outcome.accounts_created += await self._accounts.find(connection, names)
        await self._record_requests(connection, batch.requests, state, outcome)
        await self._record_rollups(connection, batch.rollups, state, outcome)

    async def _record_requests(
        self, connection: WriteConnection, lines: Sequence[LogLine], state: _FileState, outcome: _Outcome
    ) -> None:
        numbers: list[int] = []
        requests: list[UsageRequest] = []
        for line in lines:
            request = self._request(line, state, outcome)
            if request is not None:
                numbers.append(line.number)
                requests.append(request)
        if requests:
            for number, verdict in zip(numbers, await record_requests(connection, requests), strict=True):
                outcome.judge(number, verdict, 1)

    def _request(self, line: LogLine, state: _FileState, outcome: _Outcome) -> UsageRequest | None:
        account_id = self._accounts.ids.get(line.account)
        if account_id is None:
            if not line.unpriced:
                outcome.refusals.append(Refusal(line.number, self._accounts.refusal(line.account)))
            return None
        digest = _digest(line, account_id, state.numbering)
        if line.unpriced:
            return None
        if digest is None:
            outcome.refusals.append(Refusal(line.number, _OUT_OF_ORDER))
            return None
        day = _day_of(line.timestamp_nanos // (_DAY_SECONDS * _SECOND))
        _, _, _, model, category, origin, input_tokens, output_tokens, _, cost_nanos, _ = line
        return UsageRequest(account_id, day, model, category, origin, input_tokens, output_tokens, cost_nanos, digest)

    async def _record_rollups(
        self, connection: WriteConnection, lines: Sequence[RollupLine], state: _FileState, outcome: _Outcome
    ) -> None:
        taken: list[RollupLine] = []
        rollups: list[Rollup] = []
        for line in lines:
            account_id = self._accounts.ids.get(line.account)
            if account_id is None:
                outcome.refusals.append(Refusal(line.number, self._accounts.refusal(line.account)))
                continue
            taken.append(line)
            rollups.append(Rollup(account_id, *line[2:], replace=self._replaces(account_id, line, state)))
        if rollups:
            for line, verdict in zip(taken, await record_rollups(connection, rollups), strict=True):
                outcome.judge(line.number, verdict, line.calls)

    def _replaces(self, account_id: int, line: RollupLine, state: _FileState) -> bool:
        """A second line with the same key never replaces the first: the file contradicts itself."""
        if not self._options.replace:
            return False
        key = blake2b(repr((account_id, *line[2:6])).encode(), digest_size=16).digest()
        first = key not in state.replaced
        state.replaced.add(key)
        return first


def _digest(line: LogLine, account_id: int, numbering: Numbering) -> bytes | None:
    """None where it can't be told which of the equal lines of its file this is."""
    if line.request_id:
        return id_digest(line.request_id)
    first = line_digest(line.timestamp_nanos, line.model, line.category, line.input_tokens, line.output_tokens)
    number = numbering.number(account_id, line.timestamp_nanos, first)
    return None if number is None else nth_digest(first, number)
