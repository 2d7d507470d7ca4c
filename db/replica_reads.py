"""Reads from replicas: which of them may answer a key, and whether its answer counts.

With shards, replicas answer keys of one account only, because a position tells of one primary. A replica of a shard may
lack an account that was moved there, or have a part of it. So it is read only if it has all that was committed when
the account had arrived. Where the account is, the primary tells (`db/moved_accounts.py`): that is known before the
read, and must be the same after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf
from typing import Any

from db.connections.readers import Readers
from db.connections.replicas import Replicas, SeenUntil
from db.database import Database


def _arrival(database: Database, account_id: int | None) -> float | None:
    """Returns the time since which all of the account has been on the database; None if that is not certain."""
    place = database.place
    if place is None:
        return -inf
    return None if account_id is None else place.shards.moved.arrival(account_id, place.number)


def _number(database: Database) -> int | None:
    return None if database.place is None else database.place.number


@dataclass(frozen=True, slots=True)
class ReplicaRead:
    readers: Readers[Any]
    _replicas: Replicas
    _database: Database
    _account_id: int | None
    _arrival: float

    @property
    def counts(self) -> bool:
        """After the read: whether the account was on the shard all the while."""
        return _arrival(self._database, self._account_id) == self._arrival

    def leave_out(self, error: Exception) -> None:
        self._replicas.leave_out(self.readers, error)


def replica_read(database: Database, account_id: int | None, seen: SeenUntil | None) -> ReplicaRead | None:
    """Returns the read of a replica that has what a client has seen; None if the primary must be read. `account_id` is
    the account of the client's key."""
    replicas = database.replicas
    if replicas is None or seen is None or (seen.timeline and seen.shard != _number(database)):
        return None
    arrival = _arrival(database, account_id)
    if arrival is None:
        return None
    readers = replicas.readers_for(seen, arrival)
    return None if readers is None else ReplicaRead(readers, replicas, database, account_id, arrival)


async def newest_position(database: Database, account_id: int | None) -> SeenUntil | None:
    """Returns what an answer that is there now can show at most to a key of the account; None if that is not known, or
    not of one primary."""
    if database.replicas is None or (database.place is not None and account_id is None):
        return None
    seen = await database.replicas.position()
    return None if seen is None else seen._replace(shard=_number(database))
