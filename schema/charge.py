from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import strawberry
from strawberry import Info

from db.criteria import ALL_CHARGES, ChargeCriteria
from db.rows import ChargeRow, TransactionRow
from execution.attributes import ROWS, reading_of
from execution.calls import AHEAD, OfClass
from ledger.ids import charge_id_text
from resolvers import charges
from resolvers.context import MAX_NESTED_ROWS, Reads
from resolvers.pages import Needed, Page
from schema.arguments import After, Before, First, Last
from schema.kinds import ChargeState, RefType
from schema.node import Node
from schema.page_info import PageInfo
from schema.scalars import BigInteger, Nanos
from schema.transaction import DateTimeRange, EdgeRow, TransactionConnection, edge_rows


@strawberry.type(
    description="The life of one resource in the ledger: an instance with its holds and settlements, or a volume or"
    " shared filesystem with its daily charges."
)
class Charge(Node):
    @strawberry.field(  # type: ignore[misc]
        description="`chg_7_129` is the charge of account 7 whose first row is `txn_7_129`.", graphql_type=strawberry.ID
    )
    def id(self: ChargeRow) -> str:
        return charge_id_text(self.account_id, self.first_seq)

    state: ChargeState = strawberry.field(description="Where the charge stands.")
    ref_type: RefType = strawberry.field(description="The kind of resource.")
    ref_id: str = strawberry.field(description="The resource.")
    held_nanos: Nanos = strawberry.field(name="held", description="Sum of all holds, those that are settled too.")
    refunded_nanos: Nanos = strawberry.field(name="refunded", description="What came back of the holds.")
    overage_nanos: Nanos = strawberry.field(name="overage", description="What was charged on top of the holds.")
    billed_nanos: Nanos = strawberry.field(
        name="billed", description="What was charged without a hold before it: the daily charges of storage."
    )

    @strawberry.field(
        description="What the resource costs as it stands: held minus refunded plus overage plus billed. While it is"
        " open, a part of what is held may still come back.",
        graphql_type=Nanos,
    )
    def net(self: ChargeRow) -> int:
        return self.held_nanos - self.refunded_nanos + self.overage_nanos + self.billed_nanos

    cycles: BigInteger = strawberry.field(
        description="Number of holds: of an inference instance, its cycles of 24 hours. 0 for storage."
    )
    opened_at: datetime = strawberry.field(description="When its first row was recorded.")
    closed_at: datetime | None = strawberry.field(description="When it was settled or expired; null while it is open.")

    @strawberry.field(
        description="Its rows, newest first: the same list, with the same cursors, as the account's `transactions`"
        f" narrowed to its refType and refId. One operation may ask for {MAX_NESTED_ROWS} rows of charges in all, the"
        " sizes of these pages added up.",
        graphql_type=TransactionConnection,
        metadata={ROWS: "Transaction"},
    )
    async def transactions(
        self: ChargeRow,
        info: Info[Reads, None],
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
            # Where only their number is asked for, the rows are read all the same: they are few.
            needed=Needed(reading_of(info).of_rows),
        )

    is_type_of = OfClass(ChargeRow)


@strawberry.type(description="A charge and its cursor.")
class ChargeEdge:
    cursor: str = strawberry.field(description="Opaque. It pages in this list with this filter, and nowhere else.")
    node: Charge = strawberry.field(description="The charge.")


@strawberry.type(description="A page of charges, newest first whatever the direction.")
class ChargeConnection:
    @strawberry.field(description="The page's charges with their cursors.", graphql_type=list[ChargeEdge])
    def edges(self: Page[ChargeRow]) -> list[EdgeRow]:
        return edge_rows(self)

    @strawberry.field(description="The page's charges.", graphql_type=list[Charge])
    def nodes(self: Page[ChargeRow]) -> tuple[ChargeRow, ...]:
        return self.rows

    @strawberry.field(description="Where the page lies in the list.", graphql_type=PageInfo)
    def page_info(self: Page[ChargeRow]) -> Page[ChargeRow]:
        return self

    @strawberry.field(
        description="Number of charges over the whole filter. Worked out when it is asked for.",
        metadata={AHEAD: charges.ask_count},
    )
    async def total_count(self: Page[ChargeRow], info: Info[Reads, None]) -> BigInteger:
        return BigInteger(await charges.charge_count(info.context, self))


@strawberry.input(description="All that is given must hold.")
class ChargeFilter:
    state: ChargeState | None = strawberry.field(default=None, description="Standing so at the moment.")
    ref_type: RefType | None = strawberry.field(
        default=None,
        description="Of this kind of resource. Only instances, volumes and shared filesystems have charges.",
    )
    ref_id: str | None = strawberry.field(default=None, description="Of exactly this resource: 1 to 200 characters.")
    opened_at: DateTimeRange | None = strawberry.field(default=None, description="Opened in this time.")


FilterArgument = Annotated[ChargeFilter | None, strawberry.argument(description="Narrows the list and its count.")]


def criteria_of(given: ChargeFilter | None) -> ChargeCriteria:
    if given is None:
        return ALL_CHARGES
    opened_at = given.opened_at or DateTimeRange()
    return charges.charge_criteria(
        state=given.state,
        ref_type=given.ref_type,
        ref_id=given.ref_id,
        opened_gte=opened_at.gte,
        opened_lt=opened_at.lt,
    )


def ask_charges(
    reads: Reads,
    account_id: int,
    filter: ChargeFilter | None = None,  # noqa: A002
    **paging: Any,
) -> charges.PageKey:
    """Asks for the page's charges ahead."""
    return charges.ask_page(reads, account_id, criteria_of(filter), **paging)
