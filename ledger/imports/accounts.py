from __future__ import annotations

from collections.abc import Set

from db import usage_writes, writes
from db.database import WriteConnection
from ledger.ids import is_shaped_like_account_id, parse_account_id
from ledger.imports.fields import shown
from ledger.posting import Clock


class NamedAccounts:
    """The ids of the accounts that the files name."""

    def __init__(self, create: bool, clock: Clock) -> None:
        self._create = create
        self._clock = clock
        self.ids: dict[str, int] = {}

    async def find(self, connection: WriteConnection, names: Set[str]) -> int:
        """Looks up unknown names and, if allowed, creates accounts for them. Returns how many accounts were created."""
        missing = names - self.ids.keys()
        if not missing:
            return 0
        await self._find_by_id(connection, missing)
        missing = {name for name in missing if not is_shaped_like_account_id(name)}
        self.ids |= await writes.accounts_by_external_id(connection, missing)
        missing -= self.ids.keys()
        if not (missing and self._create):
            return 0
        await usage_writes.create_accounts(connection, missing, self._clock())
        self.ids |= await writes.accounts_by_external_id(connection, missing)
        return len(missing)

    async def _find_by_id(self, connection: WriteConnection, names: Set[str]) -> None:
        by_id = {account_id: name for name in names if (account_id := parse_account_id(name)) is not None}
        found = await usage_writes.existing_accounts(connection, by_id)
        self.ids |= {by_id[account_id]: account_id for account_id in found}

    def refusal(self, name: str) -> str:
        hint = "" if self._create or is_shaped_like_account_id(name) else " (--create-accounts creates it)"
        return f"there is no account {shown(name)}{hint}"
