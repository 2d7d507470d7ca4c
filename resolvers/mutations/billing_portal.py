from __future__ import annotations

from dataclasses import dataclass

from access.keys import acting_key
from db.rows import TransactionRow
from ledger.billing_portal import OPERATION, NewPortalSession, keep
from ledger.posting import LedgerTransaction
from resolvers.mutations.context import MutationContext


@dataclass(frozen=True, slots=True)
class PortalOutcome:
    url: str
    balance_nanos: int
    replayed: bool
    transactions: tuple[TransactionRow, ...] = ()


async def create_portal_session(
    context: MutationContext, account_id: str | None, idempotency_key: str, return_url: str
) -> PortalOutcome:
    """Creates a session of the portal. No transaction is open during the call to Stripe."""
    number = context.account_of_manager(OPERATION, account_id)
    new = NewPortalSession(number, return_url, idempotency_key)
    url = await context.top_ups.open_portal(new)

    async def work(transaction: LedgerTransaction) -> PortalOutcome:
        await acting_key(transaction, context.principal)
        result = await keep(transaction, new)
        assert result.balance_nanos is not None
        return PortalOutcome(url, result.balance_nanos, result.replayed)

    return await context.run(work, number)
