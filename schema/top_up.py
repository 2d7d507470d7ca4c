from __future__ import annotations

from datetime import datetime
from typing import Annotated

import strawberry
from strawberry import Info

from ledger.texts import ADDRESS, IDEMPOTENCY_KEY
from resolvers import top_ups
from resolvers.top_ups import TopUpOutcome
from resolvers.writes import Writes
from schema.auto_recharge import OWN_ACCOUNT, PAYMENT
from schema.kinds import SessionState
from schema.payload import Payload
from schema.scalars import Nanos

_ADDRESS = f"An https address of at most {ADDRESS.longest} characters; http for localhost alone."


@strawberry.input(description="Credit to be added through Stripe Checkout.")
class CreateTopUpInput:
    idempotency_key: str = strawberry.field(
        description=f"{IDEMPOTENCY_KEY.bounds} that tell this call from every other. The same call with the same key"
        " always has the same session: look at `state` before you send the customer there again. With another input"
        " it is IDEMPOTENCY_CONFLICT. Keys never expire."
    )
    account_id: strawberry.ID | None = strawberry.field(default=None, description=OWN_ACCOUNT)
    amount: Nanos = strawberry.field(description=f"What is added, before tax: {PAYMENT}.")
    success_url: str = strawberry.field(
        description=f"Where Checkout leads after the payment. {_ADDRESS} Stripe puts the session's id in the place of"
        " `{CHECKOUT_SESSION_ID}`."
    )
    cancel_url: str = strawberry.field(description=f"Where Checkout leads whoever turns back. {_ADDRESS}")


@strawberry.type(
    description="A Checkout session. It writes no rows: the top-up is credited when Stripe tells that it was paid."
)
class CreateTopUpPayload(Payload):
    @strawberry.field(description="Where the customer pays: an address at Stripe, good until `expiresAt`.")
    def checkout_url(self: TopUpOutcome) -> str:
        return self.top_up.url

    @strawberry.field(description="The session's id, `cs_…`: the refId of the row to come.")
    def session_id(self: TopUpOutcome) -> str:
        return self.top_up.session_id

    @strawberry.field(description="When the session expires: a day after Stripe made it.")
    def expires_at(self: TopUpOutcome) -> datetime:
        return self.top_up.expires_at

    @strawberry.field(
        description="How the session stands now. Where it is not OPEN nobody can pay there any more: another top-up"
        " needs another idempotency key."
    )
    def state(self: TopUpOutcome, info: Info[Writes, None]) -> SessionState:
        return top_ups.session_state(info.context, self)


CreateTopUpArgument = Annotated[CreateTopUpInput, strawberry.argument(description="How much, and where to go on.")]


@strawberry.type
class TopUpMutations:
    @strawberry.mutation(
        description="Starts a top-up at Stripe Checkout, which saves the card for auto-recharge. For manage keys."
        " RATE_LIMITED and UNAVAILABLE where Stripe answers so, or not: send the same call again.",
        graphql_type=CreateTopUpPayload,
    )
    async def create_top_up(self, info: Info[Writes, None], input: CreateTopUpArgument) -> TopUpOutcome:  # noqa: A002
        return await top_ups.create_top_up(
            info.context,
            input.account_id,
            input.idempotency_key,
            amount_nanos=input.amount,
            success_url=input.success_url,
            cancel_url=input.cancel_url,
        )
