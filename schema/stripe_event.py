from __future__ import annotations

from datetime import datetime
from typing import Annotated

import strawberry
from strawberry import Info

from db.rows import AccountRow
from db.stripe_events import StripeEventRow
from ledger.texts import REASON, STRIPE_ID
from resolvers import stripe_events
from resolvers.acts import ActOutcome
from resolvers.context import Reads
from resolvers.pages import Page
from resolvers.stripe_events import EventOutcome
from resolvers.writes import Writes
from schema.account import Account
from schema.kinds import EventState
from schema.page_info import PageInfo
from schema.payload import ACCOUNT, Call, Payload
from schema.scalars import BigInteger
from schema.transaction import EdgeRow, Transaction, edge_rows


@strawberry.type(description="An event that Stripe sent. Each id is recorded once.")
class StripeEvent:
    id: strawberry.ID = strawberry.field(description="Stripe's own: `evt_…`.")
    type: str = strawberry.field(description="`checkout.session.completed` and the like.")
    state: EventState = strawberry.field(description="What became of it.")
    reason: str | None = strawberry.field(
        description="Why it was ignored, what it waits for, or what a person must look at."
    )
    created_at: datetime = strawberry.field(description="When it happened, by Stripe's clock.")
    received_at: datetime = strawberry.field(description="When it was received first.")
    object_id: str | None = strawberry.field(
        description="The Stripe object that it tells of: `cs_…`, `re_…`. Null where that is not known."
    )
    attempts: int = strawberry.field(name="tries", description="How often it was tried to apply it.")
    retry_at: datetime | None = strawberry.field(
        name="nextTryAt", description="When it is tried again; null where it is not."
    )

    @strawberry.field(
        description="The account that it was applied to, or that it concerns where that is known.",
        graphql_type=Account | None,
    )
    async def account(self: StripeEventRow, info: Info[Reads, None]) -> AccountRow | None:
        return await stripe_events.account_of(info.context, self)


@strawberry.type(description="An event and its cursor.")
class StripeEventEdge:
    cursor: str = strawberry.field(description="Opaque. It pages in this list with this filter, and nowhere else.")
    node: StripeEvent = strawberry.field(description="The event.")


@strawberry.type(description="A page of Stripe's events, newest first.")
class StripeEventConnection:
    @strawberry.field(description="The page's events with their cursors.", graphql_type=list[StripeEventEdge])
    def edges(self: Page[StripeEventRow]) -> list[EdgeRow]:
        return edge_rows(self)

    @strawberry.field(description="The page's events.", graphql_type=list[StripeEvent])
    def nodes(self: Page[StripeEventRow]) -> tuple[StripeEventRow, ...]:
        return self.rows

    @strawberry.field(description="Where the page lies in the list.", graphql_type=PageInfo)
    def page_info(self: Page[StripeEventRow]) -> Page[StripeEventRow]:
        return self

    @strawberry.field(description="Number of events over the whole filter. Worked out when it is asked for.")
    async def total_count(self: Page[StripeEventRow], info: Info[Reads, None]) -> BigInteger:
        return BigInteger(await stripe_events.event_count(info.context, self))


@strawberry.input(description="A customer of Stripe's, and whose it is.")
class LinkStripeCustomerInput(Call):
    account_id: strawberry.ID = strawberry.field(description=ACCOUNT)
    customer: str = strawberry.field(
        description=f"`cus_…`, at most {STRIPE_ID.longest} characters. One is of one account."
    )


@strawberry.input(description="An event that waits or needs attention, and that nothing more is to be done about.")
class DismissStripeEventInput(Call):
    event_id: strawberry.ID = strawberry.field(description="`evt_…`.")
    reason: str = strawberry.field(
        description=f"Why: {REASON.bounds}. It is kept with the event and in the audit list."
    )


@strawberry.type(description="What linkStripeCustomer did. Events that waited for it are applied by the worker.")
class LinkStripeCustomerPayload(Payload):
    pass


@strawberry.type(description="What dismissStripeEvent did.")
class DismissStripeEventPayload:
    event: StripeEvent = strawberry.field(description="The event as it is after the call, or now if replayed.")
    transactions: list[Transaction] = strawberry.field(description="Empty: nothing is credited.")
    replayed: bool = strawberry.field(description="The call was carried out before, and nothing was written now.")


LinkArgument = Annotated[LinkStripeCustomerInput, strawberry.argument(description="Which customer, and whose.")]
DismissArgument = Annotated[DismissStripeEventInput, strawberry.argument(description="Which event, and why.")]


@strawberry.type
class StripeMutations:
    @strawberry.mutation(
        description="Makes a customer of Stripe's one of an account: its events are then applied to it. For operators."
        " CONFLICT where it is another account's.",
        graphql_type=LinkStripeCustomerPayload,
    )
    async def link_stripe_customer(self, info: Info[Writes, None], input: LinkArgument) -> ActOutcome:  # noqa: A002
        return await stripe_events.link(info.context, input.account_id, input.idempotency_key, input.customer)

    @strawberry.mutation(
        description="Ends an event that waits or needs attention: it is not tried again, and its content is deleted."
        " For operators. CONFLICT where it is neither.",
        graphql_type=DismissStripeEventPayload,
    )
    async def dismiss_stripe_event(self, info: Info[Writes, None], input: DismissArgument) -> EventOutcome:  # noqa: A002
        return await stripe_events.dismiss(info.context, input.event_id, input.idempotency_key, input.reason)
