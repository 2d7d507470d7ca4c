"""Shards: databases that share the accounts. An id says on which shard its row is (docs/decisions/0017)."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Generic, Protocol, TypeVar

from sqlalchemy import Column, ScalarSelect, func, select

from db import moved_accounts
from db.moved_accounts import MovedAccounts

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

MAX_SHARDS: Final = 64
IDS_PER_SHARD: Final = 10**12
PLACE: Final = "place"
"""The option of a write's connection that has the database's place."""


class Shard(moved_accounts.Member, Protocol):
    """A database, as far as its place matters."""

    place: Place[Any] | None


Member = TypeVar("Member", bound=Shard)
Part = TypeVar("Part")


def shard_of_id(number: int) -> int:
    """Returns the shard of an account, key, audit entry or Stripe event with this number."""
    return number // IDS_PER_SHARD


def shard_of_text(text: str) -> int:
    """Returns the shard that a random text, such as a key's prefix, stands for. The text may be older than the set."""
    return zlib.crc32(text.encode()) % MAX_SHARDS


def member_of(members: Sequence[Part], number: int) -> Part:
    """Returns the part of the set that stands for the shard that gave a row this number. A row of a shard that does not
    exist is not found on shard 0 either."""
    shard = shard_of_id(number)
    return members[shard if shard < len(members) else 0]


@dataclass(frozen=True, slots=True)
class Shards(Generic[Member]):
    databases: tuple[Member, ...]
    moved: MovedAccounts

    def of_id(self, number: int) -> Member:
        """Returns the database that has the row with this number, if any has."""
        return member_of(self.databases, number)

    def of_text(self, text: str) -> tuple[Member, ...]:
        """Returns the databases that may have a random text, the likeliest first."""
        shard, first = shard_of_text(text), self.databases[0]
        return (self.databases[shard], first) if 0 < shard < len(self.databases) else (first,)


@dataclass(frozen=True, slots=True)
class Place(Generic[Member]):
    """The place of a database in its set."""

    number: int
    shards: Shards[Member]

    @property
    def first_id(self) -> int:
        """Returns the number before those that the shard gives."""
        return self.number * IDS_PER_SHARD

    def fits(self, text: str) -> bool:
        """Returns whether a new random text stands for this shard. Those of shard 0 must stand for no other."""
        shard = shard_of_text(text)
        return (shard if shard < len(self.shards.databases) else 0) == self.number


def join(databases: Sequence[Member]) -> None:
    """Tells the databases that they are a set."""
    shards = Shards(tuple(databases), MovedAccounts(databases, IDS_PER_SHARD))
    for number, database in enumerate(databases):
        database.place = Place(number, shards)


def place_of(connection: AsyncConnection) -> Place[Any] | None:
    """Returns the place of the database that a transaction writes to; None if it belongs to no set."""
    assert connection.sync_connection is not None
    found: Place[Any] | None = connection.sync_connection.get_execution_options().get(PLACE)
    return found


def number_of(database: Member) -> int:
    """Returns the database's number in its set; 0 without a set."""
    return 0 if database.place is None else database.place.number


def databases_of(database: Member) -> tuple[Member, ...]:
    """Returns all databases of the set, or the only one."""
    found: tuple[Member, ...] = (database,) if database.place is None else database.place.shards.databases
    return found


def home_of(database: Member, number: int) -> Member:
    """Returns the database of the set that has the row with this number."""
    found: Member = database if database.place is None else database.place.shards.of_id(number)
    return found


def account_shard(database: Member, account_id: int) -> Member:
    """Returns the database of the set that has the account, as far as is known."""
    place = database.place
    found: Member = database if place is None else place.shards.databases[place.shards.moved.shard_of(account_id)]
    return found


async def found_account(database: Member, account_id: int) -> Member:
    """Looks for the account, and returns the database of the set that has it. Raises DatabaseError."""
    place = database.place
    found: Member = database if place is None else place.shards.databases[await place.shards.moved.find(account_id)]
    return found


def by_home(database: Member, numbers: Iterable[int]) -> list[tuple[Member, list[int]]]:
    """Returns the databases of the set that have some of these rows, each with the numbers of its own."""
    found: dict[int, tuple[Member, list[int]]] = {}
    for number in numbers:
        home = home_of(database, number)
        found.setdefault(id(home), (home, []))[1].append(number)
    return list(found.values())


def shard_numbered(database: Member, number: int) -> Member:
    """Returns the database of the shard."""
    found: Member = database if database.place is None else database.place.shards.databases[number]
    return found


def with_id(connection: AsyncConnection, column: Column[int]) -> dict[str, Any]:
    """Returns the value of the id of a new row, if the database does not give it by itself.

    SQLite counts on from the largest one, which may have come from another shard: so it is given, from the shard's own.
    PostgreSQL has sequences, which start where the shard's numbers do.
    """
    place = place_of(connection)
    if place is None or connection.dialect.name == "postgresql":
        return {}
    largest = largest_id(place, column)
    return {column.name: select(func.coalesce(largest, place.first_id) + 1).scalar_subquery()}


def largest_id(place: Place[Any], column: Column[int]) -> ScalarSelect[Any]:
    """The largest number that the shard has given, of the rows that it has."""
    own = column.between(place.first_id + 1, place.first_id + IDS_PER_SHARD)
    return select(func.max(column)).where(own).scalar_subquery()
