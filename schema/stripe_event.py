from __future__ import annotations

from datetime import datetime
from typing import Annotated

import strawberry
from strawberry import Info

from db.rows import AccountRow
from db.stripe_events import StripeEventRow
from ledger.texts import REASON, STRIPE_ID
from resolvers.context import QueryContext
from resolvers.mutations.calls import CallOutcome
from resolvers.mutations.context import MutationContext
from resolvers.mutations.stripe_events import EventOutcome, dismiss, link
from resolvers.reads import stripe_events
from schema.account import Account
from schema.connection import Words, connection
from schema.kinds import EventState
from schema.payload import ACCOUNT, MutationInput, Payload
from schema.transaction import Transaction


@strawberry.type(description="An event that Stripe sent. Each event id is recorded once.")
class StripeEvent:
    id: strawberry.ID = strawberry.field(description="Stripe's id of the event: `evt_…`.")
    type: str = strawberry.field(description="Stripe's type of the event, such as `checkout.session.completed`.")
    state: EventState = strawberry.field(description="How the event was processed.")
    reason: str | None = strawberry.field(
        description="Why the event was ignored, what it waits for, or what an operator must look at."
    )
    created_at: datetime = strawberry.field(description="When the event happened, by Stripe's clock.")
    received_at: datetime = strawberry.field(description="When the event was first received.")
    object_id: str | None = strawberry.field(
        description="The Stripe object that the event is about: `cs_…`, `re_…`. Null if unknown."
    )
    attempts: int = strawberry.field(name="tries", description="Number of attempts to apply the event.")
    retry_at: datetime | None = strawberry.field(
        name="nextTryAt", description="When the event is tried again; null if it is not."
    )

    @strawberry.field(
        description="The account that the event was applied to, or that it is about; null if unknown.",
        graphql_type=Account | None,
    )
    async def account(self: StripeEventRow, info: Info[QueryContext, None]) -> AccountRow | None:
        return await stripe_events.account_of(info.context, self)


StripeEventConnection = connection(
    StripeEvent,
    "A page of Stripe's events, newest first.",
    Words("An event", "events", "events that match the filter"),
    count=stripe_events.event_count,
)


@strawberry.input(description="A Stripe customer and the account to link it to.")
class LinkStripeCustomerInput(MutationInput):
    account_id: strawberry.ID = strawberry.field(description=ACCOUNT)
    customer: str = strawberry.field(
        description=f"Stripe's id of the customer: `cus_…`, at most {STRIPE_ID.longest} characters. A customer"
        " belongs to one account only."
    )


@strawberry.input(description="An event to dismiss. It must be in the state WAITING or NEEDS_ATTENTION.")
class DismissStripeEventInput(MutationInput):
    event_id: strawberry.ID = strawberry.field(description="`evt_…`.")
    reason: str = strawberry.field(
        description=f"Reason for dismissing the event: {REASON.bounds}. It is kept with the event and in the audit"
        " list."
    )


@strawberry.type(description="Result of linkStripeCustomer. The worker applies the events that waited for the link.")
class LinkStripeCustomerPayload(Payload):
    pass


@strawberry.type(description="Result of dismissStripeEvent.")
class DismissStripeEventPayload:
    event: StripeEvent = strawberry.field(
        description="The event after the call, or its current state if the call is replayed."
    )
    transactions: list[Transaction] = strawberry.field(description="Always empty: nothing is credited.")
    replayed: bool = strawberry.field(
        description="Whether the call had already been carried out. If true, nothing was written now."
    )


LinkArgument = Annotated[LinkStripeCustomerInput, strawberry.argument(description="The customer and the account.")]
DismissArgument = Annotated[DismissStripeEventInput, strawberry.argument(description="The event and the reason.")]


@strawberry.type
class StripeMutations:
    @strawberry.mutation(
        description="Links a Stripe customer to an account. The customer's events are then applied to the account."
        " For operators. Fails with CONFLICT if the customer belongs to another account.",
        graphql_type=LinkStripeCustomerPayload,
    )
    async def link_stripe_customer(self, info: Info[MutationContext, None], input: LinkArgument) -> CallOutcome:  # noqa: A002
        return await link(info.context, input.account_id, input.idempotency_key, input.customer)

    @strawberry.mutation(
        description="Dismisses a Stripe event that waits or needs attention: it is not tried again, and its content"
        " is deleted. For operators. Fails with CONFLICT if the event is in any other state.",
        graphql_type=DismissStripeEventPayload,
    )
    async def dismiss_stripe_event(self, info: Info[MutationContext, None], input: DismissArgument) -> EventOutcome:  # noqa: A002
        return await dismiss(info.context, input.event_id, input.idempotency_key, input.reason)
