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


def _per_account(
    read: Callable[[Sequence[int], Arguments], Awaitable[dict[int, Found]]],
) -> Loader[tuple[int, Arguments], Found]:
    async def load(keys: list[tuple[int, Arguments]]) -> list[Found]:
        groups: dict[Arguments, list[int]] = {}
        for account_id, arguments in keys:
            groups.setdefault(arguments, []).append(account_id)
        if len(groups) == 1:
            (arguments, account_ids), *_ = groups.items()
            of_one = await read(account_ids, arguments)
            return [of_one[account_id] for account_id, _ in keys]
        found = await asyncio.gather(*(read(account_ids, arguments) for arguments, account_ids in groups.items()))
        by_arguments = dict(zip(groups, found, strict=True))
        return [by_arguments[arguments][account_id] for account_id, arguments in keys]

    return Loader(load)


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
    def balance_as_of(self) -> Loader[tuple[int, datetime], int]:
        return _per_account(partial(transactions.balances_as_of, self._snapshot))

    @cached_property
    def transaction_count(self) -> Loader[tuple[int, TransactionCriteria], int]:
        return _per_account(partial(transactions.transaction_counts, self._snapshot))

    @cached_property
    def transaction_totals(self) -> Loader[tuple[int, TransactionCriteria], TransactionTotalsRow]:
        return _per_account(partial(transactions.transaction_totals, self._snapshot))

    @cached_property
    def usage_totals(self) -> Loader[tuple[int, UsageCriteria], tuple[UsageTotalsRow, int]]:
        return _per_account(partial(usage.usage_totals, self._snapshot))

    @cached_property
    def transaction_page(self) -> Loader[tuple[int, tuple[TransactionCriteria, Window]], list[TransactionRow]]:
        return _per_account(_page_reader(self._snapshot, transactions.transaction_pages))

    @cached_property
    def usage_page(self) -> Loader[tuple[int, tuple[UsageCriteria, Window]], list[UsageDayRow]]:
        return _per_account(_page_reader(self._snapshot, usage.usage_pages))


def _page_reader(
    snapshot: Snapshot, read: Callable[[Snapshot, Sequence[int], Any, Window], Awaitable[dict[int, Found]]]
) -> Callable[[Sequence[int], Any], Awaitable[dict[int, Found]]]:
    return lambda account_ids, arguments: read(snapshot, account_ids, *arguments)


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
