from __future__ import annotations

from dataclasses import dataclass

from access.keys import acting_key
from db.rows import TransactionRow
from db.top_ups import TopUpRow
from ledger.audit import AuditedAction, note
from ledger.money import format_nanos
from ledger.posting import LedgerTransaction
from ledger.top_ups import OPERATION, NewTopUp, SessionState, keep, state_of
from resolvers.mutations.context import MutationContext


@dataclass(frozen=True, slots=True)
class TopUpOutcome:
    account_id: int
    top_up: TopUpRow
    balance_nanos: int
    replayed: bool
    transactions: tuple[TransactionRow, ...] = ()


async def create_top_up(
    context: MutationContext,
    account_id: str | None,
    idempotency_key: str,
    *,
    amount_nanos: int,
    success_url: str,
    cancel_url: str,
) -> TopUpOutcome:
    """Creates a Checkout session. No transaction is open during the call to Stripe."""
    number = context.account_of_manager(OPERATION, account_id)
    new = NewTopUp(number, amount_nanos, success_url, cancel_url, idempotency_key)
    session = await context.top_ups.start(new)

    async def work(transaction: LedgerTransaction) -> TopUpOutcome:
        actor = await acting_key(transaction, context.principal)
        kept = await keep(transaction, new, session)
        if not kept.is_replayed:
            what = f"{format_nanos(amount_nanos)} by {kept.row.session_id}"
            await note(transaction, AuditedAction(OPERATION, actor, number, description=what))
        return TopUpOutcome(number, kept.row, kept.balance_nanos, kept.is_replayed)

    return await context.run(work, number)


def session_state(context: MutationContext, outcome: TopUpOutcome) -> SessionState:
    return state_of(outcome.top_up, context.now)
