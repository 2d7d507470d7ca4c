"""Dataloaders: reads that siblings ask for one by one, made as one statement.

A key is (account, arguments). Keys of the same arguments are read together, so ten aliased accounts cost as many
statements as one. Loaders live as long as one operation.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
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
    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self.account: Loader[int, AccountRow | None] = Loader(self._accounts)
        self.transaction: Loader[tuple[int, int], TransactionRow | None] = Loader(self._transactions)
        self.month: Loader[tuple[int, str], MonthlyFiguresRow] = Loader(self._months)
        self.balance_as_of = _per_account(self._reader(transactions.balances_as_of))
        self.transaction_count: Loader[tuple[int, TransactionCriteria], int]
        self.transaction_count = _per_account(self._reader(transactions.transaction_counts))
        self.transaction_totals: Loader[tuple[int, TransactionCriteria], TransactionTotalsRow]
        self.transaction_totals = _per_account(self._reader(transactions.transaction_totals))
        self.usage_totals: Loader[tuple[int, UsageCriteria], tuple[UsageTotalsRow, int]]
        self.usage_totals = _per_account(self._reader(usage.usage_totals))
        self.transaction_page: Loader[tuple[int, tuple[TransactionCriteria, Window]], list[TransactionRow]]
        self.transaction_page = _per_account(self._page_reader(transactions.transaction_pages))
        self.usage_page: Loader[tuple[int, tuple[UsageCriteria, Window]], list[UsageDayRow]]
        self.usage_page = _per_account(self._page_reader(usage.usage_pages))

    def _reader(
        self, read: Callable[[Snapshot, Sequence[int], Any], Awaitable[dict[int, Found]]]
    ) -> Callable[[Sequence[int], Any], Awaitable[dict[int, Found]]]:
        return lambda account_ids, arguments: read(self._snapshot, account_ids, arguments)

    def _page_reader(
        self, read: Callable[[Snapshot, Sequence[int], Any, Window], Awaitable[dict[int, Found]]]
    ) -> Callable[[Sequence[int], Any], Awaitable[dict[int, Found]]]:
        return lambda account_ids, arguments: read(self._snapshot, account_ids, *arguments)

    async def _accounts(self, account_ids: list[int]) -> list[AccountRow | None]:
        found = await accounts.accounts_by_id(self._snapshot, account_ids)
        return [found.get(account_id) for account_id in account_ids]

    async def _transactions(self, ids: list[tuple[int, int]]) -> list[TransactionRow | None]:
        found = await transactions.transactions_by_id(self._snapshot, ids)
        return [found.get(one) for one in ids]

    async def _months(self, keys: list[tuple[int, str]]) -> list[MonthlyFiguresRow]:
        months = [month for _, month in keys]
        account_ids = sorted({account_id for account_id, _ in keys})
        found = await accounts.monthly_figures(self._snapshot, account_ids, min(months), max(months))
        return [found.get(key) or MonthlyFiguresRow(*key) for key in keys]
