"""Moved accounts: what a process knows of accounts that are not on the shard that their ids name (docs/decisions/0017).

Each shard has the accounts that left it, and the moves that have begun. A process that has looked knows for
LEASE_SECONDS that no other account leaves: a move begins by an announcement, and waits longer than that before the
account can be elsewhere. So reads need no statement for it, except reads of an account that is being moved.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Sequence
from math import inf
from typing import Any, Final, NamedTuple, Protocol

from sqlalchemy import Executable, String, null, select, union_all, update
from sqlalchemy.ext.asyncio import AsyncConnection

from db import tables
from db.shard_tables import account_moves, moved_accounts

LEASE_SECONDS: Final = 3.0
LOOK_SECONDS: Final = 1.0
"""How often a gateway looks."""
ANNOUNCED_SECONDS: Final = 2 * LEASE_SECONDS
"""Time from the announcement of a move to the moment from which the account can be elsewhere."""
MAX_TRIES: Final = 5

LEAVING: Final = "leaving"
ARRIVING: Final = "arriving"


class Moved(NamedTuple):
    """The account is, or was, on this shard."""

    number: int
    moves: int
    """How often the account was moved: of two shards, the one with the larger number knows better."""


class PendingMove(NamedTuple):
    """A move that has begun."""

    direction: str
    number: int
    """The other shard."""
    moves: int


class Member(Protocol):
    """A database, as far as it is looked at."""

    async def read_live(self, statement: Executable, parameters: dict[str, Any]) -> Sequence[Any]: ...

    def write(self) -> Any: ...


_LOOK: Final = union_all(
    select(moved_accounts.c.account_id, null().cast(String()), moved_accounts.c.number, moved_accounts.c.moves),
    select(account_moves.c.account_id, account_moves.c.direction, account_moves.c.number, account_moves.c.moves),
)


class _Known:
    """Accounts and moves that were seen on one shard."""

    def __init__(self) -> None:
        self.moved: dict[int, Moved] = {}
        self.running: dict[int, PendingMove] = {}
        self.noted: dict[int, float] = {}
        """When each of `moved` was seen as it is: a moment at which it was so already."""
        self.looked_at = -inf
        """When the newest look began."""
        self.looking = asyncio.Lock()

    @property
    def is_current(self) -> bool:
        return time.monotonic() < self.looked_at + LEASE_SECONDS

    def is_guest(self, number: int) -> bool:
        """Returns whether accounts have been moved to the shard with this number, whose list it is."""
        return any(one.number == number for one in self.moved.values())


class MovedAccounts:
    def __init__(self, databases: Sequence[Member], ids_per_shard: int) -> None:
        self._databases = databases
        self._ids_per_shard = ids_per_shard
        self._known = [_Known() for _ in databases]
        self.version = 0
        """Changes with everything that becomes known."""

    def shard_of(self, account_id: int) -> int:
        """Returns the account's shard, as far as is known. Reads must be confirmed."""
        return self.place_of(account_id).number

    def place_of(self, account_id: int) -> Moved:
        """Returns the account's shard and how often it was moved, as far as is known."""
        place = Moved(self._home_of(account_id), 0)
        while (moved := self._known[place.number].moved.get(account_id)) is not None and moved.moves > place.moves:
            was, place = place.number, moved
            if place.number == was:
                break
        return place

    def _home_of(self, account_id: int) -> int:
        number = account_id // self._ids_per_shard
        return number if number < len(self._databases) else 0

    @property
    def hosts(self) -> list[int]:
        """The shards that accounts were moved to."""
        return [number for number, known in enumerate(self._known) if known.is_guest(number)]

    def has_announced(self, account_id: int, number: int) -> bool:
        """Returns whether the account may leave the shard at any time, as far as is known."""
        known = self._known[number]
        return not known.is_current or account_id in known.running

    def arrival(self, account_id: int, number: int) -> float | None:
        """Returns a time of `time.monotonic` by which all of the account was on the shard, -inf if it was never on
        another one; None if it may be elsewhere now, or about to leave.

        The same time before and after a read tells that the account was on the shard all the while, and has not left
        it since that time.
        """
        if self.has_announced(account_id, number):
            return None
        known = self._known[number]
        moved = known.moved.get(account_id)
        if moved is None:
            return -inf if self._home_of(account_id) == number else None
        return known.noted[account_id] if moved.number == number else None

    async def confirm(self, used: Iterable[tuple[int, Moved]]) -> bool:
        """Returns whether the accounts were where they were read. Each is given with its place before the read, and
        this is called after it: an account that was moved away and back meanwhile is not confirmed."""
        by_shard: dict[int, dict[int, Moved]] = {}
        for account_id, place in used:
            by_shard.setdefault(place.number, {})[account_id] = place
        for number, places in by_shard.items():
            known, now = self._known[number], time.monotonic()
            if not known.is_current or not known.running.keys().isdisjoint(places):
                await self.look(number, now)
            for account_id, place in places.items():
                if account_id in known.running and await self._has_arrived(account_id, number):
                    return False
                if self.place_of(account_id) != place:
                    return False
        return True

    async def confirm_all(self, version: int) -> bool:
        """Returns whether nothing became known since this version, for reads of lists of all accounts."""
        for number, known in enumerate(self._known):
            if not known.is_current or known.running:
                await self.look(number, time.monotonic())
        return self.version == version

    async def look_at_all(self) -> None:
        """Looks at all shards. Raises the last DatabaseError, after all others were looked at."""
        found = await asyncio.gather(
            *(self.look(number, time.monotonic()) for number in range(len(self._databases))), return_exceptions=True
        )
        for failure in found:
            if isinstance(failure, BaseException):
                raise failure

    async def look(self, number: int, since: float) -> None:
        """Looks at the shard, unless another look began after `since`. Raises DatabaseError."""
        known = self._known[number]
        async with known.looking:
            if known.looked_at >= since:
                return
            began = time.monotonic()
            moved: dict[int, Moved] = {}
            running: dict[int, PendingMove] = {}
            for account_id, direction, other, moves in await self._databases[number].read_live(_LOOK, {}):
                if direction is None:
                    moved[account_id] = Moved(other, moves)
                else:
                    running[account_id] = PendingMove(direction, other, moves)
            if (moved, running) != (known.moved, known.running):
                self.version += 1
                now, before = time.monotonic(), known.moved
                known.noted = {one: known.noted[one] if before.get(one) == moved[one] else now for one in moved}
            known.moved, known.running, known.looked_at = moved, running, began

    async def find(self, account_id: int) -> int:
        """Looks where the account is. Returns its shard, on which it can be used: if its move was broken off in its
        last moment, it is put there. Raises DatabaseError."""
        number, moves = self._home_of(account_id), 0
        while True:
            await self.look(number, time.monotonic())
            moved = self._known[number].moved.get(account_id)
            if moved is None or moved.moves <= moves or moved.number == number:
                await self._has_arrived(account_id, number)
                return number
            number, moves = moved

    async def find_all(self, number: int, account_ids: Iterable[int]) -> None:
        """Looks where accounts are that were on this shard, as far as was known, if one of them was not found there.
        Raises DatabaseError."""
        await self.look_at_all()
        for account_id in account_ids:
            if self.shard_of(account_id) != number or self.has_announced(account_id, number):
                await self.find(account_id)

    async def _has_arrived(self, account_id: int, number: int) -> bool:
        """Puts the account on the shard if it has left the other one for it. Returns whether it did."""
        move = self._known[number].running.get(account_id)
        if move is None or move.direction != ARRIVING:
            return False
        await self.look(move.number, time.monotonic())
        if self._known[move.number].moved.get(account_id) != (number, move.moves):
            return False
        await put_here(self._databases[number], account_id, number, move)
        await self.look(number, time.monotonic())
        return True


_ACCOUNT: Final = tables.accounts
_KEY: Final = tables.api_keys


async def hold_here(connection: AsyncConnection, account_id: int) -> bool:
    """Locks the account only against leaving this shard. Returns whether it is here."""
    held = select(_ACCOUNT.c.shard).where(_ACCOUNT.c.id == account_id).with_for_update(read=True, key_share=True)
    found = (await connection.execute(held)).first()
    return found is not None and found[0] is None


async def mark(connection: AsyncConnection, account_id: int, shard: int | None) -> None:
    """Marks the account and its keys as being on another shard, or with None as being here."""
    await connection.execute(update(_ACCOUNT).where(_ACCOUNT.c.id == account_id).values(shard=shard))
    await connection.execute(update(_KEY).where(_KEY.c.account_id == account_id).values(shard=shard))


async def store_place(connection: AsyncConnection, account_id: int, moved: Moved) -> None:
    """Stores where the account is, in the place of what was stored before."""
    await connection.execute(moved_accounts.delete().where(moved_accounts.c.account_id == account_id))
    await connection.execute(moved_accounts.insert().values(account_id=account_id, **moved._asdict()))


async def put_here(database: Member, account_id: int, number: int, move: PendingMove) -> None:
    """Ends a move to this shard, whose number is `number`: the account has left the other one. Does nothing if that
    was done."""
    is_move = (
        account_moves.c.account_id == account_id,
        account_moves.c.direction == ARRIVING,
        account_moves.c.moves == move.moves,
    )
    async with database.write() as connection:
        # Locks the account first, as all writes do.
        locked = select(_ACCOUNT.c.id).where(_ACCOUNT.c.id == account_id).with_for_update(key_share=True)
        await connection.execute(locked)
        if (await connection.execute(account_moves.delete().where(*is_move))).rowcount == 0:
            return
        await mark(connection, account_id, None)
        await store_place(connection, account_id, Moved(number, move.moves))
