from __future__ import annotations

from datetime import datetime

import strawberry
from strawberry import Info

from execution.calls import PREFETCH
from resolvers.context import QueryContext
from resolvers.reads import runway
from schema.kinds import RunwayState
from schema.scalars import Nanos


@strawberry.type(
    description="Net cost of a window of time. Of a hold, only the part whose time lies within the window counts."
    " Storage counts when it is charged, at the end of its day."
)
class Burn:
    from_time: datetime = strawberry.field(
        name="from", description="Start of the window: a full hour, and not before the account was created."
    )
    to_time: datetime = strawberry.field(name="to", description="End of the window: the time of this answer.")
    cost_nanos: Nanos = strawberry.field(name="cost", description="Net cost of the window.")
    per_day_nanos: Nanos = strawberry.field(
        name="perDay",
        description="Cost of 24 hours at this pace, rounded half-even. A window of minutes counts as an hour.",
    )


@strawberry.type(
    description="Estimate of when the available credit runs out. API usage and GPU instances go on at the pace of the"
    " last 7 days, inference instances that run now are renewed at the end of each cycle, and volumes are charged at"
    " each midnight UTC."
)
class Runway:
    state: RunwayState = strawberry.field(description="Whether `endsAt` is known, or why not.")
    ends_at: datetime | None = strawberry.field(
        description="First moment at which no credit is available, or not enough for what is due then, if spending goes"
        " on; null unless `state` is ENDS."
    )
    available_nanos: Nanos = strawberry.field(
        name="available", description="Credit that the estimate starts from, as `Account.available`."
    )
    running_hour_nanos: Nanos = strawberry.field(
        name="runningPerHour",
        description="Cost per hour of instances with an open hold and of volumes, rounded half-even.",
    )
    last_day: Burn = strawberry.field(description="The last 24 hours, from the beginning of an hour.")
    last_week: Burn = strawberry.field(description="The last 7 days, from the beginning of an hour.")

    @strawberry.field(
        description="Whether auto-recharge would charge the saved card before `endsAt`. False if `endsAt` is null.",
        metadata={PREFETCH: runway.prefetch_recharges_before},
    )
    async def recharges_before(self: runway.RunwayEstimate, info: Info[QueryContext, None]) -> bool:
        return await runway.recharges_before(info.context, self)

    @strawberry.field(
        description="The figures and their result in plain English.",
        metadata={PREFETCH: runway.prefetch_recharges_before},
    )
    async def explanation(self: runway.RunwayEstimate, info: Info[QueryContext, None]) -> str:
        return await runway.explanation(info.context, self)
