from __future__ import annotations

import strawberry
from strawberry import Info

from db.rows import AccountRow
from resolvers.context import QueryContext
from resolvers.reads import finding
from schema.account import Account
from schema.api_key import ApiKey
from schema.authorization import Authorization
from schema.charge import Charge
from schema.spend_limit import SpendLimit
from schema.stripe_event import StripeEvent
from schema.transaction import Transaction


@strawberry.type(
    description="An object that was found by an id. If the id names the account, all fields but `account` are null."
)
class Found:
    @strawberry.field(
        description="The account of the object; null for a key of no account, and for a Stripe event whose account is"
        " not known.",
        graphql_type=Account | None,
    )
    async def account(self: finding.Found, info: Info[QueryContext, None]) -> AccountRow | None:
        return await finding.account_of(info.context, self)

    transaction: Transaction | None = strawberry.field(description="The ledger row, or a row of the Stripe object.")
    charge: Charge | None = strawberry.field(description="The charge.")
    authorization: Authorization | None = strawberry.field(description="The authorization.")
    spend_limit: SpendLimit | None = strawberry.field(description="The spend limit.")
    api_key: ApiKey | None = strawberry.field(description="The API key with this visible prefix.")
    stripe_event: StripeEvent | None = strawberry.field(
        description="The Stripe event, or an event that is open and about the Stripe object."
    )
