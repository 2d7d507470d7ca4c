"""Operator mutations: change accounts. Each change is kept in the audit list (`Query.auditEntries`)."""

from __future__ import annotations

from typing import Annotated

import strawberry
from strawberry import Info

from db.rows import AccountRow
from ledger.accounts import NewAccount
from ledger.commands import Outcome
from ledger.texts import ACCOUNT_NAME, DESCRIPTION, EXTERNAL_ID, REASON, REF_ID
from resolvers.mutations import operators
from resolvers.mutations.context import MutationContext
from resolvers.mutations.operators import AccountOutcome
from schema.account import Account
from schema.kinds import AccountStatus
from schema.payload import ACCOUNT, MutationInput, Payload
from schema.scalars import Nanos

_REASON = f"Reason for the change: {REASON.bounds}. It is kept in the audit list."


@strawberry.input(description="An account to create.")
class CreateAccountInput(MutationInput):
    name: str = strawberry.field(description=f"Display name: {ACCOUNT_NAME.bounds}.")
    external_id: str | None = strawberry.field(
        default=None,
        description=f"Unique name by which other systems know the account: {EXTERNAL_ID.bounds}. It must not look"
        " like an id (`acct_7`).",
    )
    signup_bonus: Nanos | None = strawberry.field(
        default=None, description="Credit to start with: above zero; none if omitted."
    )


@strawberry.input(description="An account to suspend.")
class SuspendAccountInput(MutationInput):
    account_id: strawberry.ID = strawberry.field(description=ACCOUNT)
    reason: str = strawberry.field(description=_REASON)


@strawberry.input(description="An account to reactivate.")
class ReactivateAccountInput(MutationInput):
    account_id: strawberry.ID = strawberry.field(description=ACCOUNT)
    reason: str = strawberry.field(description=_REASON)


@strawberry.input(description="A manual adjustment of a balance.")
class CorrectBalanceInput(MutationInput):
    account_id: strawberry.ID = strawberry.field(description=ACCOUNT)
    amount: Nanos = strawberry.field(description="Amount to add to the balance, or to deduct if negative; not zero.")
    description: str = strawberry.field(
        description=f"The reason, which the customer sees on the row: {DESCRIPTION.bounds}."
    )
    corrects: strawberry.ID | None = strawberry.field(
        default=None,
        description="The row of this account that is corrected: `txn_7_1042`. Fails with NOT_FOUND for any other row.",
    )


@strawberry.input(description="A signed enterprise contract.")
class GrantContractInput(MutationInput):
    account_id: strawberry.ID = strawberry.field(description=ACCOUNT)
    contract: str = strawberry.field(description=f"Name of the contract: {REF_ID.bounds}. It becomes the rows' refId.")
    amount: Nanos = strawberry.field(description="Cash part of the contract: above zero.")
    bonus: Nanos | None = strawberry.field(
        default=None, description="Negotiated bonus on top of the cash part: above zero; none if omitted."
    )
    description: str | None = strawberry.field(
        default=None,
        description=f"Description of both rows: {DESCRIPTION.bounds}. If omitted: `Enterprise contract EC-2041:"
        " $10000.00 contract → $12000.00 total credit`, and for the bonus `…, with $2000.00 as bonus_grant`.",
    )


@strawberry.type
class AccountPayload(Payload):
    @strawberry.field(
        description="The account after the call, or its current state if the call is replayed.", graphql_type=Account
    )
    async def account(self: AccountOutcome, info: Info[MutationContext, None]) -> AccountRow | None:
        return await info.context.loaders.account.load(self.account_id)


@strawberry.type(description="Result of createAccount. The row is the signup bonus, if there is one.")
class CreateAccountPayload(AccountPayload):
    pass


@strawberry.type(description="Result of suspendAccount. It writes no rows.")
class SuspendAccountPayload(AccountPayload):
    pass


@strawberry.type(description="Result of reactivateAccount. It writes no rows.")
class ReactivateAccountPayload(AccountPayload):
    pass


@strawberry.type(description="Result of correctBalance.")
class CorrectBalancePayload(Payload):
    pass


@strawberry.type(
    description="Result of grantContract. The rows are the contract_grant, then the bonus_grant if there is one."
)
class GrantContractPayload(Payload):
    pass


CreateAccountArgument = Annotated[CreateAccountInput, strawberry.argument(description="The account to create.")]
SuspendAccountArgument = Annotated[SuspendAccountInput, strawberry.argument(description="The account and the reason.")]
ReactivateAccountArgument = Annotated[
    ReactivateAccountInput, strawberry.argument(description="The account and the reason.")
]
CorrectBalanceArgument = Annotated[CorrectBalanceInput, strawberry.argument(description="The adjustment to make.")]
GrantContractArgument = Annotated[GrantContractInput, strawberry.argument(description="The contract to credit.")]


@strawberry.type
class OperatorMutations:
    @strawberry.mutation(
        description="Creates an account, with or without a signup bonus. For operators. Its idempotency keys are"
        " shared by all operators. Fails with CONFLICT if the external id is taken.",
        graphql_type=CreateAccountPayload,
    )
    async def create_account(self, info: Info[MutationContext, None], input: CreateAccountArgument) -> AccountOutcome:  # noqa: A002
        new = NewAccount(input.name, input.external_id, input.signup_bonus)
        return await operators.open_account(info.context, input.idempotency_key, new)

    @strawberry.mutation(
        description="Suspends an account: it cannot open holds. Running instances are settled and charged as before,"
        " but no cycle is renewed. For operators. Fails with CONFLICT if the account is already suspended.",
        graphql_type=SuspendAccountPayload,
    )
    async def suspend_account(self, info: Info[MutationContext, None], input: SuspendAccountArgument) -> AccountOutcome:  # noqa: A002
        return await operators.set_status(
            info.context, input.account_id, input.idempotency_key, AccountStatus.SUSPENDED, input.reason
        )

    @strawberry.mutation(
        description="Reactivates a suspended account: it can open holds again. For operators. Fails with CONFLICT if"
        " the account is not suspended.",
        graphql_type=ReactivateAccountPayload,
    )
    async def reactivate_account(
        self,
        info: Info[MutationContext, None],
        input: ReactivateAccountArgument,  # noqa: A002
    ) -> AccountOutcome:
        return await operators.set_status(
            info.context, input.account_id, input.idempotency_key, AccountStatus.ACTIVE, input.reason
        )

    @strawberry.mutation(
        description="Adjusts a balance by hand, even if it becomes negative. For operators.",
        graphql_type=CorrectBalancePayload,
    )
    async def correct_balance(self, info: Info[MutationContext, None], input: CorrectBalanceArgument) -> Outcome:  # noqa: A002
        return await operators.correct_balance(
            info.context,
            input.account_id,
            input.idempotency_key,
            amount_nanos=input.amount,
            description=input.description,
            corrects=input.corrects,
        )

    @strawberry.mutation(
        description="Adds the credit of a signed contract: its cash part and its bonus, in one transaction. For"
        " operators. If a contract's invoice is paid through Stripe, that payment adds the credit instead.",
        graphql_type=GrantContractPayload,
    )
    async def grant_contract(self, info: Info[MutationContext, None], input: GrantContractArgument) -> Outcome:  # noqa: A002
        return await operators.grant_contract(
            info.context,
            input.account_id,
            input.idempotency_key,
            contract=input.contract,
            cash_nanos=input.amount,
            bonus_nanos=input.bonus,
            description=input.description,
        )
