"""Reads of an operation over several shards: each account's from the shard that has it (docs/decisions/0017)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from db.connections.snapshots import Snapshot
from db.shards import member_of
from resolvers.loaders import Loaders


class _Routed:
    """A loader that hands each key to the loader of its account's shard."""

    def __init__(self, loaders: Sequence[Any]) -> None:
        self._loaders = loaders

    def asked_for(self, key: Any) -> bool:
        return bool(self._of(key).asked_for(key))

    def load(self, key: Any) -> asyncio.Future[Any]:
        found: asyncio.Future[Any] = self._of(key).load(key)
        return found

    def know(self, key: Any, found: Any) -> None:
        self._of(key).know(key, found)

    def _of(self, key: Any) -> Any:
        return member_of(self._loaders, key[0] if isinstance(key, tuple) else key)


class ShardLoaders:
    """Stands for `Loaders`: the key of each begins with the account."""

    def __init__(self, snapshots: Sequence[Snapshot]) -> None:
        self._each = [Loaders(snapshot) for snapshot in snapshots]

    def __getattr__(self, name: str) -> _Routed:
        made = _Routed([getattr(loaders, name) for loaders in self._each])
        setattr(self, name, made)
        return made
