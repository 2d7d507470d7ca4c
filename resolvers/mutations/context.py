"""Mutation context: what every field of one mutation shares."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from access.keys import KeyScope, Principal, ServiceOperation, acting_key
from db.connections.snapshots import NothingToRead, Snapshot
from db.database import Database
from db.moved_accounts import MAX_TRIES
from ledger.attribution import NOBODY, Attribution
from ledger.audit import Actor
from ledger.commands import Command, Outcome, Posting, Writer
from ledger.errors import Forbidden, NotFound, Unauthenticated
from ledger.kinds import WriterKind
from ledger.metering import MeteringOptions
from ledger.posting import Clock, Ledger, LedgerTransaction, Result, Work
from ledger.top_ups import TopUps
from resolvers.context import QueryContext
from resolvers.loaders import Loaders

ShardOf = Callable[[], Awaitable[int | None]]


@asynccontextmanager
async def _raise_failed_read(snapshot: Snapshot) -> AsyncIterator[None]:
    """Raises the error of a failed read at the end. Otherwise PostgreSQL would report a commit but roll back."""
    async with snapshot:
        yield
    if snapshot.failure is not None:
        raise snapshot.failure


class MutationContext(QueryContext):
    """The context of a mutation. Each field is one transaction, from its resolver to the last read of its payload.

    The payload therefore shows the effect of the field, and no later changes by other callers.
    """

    _may_read = True

    def __init__(
        self,
        ledger: Ledger,
        principal: Principal,
        clock: Clock,
        top_ups: TopUps,
        metering: MeteringOptions,
        public_url: str = "",
        first_shard: Database | None = None,
    ) -> None:
        self.principal = principal
        self.first_shard = first_shard
        """The first database of a set; None without shards, and for a key of one account."""
        self.top_ups = top_ups
        self.metering = metering
        """Prices of the operator; empty without a price file."""
        self.public_url = public_url
        """The gateway's own origin; empty if it is not known."""
        self.has_payments = top_ups.has_payments
        self.now = clock()
        self._ledger = ledger
        self._clock = clock
        self._ends: AsyncExitStack | None = None

    @asynccontextmanager
    async def around_field(self, *, may_read: bool = True) -> AsyncIterator[None]:
        """Ends the transaction that the field leaves open. The executor enters this around the whole field.

        `may_read` is false if the selected payload needs only what the field writes.
        """
        self._may_read = may_read
        async with AsyncExitStack() as self._ends:
            yield

    async def run(
        self, work: Work[Result], account_id: int | None = None, *, shard_of: ShardOf | None = None
    ) -> Result:
        """Does the work and returns its result. The transaction stays open for all reads until the field ends.

        `account_id` is the account that the work locks, if known: calls on one account take turns. `shard_of` finds the
        shard to work on where there is no account; without it, the shard of the key's own account, or the first. The
        work is done again, elsewhere, if the account has been moved.
        """
        ends, self._ends = self._ends, None
        assert ends is not None, "a field of a mutation acts once"
        account_ids = () if account_id is None else (account_id,)
        for tries in range(1, MAX_TRIES + 1):  # pragma: no branch  the last one raises
            shard = None if shard_of is None else await shard_of()
            ledger = self._ledger_of(account_id) if shard is None else self._ledger.of_shard(shard)
            try:
                transaction, result = await ends.enter_async_context(ledger.open_transaction(work, account_ids))
                break
            except (NotFound, Unauthenticated):
                is_last = tries == MAX_TRIES
                if is_last or not await self._has_moved(ledger, account_id, shard_of):
                    raise
        self.snapshot = transaction.snapshot()
        await ends.enter_async_context(_raise_failed_read(self.snapshot))
        self.loaders = Loaders(self.snapshot)
        # The clock is read after the wait for the account's lock, so that "this month" is the month of the new rows.
        self.now = self._clock()
        return result

    async def run_before(self, work: Callable[[Ledger], Awaitable[Result]]) -> Result:
        """Does the work with the ledger of the first shard, in transactions of its own before the field's."""
        return await work(self._ledger)

    async def find_shard(self, account_id: int) -> int | None:
        """Looks for the shard of an account. None without shards."""
        return await self._ledger.find_shard(account_id)

    async def _has_moved(self, ledger: Ledger, account_id: int | None, shard_of: ShardOf | None) -> bool:
        """Returns whether what was not found by the ledger is elsewhere, with its account."""
        shard = None if shard_of is None else await shard_of()
        if shard is not None:
            return self._ledger.of_shard(shard) is not ledger
        named = account_id if account_id is not None else self.principal.account_id
        return named is not None and await ledger.has_moved(named)

    def _ledger_of(self, account_id: int | None) -> Ledger:
        named = account_id if account_id is not None else self.principal.account_id
        return self._ledger if named is None else self._ledger.of_account(named)

    async def _post_shared(self, posting: Posting) -> Sequence[Outcome] | None:
        ledger = self._ledger_of(posting.account_id)
        try:
            return await ledger.post_shared(posting)
        except NotFound:
            if not await ledger.has_moved(posting.account_id):
                raise
        return None

    async def post(self, posting: Posting) -> Outcome:
        """Posts in a shared commit, unless the payload must be read in the posting's transaction."""
        outcomes = None if self._may_read else await self._post_shared(posting)
        if outcomes is not None:
            self._ends = None
            self._answer_from_outcome(outcomes[0])
            return outcomes[0]
        (outcome,) = await self.run(lambda transaction: transaction.post(posting), posting.account_id)
        return outcome

    def _answer_from_outcome(self, outcome: Outcome) -> None:
        """Answers the payload from what was written. It is committed, so nothing more may be read."""
        self.snapshot = Snapshot(NothingToRead(), None)
        self.loaders = Loaders(self.snapshot)
        for charge in outcome.charges:
            self.loaders.charge.know(charge[:3], charge)
        self.now = self._clock()

    async def run_as_operator(
        self,
        work: Callable[[LedgerTransaction, Actor], Awaitable[Result]],
        account_id: int | None = None,
        *,
        shard_of: ShardOf | None = None,
    ) -> Result:
        """Does the work as an operator. Raises Forbidden for other keys, and Unauthenticated if the key was just
        revoked."""
        self.require_operator()

        async def acted(transaction: LedgerTransaction) -> Result:
            return await work(transaction, await acting_key(transaction, self.principal))

        return await self.run(acted, account_id, shard_of=shard_of)

    async def post_as_service(
        self,
        operation: ServiceOperation,
        account_id: str,
        idempotency_key: str,
        *commands: Command,
        attribution: Attribution = NOBODY,
    ) -> Outcome:
        number = self.account_of_service(operation, account_id)
        return await self.post(
            Posting(number, self.service(), commands, operation.value, idempotency_key, attribution=attribution)
        )

    def service(self) -> Writer:
        return Writer(WriterKind.SERVICE, self.principal.key_prefix)

    def account_of_manager(self, operation: str, account_id: str | None) -> int:
        """Returns the number of a manage key's own account. Raises Forbidden for other keys."""
        if self.principal.scope != KeyScope.MANAGE:
            msg = f"{operation} requires a manage key"
            raise Forbidden(msg)
        return self.account_in_scope(account_id, "accountId")

    def account_of_service(self, operation: ServiceOperation, account_id: str) -> int:
        """Returns the number of an account on which the key may call the operation. Raises Forbidden, or NotFound as
        reads do."""
        principal = self.principal
        if principal.scope != KeyScope.SERVICE:
            msg = f"{operation.value} requires a service key"
            raise Forbidden(msg)
        if principal.operations is not None and operation not in principal.operations:
            msg = f"this service key is not allowed to call {operation.value}"
            raise Forbidden(msg)
        return self.account_in_scope(account_id, "accountId")
