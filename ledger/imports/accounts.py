from __future__ import annotations

from collections.abc import Collection, Set
from typing import Final

from db import usage_writes, writes
from db.database import Database, WriteConnection
from db.shards import databases_of, shard_numbered
from ledger.ids import is_shaped_like_account_id, parse_account_id
from ledger.imports.fields import shown
from ledger.placement import place_external_ids
from ledger.posting import Clock, Ledger

_PLACED_AT_ONCE: Final = 200
"""Other accounts are not created meanwhile."""


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
        unknown = await self._look_up(connection, missing)
        new = {name for name in unknown if not is_shaped_like_account_id(name)}
        if not (new and self._create):
            return 0
        await self._create_accounts(connection, new)
        return len(new)

    async def find_on_shards(self, database: Database, names: Set[str]) -> int:
        """Does the same in transactions of all shards of the set. Creates each account on its shard."""
        missing: Set[str] = names - self.ids.keys()
        for shard in databases_of(database):
            if missing:
                async with shard.write() as connection:
                    missing = await self._look_up(connection, missing)
        new = sorted(name for name in missing if not is_shaped_like_account_id(name))
        if not (new and self._create):
            return 0
        ledger = Ledger(database, self._clock)
        for start in range(0, len(new), _PLACED_AT_ONCE):
            placed = await place_external_ids(ledger, new[start : start + _PLACED_AT_ONCE])
            for number, some in placed.items():
                async with shard_numbered(database, number).write() as connection:
                    await self._create_accounts(connection, some)
        return len(new)

    async def _look_up(self, connection: WriteConnection, names: Set[str]) -> Set[str]:
        """Returns the names that are not found."""
        await self._find_by_id(connection, names)
        external_ids = {name for name in names if not is_shaped_like_account_id(name)}
        self.ids |= await writes.accounts_by_external_id(connection, external_ids)
        return names - self.ids.keys()

    async def _create_accounts(self, connection: WriteConnection, names: Collection[str]) -> None:
        await usage_writes.create_accounts(connection, names, self._clock())
        self.ids |= await writes.accounts_by_external_id(connection, names)

    async def _find_by_id(self, connection: WriteConnection, names: Set[str]) -> None:
        by_id = {account_id: name for name in names if (account_id := parse_account_id(name)) is not None}
        found = await usage_writes.existing_accounts(connection, by_id)
        self.ids |= {by_id[account_id]: account_id for account_id in found}

    def refusal(self, name: str) -> str:
        hint = "" if self._create or is_shaped_like_account_id(name) else " (--create-accounts creates it)"
        return f"there is no account {shown(name)}{hint}"
