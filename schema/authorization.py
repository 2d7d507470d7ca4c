from __future__ import annotations

from datetime import datetime
from typing import Annotated

import strawberry
from strawberry import Info

from db.filters import AuthorizationFilter
from db.limit_rows import AuthorizationRow
from execution.calls import OfClass
from ledger.attribution import checked_attribution
from ledger.authorizations import DEFAULT_SECONDS, LONGEST_SECONDS, state_of
from ledger.commands import AuthorizeUsage, Outcome
from ledger.ids import authorization_id_text
from ledger.texts import REF_ID
from resolvers.context import QueryContext
from resolvers.mutations import authorizations
from resolvers.mutations.context import MutationContext
from resolvers.reads import authorizations as reads
from schema.attribution import KEY_ARGUMENT, OF_KEY, OF_PROJECT, PROJECT_ARGUMENT, UNKNOWN
from schema.connection import Words, connection
from schema.kinds import AuthorizationState
from schema.node import Node
from schema.payload import ACCOUNT, MutationInput, Payload
from schema.scalars import Nanos


@strawberry.type(
    description="An amount of the balance that is reserved for usage to come. It writes no row. It ends by its last"
    " capture, by its release or at `expiresAt`, and reserves nothing from then on."
)
class Authorization(Node):
    @strawberry.field(description="`auth_7_3`.", graphql_type=strawberry.ID)  # type: ignore[misc]
    def id(self: AuthorizationRow) -> str:
        return authorization_id_text(self.account_id, self.number)

    @strawberry.field(description="Current state.", graphql_type=AuthorizationState)
    def state(self: AuthorizationRow, info: Info[QueryContext, None]) -> AuthorizationState:
        return state_of(self, info.context.now)

    amount_nanos: Nanos = strawberry.field(name="amount", description="The reserved amount.")
    captured_nanos: Nanos = strawberry.field(name="captured", description="Cost of the usage captured so far.")

    @strawberry.field(
        description="Amount captured beyond the reserved amount. It was recorded and charged nevertheless.",
        graphql_type=Nanos,
    )
    def excess(self: AuthorizationRow) -> int:
        return max(self.captured_nanos - self.amount_nanos, 0)

    created_at: datetime = strawberry.field(description="When the amount was reserved.")
    expires_at: datetime = strawberry.field(description="When the reservation ends by itself.")
    closed_at: datetime | None = strawberry.field(
        description="When it was captured for the last time, or released; null if it is open or expired."
    )

    @strawberry.field(description=f"{OF_KEY} {UNKNOWN}")
    def api_key_id(self: AuthorizationRow) -> str | None:
        return self.api_key or None

    @strawberry.field(name="project", description=f"{OF_PROJECT} {UNKNOWN}")
    def project_name(self: AuthorizationRow) -> str | None:
        return self.project or None

    ref_id: str | None = strawberry.field(description="The service's own id of the request or lease, if it named one.")

    is_type_of = OfClass(AuthorizationRow)


AuthorizationConnection = connection(
    Authorization,
    "A page of authorizations, newest first.",
    Words("An authorization", "authorizations", "authorizations that match the filter"),
    count=reads.authorization_count,
)


@strawberry.input(name="AuthorizationFilter", description="Conditions that must all match.")
class AuthorizationFilterInput:
    state: AuthorizationState | None = strawberry.field(
        default=None, description="Only authorizations that are in this state now."
    )
    api_key_id: str | None = strawberry.field(default=None, description="Only authorizations that name this API key.")
    project: str | None = strawberry.field(default=None, description="Only authorizations that name this project.")


AuthorizationFilterArgument = Annotated[
    AuthorizationFilterInput | None, strawberry.argument(description="Filters the list.")
]


def filter_of(given: AuthorizationFilterInput | None) -> AuthorizationFilter:
    if given is None:
        return AuthorizationFilter()
    return reads.authorization_filter(given.state, given.api_key_id, given.project)


@strawberry.input(description="An amount to reserve for one request, or for a lease of many.")
class AuthorizeUsageInput(MutationInput):
    account_id: strawberry.ID = strawberry.field(description=ACCOUNT)
    amount: Nanos = strawberry.field(
        description="Amount to reserve: above zero, and at most what is available and what the spend limits allow."
    )
    api_key_id: str | None = strawberry.field(default=None, description=KEY_ARGUMENT)
    project: str | None = strawberry.field(default=None, description=PROJECT_ARGUMENT)
    ttl_seconds: int = strawberry.field(
        default=DEFAULT_SECONDS,
        description=f"After how many seconds the reservation ends by itself: 1 to {LONGEST_SECONDS}.",
    )
    ref_id: str | None = strawberry.field(
        default=None, description=f"The service's own id of the request or lease: {REF_ID.bounds}."
    )


@strawberry.input(description="An authorization to release.")
class ReleaseAuthorizationInput(MutationInput):
    authorization_id: strawberry.ID = strawberry.field(description="`auth_7_3`.")


@strawberry.type
class AuthorizationPayload(Payload):
    authorization: Authorization = strawberry.field(
        description="The authorization after the call, or its current state if the call is replayed."
    )
    available_nanos: Nanos = strawberry.field(
        name="available", description="The balance less all that is reserved, after the call."
    )


@strawberry.type(description="Result of authorizeUsage. It writes no rows.")
class AuthorizeUsagePayload(AuthorizationPayload):
    pass


@strawberry.type(description="Result of releaseAuthorization. It writes no rows.")
class ReleaseAuthorizationPayload(AuthorizationPayload):
    pass


AuthorizeUsageArgument = Annotated[AuthorizeUsageInput, strawberry.argument(description="The amount to reserve.")]
ReleaseAuthorizationArgument = Annotated[
    ReleaseAuthorizationInput, strawberry.argument(description="The authorization to release.")
]


@strawberry.type
class AuthorizationMutations:
    @strawberry.mutation(
        description="Reserves an amount of the balance for usage to come. `recordUsage` captures it. For service keys."
        " Fails with INSUFFICIENT_BALANCE if the balance less what is reserved does not cover the amount or the"
        " account is suspended, and with LIMIT_EXCEEDED, which names the limit, what remains of it and when it resets,"
        " if a spend limit of the account, key or project does not allow it.",
        graphql_type=AuthorizeUsagePayload,
    )
    async def authorize_usage(self, info: Info[MutationContext, None], input: AuthorizeUsageArgument) -> Outcome:  # noqa: A002
        command = AuthorizeUsage(input.amount, input.ttl_seconds, input.ref_id)
        attribution = checked_attribution(input.api_key_id, input.project)
        return await authorizations.authorize(
            info.context, input.account_id, input.idempotency_key, command, attribution
        )

    @strawberry.mutation(
        description="Ends an authorization, and gives back what it still reserves. For service keys. Fails with"
        " CONFLICT if it was already captured for the last time or released.",
        graphql_type=ReleaseAuthorizationPayload,
    )
    async def release_authorization(
        self,
        info: Info[MutationContext, None],
        input: ReleaseAuthorizationArgument,  # noqa: A002
    ) -> Outcome:
        return await authorizations.release(info.context, input.authorization_id, input.idempotency_key)
