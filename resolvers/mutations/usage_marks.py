from __future__ import annotations

from dataclasses import astuple

from access.keys import ServiceOperation
from ledger.idempotent_calls import IdempotentCall
from ledger.posting import LedgerTransaction
from ledger.usage_marks import UsageMark, put_mark
from resolvers.mutations.calls import CallOutcome, run_once_on_account
from resolvers.mutations.context import MutationContext


async def mark_complete(
    context: MutationContext, account_id: str, idempotency_key: str, mark: UsageMark
) -> CallOutcome:
    operation = ServiceOperation.MARK_USAGE_COMPLETE
    number = context.account_of_service(operation, account_id)
    call = IdempotentCall(operation.value, idempotency_key, astuple(mark), number)

    async def work(transaction: LedgerTransaction) -> CallOutcome:
        return await run_once_on_account(
            transaction, call, lambda: put_mark(transaction.connection, number, mark, transaction.clock())
        )

    return await context.run(work, number)
