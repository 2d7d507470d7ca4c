"""What operators do to accounts. Each act is kept in the audit list (`Query.auditEntries`)."""

from __future__ import annotations

from typing import Annotated

import strawberry
from strawberry import Info

from db.rows import AccountRow
from ledger.accounts import NewAccount
from ledger.moves import Outcome
from ledger.texts import ACCOUNT_NAME, DESCRIPTION, EXTERNAL_ID, REASON, REF_ID
from resolvers import operators
from resolvers.operators import AccountOutcome
from resolvers.writes import Writes
from schema.account import Account
from schema.kinds import AccountStatus
from schema.payload import ACCOUNT, Call, Payload
from schema.scalars import Nanos

_REASON = f"Why: {REASON.bounds}. It is kept in the audit list."


@strawberry.input(description="A new account.")
class CreateAccountInput(Call):
    name: str = strawberry.field(description=f"For people to read: {ACCOUNT_NAME.bounds}.")
    external_id: str | None = strawberry.field(
        default=None,
        description=f"The name that other systems know the account by: {EXTERNAL_ID.bounds}, unique, and not like"
        " an id (`acct_7`).",
    )
    signup_bonus: Nanos | None = strawberry.field(
        default=None, description="Credit to begin with, above zero; none if left out."
    )


@strawberry.input(description="An account that is to open no more holds.")
class SuspendAccountInput(Call):
    account_id: strawberry.ID = strawberry.field(description=ACCOUNT)
    reason: str = strawberry.field(description=_REASON)


@strawberry.input(description="A suspended account that may go on.")
class ReactivateAccountInput(Call):
    account_id: strawberry.ID = strawberry.field(description=ACCOUNT)
    reason: str = strawberry.field(description=_REASON)


@strawberry.input(description="A manual adjustment.")
class CorrectBalanceInput(Call):
    account_id: strawberry.ID = strawberry.field(description=ACCOUNT)
    amount: Nanos = strawberry.field(description="What is added to the balance, or taken off it; not zero.")
    description: str = strawberry.field(
        description=f"The reason, which the customer reads on the row: {DESCRIPTION.bounds}."
    )
    corrects: strawberry.ID | None = strawberry.field(
        default=None, description="The row of this account that is corrected: `txn_7_1042`. Another one is NOT_FOUND."
    )


@strawberry.input(description="A signed enterprise contract.")
class GrantContractInput(Call):
    account_id: strawberry.ID = strawberry.field(description=ACCOUNT)
    contract: str = strawberry.field(description=f"The contract's name, which refId has on the rows: {REF_ID.bounds}.")
    amount: Nanos = strawberry.field(description="The cash part: above zero.")
    bonus: Nanos | None = strawberry.field(
        default=None, description="What was negotiated on top: above zero; none if left out."
    )
    description: str | None = strawberry.field(
        default=None,
        description=f"Both rows' description: {DESCRIPTION.bounds}. If left out: `Enterprise contract"
        " EC-2041: $10000.00 contract → $12000.00 total credit`, and on the bonus `…, with $2000.00 as bonus_grant`.",
    )


@strawberry.type
class AccountPayload(Payload):
    @strawberry.field(
        description="The account as it is after the call, or now where it is replayed.", graphql_type=Account
    )
    async def account(self: AccountOutcome, info: Info[Writes, None]) -> AccountRow | None:
        return await info.context.loaders.account.load(self.account_id)


@strawberry.type(description="What createAccount did. The row is that of the signup bonus, if there is one.")
class CreateAccountPayload(AccountPayload):
    pass


@strawberry.type(description="What suspendAccount did. It writes no row.")
class SuspendAccountPayload(AccountPayload):
    pass


@strawberry.type(description="What reactivateAccount did. It writes no row.")
class ReactivateAccountPayload(AccountPayload):
    pass


@strawberry.type(description="What correctBalance did.")
class CorrectBalancePayload(Payload):
    pass


@strawberry.type(description="What grantContract did: the contract_grant, then the bonus_grant if there is one.")
class GrantContractPayload(Payload):
    pass


CreateAccountArgument = Annotated[CreateAccountInput, strawberry.argument(description="What it is called.")]
SuspendAccountArgument = Annotated[SuspendAccountInput, strawberry.argument(description="Which one, and why.")]
ReactivateAccountArgument = Annotated[ReactivateAccountInput, strawberry.argument(description="Which one, and why.")]
CorrectBalanceArgument = Annotated[CorrectBalanceInput, strawberry.argument(description="By how much, and why.")]
GrantContractArgument = Annotated[GrantContractInput, strawberry.argument(description="What was signed.")]


@strawberry.type
class OperatorMutations:
    @strawberry.mutation(
        description="Opens an account, with or without a signup bonus. For operators. The idempotency key is one of all"
        " operators. CONFLICT where the external id is taken.",
        graphql_type=CreateAccountPayload,
    )
    async def create_account(self, info: Info[Writes, None], input: CreateAccountArgument) -> AccountOutcome:  # noqa: A002
        new = NewAccount(input.name, input.external_id, input.signup_bonus)
        return await operators.open_account(info.context, input.idempotency_key, new)

    @strawberry.mutation(
        description="Keeps an account from opening holds; what runs is settled and charged as before, and no cycle is"
        " renewed. For operators. CONFLICT where it is suspended already.",
        graphql_type=SuspendAccountPayload,
    )
    async def suspend_account(self, info: Info[Writes, None], input: SuspendAccountArgument) -> AccountOutcome:  # noqa: A002
        return await operators.set_status(
            info.context, input.account_id, input.idempotency_key, AccountStatus.SUSPENDED, input.reason
        )

    @strawberry.mutation(
        description="Lets a suspended account open holds again. For operators. CONFLICT where it is not suspended.",
        graphql_type=ReactivateAccountPayload,
    )
    async def reactivate_account(
        self,
        info: Info[Writes, None],
        input: ReactivateAccountArgument,  # noqa: A002
    ) -> AccountOutcome:
        return await operators.set_status(
            info.context, input.account_id, input.idempotency_key, AccountStatus.ACTIVE, input.reason
        )

    @strawberry.mutation(
        description="Adjusts a balance by hand, even below zero. For operators.", graphql_type=CorrectBalancePayload
    )
    async def correct_balance(self, info: Info[Writes, None], input: CorrectBalanceArgument) -> Outcome:  # noqa: A002
        return await operators.correct_balance(
            info.context,
            input.account_id,
            input.idempotency_key,
            amount_nanos=input.amount,
            description=input.description,
            corrects=input.corrects,
        )

    @strawberry.mutation(
        description="Adds the credit of a signed contract, its cash part and its bonus in one transaction. For"
        " operators. A contract whose invoice is paid through Stripe is credited by that payment instead.",
        graphql_type=GrantContractPayload,
    )
    async def grant_contract(self, info: Info[Writes, None], input: GrantContractArgument) -> Outcome:  # noqa: A002
        return await operators.grant_contract(
            info.context,
            input.account_id,
            input.idempotency_key,
            contract=input.contract,
            cash_nanos=input.amount,
            bonus_nanos=input.bonus,
            description=input.description,
        )
