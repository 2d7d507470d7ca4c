"""Query context: what all reads of one operation share."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from contextvars import ContextVar
from datetime import datetime
from typing import Final, cast

from access.keys import OF_ACCOUNTS, KeyScope, Principal
from db.connections.snapshots import Snapshot
from db.feed.feed import ChangeFeed
from ledger.errors import BadUserInput, Forbidden, NotFound, QueryTooComplex
from ledger.ids import parse_account_id
from resolvers.loaders import Loaders
from resolvers.shards import AccountRoutes, ShardLoaders
from resolvers.sizes import AccountSizes

MAX_NESTED_ROWS: Final = 10_000

named_accounts: ContextVar[set[int] | None] = ContextVar("named_accounts", default=None)
"""Accounts that the arguments of the current request name, two at most: for its line in the log."""

_KEEPERS: Final = frozenset({KeyScope.MANAGE, KeyScope.OPERATOR})


class QueryContext:
    """One snapshot, its loaders, the time of the request and the caller. Created for each operation."""

    sizes: AccountSizes | None = None
    """Records the number of rows of accounts that are read; None if it is not needed."""
    nested_rows = 0
    """Rows requested so far in lists nested in other lists."""
    others: Sequence[Snapshot] = ()
    """Snapshots of the shards after the first, if the key has accounts on all of them."""
    routes: AccountRoutes | None = None
    """Given with `others`."""

    def __init__(
        self,
        snapshot: Snapshot,
        principal: Principal,
        now: datetime,
        *,
        has_payments: bool = False,
        sizes: AccountSizes | None = None,
        others: Sequence[Snapshot] = (),
        routes: AccountRoutes | None = None,
    ) -> None:
        self.snapshot = snapshot
        self.others = others
        self.routes = routes
        self.sizes = sizes
        self.principal = principal
        self.now = now
        self.has_payments = has_payments
        """Whether payments through Stripe are configured."""
        self.loaders = Loaders(snapshot) if routes is None else cast("Loaders", ShardLoaders(self.snapshots, routes))

    @property
    def snapshots(self) -> Sequence[Snapshot]:
        """Returns those of all shards, in their order."""
        return (self.snapshot, *self.others)

    def snapshot_of(self, account_id: int) -> Snapshot:
        """Returns the snapshot of the account's shard."""
        return self.snapshot if self.routes is None else self.snapshots[self.routes.of(account_id)]

    def hosts(self) -> Sequence[int]:
        """Returns the shards that accounts were moved to, for a list of all accounts."""
        return () if self.routes is None else self.routes.hosts()

    async def answered(self) -> None:
        """Waits until all reads requested so far are answered."""
        if self.others:
            await asyncio.gather(*(one.settled() for one in self.snapshots))
        else:
            await self.snapshot.settled()

    def reads_held(self) -> AbstractContextManager[None]:
        """Returns the context manager within which reads are requested but not sent, however long that takes."""
        if not self.others:
            return self.snapshot.held()
        return _all_held(self.snapshots)

    def account_in_scope(self, account_id: str | None, argument: str = "id") -> int:
        """Returns the number of the account that a read is for. All account arguments must go through this method.

        Raises NotFound for an account that the key does not cover, whether it exists or not, and BadUserInput if the
        key covers several accounts and none is named.
        """
        principal = self.principal
        if account_id is None:
            if principal.account_id is None:
                scope = principal.scope.value.upper()
                msg = f"{argument} is required: a key of scope {scope} has no account of its own"
                raise BadUserInput(msg)
            return principal.account_id
        number = parse_account_id(account_id)
        if number is None or not covers(principal, number):
            raise NotFound("there is no such account")
        _note(number)
        return number

    def take_nested_rows(self, count: int) -> None:
        """Counts rows of nested lists. Raises QueryTooComplex if an operation asks for too many, since nested lists
        multiply."""
        self.nested_rows += count
        if self.nested_rows > MAX_NESTED_ROWS:
            msg = (
                f"nested lists ask for more than {MAX_NESTED_ROWS} rows in all: ask for fewer objects, or set a"
                " smaller first on their lists"
            )
            raise QueryTooComplex(msg)

    def require_keeper(self) -> None:
        """Raises Forbidden if the key may not manage keys."""
        if self.principal.scope not in _KEEPERS:
            raise Forbidden("this requires a manage key or an operator key")

    def require_operator(self) -> None:
        if self.principal.scope != KeyScope.OPERATOR:
            raise Forbidden("this requires an operator key")


class SubscriptionContext(QueryContext):
    """The context in which a subscription is opened."""

    def __init__(
        self,
        snapshot: Snapshot,
        principal: Principal,
        now: datetime,
        changes_of: Callable[[int], ChangeFeed],
        resume_after: str | None,
        others: Sequence[Snapshot] = (),
        routes: AccountRoutes | None = None,
    ) -> None:
        super().__init__(snapshot, principal, now, others=others, routes=routes)
        self.changes_of = changes_of
        """Returns the change feed of an account."""
        self.resume_after = resume_after
        """The cursor of the last event that the client received, as its transport reports it. Used instead of
        `after`."""


@contextmanager
def _all_held(snapshots: Sequence[Snapshot]) -> Iterator[None]:
    with ExitStack() as held:
        for one in snapshots:
            held.enter_context(one.held())
        yield


def _note(account_id: int) -> None:
    named = named_accounts.get()
    if named is not None and len(named) < 2:
        named.add(account_id)


def covers(principal: Principal, account_id: int) -> bool:
    """Returns whether the key may read the account."""
    if principal.scope in OF_ACCOUNTS:
        return principal.account_id == account_id
    return principal.account_ids is None or account_id in principal.account_ids
