"""Billing portal: Stripe's page where a customer changes the saved card and sees past payments."""

from __future__ import annotations

from dataclasses import dataclass

from ledger import idempotent_calls
from ledger.accounts import locked_account
from ledger.idempotent_calls import CallResult, IdempotentCall
from ledger.posting import LedgerTransaction

OPERATION = "createBillingPortalSession"


@dataclass(frozen=True, slots=True)
class NewPortalSession:
    account_id: int
    return_url: str
    idempotency_key: str

    def call(self) -> IdempotentCall:
        return IdempotentCall(OPERATION, self.idempotency_key, [self.return_url], self.account_id)


async def keep(transaction: LedgerTransaction, new: NewPortalSession) -> CallResult:
    """Stores that the call was made. The session's address is not stored: it opens the customer's page for whoever has
    it, and Stripe answers the same call with the same session for as long as it is valid."""

    async def kept() -> CallResult:
        account = await locked_account(transaction, new.account_id)
        return CallResult(account.id, account.balance_nanos)

    return await idempotent_calls.run_once(transaction, new.call(), kept)
