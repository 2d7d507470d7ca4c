"""Reads of an operation over several shards: each account's from the shard that has it (docs/decisions/0017)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from db.connections.snapshots import Snapshot
from db.moved_accounts import Moved, MovedAccounts
from resolvers.loaders import Loaders


class AccountRoutes:
    """The shards that an operation has read accounts on. What it has read is valid once that is confirmed."""

    def __init__(self, moved: MovedAccounts, account_id: int | None = None, number: int = 0) -> None:
        """`account_id` is the account of the caller's key, whose shard is `number`."""
        self._moved = moved
        self._used: dict[int, Moved] = {}
        if account_id is not None and self.of(account_id) != number:
            # It has just been moved: what is read here is not confirmed.
            self._used[account_id] = Moved(number, -1)
        self._version: int | None = None
        """Set if lists of all accounts were read."""

    def of(self, account_id: int) -> int:
        """Returns the account's shard, the same each time."""
        place = self._used.get(account_id)
        if place is None:
            place = self._used[account_id] = self._moved.place_of(account_id)
        return place.number

    def hosts(self) -> list[int]:
        """Returns the shards that accounts were moved to, for a list of all accounts."""
        if self._version is None:
            self._version = self._moved.version
        return self._moved.hosts

    async def confirm(self) -> bool:
        """Returns whether everything was read where it was at that time. If not, it must be read again. Raises
        DatabaseError."""
        if self._version is not None and not await self._moved.confirm_all(self._version):
            return False
        return await self._moved.confirm(self._used.items())


class _Routed:
    """A loader that hands each key to the loader of its account's shard."""

    def __init__(self, loaders: Sequence[Any], routes: AccountRoutes) -> None:
        self._loaders = loaders
        self._routes = routes

    def asked_for(self, key: Any) -> bool:
        return bool(self._of(key).asked_for(key))

    def load(self, key: Any) -> asyncio.Future[Any]:
        found: asyncio.Future[Any] = self._of(key).load(key)
        return found

    def know(self, key: Any, found: Any) -> None:
        self._of(key).know(key, found)

    def _of(self, key: Any) -> Any:
        return self._loaders[self._routes.of(key[0] if isinstance(key, tuple) else key)]


class ShardLoaders:
    """Stands for `Loaders`: the key of each begins with the account."""

    def __init__(self, snapshots: Sequence[Snapshot], routes: AccountRoutes) -> None:
        self._each = [Loaders(snapshot) for snapshot in snapshots]
        self._routes = routes

    def __getattr__(self, name: str) -> _Routed:
        made = _Routed([getattr(loaders, name) for loaders in self._each], self._routes)
        setattr(self, name, made)
        return made
