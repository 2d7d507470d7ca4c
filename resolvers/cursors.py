"""Cursors: one opaque format for paging, subscriptions, event ids and exports.

A cursor is base64url of: version and list (1 byte each), account (8), digest of the filter (8), position, CRC-32 (4).
The position is 8 bytes for a number, such as the `seq` of a charge's first row, text for a usage day or a group of
hours, or the time (8)
and the digest (16) of a request. The position of a ledger row is its `seq` (8) and the first bytes of its hash (6),
with version 2: if the ledger was restored to another state, the row's hash differs. Ledger cursors of version 1 have no
hash and are still accepted. With version 3 the limit (8) and percentage (1) of a spend limit event follow: further
events of the same row are still to be sent. With version 4, of lists for operators, the position is one number (8) for
each shard: the list goes on after all of them.

A client can forge a cursor, but gains no access by it: the account in a cursor is always checked against the key.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import struct
import zlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from datetime import MAXYEAR, MINYEAR, UTC, date, datetime, timedelta
from enum import IntEnum
from functools import lru_cache
from typing import Final, NamedTuple, TypeVar

from db.filters import (
    AccountFilter,
    AuditFilter,
    AuthorizationFilter,
    ChargeFilter,
    KeyFilter,
    StripeEventFilter,
    TotalsFilter,
    TransactionFilter,
    UsageFilter,
    UsageRequestFilter,
)
from db.hour_totals import MAX_COST_NANOS, GroupPosition
from db.position import Position
from ledger.errors import BadCursor

_VERSION: Final = 1
_HASHED_VERSION: Final = 2
_LEVEL_VERSION: Final = 3
_SHARDS_VERSION: Final = 4
_HEAD: Final = struct.Struct(">BBq8s")
_SEQ: Final = struct.Struct(">q")
_CRC: Final = struct.Struct(">I")
_NUMBERED: Final = struct.Struct(">qI")
_NUMBERED_TEXT: Final = 16
_ROW: Final = struct.Struct(">q6s")
_HASHED: Final = struct.Struct(">q6sI")
_HASHED_TEXT: Final = 24
_LEVEL: Final = struct.Struct(">qB")
_REQUEST: Final = struct.Struct(">q16s")
_REQUEST_CRC: Final = struct.Struct(">q16sI")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_URL_SAFE: Final = bytes.maketrans(b"+/", b"-_")
MAX_LENGTH: Final = 2_600
"""The cursor of a group contains at most the names of a model (200 characters), an API key and a project (128 each)."""

NO_FILTER: Final = bytes(8)

Decoded = TypeVar("Decoded")
_MAX_BUCKET: Final = 2**31

UsagePosition = tuple[date, str, str, str]
RequestPosition = tuple[datetime, bytes]
"""The time and the digest of a request."""


# Cached because a page has many rows with the same day.
format_day = lru_cache(maxsize=4_096)(date.isoformat)


class CursorKind(IntEnum):
    LEDGER = 1
    USAGE = 2
    ACCOUNTS = 3
    AUDIT = 4
    CHARGES = 5
    KEYS = 6
    STRIPE_EVENTS = 7
    USAGE_GROUPS = 8
    COST_GROUPS = 9
    USAGE_REQUESTS = 11
    AUTHORIZATIONS = 12
    ACCOUNT_AUDIT = 13


@dataclass(frozen=True, slots=True)
class Cursor:
    kind: CursorKind
    account_id: int
    filter_digest: bytes
    position: bytes
    version: int = _VERSION


class Level(NamedTuple):
    """The spend limit event after which a cursor stands, if it is not the last one of its row."""

    limit_number: int
    percent: int
    """0 for an event at the start of a stream, which no row caused."""


ListFilter = (
    TransactionFilter
    | UsageFilter
    | UsageRequestFilter
    | AccountFilter
    | AuditFilter
    | AuthorizationFilter
    | ChargeFilter
    | KeyFilter
    | StripeEventFilter
    | TotalsFilter
)


@lru_cache(maxsize=4_096)
def filter_digest(row_filter: ListFilter) -> bytes:
    """Returns eight bytes that identify a filter. Unset fields are skipped, so adding a filter field keeps old cursors
    valid."""
    given = [(field.name, getattr(row_filter, field.name)) for field in fields(row_filter)]
    given = [(name, value) for name, value in given if value is not None]
    if not given:
        return NO_FILTER
    return hashlib.blake2b(repr(given).encode("utf-8", "surrogatepass"), digest_size=8).digest()


def _encode(body: bytes) -> str:
    return _text(body + _CRC.pack(zlib.crc32(body)))


def _text(raw: bytes) -> str:
    return _url_safe(binascii.b2a_base64(raw, newline=False))


def _url_safe(coded: bytes) -> str:
    return coded.translate(_URL_SAFE, b"=").decode()


class CursorWriter:
    """Creates the cursors of one list, except the list of ledger rows.

    The head is 18 bytes, a multiple of 3, so its encoded text is the start of every cursor and is computed only once.
    """

    def __init__(self, kind: CursorKind, account_id: int, digest: bytes = NO_FILTER) -> None:
        head = _HEAD.pack(_VERSION, kind, account_id, digest)
        self._head_text = _text(head)
        self._head_crc = zlib.crc32(head)

    def of_seq(self, seq: int) -> str:
        return self.of_seqs([seq])[0]

    def of_seqs(self, seqs: Iterable[int]) -> list[str]:
        """Encodes all cursors of a page at once: a position and its CRC are 12 bytes, a multiple of 3."""
        head, crc, numbered = self._head_text, self._head_crc, _NUMBERED.pack
        text = _text(b"".join([numbered(seq, zlib.crc32(_SEQ.pack(seq), crc)) for seq in seqs]))
        return [head + text[start : start + _NUMBERED_TEXT] for start in range(0, len(text), _NUMBERED_TEXT)]

    def of_usages(self, positions: Iterable[UsagePosition]) -> list[str]:
        return self._of_texts(
            f"{format_day(day)}\x00{model}\x00{category}\x00{origin}" for day, model, category, origin in positions
        )

    def of_groups(self, positions: Iterable[GroupPosition]) -> list[str]:
        return self._of_texts(
            "\x00".join(("" if bucket is None else str(bucket), str(cost_nanos), *keys))
            for bucket, cost_nanos, keys in positions
        )

    def _of_texts(self, positions: Iterable[str]) -> list[str]:
        """Encodes each cursor by itself, because their lengths differ, and makes all of them safe for URLs at once."""
        head, crc, packed = self._head_text, self._head_crc, _CRC.pack
        texts = [position.encode() for position in positions]
        coded = [binascii.b2a_base64(text + packed(zlib.crc32(text, crc))) for text in texts]
        return [head + text for text in _url_safe(b"".join(coded)).splitlines()]

    def of_requests(self, positions: Iterable[RequestPosition]) -> list[str]:
        head, crc, pack_position, pack = self._head_text, self._head_crc, _REQUEST.pack, _REQUEST_CRC.pack
        numbered = [((at - _EPOCH) // _MICROSECOND, digest) for at, digest in positions]
        return [head + _text(pack(*one, zlib.crc32(pack_position(*one), crc))) for one in numbered]


class ShardsCursorWriter:
    """Creates the cursors of one list of numbered rows that is merged from several shards."""

    def __init__(self, kind: CursorKind, digest: bytes = NO_FILTER) -> None:
        self._head = _HEAD.pack(_SHARDS_VERSION, kind, 0, digest)

    def of_positions(self, positions: Sequence[int]) -> str:
        return _encode(self._head + b"".join(map(_SEQ.pack, positions)))


class LedgerCursorWriter:
    """Creates the cursors of an account's ledger rows. A row is identified by its `seq` and its hash."""

    def __init__(self, account_id: int, digest: bytes = NO_FILTER) -> None:
        self._account_id = account_id
        head = _HEAD.pack(_HASHED_VERSION, CursorKind.LEDGER, account_id, digest)
        self._head_text = _text(head)
        self._head_crc = zlib.crc32(head)

    def of_row(self, seq: int, row_hash: bytes | None) -> str:
        """Returns the cursor of a row. The hash is None or empty only at position 0, before the first row."""
        assert row_hash or seq == 0, f"row {seq} has no hash"
        return self.of_rows([(seq, row_hash or b"")])[0]

    def of_level(self, seq: int, row_hash: bytes, level: Level) -> str:
        """Returns the cursor of an event that is not the last one of its row."""
        head = _HEAD.pack(_LEVEL_VERSION, CursorKind.LEDGER, self._account_id, NO_FILTER)
        return _encode(head + _ROW.pack(seq, row_hash) + _LEVEL.pack(*level))

    def of_rows(self, rows: Iterable[tuple[int, bytes]]) -> list[str]:
        """Encodes all cursors of a page at once: a position and its CRC are 18 bytes, a multiple of 3."""
        head, crc, pack_row, pack = self._head_text, self._head_crc, _ROW.pack, _HASHED.pack
        parts = [pack(seq, row_hash, zlib.crc32(pack_row(seq, row_hash), crc)) for seq, row_hash in rows]
        text = _text(b"".join(parts))
        return [head + text[start : start + _HASHED_TEXT] for start in range(0, len(text), _HASHED_TEXT)]


_VERSIONS: Final = {
    CursorKind.LEDGER: (_VERSION, _HASHED_VERSION, _LEVEL_VERSION),
    CursorKind.ACCOUNTS: (_VERSION, _SHARDS_VERSION),
    CursorKind.AUDIT: (_VERSION, _SHARDS_VERSION),
    CursorKind.STRIPE_EVENTS: (_VERSION, _SHARDS_VERSION),
}


def read_cursor(text: str, argument: str) -> Cursor:
    """Decodes a cursor. Raises BadCursor, which names the argument, for any text that this module did not create."""
    bad = BadCursor(f"{argument} is not a cursor of this API")
    if len(text) > MAX_LENGTH:
        raise bad
    try:
        raw = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
        body, (crc,) = raw[: -_CRC.size], _CRC.unpack(raw[-_CRC.size :])
        version, kind, account_id, digest = _HEAD.unpack_from(body)
        found = Cursor(CursorKind(kind), account_id, digest, body[_HEAD.size :], version)
    except (UnicodeEncodeError, binascii.Error, struct.error, ValueError) as error:
        raise bad from error
    versions = _VERSIONS.get(found.kind, (_VERSION,))
    if version == _LEVEL_VERSION and len(found.position) != _ROW.size + _LEVEL.size:
        raise bad
    if version not in versions or crc != zlib.crc32(body) or _encode(body) != text:
        raise bad
    return found


def check_cursor(cursor: Cursor, argument: str, kind: CursorKind, account_id: int, digest: bytes) -> None:
    """Raises BadCursor for a cursor of another list, account or filter. The error does not reveal the other one."""
    if cursor.kind != kind:
        msg = f"{argument} is a cursor of another list"
        raise BadCursor(msg)
    if cursor.account_id != account_id:
        msg = f"{argument} is a cursor of another account"
        raise BadCursor(msg)
    if cursor.filter_digest != digest:
        msg = f"{argument} is a cursor of another filter: use the cursor with the filter that it came from"
        raise BadCursor(msg)


def seq_position(cursor: Cursor, argument: str) -> int:
    if cursor.version == _SHARDS_VERSION:
        msg = f"{argument} is a cursor of several shards"
        raise BadCursor(msg)
    try:
        (seq,) = _SEQ.unpack(cursor.position)
    except struct.error as error:
        msg = f"{argument} is not a cursor of this API"
        raise BadCursor(msg) from error
    return int(seq)


def shard_positions(cursor: Cursor, argument: str) -> tuple[int, ...]:
    """Returns the positions in the lists of the shards, which were fewer if others were added since."""
    if cursor.version != _SHARDS_VERSION:
        return (seq_position(cursor, argument),)
    try:
        return tuple(number for (number,) in _SEQ.iter_unpack(cursor.position))
    except struct.error as error:
        msg = f"{argument} is not a cursor of this API"
        raise BadCursor(msg) from error


def ledger_position(cursor: Cursor, argument: str) -> Position:
    if cursor.version == _VERSION:
        return Position(seq_position(cursor, argument))
    try:
        seq, row_hash = _ROW.unpack(_of_row(cursor))
    except struct.error as error:
        msg = f"{argument} is not a cursor of this API"
        raise BadCursor(msg) from error
    return Position(seq, row_hash)


def _of_row(cursor: Cursor) -> bytes:
    return cursor.position[: -_LEVEL.size] if cursor.version == _LEVEL_VERSION else cursor.position


def level_of(cursor: Cursor) -> Level | None:
    """Returns the level of a ledger cursor whose position was read; None if all events of its row were sent."""
    if cursor.version != _LEVEL_VERSION:
        return None
    return Level._make(_LEVEL.unpack(cursor.position[-_LEVEL.size :]))


def ledger_position_in(text: str | None, argument: str, account_id: int, digest: bytes) -> Position | None:
    """Returns the position of a ledger cursor, or None if no cursor is given. Raises BadCursor as `check_cursor`
    does."""
    return decoded_in(text, argument, CursorKind.LEDGER, account_id, digest, ledger_position)


def diverged(subject: str) -> BadCursor:
    """Returns the error for a cursor or stream whose row is no longer in the ledger."""
    return BadCursor(
        f"{subject}: the ledger was restored to another state. Read balance and balanceCursor again, reload the"
        " transactions, and subscribe from the new cursor"
    )


def position_in(text: str | None, argument: str, kind: CursorKind, account_id: int, digest: bytes) -> int | None:
    """Returns a cursor's position in a list of numbered rows, or None if no cursor is given.

    Raises BadCursor as `check_cursor` does.
    """
    return decoded_in(text, argument, kind, account_id, digest, seq_position)


def decoded_in(
    text: str | None,
    argument: str,
    kind: CursorKind,
    account_id: int,
    digest: bytes,
    decode: Callable[[Cursor, str], Decoded],
) -> Decoded | None:
    """Returns the decoded position of a cursor of one list, or None if no cursor is given.

    Raises BadCursor as `check_cursor` does.
    """
    if text is None:
        return None
    cursor = read_cursor(text, argument)
    check_cursor(cursor, argument, kind, account_id, digest)
    return decode(cursor, argument)


def usage_position(cursor: Cursor, argument: str) -> UsagePosition:
    try:
        day, model, category, origin = cursor.position.decode().split("\x00")
        return date.fromisoformat(day), model, category, origin
    except ValueError as error:
        msg = f"{argument} is not a cursor of this API"
        raise BadCursor(msg) from error


def request_position(cursor: Cursor, argument: str) -> RequestPosition:
    bad = BadCursor(f"{argument} is not a cursor of this API")
    try:
        microseconds, digest = _REQUEST.unpack(cursor.position)
        at = _EPOCH + microseconds * _MICROSECOND
    except (struct.error, OverflowError) as error:
        raise bad from error
    if not MINYEAR < at.year < MAXYEAR:
        raise bad
    return at, digest


def group_position(cursor: Cursor, argument: str, keys: int) -> GroupPosition:
    """Decodes the position of a group with this number of keys."""
    try:
        bucket, cost, *found = cursor.position.decode().split("\x00")
        position = GroupPosition(int(bucket) if bucket else None, int(cost), tuple(found))
    except ValueError as error:
        msg = f"{argument} is not a cursor of this API"
        raise BadCursor(msg) from error
    if len(found) != keys or abs(position.cost_nanos) >= MAX_COST_NANOS or abs(position.bucket or 0) >= _MAX_BUCKET:
        msg = f"{argument} is not a cursor of this API"
        raise BadCursor(msg)
    return position
