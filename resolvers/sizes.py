"""Account sizes: the number of rows of accounts, as last seen by this process. Used for the cost of searches."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

MAX_ACCOUNTS: Final = 10_000


class AccountSizes:
    def __init__(self) -> None:
        self._rows: OrderedDict[int, int] = OrderedDict()

    def note(self, account_id: int, rows: int) -> None:
        self._rows[account_id] = rows
        self._rows.move_to_end(account_id)
        if len(self._rows) > MAX_ACCOUNTS:
            self._rows.popitem(last=False)

    def rows(self, account_id: int | None) -> int:
        """Returns the number of rows of the account; 0 if it has not been seen yet.

        Without an account, returns the number for the account that was read last, because a key for all accounts reads
        one account after another.
        """
        if account_id is None:
            return self._rows[next(reversed(self._rows))] if self._rows else 0
        return self._rows.get(account_id, 0)
