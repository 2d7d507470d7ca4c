"""Sources: reads a file in batches of records. An unreadable record is refused with the number of its first line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from itertools import islice
from typing import BinaryIO, Final, NamedTuple

from ledger.errors import BadUserInput
from ledger.imports.columns import FileRefused, delimiter_of
from ledger.imports.lines import LogLine, Parser, RollupLine
from ledger.imports.options import ImportOptions
from ledger.imports.records import Record, RecordReader
from ledger.prices import Prices

BATCH_RECORDS: Final = 5_000


@dataclass(frozen=True, slots=True)
class Source:
    name: str
    stream: BinaryIO
    """Read from start to end. With `strict` it is read twice and must be seekable."""


class Refusal(NamedTuple):
    line: int
    reason: str


class SourceUnreadable(Exception):
    """Reading a file failed, for example because of a broken disk or pipe. The database is not the cause."""


@dataclass(slots=True)
class Batch:
    """Up to BATCH_RECORDS consecutive records."""

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


@contextmanager
def _readable(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        msg = f"{name} can't be read: {error.strerror or error}"
        raise SourceUnreadable(msg) from error


def _header(record: Record) -> list[str]:
    if record.refusal:
        msg = f"not a CSV file: {record.refusal}"
        raise FileRefused(msg)
    if not any(field.strip(" ") for field in record.fields):
        raise FileRefused("the first line is empty: it must have the column names")
    return [column.strip(" ").lower() for column in record.fields]


def _parse_into(batch: Batch, parser: Parser, record: Record) -> None:
    try:
        if record.refusal:
            raise BadUserInput(record.refusal)
        if parser.is_log:
            batch.requests.append(parser.request(record))
        else:
            batch.rollups.append(parser.rollup(record))
    except BadUserInput as error:
        batch.refusals.append(Refusal(record.line, str(error)))


class SourceReader:
    """Reads one file in batches. Raises FileRefused if its first line is not a header of usage."""

    def __init__(self, source: Source, options: ImportOptions, prices: Prices, today: date) -> None:
        self._name = source.name
        with _readable(self._name):
            self._records = RecordReader(source.stream, delimiter_of)
        self.parser = Parser(_header(self._records.header), options, prices, today)

    def batches(self) -> Iterator[Batch]:
        records = iter(self._records)
        counted = 0
        while True:
            with _readable(self._name):
                some = list(islice(records, BATCH_RECORDS))
            batch = Batch(read_bytes=self._records.read_bytes - counted, last_line=self._records.line)
            counted = self._records.read_bytes
            for record in some:
                _parse_into(batch, self.parser, record)
            yield batch
            if len(some) < BATCH_RECORDS:
                return
