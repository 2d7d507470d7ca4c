"""Records: splits a CSV file into records, each with the number of its first line.

A quoted field may contain line breaks, so a line of the file is not always a record. If the quotes of several lines do
not match, the start of the next record is unknown. The rest of the file is then refused unread, because a line inside a
text could be taken for usage.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import BinaryIO, Final, NamedTuple

from ledger.errors import BadUserInput

MAX_RECORD_CHARACTERS: Final = 65_536
_REPLACEMENT: Final = "\ufffd"
_BYTE_ORDER_MARKS: Final = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


class Record(NamedTuple):
    line: int
    """The number of the record's first line."""
    fields: list[str]
    refusal: str = ""
    """Why the record cannot be split. It then has no fields."""


class _TooLong(Exception):
    pass


class _Bytes(io.RawIOBase):
    """Counts the bytes that are read from a stream, and leaves the stream open."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._start = b""
        while len(self._start) < 3 and (more := stream.read(3 - len(self._start))):
            self._start += more
        self.encoding = next(
            (name for mark, name in _BYTE_ORDER_MARKS.items() if self._start.startswith(mark)), "utf-8"
        )
        self.count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data, self._start = self._start or self._stream.read(len(buffer)), b""
        buffer[: len(data)] = data
        self.count += len(data)
        return len(data)


def split_on(delimiter: str, lines: Iterable[str]) -> list[str]:
    """Returns the fields of the first record in the lines. Raises csv.Error if its quotes do not match."""
    return next(csv.reader(lines, delimiter=delimiter, strict=True, skipinitialspace=True), [])


def _has_odd_quotes(lines: Sequence[str]) -> bool:
    return sum(line.count('"') for line in lines) % 2 == 1


def _may_leave_quotes_open(lines: Sequence[str]) -> bool:
    """Returns whether the lines end within quotes by any common way of quoting: some programs escape quotes by a
    backslash."""
    return _has_odd_quotes(lines) or any('\\"' in line for line in lines)


def _check_encoding(text: str, encoding: str) -> None:
    if encoding == "utf-16":
        if _REPLACEMENT in text:
            raise BadUserInput("invalid UTF-16 in the line: save the file as UTF-8")
        return
    try:
        text.encode()
    except UnicodeEncodeError as error:
        byte = len(text[: error.start].encode()) + 1
        msg = f"invalid UTF-8 at byte {byte} of the line: save the file as UTF-8"
        raise BadUserInput(msg) from None


class RecordReader:
    """Reads UTF-8 with or without a byte order mark, or UTF-16 with a byte order mark.

    The delimiter is the one in a first line `sep=;`, else the one that `delimiter_of` finds in the first line.
    """

    def __init__(self, stream: BinaryIO, delimiter_of: Callable[[str], str]) -> None:
        self._bytes = _Bytes(stream)
        self._encoding = self._bytes.encoding
        self._text = io.TextIOWrapper(
            io.BufferedReader(self._bytes),
            self._encoding,
            errors="replace" if self._encoding == "utf-16" else "surrogateescape",
        )
        self._line = 0
        self._is_lost = False
        self._delimiter = ","
        self.header = self._read_header(delimiter_of)

    @property
    def read_bytes(self) -> int:
        return self._bytes.count

    @property
    def line(self) -> int:
        """The number of the last line that was read."""
        return self._line

    def _read_header(self, delimiter_of: Callable[[str], str]) -> Record:
        first = self._next_line()
        named = first.rstrip("\n")
        if len(named) == 5 and named.lower().startswith("sep="):
            self._delimiter = named[-1]
            first = self._next_line()
        else:
            self._delimiter = delimiter_of(named)
        return self._record(first) if first else Record(1, [])

    def __iter__(self) -> Iterator[Record]:
        """Yields the records after the header. Skips blank lines and rows of empty cells."""
        while not self._is_lost and (text := self._next_line()):
            record = self._record(text)
            if record.refusal or any(field.strip(" ") for field in record.fields):
                yield record

    def _next_line(self) -> str:
        """Returns the next line with its line break. Cuts it one character after the maximum length of a record."""
        text = self._text.readline(MAX_RECORD_CHARACTERS + 1)
        self._line += bool(text)
        return text

    def _record(self, text: str) -> Record:
        line = self._line
        try:
            return Record(line, self._split(text))
        except BadUserInput as error:
            return Record(line, [], str(error))

    def _split(self, text: str) -> list[str]:
        if len(text) > MAX_RECORD_CHARACTERS and not text.endswith("\n"):
            self._skip_line(text)
        if '"' in text:
            return self._split_quoted(text)
        if not text.isascii():
            _check_encoding(text, self._encoding)
        return text.removesuffix("\n").split(self._delimiter)

    def _split_quoted(self, text: str) -> list[str]:
        first, lines = self._line, [text]
        try:
            parts = split_on(self._delimiter, self._lines_from(lines))
        except csv.Error as error:
            if len(lines) > 1 or _may_leave_quotes_open(lines):
                raise self._unmatched(first) from None
            msg = f"unbalanced quotes in the line: {error}"
            raise BadUserInput(msg) from None
        except _TooLong:
            msg = f"the record on lines {first} to {self._line} is longer than {MAX_RECORD_CHARACTERS:,} characters"
            raise self._lost(msg) from None
        # A quote inside an unquoted field is an ordinary character to some CSV readers and a quote to others.
        if _has_odd_quotes(lines):
            raise self._unmatched(first)
        for one in lines:
            _check_encoding(one, self._encoding)
        return parts

    def _unmatched(self, first: int) -> BadUserInput:
        where = f"line {first}" if first == self._line else f"the record on lines {first} to {self._line}"
        return self._lost(f"unbalanced quotes in {where}")

    def _lines_from(self, lines: list[str]) -> Iterator[str]:
        """Yields the lines of a record until its quotes are closed. Appends them to `lines`."""
        length = len(lines[0])
        yield lines[0]
        while text := self._next_line():
            lines.append(text)
            length += len(text)
            if length > MAX_RECORD_CHARACTERS:
                raise _TooLong
            yield text

    def _lost(self, reason: str) -> BadUserInput:
        self._is_lost = True
        return BadUserInput(f"{reason}: the rest of the file was not read")

    def _skip_line(self, text: str) -> None:
        is_quoted = '"' in text
        while text and not text.endswith("\n"):
            text = self._text.readline(MAX_RECORD_CHARACTERS)
            is_quoted = is_quoted or '"' in text
        reason = f"the line is longer than {MAX_RECORD_CHARACTERS:,} characters"
        raise self._lost(f"{reason} and has quotes") if is_quoted else BadUserInput(reason)
