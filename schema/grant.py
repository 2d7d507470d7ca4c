from __future__ import annotations

from typing import Annotated

import strawberry
from strawberry import Info

from ledger.moves import Outcome
from ledger.texts import DESCRIPTION, REF_ID
from resolvers import grants
from resolvers.writes import Writes
from schema.payload import ACCOUNT, Call, Payload
from schema.scalars import Nanos


@strawberry.input(description="Promotional credit.")
class GrantBonusInput(Call):
    account_id: strawberry.ID = strawberry.field(description=ACCOUNT)
    amount: Nanos = strawberry.field(description="What is given: above zero.")
    promotion: str = strawberry.field(description=f"The promotion's name, which refId has on the row: {REF_ID.bounds}.")
    description: str | None = strawberry.field(
        default=None,
        description=f"The row's description: {DESCRIPTION.bounds}. If left out:"
        " `Promotion summer-2026: $50.00 of credit`.",
    )


@strawberry.type(description="What grantBonus did.")
class GrantBonusPayload(Payload):
    pass


GrantBonusArgument = Annotated[GrantBonusInput, strawberry.argument(description="What is given, and why.")]


@strawberry.type
class GrantMutations:
    @strawberry.mutation(
        description="Adds promotional credit. For service keys. The signup bonus is createAccount's.",
        graphql_type=GrantBonusPayload,
    )
    async def grant_bonus(self, info: Info[Writes, None], input: GrantBonusArgument) -> Outcome:  # noqa: A002
        return await grants.grant_bonus(
            info.context,
            input.account_id,
            input.idempotency_key,
            amount_nanos=input.amount,
            promotion=input.promotion,
            description=input.description,
        )
