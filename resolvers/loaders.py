"""Dataloaders: combine single reads of sibling fields into one statement.

A key is (account, arguments). Keys with the same arguments are read together, so ten aliased accounts need as many
statements as one. Loaders are created for each operation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Sequence
from datetime import date, datetime
from functools import partial
from typing import Any, Final, Generic, TypeVar

from db import (
    accounts,
    audit,
    authorizations,
    charges,
    company_details,
    hour_totals,
    keys,
    recharges,
    request_details,
    resources,
    runway,
    spend_limits,
    stripe_customers,
    stripe_receipts,
    usage,
    usage_marks,
)
from db.attribution_rows import RequestDetailRow, UsagePriceRow
from db.company_details import CompanyDetailsRow
from db.connections.snapshots import Read, Snapshot
from db.errors import DatabaseError
from db.filters import (
    AuthorizationFilter,
    ChargeFilter,
    KeyFilter,
    TransactionFilter,
    UsageFilter,
    UsageRequestFilter,
    Window,
)
from db.hour_totals import Grouping, GroupPage, GroupsFound, HourFilter, Measure
from db.limit_rows import AuthorizationRow, ReservedRow, SpendLimitRow
from db.period_figures import PeriodEnds, kind_sums, period_ends
from db.recharges import RechargeViewRow
from db.resources import Resource
from db.rows import (
    AccountRow,
    ApiKeyRow,
    AuditEntryRow,
    ChargeRow,
    HoldRow,
    MonthlyFiguresRow,
    TransactionRow,
    UsageDayRow,
    UsageFigures,
)
from db.runway import CrossingHold
from db.transactions.by_id import hashes_by_id, transactions_by_id
from db.transactions.pages import transaction_pages
from db.transactions.totals import TransactionTotalsRow, balances_as_of, transaction_counts, transaction_totals

Arguments = TypeVar("Arguments", bound=Hashable)
Key = TypeVar("Key", bound=Hashable)
Found = TypeVar("Found")

AT_ONCE_KEYS: Final = 50
"""Keys whose values are handed over in one iteration of the event loop."""


class _Gathering(Generic[Key, Found]):
    """Collects keys until the next read of the snapshot, then requests all of them at once, each key once."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self._futures: dict[Key, asyncio.Future[Found]] = {}
        self._wanted: list[Key] = []

    def asked_for(self, key: Key) -> bool:
        return key in self._futures

    def load(self, key: Key) -> asyncio.Future[Found]:
        """Returns the future of the key. Do not cancel it: other fields may wait for it. Operations are cancelled as a
        whole."""
        future = self._futures.get(key)
        if future is None:
            if not self._wanted:
                self._snapshot.before_reading(self._request_all)
            future = self._futures[key] = asyncio.get_running_loop().create_future()
            self._wanted.append(key)
        return future

    def know(self, key: Key, found: Found) -> None:
        """Stores a known value, so that the key is not read."""
        future = self._futures[key] = asyncio.get_running_loop().create_future()
        future.set_result(found)

    def _request_all(self) -> None:
        keys, self._wanted = self._wanted, []
        self._ask(keys)

    def _ask(self, keys: list[Key]) -> None:
        raise NotImplementedError  # pragma: no cover  each loader has its own


class Loader(_Gathering[Key, Found]):
    """Loads values by key. `read` returns the read for a list of keys; `found_of` takes a key's value from its
    result."""

    def __init__(
        self, snapshot: Snapshot, read: Callable[[list[Key]], Read[Any]], found_of: Callable[[Any, Key], Found]
    ) -> None:
        super().__init__(snapshot)
        self._read = read
        self._found_of = found_of

    def _ask(self, keys: list[Key]) -> None:
        try:
            read = self._read(keys)
        except Exception as error:  # noqa: BLE001  each of the keys gets the error
            self._failed(keys, error)
        else:
            self._snapshot.ask(read, partial(self._answered, keys), partial(self._failed, keys))

    def _answered(self, keys: list[Key], found: Any) -> None:
        """Hands many values over in slices. Reads that fields ask for next wait until all of them have continued."""
        self._tell(keys[:AT_ONCE_KEYS], found)
        if len(keys) > AT_ONCE_KEYS:
            self._snapshot.hold()
            asyncio.get_running_loop().call_soon(self._tell_on, keys, found, AT_ONCE_KEYS)

    def _tell_on(self, keys: list[Key], found: Any, start: int) -> None:
        """Hands over the next slice. After the last one, fields have continued when this is called once more."""
        try:
            self._tell(keys[start : start + AT_ONCE_KEYS], found)
        except Exception as error:  # noqa: BLE001  each of the keys gets the error
            self._failed(keys, error)
            start = len(keys)
        if start < len(keys):
            asyncio.get_running_loop().call_soon(self._tell_on, keys, found, start + AT_ONCE_KEYS)
        else:
            self._snapshot.release()

    def _tell(self, keys: list[Key], found: Any) -> None:
        for key in keys:
            future = self._futures[key]
            if not future.done():
                future.set_result(self._found_of(found, key))

    def _failed(self, keys: list[Key], error: Exception) -> None:
        for key in keys:
            _fail(self._futures[key], error)


class TransactionLoader(Loader[tuple[int, int], TransactionRow | None]):
    """Loads ledger rows. Also stores the corrected rows that come with the requested rows, so they are not read
    again."""

    def _answered(self, keys: list[tuple[int, int]], found: dict[tuple[int, int], TransactionRow]) -> None:
        for key in found.keys() - self._futures.keys():
            future = self._futures[key] = asyncio.get_running_loop().create_future()
            future.set_result(found[key])
        super()._answered(keys, found)


def _fail(future: asyncio.Future[Any], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)
        future.exception()  # avoids a warning if nobody waits for prefetched rows


class GroupedLoader(Generic[Arguments, Found]):
    """Loads values by (account, arguments). Keys with the same arguments are read together."""

    def __init__(
        self, snapshot: Snapshot, read: Callable[[bool, Sequence[int], Arguments], Read[dict[int, Found]]]
    ) -> None:
        self._snapshot = snapshot
        self._read = read
        self._groups: dict[Arguments, Loader[int, Found]] = {}

    def asked_for(self, key: tuple[int, Arguments]) -> bool:
        account_id, arguments = key
        return arguments in self._groups and self._groups[arguments].asked_for(account_id)

    def load(self, key: tuple[int, Arguments]) -> asyncio.Future[Found]:
        account_id, arguments = key
        group = self._groups.get(arguments)
        if group is None:
            read, postgresql = self._read, self._snapshot.is_postgresql
            group = self._groups[arguments] = Loader(
                self._snapshot, lambda account_ids: read(postgresql, account_ids, arguments), dict.__getitem__
            )
        return group.load(account_id)


class ResourceLoader(Generic[Arguments, Found]):
    """Loads like GroupedLoader, but reads all filters by resource together, although their arguments differ.

    `split` splits the arguments into the filter and the remaining arguments for `read_resources`.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        read: Callable[[bool, Sequence[int], Arguments], Read[dict[int, Found]]],
        read_resources: Callable[[bool, Sequence[Resource], Any], Read[dict[Resource, Found]]],
        split: Callable[[Arguments], tuple[TransactionFilter, Any]],
    ) -> None:
        self._snapshot = snapshot
        self._grouped = GroupedLoader(snapshot, read)
        self._read_resources = read_resources
        self._split = split
        self._groups: dict[Any, Loader[Resource, Found]] = {}

    def asked_for(self, key: tuple[int, Arguments]) -> bool:
        return self._grouped.asked_for(key)

    def load(self, key: tuple[int, Arguments]) -> asyncio.Future[Found]:
        row_filter, rest = self._split(key[1])
        resource = None if row_filter.ref_id is None else row_filter.resource
        if resource is None:
            return self._grouped.load(key)
        group = self._groups.get(rest)
        if group is None:
            read, postgresql = self._read_resources, self._snapshot.is_postgresql
            group = self._groups[rest] = Loader(
                self._snapshot, lambda wanted: read(postgresql, wanted, rest), dict.__getitem__
            )
        return group.load((key[0], *resource))


CountKey = tuple[int, TransactionFilter]


class CountLoader(_Gathering[CountKey, int]):
    """Loads counts. Takes the count from the totals if those are requested too, so that nothing is read twice."""

    def __init__(
        self,
        snapshot: Snapshot,
        counts: ResourceLoader[TransactionFilter, int],
        totals: ResourceLoader[TransactionFilter, TransactionTotalsRow],
    ) -> None:
        super().__init__(snapshot)
        self._counts = counts
        self._totals = totals

    def _ask(self, keys: list[CountKey]) -> None:
        for key in keys:
            if self._totals.asked_for(key):
                self._totals.load(key).add_done_callback(partial(self._take_count, key))
            else:
                self._counts.load(key).add_done_callback(partial(self._counted, key))

    def _counted(self, key: CountKey, counted: asyncio.Future[int]) -> None:
        _hand_on(counted, self._futures[key], lambda count: count)

    def _take_count(self, key: CountKey, totals: asyncio.Future[TransactionTotalsRow]) -> None:
        if not totals.cancelled() and isinstance(totals.exception(), DatabaseError):
            # A sum may be out of range; the rows can still be counted.
            self._counts.load(key).add_done_callback(partial(self._counted, key))
        else:
            _hand_on(totals, self._futures[key], lambda row: row.row_count)


def _hand_on(done: asyncio.Future[Any], to: asyncio.Future[Found], made: Callable[[Any], Found]) -> None:
    error = asyncio.CancelledError() if done.cancelled() else done.exception()
    if error is not None:
        _fail(to, error)
    elif not to.done():
        to.set_result(made(done.result()))


Value = TypeVar("Value")


class _cached(Generic[Value]):  # noqa: N801  a decorator
    """Works as functools.cached_property, but without the lock that it has before Python 3.12."""

    def __init__(self, make: Callable[[Any], Value]) -> None:
        self._make = make

    def __set_name__(self, _owner: type, name: str) -> None:
        self._name = name

    def __get__(self, instance: object, _owner: type) -> Value:
        made = instance.__dict__[self._name] = self._make(instance)
        return made


class Loaders:
    """All loaders of an operation. No loader refers back to this object, so rows are freed without the garbage
    collector."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    @_cached
    def account(self) -> Loader[int, AccountRow | None]:
        return self._by_key(accounts.accounts_by_id)

    @_cached
    def transaction(self) -> TransactionLoader:
        read = partial(transactions_by_id, self._snapshot.is_postgresql)
        return TransactionLoader(self._snapshot, read, dict.get)

    @_cached
    def row_hash(self) -> Loader[tuple[int, int], bytes | None]:
        return self._by_key(hashes_by_id)

    @_cached
    def months(self) -> Loader[tuple[int, tuple[str, ...]], list[MonthlyFiguresRow]]:
        return Loader(self._snapshot, partial(_months, self._snapshot.is_postgresql), _months_of)

    @_cached
    def balance_as_of(self) -> GroupedLoader[datetime, int]:
        return GroupedLoader(self._snapshot, balances_as_of)

    @_cached
    def transaction_count(self) -> CountLoader:
        counts = ResourceLoader(self._snapshot, transaction_counts, _resource_counts, _filter_only)
        return CountLoader(self._snapshot, counts, self.transaction_totals)

    @_cached
    def transaction_totals(self) -> ResourceLoader[TransactionFilter, TransactionTotalsRow]:
        return ResourceLoader(self._snapshot, transaction_totals, _resource_totals, _filter_only)

    @_cached
    def usage_totals(self) -> GroupedLoader[UsageFilter, tuple[UsageFigures, int]]:
        return GroupedLoader(self._snapshot, usage.usage_totals)

    @_cached
    def transaction_page(self) -> ResourceLoader[tuple[TransactionFilter, Window], list[TransactionRow]]:
        pages = _of_window(transaction_pages)
        return ResourceLoader(self._snapshot, pages, resources.resource_pages, _filter_and_window)

    @_cached
    def usage_page(self) -> GroupedLoader[tuple[UsageFilter, Window], list[UsageDayRow]]:
        return GroupedLoader(self._snapshot, _of_window(usage.usage_pages))

    @_cached
    def usage_request_page(self) -> GroupedLoader[tuple[UsageRequestFilter, Window], list[RequestDetailRow]]:
        return GroupedLoader(self._snapshot, _of_window(request_details.request_pages))

    @_cached
    def usage_request_count(self) -> GroupedLoader[UsageRequestFilter, int]:
        return GroupedLoader(self._snapshot, request_details.request_counts)

    @_cached
    def usage_request(self) -> Loader[tuple[int, bytes], RequestDetailRow | None]:
        """Requests by the digest of their id."""
        return self._by_key(request_details.requests_by_digest)

    @_cached
    def usage_price(self) -> Loader[tuple[int, int], UsagePriceRow | None]:
        return self._by_key(request_details.prices_by_id)

    @_cached
    def usage_complete_until(self) -> GroupedLoader[None, datetime | None]:
        return GroupedLoader(self._snapshot, usage_marks.complete_until)

    @_cached
    def hour_groups(self) -> GroupedLoader[GroupPage, GroupsFound]:
        return GroupedLoader(self._snapshot, hour_totals.group_pages)

    @_cached
    def crossing_holds(self) -> GroupedLoader[datetime, list[CrossingHold]]:
        """Open holds of an account, and those that began before the moment and ended after it."""
        return GroupedLoader(self._snapshot, runway.crossing_holds)

    @_cached
    def volume_day_costs(self) -> GroupedLoader[None, int]:
        return GroupedLoader(self._snapshot, runway.volume_day_costs)

    @_cached
    def undivided_days(self) -> GroupedLoader[tuple[HourFilter, Grouping], list[date]]:
        return GroupedLoader(self._snapshot, hour_totals.undivided_days)

    @_cached
    def hour_range(self) -> GroupedLoader[Measure, tuple[int, int] | None]:
        """The first hour of an account's usage or cost, and the hour after its last."""
        return GroupedLoader(self._snapshot, hour_totals.hour_ranges)

    @_cached
    def period_ends(self) -> GroupedLoader[tuple[datetime, datetime], PeriodEnds]:
        return GroupedLoader(self._snapshot, period_ends)

    @_cached
    def kind_sums(self) -> GroupedLoader[TransactionFilter, dict[tuple[str, str], int]]:
        """Sums of rows by kind, in the filter's range of time."""
        return GroupedLoader(self._snapshot, kind_sums)

    @_cached
    def charge(self) -> Loader[Resource, ChargeRow | None]:
        return self._by_key(charges.charges_by_ref)

    @_cached
    def charge_of_first_row(self) -> Loader[tuple[int, int], ChargeRow | None]:
        return self._by_key(charges.charges_by_first_row)

    @_cached
    def charge_page(self) -> GroupedLoader[tuple[ChargeFilter, Window], list[ChargeRow]]:
        return GroupedLoader(self._snapshot, _of_window(charges.charge_pages))

    @_cached
    def charge_count(self) -> GroupedLoader[ChargeFilter, int]:
        return GroupedLoader(self._snapshot, charges.charge_counts)

    @_cached
    def opened_hold(self) -> Loader[tuple[int, int], HoldRow | None]:
        """Holds by the row that opened them."""
        return self._by_key(charges.opened_holds)

    @_cached
    def settled_hold(self) -> Loader[tuple[int, int], HoldRow | None]:
        """Holds by the row that settled them."""
        return self._by_key(charges.settled_holds)

    @_cached
    def auto_recharge(self) -> GroupedLoader[tuple[datetime, datetime], RechargeViewRow | None]:
        """Auto-recharge by account and the day whose payments are summed."""
        return GroupedLoader(self._snapshot, recharges.recharge_views)

    @_cached
    def payment_of_credit(self) -> Loader[tuple[int, str], str | None]:
        """The payment of an object of Stripe that was credited."""
        return self._by_key(stripe_receipts.payments_of_credits)

    @_cached
    def receipt(self) -> Loader[tuple[int, str], str | None]:
        """The address of the receipt of a payment."""
        return self._by_key(stripe_receipts.receipts_by_payment)

    @_cached
    def saved_card(self) -> Loader[int, bool]:
        """Whether the account has a saved card."""
        read = partial(stripe_customers.saved_cards, self._snapshot.is_postgresql)
        return Loader(self._snapshot, read, dict.__getitem__)

    @_cached
    def company_details(self) -> Loader[int, CompanyDetailsRow | None]:
        return self._by_key(company_details.details_by_account)

    @_cached
    def spend_limits(self) -> Loader[int, list[SpendLimitRow]]:
        """The limits in force of an account."""
        read = partial(spend_limits.limits_of_each, self._snapshot.is_postgresql)
        return Loader(self._snapshot, read, dict.__getitem__)

    @_cached
    def spend_limit(self) -> Loader[tuple[int, int], SpendLimitRow | None]:
        return self._by_key(spend_limits.limits_by_number)

    @_cached
    def reserved(self) -> GroupedLoader[datetime, Sequence[ReservedRow]]:
        """Sums that open authorizations reserve, by account and time."""
        return GroupedLoader(self._snapshot, spend_limits.reserved_of_each)

    @_cached
    def authorization_page(
        self,
    ) -> GroupedLoader[tuple[AuthorizationFilter, Window, datetime], list[AuthorizationRow]]:
        return GroupedLoader(self._snapshot, authorizations.authorization_pages)

    @_cached
    def authorization_count(self) -> GroupedLoader[tuple[AuthorizationFilter, datetime], int]:
        return GroupedLoader(self._snapshot, authorizations.authorization_counts)

    @_cached
    def authorization(self) -> Loader[tuple[int, int], AuthorizationRow | None]:
        return self._by_key(authorizations.authorizations_by_number)

    @_cached
    def key_page(self) -> GroupedLoader[tuple[KeyFilter | None, Window], list[ApiKeyRow]]:
        return GroupedLoader(self._snapshot, keys.key_pages)

    @_cached
    def key_count(self) -> GroupedLoader[KeyFilter | None, int]:
        return GroupedLoader(self._snapshot, keys.key_counts)

    @_cached
    def account_audit_page(self) -> GroupedLoader[Window, list[AuditEntryRow]]:
        return GroupedLoader(self._snapshot, audit.account_audit_pages)

    @_cached
    def account_audit_count(self) -> GroupedLoader[None, int]:
        return GroupedLoader(self._snapshot, audit.account_audit_counts)

    def _by_key(self, read: Callable[[bool, list[Key]], Read[dict[Key, Found]]]) -> Loader[Key, Found | None]:
        return Loader(self._snapshot, partial(read, self._snapshot.is_postgresql), dict.get)


def _filter_only(row_filter: TransactionFilter) -> tuple[TransactionFilter, None]:
    return row_filter, None


def _filter_and_window(arguments: tuple[TransactionFilter, Window]) -> tuple[TransactionFilter, Window]:
    return arguments


def _resource_totals(
    postgresql: bool, wanted: Sequence[Resource], _rest: None
) -> Read[dict[Resource, TransactionTotalsRow]]:
    return resources.resource_totals(postgresql, wanted)


def _resource_counts(postgresql: bool, wanted: Sequence[Resource], _rest: None) -> Read[dict[Resource, int]]:
    return resources.resource_counts(postgresql, wanted)


def _of_window(
    read: Callable[[bool, Sequence[int], Any, Window], Read[dict[int, Found]]],
) -> Callable[[bool, Sequence[int], Any], Read[dict[int, Found]]]:
    return lambda postgresql, account_ids, arguments: read(postgresql, account_ids, *arguments)


MonthsKey = tuple[int, tuple[str, ...]]


def _months(postgresql: bool, keys: list[MonthsKey]) -> Read[dict[tuple[int, str], MonthlyFiguresRow]]:
    """Reads one range of months, from the first to the last month in any key."""
    account_ids = sorted({account_id for account_id, _ in keys})
    first, last = min(months[0] for _, months in keys), max(months[-1] for _, months in keys)
    return accounts.monthly_figures(postgresql, account_ids, first, last)


def _months_of(found: dict[tuple[int, str], MonthlyFiguresRow], key: MonthsKey) -> list[MonthlyFiguresRow]:
    """Returns the key's months; a month without data has zeros."""
    account_id, months = key
    return [found.get((account_id, month)) or MonthlyFiguresRow(account_id, month) for month in months]
