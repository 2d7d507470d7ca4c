"""A file, read in batches of lines; what can't be read is refused with its number and reason."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date
from typing import BinaryIO, Final, NamedTuple

from ledger.errors import BadUserInput
from ledger.imports.columns import FileRefused
from ledger.imports.lines import LogLine, Parser, RollupLine, split_line
from ledger.imports.options import ImportOptions
from ledger.prices import Prices

BATCH_LINES: Final = 5_000
MAX_LINE_BYTES: Final = 65_536


@dataclass(frozen=True, slots=True)
class Source:
    name: str
    stream: BinaryIO
    """Read from its start to its end; twice, and so seekable, with `strict`."""


class Refusal(NamedTuple):
    line: int
    reason: str


class SourceUnreadable(Exception):
    """Reading a file failed half-way: a broken disk or pipe. The database is not to blame."""


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
