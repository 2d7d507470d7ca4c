from __future__ import annotations

from dataclasses import astuple, dataclass
from typing import Final

from access.keys import acting_key
from db.company_details import CompanyDetailsRow, details_of
from db.rows import TransactionRow
from ledger.audit import AuditedAction, note
from ledger.company_details import CompanyDetails, describe_details, set_details
from ledger.idempotent_calls import IdempotentCall
from ledger.posting import LedgerTransaction
from resolvers.mutations.calls import run_once_on_account
from resolvers.mutations.context import MutationContext

SET: Final = "setCompanyDetails"


@dataclass(frozen=True, slots=True)
class CompanyDetailsOutcome:
    details: CompanyDetailsRow
    balance_nanos: int
    replayed: bool
    transactions: tuple[TransactionRow, ...] = ()


async def set_company_details(
    context: MutationContext, account_id: str | None, idempotency_key: str, details: CompanyDetails
) -> CompanyDetailsOutcome:
    """Replaces the details. The audit list names the key that did it, a customer's too."""
    number = context.account_of_manager(SET, account_id)
    call = IdempotentCall(SET, idempotency_key, astuple(details), number)

    async def work(transaction: LedgerTransaction) -> CompanyDetailsOutcome:
        actor = await acting_key(transaction, context.principal)

        async def changed() -> None:
            before = await details_of(transaction.connection, number)
            row = await set_details(transaction, number, details)
            old = None if before is None else describe_details(before)
            await note(transaction, AuditedAction(SET, actor, number, old_value=old, new_value=describe_details(row)))

        done = await run_once_on_account(transaction, call, changed)
        row = await details_of(transaction.connection, number)
        assert row is not None
        return CompanyDetailsOutcome(row, done.balance_nanos, done.replayed)

    return await context.run(work, number)
