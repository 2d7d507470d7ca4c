"""Statements of an account. (Statements of SQL are in `db`.)"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

import strawberry
from strawberry import Info

from db.rows import TransactionRow
from execution.attributes import ANY, ROWS, Projection, projection_of
from execution.calls import PREFETCH
from resolvers.context import QueryContext
from resolvers.pages import Page
from resolvers.reads import statements
from resolvers.reads.statements import CSV_PATH, MAX_DAYS, PDF_PATH, Movement
from schema.arguments import After, Before, First, Last
from schema.kinds import MovementKind
from schema.projection import page_projection
from schema.scalars import BigInteger, Nanos
from schema.transaction import TransactionConnection

FromDay = Annotated[date, strawberry.argument(name="from", description="First UTC day of the period.")]
ToDay = Annotated[
    date,
    strawberry.argument(
        name="to",
        description=f"The UTC day after the period, at most {MAX_DAYS} days after `from`: a month ends on the first day"
        " of the next one.",
    ),
]


@strawberry.type(
    description="Sum of all rows of one kind in a period. Amounts are positive if they were added to the balance, and"
    " negative if they were deducted."
)
class StatementMovement:
    kind: MovementKind = strawberry.field(description="The kind of rows.")
    gross_nanos: Nanos = strawberry.field(
        name="gross", description="Sum of the rows, without amounts returned from holds."
    )
    refunded_nanos: Nanos = strawberry.field(
        name="refunded", description="Sum returned from holds: zero or more. Zero for kinds that are not cost."
    )

    @strawberry.field(description="Change of the balance: gross plus refunded.", graphql_type=Nanos)
    def net(self: Movement) -> int:
        return self.net_nanos


def prefetch_rows(
    context: QueryContext, key: statements.StatementKey, projection: Projection = ANY, **paging: Any
) -> Any:
    """Prefetches the page's rows."""
    return statements.prefetch_rows(context, key, page_projection(projection), **paging)


@strawberry.type(
    description="Statement of a period of UTC days: opening plus the net amounts of all movements is closing, exactly."
    " A row counts on the day on which it was recorded."
)
class Statement:
    from_day: date = strawberry.field(name="from", description="First UTC day of the period.")
    to_day: date = strawberry.field(name="to", description="The UTC day after the period.")

    @strawberry.field(
        description="Balance before the period: after the newest row before it; zero if there is none.",
        graphql_type=Nanos,
        metadata={PREFETCH: statements.prefetch_ends},
    )
    async def opening(self: statements.Statement, info: Info[QueryContext, None]) -> int:
        return (await statements.ends(info.context, self)).opening_nanos

    @strawberry.field(
        description="Balance at the end of the period, or now if the period has not ended.",
        graphql_type=Nanos,
        metadata={PREFETCH: statements.prefetch_ends},
    )
    async def closing(self: statements.Statement, info: Info[QueryContext, None]) -> int:
        return (await statements.ends(info.context, self)).closing_nanos

    @strawberry.field(
        description="Number of rows in the period.",
        graphql_type=BigInteger,
        metadata={PREFETCH: statements.prefetch_ends},
    )
    async def rows(self: statements.Statement, info: Info[QueryContext, None]) -> int:
        found = await statements.ends(info.context, self)
        return found.closing_seq - found.opening_seq

    @strawberry.field(
        description="What moved the balance: at most one movement of each kind, in the order of MovementKind. A kind"
        " is not listed if it has no rows, or if it is not a cost and its rows add up to zero.",
        graphql_type=list[StatementMovement],
        metadata={PREFETCH: statements.prefetch_movements},
    )
    async def movements(self: statements.Statement, info: Info[QueryContext, None]) -> list[Movement]:
        return await statements.movements(info.context, self)

    @strawberry.field(
        description="Whether the statement can no longer change: the period has ended, and no row that was recorded in"
        " it can still be committed. True 5 minutes after the end of the period, or with the first row after it."
    )
    def is_final(self: statements.Statement, info: Info[QueryContext, None]) -> bool:
        return statements.is_final(info.context, self)

    @strawberry.field(
        description="The rows of the period, newest first: those of Account.transactions, with the same cursors as for"
        " a filter by `createdAt`.",
        graphql_type=TransactionConnection,
        metadata={PREFETCH: prefetch_rows, ROWS: "Transaction"},
    )
    async def transactions(
        self: statements.Statement,
        info: Info[QueryContext, None],
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Page[TransactionRow]:
        return await statements.rows(
            info.context,
            self,
            page_projection(projection_of(info)),
            first=first,
            after=after,
            last=last,
            before=before,
        )

    @strawberry.field(
        description="Address of the statement as PDF, relative to the gateway's. It needs a key, or a token of"
        " an export link."
    )
    def pdf_url(self: statements.Statement) -> str:
        return self.address(PDF_PATH)

    @strawberry.field(
        description="Address of the statement's rows as CSV, relative to the gateway's. It needs a key, or a token of"
        " an export link."
    )
    def csv_url(self: statements.Statement) -> str:
        return self.address(CSV_PATH)
