"""What every field of one mutation shares."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager

from access.keys import KeyScope, Principal, ServiceOperation, acting_key
from db.connections.snapshots import NothingToRead, Snapshot
from ledger.audit import Actor
from ledger.commands import Command, Outcome, Posting, Writer
from ledger.errors import Forbidden
from ledger.kinds import WriterKind
from ledger.posting import Clock, Ledger, LedgerTransaction, Result, Work
from ledger.top_ups import TopUps
from resolvers.context import QueryContext
from resolvers.loaders import Loaders


@asynccontextmanager
async def _sound(snapshot: Snapshot) -> AsyncIterator[None]:
    """Raises at the end what a read raised: PostgreSQL would otherwise say that it committed, and keep nothing."""
    async with snapshot:
        yield
    if snapshot.failure is not None:
        raise snapshot.failure


class MutationContext(QueryContext):
    """The context of a mutation. Each of its fields is one transaction: its resolver acts in it, and what is selected
    of its payload is read in it, so it sees what the act did and nothing that others did to the account afterwards."""

    _may_read = True

    def __init__(self, ledger: Ledger, principal: Principal, clock: Clock, top_ups: TopUps) -> None:
        self.principal = principal
        self.top_ups = top_ups
        self.has_payments = top_ups.has_payments
        self.now = clock()
        self._ledger = ledger
        self._clock = clock
        self._ends: AsyncExitStack | None = None

    @asynccontextmanager
    async def around_field(self, *, may_read: bool = True) -> AsyncIterator[None]:
        """Ends the transaction that the field's act leaves open: the executor enters this around the whole field.

        `may_read` is false where what is selected of the payload is what the act writes.
        """
        self._may_read = may_read
        async with AsyncExitStack() as self._ends:
            yield

    async def run(self, work: Work[Result], account_id: int | None = None) -> Result:
        """What the work came to. Until the field ends the transaction stays open, and all reads go to it.

        `account_id` is the account that the work locks, where it is known before: calls on it take turns.
        """
        ends, self._ends = self._ends, None
        assert ends is not None, "a field of a mutation acts once"
        account_ids = () if account_id is None else (account_id,)
        transaction, result = await ends.enter_async_context(self._ledger.left_open(work, account_ids))
        self.snapshot = transaction.snapshot()
        await ends.enter_async_context(_sound(self.snapshot))
        self.loaders = Loaders(self.snapshot)
        # The rows have a time after the wait for the account's lock: what is of "this month" must be of theirs.
        self.now = self._clock()
        return result

    async def post(self, posting: Posting) -> Outcome:
        """Shares a commit with the calls that wait beside it, unless its payload is to be read in its transaction."""
        outcomes = None if self._may_read else await self._ledger.post_shared(posting)
        if outcomes is not None:
            self._ends = None
            self._know_alone(outcomes[0])
            return outcomes[0]
        (outcome,) = await self.run(lambda transaction: transaction.post(posting), posting.account_id)
        return outcome

    def _know_alone(self, outcome: Outcome) -> None:
        """What was written answers the payload: it is committed, and nothing is to be read any more."""
        self.snapshot = Snapshot(NothingToRead())
        self.loaders = Loaders(self.snapshot)
        for charge in outcome.charges:
            self.loaders.charge.know(charge[:3], charge)
        self.now = self._clock()

    async def run_as_operator(
        self, work: Callable[[LedgerTransaction, Actor], Awaitable[Result]], account_id: int | None = None
    ) -> Result:
        """Raises Forbidden for other keys, and Unauthenticated for one that was revoked a moment ago."""
        self.require_operator()

        async def acted(transaction: LedgerTransaction) -> Result:
            return await work(transaction, await acting_key(transaction, self.principal))

        return await self.run(acted, account_id)

    async def post_as_service(
        self, operation: ServiceOperation, account_id: str, idempotency_key: str, *commands: Command
    ) -> Outcome:
        number = self.account_of_service(operation, account_id)
        return await self.post(Posting(number, self.service(), commands, operation.value, idempotency_key))

    def service(self) -> Writer:
        return Writer(WriterKind.SERVICE, self.principal.key_prefix)

    def account_of_manager(self, operation: str, account_id: str | None) -> int:
        """The number of a manage key's own account. Raises Forbidden for other keys."""
        if self.principal.scope != KeyScope.MANAGE:
            msg = f"{operation} requires a manage key"
            raise Forbidden(msg)
        return self.account_in_scope(account_id, "accountId")

    def account_of_service(self, operation: ServiceOperation, account_id: str) -> int:
        """The number of an account that the key may do this to. Raises Forbidden, or NotFound as reads do."""
        principal = self.principal
        if principal.scope != KeyScope.SERVICE:
            msg = f"{operation.value} requires a service key"
            raise Forbidden(msg)
        if principal.operations is not None and operation not in principal.operations:
            msg = f"this service key is not allowed to call {operation.value}"
            raise Forbidden(msg)
        return self.account_in_scope(account_id, "accountId")
