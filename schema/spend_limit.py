from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final

import strawberry
from strawberry import Info

from db.limit_rows import SpendLimitRow
from execution.calls import PREFETCH, OfClass
from ledger.attribution import checked_attribution
from ledger.ids import spend_limit_id_text
from ledger.limit_settings import DEFAULT_LEVELS, MAX_LEVELS, MAX_LIMITS, MAX_PERCENT, LimitSettings
from ledger.spending import notify_levels
from ledger.texts import API_KEY, PROJECT
from resolvers.context import QueryContext
from resolvers.mutations.context import MutationContext
from resolvers.mutations.spend_limits import LimitOutcome, delete_spend_limit, set_spend_limit
from resolvers.reads import spend_limits
from schema.kinds import SpendWindow
from schema.node import Node
from schema.payload import MutationInput, Payload
from schema.scalars import Nanos

ACCOUNT: Final = (
    "The account, `acct_7`. A MANAGE key's own account if omitted. Operators must name one. Fails with NOT_FOUND if the"
    " API key does not cover the account."
)


@strawberry.type(
    description="A maximum of what an account, one of its API keys or projects, or one API key in one project may spend"
    " in a window of time. No hold is opened and no usage authorized beyond the limit. Usage that happened without an"
    " authorization is recorded and owed, even beyond the limit."
)
class SpendLimit(Node):
    @strawberry.field(  # type: ignore[misc]
        description="Id of the limit, `limit_7_2`. Setting the limit again keeps its id.", graphql_type=strawberry.ID
    )
    def id(self: SpendLimitRow) -> str:
        return spend_limit_id_text(self.account_id, self.number)

    @strawberry.field(description="The API key whose cost counts; null if the cost of all API keys counts.")
    def api_key_id(self: SpendLimitRow) -> str | None:
        return self.api_key or None

    @strawberry.field(description="The project whose cost counts; null if the cost of all projects counts.")
    def project(self: SpendLimitRow) -> str | None:
        return self.project or None

    amount_nanos: Nanos = strawberry.field(name="amount", description="Maximum net cost in one window.")
    window_kind: SpendWindow = strawberry.field(name="window", description="The window in which cost is added up.")

    @strawberry.field(
        description="Net cost in the current window: deductions for usage and storage minus the returned parts of"
        " holds, by the time of their rows. Holds that are not settled count in full. It can be more than the amount,"
        " because usage that happened is owed, and negative if parts of earlier holds were returned. For a deleted"
        " limit: until the deletion.",
        graphql_type=Nanos,
    )
    def spent(self: SpendLimitRow, info: Info[QueryContext, None]) -> int:
        return spend_limits.spent_nanos(info.context, self)

    @strawberry.field(
        description="Sum that open authorizations reserve now. Authorizations that have expired are not included.",
        graphql_type=Nanos,
        metadata={PREFETCH: spend_limits.prefetch_standing},
    )
    async def reserved(self: SpendLimitRow, info: Info[QueryContext, None]) -> int:
        return (await spend_limits.standing(info.context, self)).reserved_nanos

    @strawberry.field(
        description="Amount minus spent minus reserved. It can be negative: nothing more passes then.",
        graphql_type=Nanos,
        metadata={PREFETCH: spend_limits.prefetch_standing},
    )
    async def remaining(self: SpendLimitRow, info: Info[QueryContext, None]) -> int:
        return (await spend_limits.standing(info.context, self)).remaining_nanos

    @strawberry.field(description="When the next window begins, with nothing spent; null for TOTAL.")
    def resets_at(self: SpendLimitRow, info: Info[QueryContext, None]) -> datetime | None:
        return spend_limits.resets_at(info.context, self)

    @strawberry.field(
        description="Percentages of the amount at which Subscription.spendLimitReached fires, in ascending order.",
        graphql_type=list[int],
    )
    def notify_at_percent(self: SpendLimitRow) -> list[int]:
        return notify_levels(self)

    created_at: datetime = strawberry.field(description="When the limit was first set.")
    updated_at: datetime = strawberry.field(description="When the limit was last set.")
    deleted_at: datetime | None = strawberry.field(description="When the limit was deleted; null if it is in force.")

    is_type_of = OfClass(SpendLimitRow)


@strawberry.input(
    description="A spend limit. Without `apiKeyId` and `project` it limits the account. With both, it limits the API"
    " key within the project."
)
class SetSpendLimitInput(MutationInput):
    account_id: strawberry.ID | None = strawberry.field(default=None, description=ACCOUNT)
    api_key_id: str | None = strawberry.field(
        default=None, description=f"Counts only the cost of this API key of the platform: {API_KEY.bounds}."
    )
    project: str | None = strawberry.field(
        default=None, description=f"Counts only the cost of this project: {PROJECT.bounds}."
    )
    amount: Nanos = strawberry.field(
        description="Maximum net cost in one window: above zero. If it is less than what is already spent, nothing"
        " more passes until the window ends."
    )
    window: SpendWindow = strawberry.field(description="The window in which cost is added up.")
    notify_at_percent: list[int] | None = strawberry.field(
        default_factory=lambda: list(DEFAULT_LEVELS),
        description=f"Percentages of the amount at which Subscription.spendLimitReached fires: up to {MAX_LEVELS}"
        f" different ones, each 1 to {MAX_PERCENT}. An empty list disables it.",
    )


@strawberry.input(description="A spend limit to delete.")
class DeleteSpendLimitInput(MutationInput):
    limit_id: strawberry.ID = strawberry.field(
        description="Id of the limit, `limit_7_2`. Fails with NOT_FOUND if the API key does not cover its account."
    )


@strawberry.type(description="Result of setSpendLimit.")
class SetSpendLimitPayload(Payload):
    limit: SpendLimit = strawberry.field(
        name="spendLimit",
        description="The limit after the call. If the call is replayed, the limit of the same scope and window as it is"
        " now.",
    )


@strawberry.type(description="Result of deleteSpendLimit.")
class DeleteSpendLimitPayload(Payload):
    limit: SpendLimit = strawberry.field(name="spendLimit", description="The deleted limit.")


SetSpendLimitArgument = Annotated[SetSpendLimitInput, strawberry.argument(description="The limit to set.")]
DeleteSpendLimitArgument = Annotated[DeleteSpendLimitInput, strawberry.argument(description="The limit to delete.")]


def _settings(given: SetSpendLimitInput) -> LimitSettings:
    levels = DEFAULT_LEVELS if given.notify_at_percent is None else tuple(sorted(given.notify_at_percent))
    return LimitSettings(checked_attribution(given.api_key_id, given.project), given.window, given.amount, levels)


@strawberry.type
class SpendLimitMutations:
    @strawberry.mutation(
        description="Sets a spend limit. For MANAGE keys and operators. There is one limit for each API key, project"
        " and window: setting it again replaces its amount and percentages and keeps its id. Cost since the start of"
        " the current window counts. Percentages that are already reached do not fire. Fails with CONFLICT if the"
        f" account already has {MAX_LIMITS} limits.",
        graphql_type=SetSpendLimitPayload,
    )
    async def set_spend_limit(self, info: Info[MutationContext, None], input: SetSpendLimitArgument) -> LimitOutcome:  # noqa: A002
        return await set_spend_limit(info.context, input.account_id, input.idempotency_key, _settings(input))

    @strawberry.mutation(
        description="Deletes a spend limit: it no longer limits anything. For MANAGE keys and operators. Fails with"
        " CONFLICT if the limit is already deleted.",
        graphql_type=DeleteSpendLimitPayload,
    )
    async def delete_spend_limit(
        self,
        info: Info[MutationContext, None],
        input: DeleteSpendLimitArgument,  # noqa: A002
    ) -> LimitOutcome:
        return await delete_spend_limit(info.context, input.limit_id, input.idempotency_key)
