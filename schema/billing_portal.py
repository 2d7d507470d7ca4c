from __future__ import annotations

from typing import Annotated

import strawberry
from strawberry import Info

from ledger.texts import IDEMPOTENCY_KEY
from resolvers.mutations.billing_portal import PortalOutcome, create_portal_session
from resolvers.mutations.context import MutationContext
from schema.auto_recharge import OWN_ACCOUNT
from schema.payload import Payload
from schema.top_up import RETURN_ADDRESS


@strawberry.input(description="A session of Stripe's billing portal.")
class CreateBillingPortalSessionInput:
    idempotency_key: str = strawberry.field(
        description=f"Identifies this call among all calls of this mutation on this account: {IDEMPOTENCY_KEY.bounds}."
        " The same call with the same key asks Stripe for the same session, which Stripe ends after some minutes: use a"
        " new key each time that the customer opens the portal. The same key with different input fails with"
        " IDEMPOTENCY_CONFLICT."
    )
    account_id: strawberry.ID | None = strawberry.field(default=None, description=OWN_ACCOUNT)
    return_url: str = strawberry.field(
        description=f"Where the portal redirects the customer afterwards. {RETURN_ADDRESS}"
    )


@strawberry.type(description="A session of Stripe's billing portal.")
class CreateBillingPortalSessionPayload(Payload):
    url: str = strawberry.field(
        description="Stripe page where the customer changes the saved card and sees past payments. It opens without a"
        " sign-in and is valid for some minutes: send only the customer to it, at once."
    )


PortalArgument = Annotated[
    CreateBillingPortalSessionInput,
    strawberry.argument(description="Where the portal redirects the customer afterwards."),
]


@strawberry.type
class BillingPortalMutations:
    @strawberry.mutation(
        description="Opens Stripe's billing portal for the account, where the customer changes the saved card. For"
        " MANAGE keys. The operator must have set up the portal in Stripe. Fails with PAYMENT_FAILED if Stripe refuses,"
        " with RATE_LIMITED if Stripe limits requests, and with UNAVAILABLE if Stripe fails or does not answer.",
        graphql_type=CreateBillingPortalSessionPayload,
    )
    async def create_billing_portal_session(
        self,
        info: Info[MutationContext, None],
        input: PortalArgument,  # noqa: A002
    ) -> PortalOutcome:
        return await create_portal_session(info.context, input.account_id, input.idempotency_key, input.return_url)
