from __future__ import annotations

import strawberry

from db.rows import MonthlyFiguresRow
from schema.scalars import BigInteger, Month, Nanos


@strawberry.type(
    description="Costs and usage of one UTC month, as the cards show them. A row counts in the month in which it was"
    " recorded."
)
class MonthlySummary:
    month: Month = strawberry.field(description="The UTC month.")

    @strawberry.field(
        description="Net cost of all categories in the month: grossCost minus refunded. It can be negative when holds"
        " of the previous month are returned. Top-ups, grants, bonuses, corrections and Stripe refunds do not count.",
        graphql_type=Nanos,
    )
    def total_cost(self: MonthlyFiguresRow) -> int:
        return self.gross_nanos - self.refunded_nanos

    gross_nanos: Nanos = strawberry.field(name="grossCost", description="Sum deducted for holds, usage and storage.")
    refunded_nanos: Nanos = strawberry.field(name="refunded", description="Sum returned from holds.")
    open_holds_nanos: Nanos = strawberry.field(
        name="heldInOpenCharges",
        description="The part of grossCost that is held by this month's open holds. Some of it may still be returned.",
    )

    @strawberry.field(
        description="Number of requests of all categories: platformCalls plus userInferenceCalls.",
        graphql_type=BigInteger,
    )
    def api_calls(self: MonthlyFiguresRow) -> int:
        return self.platform_calls + self.user_inference_calls

    platform_calls: BigInteger = strawberry.field(description="Number of requests to models of the platform.")
    user_inference_calls: BigInteger = strawberry.field(
        description="Number of requests to the account's own inference instances."
    )
    tokens: BigInteger = strawberry.field(
        name="totalTokens", description="Input plus output tokens of the categories CHAT and EMBEDDING."
    )
