"""Dataloaders: reads that siblings ask for one by one, made as one statement.

A key is (account, arguments). Keys of the same arguments are read together, so ten aliased accounts cost as many
statements as one. Loaders live as long as one operation.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Any, TypeVar

from strawberry.dataloader import DataLoader

from db import accounts, transactions, usage
from db.criteria import TransactionCriteria, UsageCriteria, Window
from db.database import Snapshot
from db.rows import AccountRow, MonthlyFiguresRow, TransactionRow, UsageDayRow
from db.transactions import TransactionTotalsRow
from db.usage import UsageTotalsRow

Arguments = TypeVar("Arguments", bound=Hashable)
Found = TypeVar("Found")


def _per_account(
    read: Callable[[Sequence[int], Arguments], Awaitable[dict[int, Found]]],
) -> DataLoader[tuple[int, Arguments], Found]:
    async def load(keys: list[tuple[int, Arguments]]) -> list[Found]:
        groups: dict[Arguments, list[int]] = {}
        for account_id, arguments in keys:
            groups.setdefault(arguments, []).append(account_id)
        found = {arguments: await read(account_ids, arguments) for arguments, account_ids in groups.items()}
        return [found[arguments][account_id] for account_id, arguments in keys]

    return DataLoader(load_fn=load)


class Loaders:
    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self.account: DataLoader[int, AccountRow | None] = DataLoader(load_fn=self._accounts)
        self.transaction: DataLoader[tuple[int, int], TransactionRow | None] = DataLoader(load_fn=self._transactions)
        self.month: DataLoader[tuple[int, str], MonthlyFiguresRow] = DataLoader(load_fn=self._months)
        self.balance_as_of = _per_account(self._reader(transactions.balances_as_of))
        self.transaction_count: DataLoader[tuple[int, TransactionCriteria], int]
        self.transaction_count = _per_account(self._reader(transactions.transaction_counts))
        self.transaction_totals: DataLoader[tuple[int, TransactionCriteria], TransactionTotalsRow]
        self.transaction_totals = _per_account(self._reader(transactions.transaction_totals))
        self.usage_totals: DataLoader[tuple[int, UsageCriteria], tuple[UsageTotalsRow, int]]
        self.usage_totals = _per_account(self._reader(usage.usage_totals))
        self.transaction_page: DataLoader[tuple[int, tuple[TransactionCriteria, Window]], list[TransactionRow]]
        self.transaction_page = _per_account(self._page_reader(transactions.transaction_pages))
        self.usage_page: DataLoader[tuple[int, tuple[UsageCriteria, Window]], list[UsageDayRow]]
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
