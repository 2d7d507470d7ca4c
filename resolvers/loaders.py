"""Dataloaders: reads that siblings ask for one by one, made as one statement.

A key is (account, arguments). Keys of the same arguments are read together, so ten aliased accounts cost as many
statements as one. Loaders live as long as one operation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from datetime import datetime
from functools import cached_property, partial
from typing import Any, Generic, TypeVar

from db import accounts, charges, keys, recharges, resources, transactions, usage
from db.criteria import ChargeCriteria, TransactionCriteria, UsageCriteria, Window
from db.errors import DatabaseError
from db.recharges import RechargeViewRow
from db.resources import Resource
from db.rows import AccountRow, ApiKeyRow, ChargeRow, HoldRow, MonthlyFiguresRow, TransactionRow, UsageDayRow
from db.snapshots import Snapshot
from db.transactions import TransactionTotalsRow
from db.usage import UsageTotalsRow

Arguments = TypeVar("Arguments", bound=Hashable)
Key = TypeVar("Key", bound=Hashable)
Found = TypeVar("Found")


class Loader(Generic[Key, Found]):
    """Keys asked for before the loop comes round again are read together, each once."""

    def __init__(self, read: Callable[[list[Key]], Awaitable[Sequence[Found]]]) -> None:
        self._read = read
        self._futures: dict[Key, asyncio.Future[Found]] = {}
        self._wanted: list[Key] = []
        self._tasks: list[asyncio.Task[None]] = []

    def asked_for(self, key: Key) -> bool:
        return key in self._futures

    def load(self, key: Key) -> asyncio.Future[Found]:
        """Nobody may cancel what several wait for: an operation that is given up is given up as a whole."""
        future = self._futures.get(key)
        if future is None:
            loop = asyncio.get_running_loop()
            future = self._futures[key] = loop.create_future()
            if not self._wanted:
                self._tasks.append(loop.create_task(self._run()))
            self._wanted.append(key)
        return future

    async def _run(self) -> None:
        keys, self._wanted = self._wanted, []
        futures = [self._futures[key] for key in keys]
        try:
            found = await self._read(keys)
        except Exception as error:  # noqa: BLE001  it is the answer to all of them
            for future in futures:
                if not future.done():
                    future.set_exception(error)
                    future.exception()  # rows that were asked for ahead may not be waited for: no warning then
            return
        for future, one in zip(futures, found, strict=True):
            if not future.done():
                future.set_result(one)


class GroupedLoader(Generic[Arguments, Found]):
    """Keys are (account, arguments). Each group of the same arguments is read by itself, all of them together."""

    def __init__(self, read: Callable[[Sequence[int], Arguments], Awaitable[dict[int, Found]]]) -> None:
        self._read = read
        self._groups: dict[Arguments, Loader[int, Found]] = {}

    def asked_for(self, key: tuple[int, Arguments]) -> bool:
        account_id, arguments = key
        return arguments in self._groups and self._groups[arguments].asked_for(account_id)

    def load(self, key: tuple[int, Arguments]) -> asyncio.Future[Found]:
        account_id, arguments = key
        group = self._groups.get(arguments)
        if group is None:
            group = self._groups[arguments] = Loader(partial(_of_accounts, self._read, arguments))
        return group.load(account_id)


class ResourceLoader(Generic[Arguments, Found]):
    """As a grouped one; but resources, which differ by their criteria alone, are read together.

    `split` makes of the arguments the criteria, and the rest that `read_resources` takes.
    """

    def __init__(
        self,
        read: Callable[[Sequence[int], Arguments], Awaitable[dict[int, Found]]],
        read_resources: Callable[[Sequence[Resource], Any], Awaitable[dict[Resource, Found]]],
        split: Callable[[Arguments], tuple[TransactionCriteria, Any]],
    ) -> None:
        self._grouped = GroupedLoader(read)
        self._read_resources = read_resources
        self._split = split
        self._groups: dict[Any, Loader[Resource, Found]] = {}

    def asked_for(self, key: tuple[int, Arguments]) -> bool:
        return self._grouped.asked_for(key)

    def load(self, key: tuple[int, Arguments]) -> asyncio.Future[Found]:
        criteria, rest = self._split(key[1])
        resource = None if criteria.ref_id is None else criteria.resource
        if resource is None:
            return self._grouped.load(key)
        group = self._groups.get(rest)
        if group is None:
            group = self._groups[rest] = Loader(partial(_of_resources, self._read_resources, rest))
        return group.load((key[0], *resource))


async def _of_resources(
    read: Callable[[Sequence[Resource], Any], Awaitable[dict[Resource, Found]]], rest: Any, wanted: list[Resource]
) -> list[Found]:
    found = await read(wanted, rest)
    return [found[resource] for resource in wanted]


async def _of_accounts(
    read: Callable[[Sequence[int], Arguments], Awaitable[dict[int, Found]]],
    arguments: Arguments,
    account_ids: list[int],
) -> list[Found]:
    found = await read(account_ids, arguments)
    return [found[account_id] for account_id in account_ids]


class Loaders:
    """None of the loaders refers back to this: what an operation read goes when it is done, not when garbage is next
    looked for."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot

    @cached_property
    def account(self) -> Loader[int, AccountRow | None]:
        return _by_key(partial(accounts.accounts_by_id, self._snapshot))

    @cached_property
    def transaction(self) -> Loader[tuple[int, int], TransactionRow | None]:
        return _by_key(partial(transactions.transactions_by_id, self._snapshot))

    @cached_property
    def months(self) -> Loader[tuple[int, tuple[str, ...]], list[MonthlyFiguresRow]]:
        return Loader(partial(_months, self._snapshot))

    @cached_property
    def balance_as_of(self) -> GroupedLoader[datetime, int]:
        return GroupedLoader(partial(transactions.balances_as_of, self._snapshot))

    @cached_property
    def transaction_count(self) -> ResourceLoader[TransactionCriteria, int]:
        return ResourceLoader(
            partial(_counts, self._snapshot, self.transaction_totals),
            partial(_resource_counts, self._snapshot),
            _criteria_alone,
        )

    @cached_property
    def transaction_totals(self) -> ResourceLoader[TransactionCriteria, TransactionTotalsRow]:
        return ResourceLoader(
            partial(transactions.transaction_totals, self._snapshot),
            partial(_resource_totals, self._snapshot),
            _criteria_alone,
        )

    @cached_property
    def usage_totals(self) -> GroupedLoader[UsageCriteria, tuple[UsageTotalsRow, int]]:
        return GroupedLoader(partial(usage.usage_totals, self._snapshot))

    @cached_property
    def transaction_page(self) -> ResourceLoader[tuple[TransactionCriteria, Window], list[TransactionRow]]:
        return ResourceLoader(
            _page_reader(self._snapshot, transactions.transaction_pages),
            partial(resources.resource_pages, self._snapshot),
            _criteria_and_window,
        )

    @cached_property
    def usage_page(self) -> GroupedLoader[tuple[UsageCriteria, Window], list[UsageDayRow]]:
        return GroupedLoader(_page_reader(self._snapshot, usage.usage_pages))

    @cached_property
    def charge(self) -> Loader[Resource, ChargeRow | None]:
        return _by_key(partial(charges.charges_by_ref, self._snapshot))

    @cached_property
    def charge_of_first_row(self) -> Loader[tuple[int, int], ChargeRow | None]:
        return _by_key(partial(charges.charges_by_first_row, self._snapshot))

    @cached_property
    def charge_page(self) -> GroupedLoader[tuple[ChargeCriteria, Window], list[ChargeRow]]:
        return GroupedLoader(_page_reader(self._snapshot, charges.charge_pages))

    @cached_property
    def charge_count(self) -> GroupedLoader[ChargeCriteria, int]:
        return GroupedLoader(partial(charges.charge_counts, self._snapshot))

    @cached_property
    def opened_hold(self) -> Loader[tuple[int, int], HoldRow | None]:
        """By the row that opened it."""
        return _by_key(partial(charges.opened_holds, self._snapshot))

    @cached_property
    def settled_hold(self) -> Loader[tuple[int, int], HoldRow | None]:
        """By the row that settled it."""
        return _by_key(partial(charges.settled_holds, self._snapshot))

    @cached_property
    def auto_recharge(self) -> GroupedLoader[tuple[datetime, datetime], RechargeViewRow | None]:
        """By account and the day that its payments are added up for."""
        return GroupedLoader(partial(recharges.recharge_views, self._snapshot))

    @cached_property
    def key_page(self) -> GroupedLoader[Window, list[ApiKeyRow]]:
        return GroupedLoader(partial(keys.key_pages, self._snapshot))

    @cached_property
    def key_count(self) -> GroupedLoader[None, int]:
        return GroupedLoader(partial(keys.key_counts, self._snapshot))


def _by_key(read: Callable[[list[Key]], Awaitable[dict[Key, Found]]]) -> Loader[Key, Found | None]:
    async def load(keys: list[Key]) -> list[Found | None]:
        found = await read(keys)
        return [found.get(key) for key in keys]

    return Loader(load)


def _criteria_alone(criteria: TransactionCriteria) -> tuple[TransactionCriteria, None]:
    return criteria, None


def _criteria_and_window(arguments: tuple[TransactionCriteria, Window]) -> tuple[TransactionCriteria, Window]:
    return arguments


async def _resource_totals(
    snapshot: Snapshot, wanted: Sequence[Resource], _rest: None
) -> dict[Resource, TransactionTotalsRow]:
    return await resources.resource_totals(snapshot, wanted)


async def _resource_counts(snapshot: Snapshot, wanted: Sequence[Resource], _rest: None) -> dict[Resource, int]:
    return await resources.resource_counts(snapshot, wanted)


def _page_reader(
    snapshot: Snapshot, read: Callable[[Snapshot, Sequence[int], Any, Window], Awaitable[dict[int, Found]]]
) -> Callable[[Sequence[int], Any], Awaitable[dict[int, Found]]]:
    return lambda account_ids, arguments: read(snapshot, account_ids, *arguments)


async def _counts(
    snapshot: Snapshot,
    totals: ResourceLoader[TransactionCriteria, TransactionTotalsRow],
    account_ids: Sequence[int],
    criteria: TransactionCriteria,
) -> dict[int, int]:
    """The totals tell how many rows they are over: where they are asked for too, nothing is read twice."""
    alone = [account_id for account_id in account_ids if not totals.asked_for((account_id, criteria))]
    found = await transactions.transaction_counts(snapshot, alone, criteria) if alone else {}
    try:
        for account_id in account_ids:
            if account_id not in found:
                found[account_id] = (await totals.load((account_id, criteria))).row_count
    except DatabaseError:  # a sum may be out of range: the rows can be counted all the same
        alone = [account_id for account_id in account_ids if account_id not in found]
        found |= await transactions.transaction_counts(snapshot, alone, criteria)
    return found


async def _months(snapshot: Snapshot, keys: list[tuple[int, tuple[str, ...]]]) -> list[list[MonthlyFiguresRow]]:
    """A stretch of months from the first to the last that any key names; a month without data is zeros."""
    account_ids = sorted({account_id for account_id, _ in keys})
    first, last = min(months[0] for _, months in keys), max(months[-1] for _, months in keys)
    found = await accounts.monthly_figures(snapshot, account_ids, first, last)
    return [
        [found.get((account_id, month)) or MonthlyFiguresRow(account_id, month) for month in months]
        for account_id, months in keys
    ]
