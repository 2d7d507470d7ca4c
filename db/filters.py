"""Filters: the conditions and the range of a page of rows. Plain hashable values, so that reads can be batched."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime


@dataclass(frozen=True, slots=True)
class Window:
    """A range of a list from its newest row to its oldest. Both ends are exclusive."""

    limit: int
    after: object | None = None
    """Only rows older than this position."""
    before: object | None = None
    """Only rows newer than this position."""
    oldest: bool = False
    """The oldest rows of the range instead of its newest."""
    columns: frozenset[str] | None = None
    """Columns to read besides the account and the position; None means all. Reading another column raises."""
    unread: bool = False
    """The rows are not read at all, because nobody uses them."""


@dataclass(frozen=True, slots=True)
class TransactionFilter:
    kinds: tuple[tuple[str, str], ...] | None = None
    """(type, source) pairs; None means all, empty matches no row."""
    created_gte: datetime | None = None
    created_lt: datetime | None = None
    amount_gte: int | None = None
    amount_lte: int | None = None
    ref_type: str | None = None
    ref_id: str | None = None
    search: str | None = None

    @property
    def resource(self) -> tuple[str, str] | None:
        """The (ref type, ref id), if the filter selects all rows of one resource without other conditions."""
        if self.ref_type is None or self.ref_id is None:
            return None
        same_resource = TransactionFilter(ref_type=self.ref_type, ref_id=self.ref_id)
        return (self.ref_type, self.ref_id) if self == same_resource else None


@dataclass(frozen=True, slots=True)
class ChargeFilter:
    states: tuple[str, ...] | None = None
    ref_types: tuple[str, ...] | None = None
    """If a state, ref type or ref id filters the list, all states and ref types are listed: the list is read as ranges
    of an index."""
    ref_id: str | None = None
    opened_gte: datetime | None = None
    opened_lt: datetime | None = None


@dataclass(frozen=True, slots=True)
class UsageFilter:
    day_gte: date | None = None
    day_lt: date | None = None
    models: tuple[str, ...] | None = None
    categories: tuple[str, ...] | None = None
    origins: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class UsageHourFilter:
    hour_gte: int | None = None
    """UTC hours, counted from 1970."""
    hour_lt: int | None = None
    models: tuple[str, ...] | None = None
    categories: tuple[str, ...] | None = None
    origins: tuple[str, ...] | None = None
    api_keys: tuple[str, ...] | None = None
    projects: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class UsageRequestFilter:
    at_gte: datetime | None = None
    at_lt: datetime | None = None
    models: tuple[str, ...] | None = None
    categories: tuple[str, ...] | None = None
    origins: tuple[str, ...] | None = None
    api_keys: tuple[str, ...] | None = None
    projects: tuple[str, ...] | None = None
    end_users: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class AuthorizationFilter:
    state: str | None = None
    api_key: str | None = None
    project: str | None = None


@dataclass(frozen=True, slots=True)
class TotalsFilter:
    """A list of groups of usage or cost by hour. In lists, an empty text means that no API key or project was named."""

    group_by: tuple[str, ...] | None = None
    time_zone: str | None = None
    """None for UTC."""
    day_gte: date | None = None
    day_lt: date | None = None
    models: tuple[str, ...] | None = None
    categories: tuple[str, ...] | None = None
    origins: tuple[str, ...] | None = None
    kinds: tuple[str, ...] | None = None
    ref_type: str | None = None
    ref_id: str | None = None
    api_keys: tuple[str, ...] | None = None
    projects: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class AccountFilter:
    search: str | None = None


@dataclass(frozen=True, slots=True)
class AuditFilter:
    act: str | None = None
    actor: str | None = None
    account_id: int | None = None
    at_gte: datetime | None = None
    at_lt: datetime | None = None


ALL_TRANSACTIONS = TransactionFilter()
ALL_CHARGES = ChargeFilter()
ALL_USAGE = UsageFilter()
ALL_USAGE_REQUESTS = UsageRequestFilter()


@dataclass(frozen=True, slots=True)
class KeyFilter:
    sessions: bool
    """Only sessions, or only other keys."""


@dataclass(frozen=True, slots=True)
class StripeEventFilter:
    state: str | None = None
