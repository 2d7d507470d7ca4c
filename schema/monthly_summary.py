from __future__ import annotations

import strawberry

from db.rows import MonthlyFiguresRow
from schema.scalars import BigInteger, Month, Nanos


@strawberry.type(description="The cards of one UTC month. A row counts in the month in which it was recorded.")
class MonthlySummary:
    month: Month = strawberry.field(description="The UTC month.")

    @strawberry.field(
        description="Net spending of all categories since the 1st: grossCost minus refunded. Below zero when holds of"
        " the month before are returned. Top-ups, grants, bonuses, corrections and Stripe refunds are no cost.",
        graphql_type=Nanos,
    )
    def total_cost(self: MonthlyFiguresRow) -> int:
        return self.gross_nanos - self.refunded_nanos

    gross_nanos: Nanos = strawberry.field(name="grossCost", description="What was deducted: holds, usage, storage.")
    refunded_nanos: Nanos = strawberry.field(name="refunded", description="What came back from holds.")
    open_holds_nanos: Nanos = strawberry.field(
        name="heldInOpenCharges",
        description="The part of grossCost that this month's holds still hold: it may come back.",
    )

    @strawberry.field(
        description="Requests of all categories: platformCalls plus userInferenceCalls.", graphql_type=BigInteger
    )
    def api_calls(self: MonthlyFiguresRow) -> int:
        return self.platform_calls + self.user_inference_calls

    platform_calls: BigInteger = strawberry.field(description="Requests to models of the platform.")
    user_inference_calls: BigInteger = strawberry.field(description="Requests to the account's own inference.")
    tokens: BigInteger = strawberry.field(
        name="totalTokens", description="Input plus output tokens of the categories chat and embedding."
    )
