from __future__ import annotations

import base64
import zlib
from collections.abc import Awaitable, Callable
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from db.database import Database
from db.filters import ALL_CHARGES, ALL_TRANSACTIONS, ALL_USAGE
from db.position import Position
from ledger.errors import BadCursor
from ledger.kinds import ChargeState, TransactionType, UsageCategory
from resolvers.context import QueryContext
from resolvers.cursors import (
    MAX_LENGTH,
    NO_FILTER,
    CursorKind,
    CursorWriter,
    LedgerCursorWriter,
    Level,
    UsagePosition,
    check_cursor,
    diverged,
    filter_digest,
    ledger_position,
    ledger_position_in,
    level_of,
    position_in,
    read_cursor,
    seq_position,
    usage_position,
)
from resolvers.reads import accounts, charges, transactions, usage
from resolvers.reads.charges import charge_filter
from resolvers.reads.transactions import transaction_filter
from resolvers.reads.usage import usage_filter
from tests.resolvers.ledgers import NOW, principal
from tests.resolvers.test_transaction_pages import EXAMPLES

SEQS = st.integers(0, 2**63 - 1)
ACCOUNTS = st.integers(1, 2**63 - 1)
MODELS = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=200)
DAY = date(2026, 11, 1)
HASHES = st.binary(min_size=32, max_size=32)
OLD_LEDGER = CursorWriter(CursorKind.LEDGER, 7).of_seq(3)
"""As version 1 had it: without the row's hash."""
LEDGER = LedgerCursorWriter(7).of_row(3, b"3" * 32)
POSITION = (DAY, "m", "chat", "platform")


def usage_cursor(account_id: int, position: UsagePosition = POSITION) -> str:
    return CursorWriter(CursorKind.USAGE, account_id).of_usages([position])[0]


@given(account_id=ACCOUNTS, rows=st.lists(st.tuples(SEQS, HASHES)), digest=st.binary(min_size=8, max_size=8))
def test_ledger_cursor_contains_the_first_bytes_of_the_hash(
    account_id: int, rows: list[tuple[int, bytes]], digest: bytes
) -> None:
    writer = LedgerCursorWriter(account_id, digest)
    texts = writer.of_rows(rows)
    assert texts == [writer.of_row(*row) for row in rows]
    for text, (seq, row_hash) in zip(texts, rows, strict=True):
        cursor = read_cursor(text, "after")
        assert (cursor.kind, cursor.account_id, cursor.filter_digest) == (CursorKind.LEDGER, account_id, digest)
        assert ledger_position(cursor, "after") == Position(seq, row_hash[:6])


@given(account_id=ACCOUNTS, seq=SEQS, row_hash=HASHES, number=SEQS, percent=st.integers(0, 100))
def test_cursor_between_the_events_of_a_row_is_that_of_the_row_and_its_level(
    account_id: int, seq: int, row_hash: bytes, number: int, percent: int
) -> None:
    text = LedgerCursorWriter(account_id).of_level(seq, row_hash, Level(number, percent))
    cursor = read_cursor(text, "after")
    assert ledger_position_in(text, "after", account_id, NO_FILTER) == Position(seq, row_hash[:6])
    assert level_of(cursor) == Level(number, percent)
    assert level_of(read_cursor(LedgerCursorWriter(account_id).of_row(seq, row_hash), "after")) is None
    # A part of a cursor is no cursor.
    for size in (19, 36, 40):
        body = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))[:size]
        signed = body + zlib.crc32(body).to_bytes(4, "big")
        with pytest.raises(BadCursor):
            read_cursor(base64.urlsafe_b64encode(signed).decode().rstrip("="), "after")


@given(account_id=ACCOUNTS, seq=SEQS)
def test_ledger_cursor_of_version_1_has_no_hash(account_id: int, seq: int) -> None:
    cursor = read_cursor(CursorWriter(CursorKind.LEDGER, account_id).of_seq(seq), "after")
    assert ledger_position(cursor, "after") == Position(seq, None)


@given(seq=SEQS.filter(bool), row_hash=HASHES, other=HASHES)
def test_position_matches_a_row_by_the_first_bytes_of_its_hash(seq: int, row_hash: bytes, other: bytes) -> None:
    position = Position(seq, row_hash[:6])
    assert position.is_at(row_hash)
    assert position.is_at(other) == (other[:6] == row_hash[:6])
    assert not position.is_at(None)
    # Without a hash any row will do, and the beginning is in every ledger.
    assert Position(seq).is_at(other)
    assert not Position(seq).is_at(None)
    assert Position(0, bytes(6)).is_at(None)


@given(day=st.dates(), model=MODELS)
def test_usage_cursor_encodes_any_model(day: date, model: str) -> None:
    position = (day, model, "chat", "platform")
    cursor = read_cursor(usage_cursor(1, position), "after")
    assert usage_position(cursor, "after") == position


@given(text=st.text(max_size=60) | st.text(st.characters(codec=None, categories=["Cs"]), max_size=5))
@settings(max_examples=300)
def test_random_text_is_refused(text: str) -> None:
    with pytest.raises(BadCursor, match=r"^before is not a cursor"):
        read_cursor(text, "before")


@given(account_id=ACCOUNTS, seq=SEQS, row_hash=HASHES, data=st.data())
@settings(max_examples=300)
def test_changed_or_truncated_cursor_is_refused(
    account_id: int, seq: int, row_hash: bytes, data: st.DataObject
) -> None:
    old, new = CursorWriter(CursorKind.LEDGER, account_id).of_seq(seq), LedgerCursorWriter(account_id)
    cursor = data.draw(st.sampled_from([old, new.of_row(seq, row_hash)]))
    index = data.draw(st.integers(0, len(cursor) - 1))
    letter = data.draw(
        st.sampled_from("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/= ").filter(
            lambda letter: letter != cursor[index]
        )
    )
    for wrong in (
        cursor[:index],
        cursor[index + 1 :],
        cursor[:index] + letter + cursor[index + 1 :],
        cursor[:index] + letter + cursor[index:],
        cursor + "=" * (-len(cursor) % 4 or 4),
        cursor + " ",
    ):
        with pytest.raises(BadCursor, match=r"^after is not a cursor"):
            read_cursor(wrong, "after")


def test_unknown_version_or_list_or_overlong_cursor_is_refused() -> None:
    raw = base64.urlsafe_b64decode(LEDGER + "=" * (-len(LEDGER) % 4))[:-4]
    for body in (b"\x03" + raw[1:], b"\x02\x04" + raw[2:], raw[:1] + b"\x09" + raw[2:], raw[:17], b""):
        signed = body + zlib.crc32(body).to_bytes(4, "big")
        with pytest.raises(BadCursor):
            check_cursor(
                read_cursor(base64.urlsafe_b64encode(signed).rstrip(b"=").decode(), "after"),
                "after",
                CursorKind.LEDGER,
                7,
                NO_FILTER,
            )
    with pytest.raises(BadCursor):
        read_cursor("A" * 1_000_000, "after")


@pytest.mark.parametrize("position", [b"", b"1234567", b"123456789", b"\xff" * 9])
def test_impossible_position_is_refused(position: bytes) -> None:
    cursor = read_cursor(LEDGER, "after")
    with pytest.raises(BadCursor, match=r"^after is not a cursor"):
        seq_position(cursor.__class__(cursor.kind, 7, NO_FILTER, position), "after")
    with pytest.raises(BadCursor, match=r"^after is not a cursor"):
        ledger_position(cursor.__class__(cursor.kind, 7, NO_FILTER, position, version=2), "after")
    with pytest.raises(BadCursor, match=r"^after is not a cursor"):
        usage_position(cursor.__class__(cursor.kind, 7, NO_FILTER, position), "after")


BONUS = transaction_filter(types=[TransactionType.BONUS])
OPEN = charge_filter(state=ChargeState.OPEN)
CHAT = usage_filter(categories=[UsageCategory.CHAT])
USAGE = usage_cursor(7)
OPERATORS = CursorWriter(CursorKind.ACCOUNTS, 0).of_seq(3)
CHARGES = CursorWriter(CursorKind.CHARGES, 7).of_seq(3)

Ask = Callable[[QueryContext, str | None, str | None], Awaitable[object]]


def _transactions(context: QueryContext, after: str | None, before: str | None) -> Awaitable[object]:
    return transactions.transaction_page(context, 7, ALL_TRANSACTIONS, after=after, before=before)


def _bonuses(context: QueryContext, after: str | None, before: str | None) -> Awaitable[object]:
    return transactions.transaction_page(context, 7, BONUS, after=after, before=before)


def _usage(context: QueryContext, after: str | None, before: str | None) -> Awaitable[object]:
    return usage.usage_page(context, 7, ALL_USAGE, after=after, before=before)


def _chats(context: QueryContext, after: str | None, before: str | None) -> Awaitable[object]:
    return usage.usage_page(context, 7, CHAT, after=after, before=before)


def _charges(context: QueryContext, after: str | None, before: str | None) -> Awaitable[object]:
    return charges.charge_page(context, 7, ALL_CHARGES, after=after, before=before)


def _open_charges(context: QueryContext, after: str | None, before: str | None) -> Awaitable[object]:
    return charges.charge_page(context, 7, OPEN, after=after, before=before)


def _accounts(context: QueryContext, after: str | None, before: str | None) -> Awaitable[object]:
    return accounts.account_page(context, None, after or before, None)


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("ask", "cursor", "message"),
    [
        (_transactions, USAGE, "another list"),
        (_transactions, OPERATORS, "another list"),
        (_transactions, CursorWriter(CursorKind.LEDGER, 8).of_seq(3), "another account"),
        (_transactions, CursorWriter(CursorKind.LEDGER, 7, filter_digest(BONUS)).of_seq(3), "another filter"),
        (_transactions, LEDGER[:-1], "not a cursor"),
        (_transactions, "", "not a cursor"),
        (_bonuses, LEDGER, "another filter"),
        (_usage, LEDGER, "another list"),
        (_usage, usage_cursor(8), "another account"),
        (_usage, CursorWriter(CursorKind.USAGE, 7).of_seq(3), "not a cursor"),
        (_chats, USAGE, "another filter"),
        (_transactions, CHARGES, "another list"),
        (_charges, LEDGER, "another list"),
        (_charges, CursorWriter(CursorKind.CHARGES, 8).of_seq(3), "another account"),
        (_charges, CursorWriter(CursorKind.CHARGES, 7, filter_digest(OPEN)).of_seq(3), "another filter"),
        (_open_charges, CHARGES, "another filter"),
        (_accounts, LEDGER, "another list"),
    ],
)
async def test_cursor_of_another_list_account_or_filter_is_refused(
    ledgers: Database, ask: Ask, cursor: str, message: str
) -> None:
    async with ledgers.snapshot() as snapshot:
        context = QueryContext(snapshot, principal(), NOW)
        with pytest.raises(BadCursor, match=f"^after is .*{message}"):
            await ask(context, cursor, None)
        if ask is not _accounts:
            with pytest.raises(BadCursor, match=f"^before is .*{message}"):
                await ask(context, None, cursor)


@given(chosen=st.data())
@EXAMPLES
def test_different_filters_have_different_digests(chosen: st.DataObject) -> None:
    amounts = st.none() | st.integers(-3, 3)
    texts = st.sampled_from([None, "aaa", "123", "it's"])
    drawn = [chosen.draw(st.tuples(amounts, texts, texts)) for _ in range(2)]
    one, other = (transaction_filter(amount_gte=gte, ref_id=ref_id, search=search) for gte, ref_id, search in drawn)
    assert (filter_digest(one) == filter_digest(other)) == (one == other)
    assert (filter_digest(one) == NO_FILTER) == (one == ALL_TRANSACTIONS)


def test_order_of_filter_values_does_not_change_the_digest() -> None:
    types = [TransactionType.TOPUP, TransactionType.BONUS]
    assert filter_digest(transaction_filter(types=types)) == filter_digest(transaction_filter(types=types[::-1] * 2))
    assert filter_digest(usage_filter(models=["b", "a", "a"])) == filter_digest(usage_filter(models=["a", "b"]))


@given(account_id=ACCOUNTS, seqs=st.lists(SEQS), digest=st.binary(min_size=8, max_size=8))
def test_cursors_of_a_page_equal_single_cursors(account_id: int, seqs: list[int], digest: bytes) -> None:
    writer = CursorWriter(CursorKind.CHARGES, account_id, digest)
    texts = writer.of_seqs(seqs)
    assert texts == [writer.of_seq(seq) for seq in seqs]
    assert [position_in(text, "after", CursorKind.CHARGES, account_id, digest) for text in texts] == seqs


@given(positions=st.lists(st.tuples(st.dates(), MODELS, st.just("chat"), st.just("platform"))))
def test_cursors_of_a_usage_page_equal_single_cursors(positions: list[UsagePosition]) -> None:
    texts = CursorWriter(CursorKind.USAGE, 7).of_usages(positions)
    assert [usage_position(read_cursor(text, "after"), "after") for text in texts] == positions
    assert not set("+/=") & set("".join(texts))


@given(row=st.tuples(SEQS, HASHES), digest=st.binary(min_size=8, max_size=8))
def test_ledger_cursor_is_valid_only_in_its_own_list(row: tuple[int, bytes], digest: bytes) -> None:
    text = LedgerCursorWriter(7, digest).of_row(*row)
    assert ledger_position_in(text, "after", 7, digest) == Position(row[0], row[1][:6])
    with pytest.raises(BadCursor, match=r"^after is a cursor of another filter"):
        ledger_position_in(text, "after", 7, bytes(7) + bytes([digest[-1] ^ 1]))


def test_missing_cursor_has_no_position() -> None:
    assert ledger_position_in(None, "after", 7, NO_FILTER) is None
    assert position_in(None, "after", CursorKind.CHARGES, 7, NO_FILTER) is None


def _signed(body: bytes) -> str:
    return base64.urlsafe_b64encode(body + zlib.crc32(body).to_bytes(4, "big")).rstrip(b"=").decode()


def test_cursor_length_is_limited() -> None:
    head = base64.urlsafe_b64decode(OLD_LEDGER)[:18]
    longest = _signed(head + bytes(MAX_LENGTH // 4 * 3 - 22))
    assert len(longest) == MAX_LENGTH
    assert read_cursor(longest, "after").account_id == 7
    with pytest.raises(BadCursor):
        read_cursor(_signed(head + bytes(MAX_LENGTH // 4 * 3 - 21)), "after")


def test_only_ledger_cursors_have_a_hash() -> None:
    raw = base64.urlsafe_b64decode(LEDGER)
    with pytest.raises(BadCursor, match=r"^after is not a cursor"):
        read_cursor(_signed(raw[:1] + bytes([CursorKind.CHARGES]) + raw[2:-4]), "after")


@pytest.mark.parametrize("position", [b"", b"1234567", b"123456789"])
def test_invalid_position_error_names_the_argument(position: bytes) -> None:
    old, charge = [_signed(base64.urlsafe_b64decode(one)[:18] + position) for one in (OLD_LEDGER, CHARGES)]
    with pytest.raises(BadCursor, match=r"^before is not a cursor"):
        ledger_position_in(old, "before", 7, NO_FILTER)
    with pytest.raises(BadCursor, match=r"^before is not a cursor"):
        position_in(charge, "before", CursorKind.CHARGES, 7, NO_FILTER)
    with pytest.raises(BadCursor, match=r"^before is not a cursor"):
        position_in("x", "before", CursorKind.CHARGES, 7, NO_FILTER)


def test_only_position_0_has_no_hash() -> None:
    before_the_first = Position(0, bytes(6))
    assert ledger_position_in(LedgerCursorWriter(7).of_row(0, None), "after", 7, NO_FILTER) == before_the_first
    with pytest.raises(AssertionError, match="row 1 has no hash"):
        LedgerCursorWriter(7).of_row(1, None)


def test_restored_ledger_error_says_what_to_do() -> None:
    assert str(diverged("the stream")) == (
        "the stream: the ledger was restored to another state. Read balance and balanceCursor again, reload the"
        " transactions, and subscribe from the new cursor"
    )
