"""Posting state: what posting reads of its accounts, and what it writes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence, Set
from dataclasses import dataclass, field
from typing import NamedTuple

from db.attribution_rows import CostHourRow, RequestDetailRow, UsageHourRow, UsagePriceRow
from db.clocks import ClockReading
from db.limit_rows import AuthorizationRow, NewestAuthorizationRow, ReservedRow, SpendLimitEventRow, SpendLimitRow
from db.rows import AccountRow, ChargeRow, DayKey, HoldRow, IdempotencyRow, MonthlyFiguresRow, TransactionRow
from db.usage_writes import FedDay, RequestKey

Key = tuple[int, str, str]
"""Account, ref type and ref id of a charge; account, operation and key of a call."""

AuthorizationKey = tuple[int, int]


class PostingKeys(NamedTuple):
    """Keys of the rows that posting depends on."""

    accounts: Set[int]
    calls: Set[Key] = frozenset()
    charges: Set[Key] = frozenset()
    requests: Set[RequestKey] = frozenset()
    days: Set[DayKey] = frozenset()
    authorizations: Set[AuthorizationKey] = frozenset()
    reserved: Set[int] = frozenset()
    """Accounts whose reservations matter."""

    @property
    def reserving(self) -> Set[int]:
        """Accounts whose newest authorization matters."""
        return self.reserved | {account_id for account_id, _ in self.authorizations}

    @classmethod
    def together(cls, several: Iterable[PostingKeys]) -> PostingKeys:
        return cls(*(frozenset().union(*sets) for sets in zip(*several, strict=True)))


@dataclass(frozen=True, slots=True)
class StoredState:
    accounts: dict[int, AccountRow]
    calls: dict[Key, IdempotencyRow]
    """Known calls."""
    charges: dict[Key, ChargeRow]
    holds: dict[Key, HoldRow]
    """The newest hold of each charge: only that one can be open."""
    requests: set[RequestKey] = field(default_factory=set)
    """Requests that have been counted."""
    days: dict[DayKey, FedDay] = field(default_factory=dict)
    limits: Sequence[SpendLimitRow] = ()
    """The limits in force of all accounts."""
    authorizations: Sequence[AuthorizationRow] = ()
    reserved: dict[int, Sequence[ReservedRow]] = field(default_factory=dict)
    """Sums of the authorizations that are open and have not expired."""
    newest: dict[int, NewestAuthorizationRow] = field(default_factory=dict)
    """The newest authorization of each account that has one."""
    versions: dict[int, str] = field(default_factory=dict)
    """Version of each account. PostgreSQL only."""
    clock: ClockReading | None = None
    """The clocks when the accounts were read, after waiting for their locks; None without accounts. PostgreSQL only."""


@dataclass(frozen=True, slots=True)
class ChangeSet:
    heads: Sequence[AccountRow]
    """Heads of all changed accounts."""
    rows: Sequence[TransactionRow]
    charges: Sequence[ChargeRow]
    holds: Sequence[HoldRow]
    months: Sequence[MonthlyFiguresRow]
    """Increments to add to the months."""
    calls: Sequence[IdempotencyRow]
    requests: Sequence[RequestKey] = ()
    days: Sequence[FedDay] = ()
    costs: Sequence[CostHourRow] = ()
    """Increments to add to the hours; the next as well."""
    hours: Sequence[UsageHourRow] = ()
    prices: Collection[UsagePriceRow] = ()
    details: Sequence[RequestDetailRow] = ()
    authorizations: Sequence[AuthorizationRow] = ()
    limits: Sequence[SpendLimitRow] = ()
    limit_events: Sequence[SpendLimitEventRow] = ()

    @property
    def rows_by_account(self) -> Counter[int]:
        """How many rows each account gets."""
        return Counter(row.account_id for row in self.rows)
