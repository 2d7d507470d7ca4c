"""Spending: what one account may still spend, which is its balance less what is reserved, within its spend limits.

A reservation that has expired reserves nothing, whatever its stored state: it is left out when the state is read. One
that expires between the read and the posting still counts for that posting.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from db.limit_rows import AuthorizationRow, NewestAuthorizationRow, ReservedRow, SpendLimitEventRow, SpendLimitRow
from ledger.attribution import Attribution, Share
from ledger.ids import spend_limit_id_text
from ledger.money import in_range
from ledger.windows import SpendWindow, resets_at, window_start


class Standing(NamedTuple):
    """A spend limit, and how much of it is left."""

    limit: SpendLimitRow
    spent_nanos: int
    reserved_nanos: int
    resets_at: datetime | None

    @property
    def remaining_nanos(self) -> int:
        return self.limit.amount_nanos - self.spent_nanos - self.reserved_nanos


def scope_of(limit: SpendLimitRow | ReservedRow | AuthorizationRow) -> Attribution:
    return Attribution(limit.api_key, limit.project)


def spent_nanos(limit: SpendLimitRow, moment: datetime) -> int:
    """Returns what was spent in the window of the moment. The stored figure may be of an earlier window."""
    return limit.spent_nanos if limit.window_start >= window_start(SpendWindow(limit.window_kind), moment) else 0


def standing(limit: SpendLimitRow, reserved: Iterable[ReservedRow], moment: datetime) -> Standing:
    scope = scope_of(limit)
    held = sum(one.reserved_nanos for one in reserved if scope.covers(scope_of(one)))
    return Standing(limit, spent_nanos(limit, moment), held, resets_at(SpendWindow(limit.window_kind), moment))


def notify_levels(limit: SpendLimitRow) -> list[int]:
    """Returns the percentages at which the limit notifies, in ascending order."""
    return sorted(int(level) for level in limit.notify_at.split(",") if level)


def reached_percent(limit: SpendLimitRow, spent: int) -> int:
    """Returns the highest level that the spent amount has reached; 0 for none."""
    return max((level for level in notify_levels(limit) if 100 * spent >= level * limit.amount_nanos), default=0)


class SpendingMark(NamedTuple):
    """A saved point, for `Spending.undo`."""

    limits: dict[int, SpendLimitRow]
    authorizations: dict[int, AuthorizationRow]
    reserved: dict[Attribution, int]
    highest_number: int
    newest_at: datetime | None
    events: int
    changed_limits: set[int]
    changed_authorizations: set[int]


class Spending:
    __slots__ = (
        *("account_id", "limits", "authorizations", "_reserved", "_highest_number", "newest_at"),
        *("events", "changed_limits", "changed_authorizations"),
    )

    def __init__(self, account_id: int) -> None:
        self.account_id = account_id
        self.limits: dict[int, SpendLimitRow] = {}
        """The limits in force."""
        self.authorizations: dict[int, AuthorizationRow] = {}
        """The authorizations that the postings name or create."""
        self._reserved: dict[Attribution, int] = {}
        self._highest_number = 0
        self.newest_at: datetime | None = None
        """When the newest authorization was created."""
        self.events: list[SpendLimitEventRow] = []
        self.changed_limits: set[int] = set()
        self.changed_authorizations: set[int] = set()

    def open(self, reserved: Sequence[ReservedRow]) -> None:
        """Sets what is reserved, for postings that depend on it."""
        self._reserved = {scope_of(one): one.reserved_nanos for one in reserved}

    def follow(self, newest: NewestAuthorizationRow) -> None:
        """Sets the newest authorization, for postings that create, capture or release one."""
        self._highest_number, self.newest_at = newest.number, newest.created_at

    @property
    def has_changed(self) -> bool:
        return bool(self.changed_authorizations)

    @property
    def reserved_nanos(self) -> int:
        return sum(self._reserved.values())

    def standings(self, attribution: Attribution, moment: datetime) -> Iterator[Standing]:
        """Yields the limits that apply to the attribution."""
        reserved = [ReservedRow(*scope, nanos) for scope, nanos in self._reserved.items()]
        for limit in self.limits.values():
            if scope_of(limit).covers(attribution):
                yield standing(limit, reserved, moment)

    def spend(self, seq: int, moment: datetime, shares: Iterable[Share]) -> None:
        """Counts the net cost of a row, negative for a refund, in the limits that apply to its shares."""
        if not self.limits:
            return
        shares = list(shares)
        for limit in list(self.limits.values()):
            scope = scope_of(limit)
            nanos = sum(cost for attribution, cost in shares if scope.covers(attribution))
            if nanos:
                self._spend(limit, seq, moment, nanos)

    def _spend(self, limit: SpendLimitRow, seq: int, moment: datetime, nanos: int) -> None:
        start = window_start(SpendWindow(limit.window_kind), moment)
        if start < limit.window_start:
            # The limit was set by a clock that was ahead: the row is of the window before.
            return
        notified = limit.notified_percent if limit.window_start == start else 0
        what = f"what was spent of {spend_limit_id_text(self.account_id, limit.number)}"
        spent = in_range(spent_nanos(limit, moment) + nanos, what)
        for level in notify_levels(limit):
            if level > notified and 100 * spent >= level * limit.amount_nanos:
                self.events.append(
                    SpendLimitEventRow(self.account_id, seq, limit.number, level, limit.amount_nanos, spent)
                )
                notified = level
        self.limits[limit.number] = limit._replace(spent_nanos=spent, window_start=start, notified_percent=notified)
        self.changed_limits.add(limit.number)

    def reserve(self, row: AuthorizationRow) -> AuthorizationRow:
        """Adds an authorization under the account's next number."""
        self._highest_number += 1
        self.newest_at = row.created_at
        numbered = row._replace(number=self._highest_number)
        self._count(numbered, numbered.amount_nanos)
        self._put(numbered)
        return numbered

    def replace(self, row: AuthorizationRow, moment: datetime) -> None:
        """Replaces an open authorization. Frees what it no longer reserves; an expired one reserved nothing."""
        if row.expires_at > moment:
            self._count(row, reserved_by(row) - reserved_by(self.authorizations[row.number]))
        self._put(row)

    def _count(self, row: AuthorizationRow, nanos: int) -> None:
        # Without a posting that depends on it, nothing was read.
        scope = scope_of(row)
        if nanos > 0 or scope in self._reserved:
            self._reserved[scope] = self._reserved.get(scope, 0) + nanos

    def _put(self, row: AuthorizationRow) -> None:
        self.authorizations[row.number] = row
        self.changed_authorizations.add(row.number)

    def mark(self) -> SpendingMark:
        return SpendingMark(
            self.limits.copy(),
            self.authorizations.copy(),
            self._reserved.copy(),
            self._highest_number,
            self.newest_at,
            len(self.events),
            self.changed_limits.copy(),
            self.changed_authorizations.copy(),
        )

    def undo(self, mark: SpendingMark) -> None:
        """Undoes all changes since the mark."""
        self.limits, self.authorizations, self._reserved, self._highest_number, self.newest_at = mark[:5]
        del self.events[mark.events :]
        self.changed_limits, self.changed_authorizations = mark.changed_limits, mark.changed_authorizations


def reserved_by(row: AuthorizationRow) -> int:
    """Returns what an unexpired authorization reserves."""
    return max(row.amount_nanos - row.captured_nanos, 0) if row.state == "open" else 0
