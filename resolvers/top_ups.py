from __future__ import annotations

from dataclasses import dataclass

from db.rows import TransactionRow
from ledger.accounts import locked_account
from ledger.keys import acting_key
from ledger.posting import LedgerTransaction
from ledger.stripe.api import CheckoutSession
from ledger.top_ups import NewTopUp
from resolvers.writes import Writes

OPERATION = "createTopUp"


@dataclass(frozen=True, slots=True)
class TopUpOutcome:
    account_id: int
    session: CheckoutSession
    balance_nanos: int
    replayed: bool
    transactions: tuple[TransactionRow, ...] = ()


async def create_top_up(
    writes: Writes,
    account_id: str | None,
    idempotency_key: str,
    *,
    amount_nanos: int,
    success_url: str,
    cancel_url: str,
) -> TopUpOutcome:
    """No transaction is open while Stripe is waited for."""
    number = writes.account_of_manager(OPERATION, account_id)
    session = await writes.top_ups.start(NewTopUp(number, amount_nanos, success_url, cancel_url, idempotency_key))

    async def work(transaction: LedgerTransaction) -> TopUpOutcome:
        await acting_key(transaction, writes.principal)
        balance_nanos = (await locked_account(transaction, number)).balance_nanos
        return TopUpOutcome(number, session, balance_nanos, session.is_replayed)

    return await writes.act(work)
