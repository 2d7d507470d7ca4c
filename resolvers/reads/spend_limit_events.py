"""Spend limit events: the stream of a subscription to the levels that an account's spending reaches."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from db.feed.changes import Change
from db.feed.feed import ChangeFeed
from db.feed.follower import Follower
from db.limit_rows import SpendLimitEventRow, SpendLimitRow
from db.position import Position
from db.rows import TransactionRow
from ledger.errors import NotFound
from ledger.windows import SpendWindow, window_start
from resolvers.context import SubscriptionContext
from resolvers.cursors import LedgerCursorWriter, Level, ledger_position, level_of
from resolvers.reads.balance_changes import Stream, closed_on_error, ledger_cursor, open_follower, row_at, row_of


class SpendLimitEvent(NamedTuple):
    cursor: str
    account_id: int
    limit_number: int
    percent: int
    amount_nanos: int
    spent_nanos: int
    transaction: TransactionRow


class _Beginning(NamedTuple):
    """The beginning of a stream."""

    known_seq: int
    """The events of rows up to this one are not sent."""
    first: tuple[SpendLimitEvent, ...] = ()
    """Events that tell which levels are already reached."""
    told_seq: int = 0
    """The first events tell the state after this row."""
    told_after: int = 0
    """The first events tell the state of the limits with higher numbers."""
    change: Change | None = None
    """The row whose events were sent in part."""
    level: Level = Level(0, 0)
    """The event of that row that was sent last."""


class SpendLimitEvents(Stream):
    shared = None

    def __init__(self, follower: Follower, changes: ChangeFeed, account_id: int, beginning: _Beginning) -> None:
        super().__init__(follower, account_id)
        self._account_id = account_id
        self._changes = changes
        self._beginning = beginning
        self._first = deque(beginning.first)
        self._known_seq = beginning.known_seq
        """The events of rows up to this one are known."""
        self._events: deque[SpendLimitEventRow] = deque()
        """Known events that were not sent."""
        self._change = beginning.change or Change(None)
        self._sent = (self._change.seq, *beginning.level)
        follower.attach(self._passes)

    def _passes(self, change: Change) -> bool:
        """Returns whether the change is known to have no event."""
        return change.seq <= self._known_seq and not (self._events and self._events[0].seq <= change.seq)

    async def __anext__(self) -> SpendLimitEvent:
        if self._first:
            return self._first.popleft()
        while True:
            # The change is kept until its events are sent, so that none is lost if this is cancelled.
            if self._change.seq > self._known_seq:
                await self._read()
            if self._events and self._events[0].seq == self._change.seq:
                return self._event_of(self._events.popleft(), row_of(self._change))
            self._change = await self._next()

    async def _read(self) -> None:
        found = await self._changes.limit_events(self._account_id, self._change)
        self._known_seq = found.last_seq
        self._events.extend(event for event in found.events if self._is_due(event))

    def _is_due(self, event: SpendLimitEventRow) -> bool:
        start = self._beginning
        was_told = event.seq <= start.told_seq and event.limit_number > start.told_after
        return not was_told and (event.seq, event.limit_number, event.percent) > self._sent

    def _event_of(self, event: SpendLimitEventRow, row: TransactionRow) -> SpendLimitEvent:
        is_last = not self._events or self._events[0].seq > event.seq
        level = None if is_last else Level(event.limit_number, event.percent)
        return _event(event, row, _cursor(row.account_id, Position(row.seq, row.hash), level))


def _cursor(account_id: int, position: Position, level: Level | None) -> str:
    """Returns the cursor after the event of a level, or after the whole row if it is None."""
    writer, row_hash = LedgerCursorWriter(account_id), position.hash or b""
    return writer.of_row(position.seq, row_hash) if level is None else writer.of_level(position.seq, row_hash, level)


def _event(event: SpendLimitEventRow, row: TransactionRow, cursor: str) -> SpendLimitEvent:
    return SpendLimitEvent(
        cursor, event.account_id, event.limit_number, event.percent, event.amount_nanos, event.spent_nanos, row
    )


async def _told(context: SubscriptionContext, account_id: int, after: int, resumed: Position | None) -> _Beginning:
    """Begins with the highest level of each limit that was reached in the current window.

    Only limits with numbers above `after` are told. The cursors stand at the position where the stream is resumed, or
    at the newest row.
    """
    reading = context.loaders.spend_limits.load(account_id)
    account = await context.loaders.account.load(account_id)
    if account is None:
        raise NotFound("there is no such account")
    head = Position(account.head_seq, account.head_hash)
    position = resumed or head
    row = await row_at(context, account_id, head)
    reached = [limit for limit in await reading if limit.number > after and _has_reached(limit, context)]
    if row is None or not reached:
        return _Beginning(position.seq, (), head.seq, after)
    levels = [Level(limit.number, 0) for limit in reached[:-1]]
    first = tuple(
        _event(_state(limit, head.seq), row, _cursor(account_id, position, level))
        for limit, level in zip(reached, [*levels, None], strict=True)
    )
    return _Beginning(position.seq, first, head.seq, after)


def _has_reached(limit: SpendLimitRow, context: SubscriptionContext) -> bool:
    is_current = limit.window_start >= window_start(SpendWindow(limit.window_kind), context.now)
    return is_current and limit.notified_percent > 0


def _state(limit: SpendLimitRow, seq: int) -> SpendLimitEventRow:
    return SpendLimitEventRow(
        limit.account_id, seq, limit.number, limit.notified_percent, limit.amount_nanos, limit.spent_nanos
    )


async def spend_limit_events(
    context: SubscriptionContext, account_id: str | None, after: str | None
) -> SpendLimitEvents:
    """Opens a stream. With `after`, it begins with the events since then.

    Without `after`, it begins with the levels that are already reached, the highest of each limit.
    """
    number = context.account_in_scope(account_id, "accountId")
    after = context.resume_after or after
    cursor = None if after is None else ledger_cursor(after, number)
    position = None if cursor is None else ledger_position(cursor, "after")
    follower = await open_follower(context, number, position)
    with closed_on_error(follower):
        level = None if cursor is None else level_of(cursor)
        # Read after the follower began, so that the first events tell the state after its newest row or a later one.
        beginning = await _beginning(context, number, position, level)
        return SpendLimitEvents(follower, context.changes_of(number), number, beginning)


async def _beginning(
    context: SubscriptionContext, account_id: int, position: Position | None, level: Level | None
) -> _Beginning:
    if position is None:
        return await _told(context, account_id, 0, None)
    if level is None:
        return _Beginning(position.seq)
    if level.percent == 0:
        return await _told(context, account_id, level.limit_number, position)
    row = await row_at(context, account_id, position)
    return _Beginning(max(position.seq - 1, 0), change=Change(row), level=level)
