from __future__ import annotations

from typing import Annotated

import strawberry
from strawberry import Info

from ledger.commands import Outcome
from ledger.texts import DESCRIPTION, REF_ID
from resolvers.mutations import grants
from resolvers.mutations.context import MutationContext
from schema.payload import ACCOUNT, MutationInput, Payload
from schema.scalars import Nanos


@strawberry.input(description="Promotional credit to add.")
class GrantBonusInput(MutationInput):
    account_id: strawberry.ID = strawberry.field(description=ACCOUNT)
    amount: Nanos = strawberry.field(description="Amount to add: above zero.")
    promotion: str = strawberry.field(
        description=f"Name of the promotion: {REF_ID.bounds}. It becomes the row's refId."
    )
    description: str | None = strawberry.field(
        default=None,
        description=f"The row's description: {DESCRIPTION.bounds}. If omitted: `Promotion summer-2026: $50.00 of"
        " credit`.",
    )


@strawberry.type(description="Result of grantBonus.")
class GrantBonusPayload(Payload):
    pass


GrantBonusArgument = Annotated[GrantBonusInput, strawberry.argument(description="The credit to add.")]


@strawberry.type
class GrantMutations:
    @strawberry.mutation(
        description="Adds promotional credit. For service keys. To give a signup bonus, use createAccount.",
        graphql_type=GrantBonusPayload,
    )
    async def grant_bonus(self, info: Info[MutationContext, None], input: GrantBonusArgument) -> Outcome:  # noqa: A002
        return await grants.grant_bonus(
            info.context,
            input.account_id,
            input.idempotency_key,
            amount_nanos=input.amount,
            promotion=input.promotion,
            description=input.description,
        )
