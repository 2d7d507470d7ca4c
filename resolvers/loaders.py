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

from db import accounts, transactions, usage
from db.criteria import TransactionCriteria, UsageCriteria, Window
from db.errors import DatabaseError
from db.rows import AccountRow, MonthlyFiguresRow, TransactionRow, UsageDayRow
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
        return Loader(partial(_accounts, self._snapshot))

    @cached_property
    def transaction(self) -> Loader[tuple[int, int], TransactionRow | None]:
        return Loader(partial(_transactions, self._snapshot))

    @cached_property
    def months(self) -> Loader[tuple[int, tuple[str, ...]], list[MonthlyFiguresRow]]:
        return Loader(partial(_months, self._snapshot))

    @cached_property
    def balance_as_of(self) -> GroupedLoader[datetime, int]:
        return GroupedLoader(partial(transactions.balances_as_of, self._snapshot))

    @cached_property
    def transaction_count(self) -> GroupedLoader[TransactionCriteria, int]:
        return GroupedLoader(partial(_counts, self._snapshot, self.transaction_totals))

    @cached_property
    def transaction_totals(self) -> GroupedLoader[TransactionCriteria, TransactionTotalsRow]:
        return GroupedLoader(partial(transactions.transaction_totals, self._snapshot))

    @cached_property
    def usage_totals(self) -> GroupedLoader[UsageCriteria, tuple[UsageTotalsRow, int]]:
        return GroupedLoader(partial(usage.usage_totals, self._snapshot))

    @cached_property
    def transaction_page(self) -> GroupedLoader[tuple[TransactionCriteria, Window], list[TransactionRow]]:
        return GroupedLoader(_page_reader(self._snapshot, transactions.transaction_pages))

    @cached_property
    def usage_page(self) -> GroupedLoader[tuple[UsageCriteria, Window], list[UsageDayRow]]:
        return GroupedLoader(_page_reader(self._snapshot, usage.usage_pages))


def _page_reader(
    snapshot: Snapshot, read: Callable[[Snapshot, Sequence[int], Any, Window], Awaitable[dict[int, Found]]]
) -> Callable[[Sequence[int], Any], Awaitable[dict[int, Found]]]:
    return lambda account_ids, arguments: read(snapshot, account_ids, *arguments)


async def _counts(
    snapshot: Snapshot,
    totals: GroupedLoader[TransactionCriteria, TransactionTotalsRow],
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


async def _accounts(snapshot: Snapshot, account_ids: list[int]) -> list[AccountRow | None]:
    found = await accounts.accounts_by_id(snapshot, account_ids)
    return [found.get(account_id) for account_id in account_ids]


async def _transactions(snapshot: Snapshot, ids: list[tuple[int, int]]) -> list[TransactionRow | None]:
    found = await transactions.transactions_by_id(snapshot, ids)
    return [found.get(one) for one in ids]


async def _months(snapshot: Snapshot, keys: list[tuple[int, tuple[str, ...]]]) -> list[list[MonthlyFiguresRow]]:
    """A stretch of months from the first to the last that any key names; a month without data is zeros."""
    account_ids = sorted({account_id for account_id, _ in keys})
    first, last = min(months[0] for _, months in keys), max(months[-1] for _, months in keys)
    found = await accounts.monthly_figures(snapshot, account_ids, first, last)
    return [
        [found.get((account_id, month)) or MonthlyFiguresRow(account_id, month) for month in months]
        for account_id, months in keys
    ]
