"""Balance changes: the streams of subscriptions to one account, each from a cursor on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple, Self

from db.archive.errors import RowsArchived
from db.feed.changes import Change
from db.feed.follower import AfterArchived, AheadOfLedger, Diverged, Follower, Sink
from db.feed.follower import Lagged as FollowerLagged
from db.position import Position
from db.rows import TransactionRow
from ledger.errors import BadCursor, Lagged, NotFound
from resolvers.context import SubscriptionContext
from resolvers.cursors import Cursor, CursorKind, LedgerCursorWriter, diverged, ledger_position, read_cursor

NO_ROW: Final = "the row of the after cursor is not in the ledger"
RESUMED_TOO_LATE: Final = (
    "rows after the after cursor were moved to the archive: read them as Account.transactions, and subscribe from"
    " balanceCursor"
)


class BalanceEvent(NamedTuple):
    cursor: str
    balance_nanos: int
    transaction: TransactionRow


class LowBalanceEvent(NamedTuple):
    cursor: str
    balance_nanos: int
    threshold_nanos: int
    transaction: TransactionRow | None


def ledger_cursor(after: str, account_id: int) -> Cursor:
    """Returns a cursor of any list of the account's ledger."""
    cursor = read_cursor(after, "after")
    if cursor.kind != CursorKind.LEDGER:
        raise BadCursor("after is a cursor of another list")
    if cursor.account_id != account_id:
        raise BadCursor("after is a cursor of another account")
    return cursor


def position_of(after: str, account_id: int) -> Position:
    """Returns the position of a cursor of any list of the account's ledger. Only the position is used."""
    return ledger_position(ledger_cursor(after, account_id), "after")


async def open_follower(context: SubscriptionContext, account_id: int, after: Position | None) -> Follower:
    try:
        follower = await context.changes_of(account_id).follow(account_id, after)
    except AheadOfLedger as error:
        raise diverged("the after cursor is ahead of the ledger") from error
    except Diverged as error:
        raise diverged(NO_ROW) from error
    if follower is None:
        raise NotFound("there is no such account")
    return follower


def row_of(change: Change) -> TransactionRow:
    assert change.row is not None
    return change.row


class Stream:
    """Yields events until `aclose`, which ends the stream at once, even before its first event."""

    def __init__(self, follower: Follower, account_id: int) -> None:
        self._follower = follower
        self._writer = LedgerCursorWriter(account_id)

    @property
    def goes_on(self) -> bool:
        """Whether the stream began at a cursor."""
        return self._follower.goes_on

    @property
    def is_live(self) -> bool:
        """Whether the newest event was new when it was sent."""
        return self._follower.live

    @property
    def cursor(self) -> str:
        """The cursor from which to resume."""
        return self._writer.of_row(*self._follower.position)

    async def _next(self) -> Change:
        try:
            return await self._follower.next()
        except FollowerLagged as lagged:
            msg = "the subscription fell too far behind: subscribe again with after set to the cursor"
            raise Lagged(msg, self._writer.of_row(*lagged.position)) from lagged
        except AfterArchived as error:
            raise RowsArchived(RESUMED_TOO_LATE) from error
        except Diverged as error:
            raise diverged(NO_ROW) from error

    def __aiter__(self) -> Self:
        return self

    async def aclose(self) -> None:
        self._follower.close()


class BalanceChanges(Stream):
    shared: dict[object, object]
    """Data of the newest event that subscribers share: a result computed for one of them serves the others."""

    def attach(self, sink: Sink) -> None:
        """Sends the next change to the sink at once while `next` waits. Changes that the sink refuses come by
        iteration."""
        self._follower.attach(sink)

    async def __anext__(self) -> BalanceEvent:
        change = await self._next()
        self.shared = change.made
        return self.event_of(change)

    def event_of(self, change: Change) -> BalanceEvent:
        event = change.made.get(BalanceEvent)
        if event is None:
            row = row_of(change)
            event = change.made[BalanceEvent] = BalanceEvent(
                self._writer.of_row(row.seq, row.hash), row.balance_after_nanos, row
            )
        return event


class LowBalances(Stream):
    shared = None

    def __init__(self, follower: Follower, account_id: int, threshold_nanos: int, *, is_below: bool) -> None:
        super().__init__(follower, account_id)
        follower.attach(self._passes)
        self._threshold_nanos = threshold_nanos
        self._is_below = is_below
        self._first: LowBalanceEvent | None = None

    @classmethod
    def from_now(cls, follower: Follower, account_id: int, threshold_nanos: int) -> Self:
        """Starts at the current balance, from the newest row. The balance of an empty ledger is zero."""
        stream = cls(follower, account_id, threshold_nanos, is_below=False)
        if follower.is_at_beginning and threshold_nanos > 0:
            stream._is_below = True
            stream._first = LowBalanceEvent(stream.cursor, 0, threshold_nanos, None)
        return stream

    async def __anext__(self) -> LowBalanceEvent:
        if self._first is not None:
            first, self._first = self._first, None
            return first
        while self._passes(change := await self._next()):
            pass
        self._is_below = True
        row = row_of(change)
        return LowBalanceEvent(
            self._writer.of_row(row.seq, row.hash), row.balance_after_nanos, self._threshold_nanos, row
        )

    def _passes(self, change: Change) -> bool:
        """Returns whether the change has no event, as is true for most rows."""
        is_below = row_of(change).balance_after_nanos < self._threshold_nanos
        if is_below and not self._is_below:
            return False
        self._is_below = is_below
        return True


@contextmanager
def closed_on_error(follower: Follower) -> Iterator[None]:
    try:
        yield
    except BaseException:
        follower.close()
        raise


async def row_at(context: SubscriptionContext, account_id: int, position: Position) -> TransactionRow | None:
    """Returns the row of the position; None at the beginning. Raises BadCursor if the ledger has another row there."""
    row = await context.loaders.transaction.load((account_id, position.seq)) if position.seq else None
    if not position.is_at(None if row is None else row.hash):
        raise diverged(NO_ROW)
    return row


async def balance_changes(context: SubscriptionContext, account_id: str | None, after: str | None) -> BalanceChanges:
    """Opens a stream. With `after`, it begins with the rows since then; otherwise with the newest row."""
    number = context.account_in_scope(account_id, "accountId")
    after = context.resume_after or after
    position = None if after is None else position_of(after, number)
    return BalanceChanges(await open_follower(context, number, position), number)


async def low_balances(
    context: SubscriptionContext, account_id: str | None, threshold_nanos: int, after: str | None
) -> LowBalances:
    """Opens a stream. With `after`, it begins with the crossings since then.

    Without `after`, it begins with an event if the balance is already below the threshold.
    """
    number = context.account_in_scope(account_id, "accountId")
    after = context.resume_after or after
    if after is None:
        return LowBalances.from_now(await open_follower(context, number, None), number, threshold_nanos)
    position = position_of(after, number)
    follower = await open_follower(context, number, position)
    with closed_on_error(follower):
        row = await row_at(context, number, position)
    balance_nanos = 0 if row is None else row.balance_after_nanos
    return LowBalances(follower, number, threshold_nanos, is_below=balance_nanos < threshold_nanos)
