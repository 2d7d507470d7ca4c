from __future__ import annotations

from datetime import datetime
from typing import Annotated

import strawberry
from strawberry import Info

from ledger.texts import ADDRESS, IDEMPOTENCY_KEY
from resolvers.mutations import top_ups
from resolvers.mutations.context import MutationContext
from resolvers.mutations.top_ups import TopUpOutcome
from schema.auto_recharge import OWN_ACCOUNT, PAYMENT
from schema.kinds import SessionState
from schema.payload import Payload
from schema.scalars import Nanos

RETURN_ADDRESS = (
    f"An https address of at most {ADDRESS.longest} characters; http is allowed only for localhost. If the operator set"
    " `BILLING_ALLOWED_RETURN_ORIGINS`, it must have one of those origins, or the call fails with BAD_USER_INPUT."
)


@strawberry.input(description="A top-up through Stripe Checkout.")
class CreateTopUpInput:
    idempotency_key: str = strawberry.field(
        description=f"Identifies this call among all calls of this mutation on this account: {IDEMPOTENCY_KEY.bounds}."
        " The same call with the same key always returns the same session: check `state` before you send the customer"
        " to it again. The same key with different input fails with IDEMPOTENCY_CONFLICT. Keys never expire."
    )
    account_id: strawberry.ID | None = strawberry.field(default=None, description=OWN_ACCOUNT)
    amount: Nanos = strawberry.field(description=f"Credit to add, before tax: {PAYMENT}.")
    success_url: str = strawberry.field(
        description=f"Where Checkout redirects after the payment. {RETURN_ADDRESS} Stripe replaces"
        " `{CHECKOUT_SESSION_ID}` with the session's id."
    )
    cancel_url: str = strawberry.field(
        description=f"Where Checkout redirects if the customer cancels. {RETURN_ADDRESS}"
    )


@strawberry.type(
    description="A Checkout session. No rows are written now: the credit is added when Stripe reports the payment."
)
class CreateTopUpPayload(Payload):
    @strawberry.field(description="Stripe page where the customer pays. It is valid until `expiresAt`.")
    def checkout_url(self: TopUpOutcome) -> str:
        return self.top_up.url

    @strawberry.field(description="The session's id, `cs_…`. It becomes the refId of the top-up's row.")
    def session_id(self: TopUpOutcome) -> str:
        return self.top_up.session_id

    @strawberry.field(description="When the session expires: one day after Stripe created it.")
    def expires_at(self: TopUpOutcome) -> datetime:
        return self.top_up.expires_at

    @strawberry.field(
        description="Current state of the session. If it is not OPEN, the customer can no longer pay there; for"
        " another top-up, use another idempotency key."
    )
    def state(self: TopUpOutcome, info: Info[MutationContext, None]) -> SessionState:
        return top_ups.session_state(info.context, self)


CreateTopUpArgument = Annotated[
    CreateTopUpInput, strawberry.argument(description="The amount, and where Checkout redirects afterwards.")
]


@strawberry.type
class TopUpMutations:
    @strawberry.mutation(
        description="Starts a top-up through Stripe Checkout, which also saves the card for auto-recharge. For"
        " MANAGE keys. Fails with RATE_LIMITED if Stripe limits requests, and with UNAVAILABLE if Stripe fails or"
        " does not answer; send the same call again.",
        graphql_type=CreateTopUpPayload,
    )
    async def create_top_up(self, info: Info[MutationContext, None], input: CreateTopUpArgument) -> TopUpOutcome:  # noqa: A002
        return await top_ups.create_top_up(
            info.context,
            input.account_id,
            input.idempotency_key,
            amount_nanos=input.amount,
            success_url=input.success_url,
            cancel_url=input.cancel_url,
        )
