"""What orders come to, worked out in memory on the books of the accounts that they name."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence, Set
from datetime import datetime
from typing import Final, NamedTuple

from db import writes
from db.clocks import Clock as Clock
from db.database import WriteConnection
from db.posting.state import Kept, Opened, PostingKeys
from db.rows import IdempotencyRow, TransactionRow
from ledger.account_state import Book, BookMark, check_ref, sum_by_month
from ledger.commands import Order, Outcome
from ledger.errors import BadUserInput, IdempotencyConflict, NotFound
from ledger.ids import account_id_text
from ledger.kinds import RESOURCES
from ledger.rules import apply
from ledger.texts import IDEMPOTENCY_KEY
from ledger.usage import Recorder, request_key

CallKey = tuple[int, str, str]

MAX_MOVES: Final = 10_000


def _call_key(order: Order) -> CallKey | None:
    if order.idempotency_key is None:
        return None
    IDEMPOTENCY_KEY.checked(order.idempotency_key, "idempotencyKey")
    return order.account_id, order.operation, order.idempotency_key


def _requests(order: Order) -> int:
    return len(order.recording.requests) if order.recording else 0


def _check_size(orders: Sequence[Order]) -> int:
    """The number of moves and of requests to record."""
    moves = sum(len(order.moves) + _requests(order) for order in orders)
    if moves > MAX_MOVES or not (moves or any(order.payload for order in orders)):
        msg = f"a call must have 1 to {MAX_MOVES} moves, not {moves}"
        raise BadUserInput(msg)
    return moves


def _carry_out(book: Book, order: Order, recorder: Recorder, moment: datetime) -> Outcome:
    book.begin(moment)
    before = len(book.rows)
    moves, result, to_stop = order.moves, order.result, False
    if order.recording is not None:
        moves, result = order.recording.charge(recorder.record(order.recording.requests))
    for move in moves:
        to_stop |= apply(book, order.writer, move)
    rows = tuple(book.rows[before:])
    keys = dict.fromkeys(book.key(move.ref) for move in moves if move.ref is not None)
    charges = tuple(book.charges[key] for key in keys if key in book.charges)
    return Outcome(
        order.account_id,
        rows,
        book.balance_nanos,
        replayed=False,
        to_stop=to_stop,
        result=result,
        charges=charges,
    )


def _remembered(key: CallKey, order: Order, outcome: Outcome, book: Book) -> IdempotencyRow:
    return IdempotencyRow(
        *key,
        payload_digest=order.payload_digest(),
        first_seq=book.head_seq - len(outcome.transactions) + 1,
        last_seq=book.head_seq,
        balance_nanos=outcome.balance_nanos,
        to_stop=outcome.to_stop,
        created_at=book.now,
        result=outcome.result,
    )


async def _replayed(
    connection: WriteConnection | None, order: Order, call: IdempotencyRow, written: Sequence[TransactionRow]
) -> Outcome:
    if call.payload_digest != order.payload_digest():
        msg = f"the idempotency key was used for another {order.operation} call with another payload"
        raise IdempotencyConflict(msg)
    rows = [row for row in written if call.first_seq <= row.seq <= call.last_seq]
    if not rows and call.first_seq <= call.last_seq:
        assert connection is not None
        rows = await writes.rows_between(connection, order.account_id, call.first_seq, call.last_seq)
    return Outcome(
        order.account_id, tuple(rows), call.balance_nanos, replayed=True, to_stop=call.to_stop, result=call.result
    )


class Mark(NamedTuple):
    """Where some books stood before a batch: see `Books.undo`."""

    books: list[tuple[Book, BookMark]]
    calls: int
    recorded: int


class Books:
    """Of the accounts that were opened, and the calls on them that are known."""

    def __init__(self, opened: Opened) -> None:
        self.of_accounts = {account.id: Book(account) for account in opened.accounts.values()}
        for key, charge in opened.charges.items():
            self.of_accounts[key[0]].charges[key] = charge
        for key, hold in opened.holds.items():
            self.of_accounts[key[0]].holds[key] = hold
        self.calls = dict(opened.calls)
        self.recorder = Recorder(opened.requests, opened.days)
        self._new_calls: list[IdempotencyRow] = []

    def of(self, order: Order) -> Book:
        """Raises NotFound."""
        book = self.of_accounts.get(order.account_id)
        if book is None:
            msg = f"there is no account {account_id_text(order.account_id)}"
            raise NotFound(msg)
        return book

    def remember(self, call: IdempotencyRow) -> None:
        self.calls[call[:3]] = call
        self._new_calls.append(call)

    def mark(self, account_ids: Collection[int]) -> Mark:
        found = (self.of_accounts.get(account_id) for account_id in account_ids)
        books = [(book, book.mark()) for book in found if book is not None]
        return Mark(books, len(self._new_calls), self.recorder.mark())

    def undo(self, mark: Mark) -> None:
        """What a batch did before it was refused."""
        for book, of_book in mark.books:
            book.undo(of_book)
        for call in self._new_calls[mark.calls :]:
            del self.calls[call[:3]]
        del self._new_calls[mark.calls :]
        self.recorder.undo(mark.recorded)

    def kept(self) -> Kept:
        """Raises NumberOutOfRange."""
        books = list(self.of_accounts.values())
        recorded = self.recorder.recorded()
        called = {call.account_id for call in self._new_calls} | {key[0] for key in recorded.requests}
        increments = [*recorded.months, *(one for book in books for one in book.increments)]
        return Kept(
            heads=[book.head() for book in books if book.has_changed or book.account.id in called],
            rows=[row for book in books for row in book.rows],
            charges=[book.charges[key] for book in books for key in sorted(book.changed_charges)],
            holds=[hold for book in books for _, hold in sorted(book.changed_holds.items())],
            months=sorted(sum_by_month(increments)),
            calls=self._new_calls,
            requests=recorded.requests,
            days=recorded.days,
        )


class Batch:
    """The orders of one call: carried out all, or none."""

    def __init__(self, orders: Sequence[Order], clock: Clock) -> None:
        """Raises BadUserInput."""
        self.size = _check_size(orders)
        self._orders = [(order, _call_key(order)) for order in orders]
        self._clock = clock
        account_ids = {order.account_id for order in orders}
        recorded = [one for order in orders if order.recording for one in order.recording.requests]
        assert account_ids.issuperset(one.account_id for one in recorded)
        refs = [(order.account_id, move.ref) for order in orders for move in order.moves if move.ref is not None]
        for ref in {ref for _, ref in refs}:
            check_ref(ref)
        self.keys = PostingKeys(
            accounts=account_ids,
            calls={key for _, key in self._orders if key},
            charges={(account_id, str(ref.type), ref.id) for account_id, ref in refs if ref.type in RESOURCES},
            requests=set(map(request_key, recorded)),
            days={one[:5] for one in recorded},
        )

    @property
    def account_ids(self) -> Set[int]:
        return self.keys.accounts

    def knows_a_call(self, calls: Mapping[CallKey, IdempotencyRow]) -> bool:
        return not self.keys.calls.isdisjoint(calls)

    async def carried_out(self, books: Books, connection: WriteConnection | None = None) -> list[Outcome]:
        """The connection is for calls that were made before, whose rows have to be read. What was done to the books
        before an error is not undone."""
        for order, _ in self._orders:
            books.of(order)
        outcomes: list[Outcome] = []
        for order, key in self._orders:
            book = books.of(order)
            if key and key in books.calls:
                outcomes.append(await _replayed(connection, order, books.calls[key], book.rows))
                continue
            outcome = _carry_out(book, order, books.recorder, self._clock())
            outcomes.append(outcome)
            if key:
                books.remember(_remembered(key, order, outcome, book))
        return outcomes
