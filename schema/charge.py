from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import strawberry
from strawberry import Info

from db.filters import ALL_CHARGES, ChargeFilter
from db.rows import ChargeRow, TransactionRow
from execution.attributes import ROWS, projection_of
from execution.calls import OfClass
from ledger.ids import charge_id_text
from resolvers.context import MAX_NESTED_ROWS, QueryContext
from resolvers.pages import Page, PageProjection
from resolvers.reads import charges
from schema.arguments import After, Before, First, Last
from schema.attribution import OF_KEY, OF_PROJECT, UNKNOWN
from schema.connection import Words, connection
from schema.kinds import ChargeState, RefType
from schema.node import Node
from schema.scalars import BigInteger, Nanos
from schema.transaction import DateTimeRange, TransactionConnection


@strawberry.type(
    description="All ledger rows of one resource added up: an instance with its holds and settlements, or a volume"
    " or shared filesystem with its daily charges."
)
class Charge(Node):
    @strawberry.field(  # type: ignore[misc]
        description="Id of the charge. `chg_7_129` belongs to account 7, and its first row is `txn_7_129`.",
        graphql_type=strawberry.ID,
    )
    def id(self: ChargeRow) -> str:
        return charge_id_text(self.account_id, self.first_seq)

    state: ChargeState = strawberry.field(description="Current state of the charge.")
    ref_type: RefType = strawberry.field(description="The kind of resource.")
    ref_id: str = strawberry.field(description="Id of the resource.")
    held_nanos: Nanos = strawberry.field(name="held", description="Sum of all holds, including those already settled.")
    refunded_nanos: Nanos = strawberry.field(name="refunded", description="Sum returned from the holds.")
    overage_nanos: Nanos = strawberry.field(name="overage", description="Sum charged beyond the holds.")
    billed_nanos: Nanos = strawberry.field(
        name="billed", description="Sum charged without a hold: the daily charges of storage."
    )

    @strawberry.field(
        description="Current cost of the resource: held minus refunded plus overage plus billed. While the charge is"
        " open, part of the held amount may still be returned.",
        graphql_type=Nanos,
    )
    def net(self: ChargeRow) -> int:
        return self.held_nanos - self.refunded_nanos + self.overage_nanos + self.billed_nanos

    @strawberry.field(
        description="Amount held at present: the hold that is not settled yet; 0.00 if there is none. For an inference"
        " instance, the hold of the running cycle.",
        graphql_type=Nanos,
    )
    async def held_now(self: ChargeRow, info: Info[QueryContext, None]) -> int:
        return await charges.held_now(info.context, self)

    cycles: BigInteger = strawberry.field(
        description="Number of holds. For an inference instance, its number of 24-hour cycles; 0 for storage."
    )
    opened_at: datetime = strawberry.field(description="When the charge's first row was recorded.")
    closed_at: datetime | None = strawberry.field(
        description="When the charge was settled or expired; null while it is open."
    )

    api_key: str | None = strawberry.field(name="apiKeyId", description=f"{OF_KEY} {UNKNOWN}")
    project: str | None = strawberry.field(description=f"{OF_PROJECT} {UNKNOWN}")

    @strawberry.field(
        description="The charge's rows, newest first: the same list, with the same cursors, as the account's"
        " `transactions` filtered by this refType and refId. In one operation, the page sizes of all charges may add"
        f" up to at most {MAX_NESTED_ROWS} rows.",
        graphql_type=TransactionConnection,
        metadata={ROWS: "Transaction"},
    )
    async def transactions(
        self: ChargeRow,
        info: Info[QueryContext, None],
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
    ) -> Page[TransactionRow]:
        return await charges.charge_transactions(
            info.context,
            self,
            first=first,
            after=after,
            last=last,
            before=before,
            # The rows are read even if only their number is needed: there are few.
            page_projection=PageProjection(projection_of(info).of_rows),
        )

    is_type_of = OfClass(ChargeRow)


ChargeConnection = connection(
    Charge,
    "A page of charges, newest first in either direction.",
    Words("A charge", "charges", "charges that match the filter"),
    count=charges.charge_count,
    prefetch_count=charges.prefetch_count,
)


@strawberry.input(name="ChargeFilter", description="Conditions that must all match.")
class ChargeFilterInput:
    state: ChargeState | None = strawberry.field(default=None, description="Only charges now in this state.")
    ref_type: RefType | None = strawberry.field(
        default=None,
        description="Only charges of this kind of resource. Only instances, volumes and shared filesystems have"
        " charges.",
    )
    ref_id: str | None = strawberry.field(
        default=None, description="Only the charges of exactly this resource: 1 to 200 characters."
    )
    opened_at: DateTimeRange | None = strawberry.field(
        default=None, description="Only charges opened in this range of time."
    )


FilterArgument = Annotated[ChargeFilterInput | None, strawberry.argument(description="Filters the list and its count.")]


def filter_of(given: ChargeFilterInput | None) -> ChargeFilter:
    if given is None:
        return ALL_CHARGES
    opened_at = given.opened_at or DateTimeRange()
    return charges.charge_filter(
        state=given.state,
        ref_type=given.ref_type,
        ref_id=given.ref_id,
        opened_gte=opened_at.gte,
        opened_lt=opened_at.lt,
    )


def prefetch_charges(
    reads: QueryContext,
    account_id: int,
    filter: ChargeFilterInput | None = None,  # noqa: A002
    **paging: Any,
) -> charges.PageKey:
    """Prefetches the page's charges."""
    return charges.prefetch_page(reads, account_id, filter_of(filter), **paging)
