from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final

import strawberry
from strawberry import Info
from strawberry.types.lazy_type import LazyType

from db.filters import ALL_TRANSACTIONS, TransactionFilter
from db.rows import AccountRow, ChargeRow, TransactionRow
from db.transactions.totals import TransactionTotalsRow
from execution.attributes import ANY, PROJECTION, WRITTEN, Projection
from execution.calls import PREFETCH, OfClass
from ledger.ids import transaction_id_text
from resolvers.context import QueryContext
from resolvers.pages import Page
from resolvers.reads import accounts, charges, receipts, stripe_links, transactions
from resolvers.reads.texts import SEARCH_RULE
from schema.attribution import OF_KEY, OF_PROJECT, UNKNOWN
from schema.connection import Words, connection
from schema.kinds import RefType, TransactionSource, TransactionType
from schema.node import Node
from schema.projection import OF_THE_LIST, page_projection
from schema.scalars import BigInteger, Nanos

CHARGE: Final = LazyType[str, str]("Charge", "schema.charge")
"""Refers to a type by name, because the types refer to each other: a charge has rows, and a row has a charge.

Strawberry finds the type when it builds the schema, so the modules need not import each other.
"""
ACCOUNT: Final = LazyType[str, str]("Account", "schema.account")


@strawberry.type(description="A ledger row: one money movement. Rows never change.")
class Transaction(Node):
    @strawberry.field(  # type: ignore[misc]
        description="Id of the row. `txn_7_1042` is row 1042 of account 7.",
        graphql_type=strawberry.ID,
        metadata={PROJECTION: ("account_id", "seq")},
    )
    def id(self: TransactionRow) -> str:
        return transaction_id_text(self.account_id, self.seq)

    @strawberry.field(
        description="The account of the row, with its current balance: a client's cache that is keyed by `id` shows a"
        " new balance wherever it shows the account.",
        graphql_type=ACCOUNT,
        metadata={PROJECTION: ("account_id",), PREFETCH: accounts.prefetch_known_account},
    )
    async def account(self: TransactionRow, info: Info[QueryContext, None]) -> AccountRow:
        return await accounts.account_of_row(info.context, self)

    created_at: datetime = strawberry.field(
        description="When the row was recorded, by the server's clock. Rows are in order of time."
    )
    type: TransactionType = strawberry.field(description="The kind of money movement.")
    amount_nanos: Nanos = strawberry.field(
        name="amount",
        description="Amount in the account's currency: positive if added to the balance, negative if deducted.",
    )

    @strawberry.field(
        description="Balance before this row.",
        graphql_type=Nanos,
        metadata={PROJECTION: ("balance_after_nanos", "amount_nanos")},
    )
    def balance_before(self: TransactionRow) -> int:
        return self.balance_after_nanos - self.amount_nanos

    balance_after_nanos: Nanos = strawberry.field(name="balanceAfter", description="Balance after this row.")
    description: str = strawberry.field(
        description="What happened, for people to read: the resource and the computation."
    )
    source: TransactionSource = strawberry.field(description="The kind of writer that recorded the row.")
    ref_type: RefType | None = strawberry.field(
        description="The kind of object that `refId` identifies; null if nothing else caused the row."
    )
    ref_id: str | None = strawberry.field(
        description="Id of the resource, Stripe object or contract that caused the row."
    )

    @strawberry.field(
        description="The row that this correction or refund is for.",
        graphql_type="Transaction | None",
        metadata={PROJECTION: ("account_id", "corrects_seq")},
    )
    async def corrects(self: TransactionRow, info: Info[QueryContext, None]) -> TransactionRow | None:
        return await transactions.corrected(info.context, self)

    period_start: datetime | None = strawberry.field(
        description="Start of the time that a usage or storage charge covers."
    )
    period_end: datetime | None = strawberry.field(
        description="End of the time that a usage or storage charge covers (exclusive)."
    )

    api_key: str | None = strawberry.field(
        name="apiKeyId",
        description=f"{OF_KEY} {UNKNOWN} Null too if a batch of API calls has several keys: `costTotals` has the cost"
        " of each.",
    )
    project: str | None = strawberry.field(
        description=f"{OF_PROJECT} {UNKNOWN} Null too if a batch of API calls has several projects."
    )

    @strawberry.field(
        description="The charge of the resource that the row is about: everything held, returned and charged for it."
        " Null if the row is not about a resource, such as a top-up or a batch of API calls.",
        graphql_type=CHARGE | None,
        metadata={PROJECTION: ("account_id", "ref_type", "ref_id"), WRITTEN: True},
    )
    async def charge(self: TransactionRow, info: Info[QueryContext, None]) -> ChargeRow | None:
        return await charges.charge_of(info.context, self)

    @strawberry.field(
        description="What the row did, in one or two English sentences for people to read. It is derived from the"
        " rows of its charge, not from the description. Amounts are exact. Times are in UTC, truncated to the"
        " second; a duration that is rounded to the second says `about`. The explanation of a hold changes once,"
        " when the hold is settled. Do not parse it: the wording may change.",
        metadata={PROJECTION: transactions.READ_TO_EXPLAIN},
    )
    async def explanation(self: TransactionRow, info: Info[QueryContext, None]) -> str:
        return await transactions.explanation(info.context, self)

    @strawberry.field(
        description="Stripe's receipt of the payment that the row credited: an https page of stripe.com. It is known"
        " soon after the payment; null before, for other rows, and for service keys. Anyone with the address can open"
        " it.",
        metadata={PROJECTION: receipts.READ_FOR_RECEIPT},
    )
    async def receipt_url(self: TransactionRow, info: Info[QueryContext, None]) -> str | None:
        return await receipts.receipt_url(info.context, self)

    @strawberry.field(
        description="Page of the row's Stripe object in the Stripe dashboard. Only for operators, because customers"
        " have no access to the dashboard; null for other keys, and for rows that Stripe did not cause. Customers"
        " can give `refId`, the object's id, to support.",
        metadata={PROJECTION: ("ref_type", "ref_id")},
    )
    def stripe_url(self: TransactionRow, info: Info[QueryContext, None]) -> str | None:
        return stripe_links.stripe_url(info.context.principal, self)

    is_type_of = OfClass(TransactionRow)


@strawberry.type(description="Sums over all rows that match the filter, not only those on the page.")
class TransactionTotals:
    row_count: BigInteger = strawberry.field(name="count", description="Number of rows.")
    credits_nanos: Nanos = strawberry.field(name="credits", description="Sum of the positive amounts.")
    debits_nanos: Nanos = strawberry.field(name="debits", description="Sum of the negative amounts: zero or less.")

    @strawberry.field(description="Credits plus debits.")
    def net(self: TransactionTotalsRow) -> Nanos:
        return Nanos(self.credits_nanos + self.debits_nanos)


@strawberry.field(
    description="Sums over all rows that match the filter. Computed only when requested; the cost grows with the"
    " number of rows.",
    graphql_type=TransactionTotals,
    metadata={PREFETCH: transactions.prefetch_totals, PROJECTION: OF_THE_LIST},
)
async def totals(self: Page[TransactionRow], info: Info[QueryContext, None]) -> TransactionTotalsRow:
    return await transactions.transaction_totals(info.context, self)


TransactionConnection = connection(
    Transaction,
    "A page of ledger rows, newest first in either direction.",
    Words("A row", "rows", "rows that match the filter"),
    count=transactions.transaction_count,
    prefetch_count=transactions.prefetch_count,
    others=[totals],
)


@strawberry.input(description="A range of time.")
class DateTimeRange:
    gte: datetime | None = strawberry.field(default=None, description="At this moment or later.")
    lt: datetime | None = strawberry.field(default=None, description="Before this moment.")


@strawberry.input(description="A range of amounts, including both ends.")
class DecimalRange:
    gte: Nanos | None = strawberry.field(default=None, description="Minimum amount.")
    lte: Nanos | None = strawberry.field(default=None, description="Maximum amount.")


@strawberry.input(
    name="TransactionFilter", description="Conditions that must all match. An empty list matches nothing."
)
class TransactionFilterInput:
    types: list[TransactionType] | None = strawberry.field(default=None, description="Only rows of one of these types.")
    sources: list[TransactionSource] | None = strawberry.field(
        default=None, description="Only rows from one of these sources."
    )
    created_at: DateTimeRange | None = strawberry.field(
        default=None, description="Only rows recorded in this range of time."
    )
    amount: DecimalRange | None = strawberry.field(
        default=None, description="Only rows with an amount in this range; the sign counts."
    )
    ref_type: RefType | None = strawberry.field(default=None, description="Only rows caused by this kind of object.")
    ref_id: str | None = strawberry.field(
        default=None, description="Only rows caused by exactly this object: 1 to 200 characters."
    )
    search: str | None = strawberry.field(
        default=None,
        description=f"Text to find in the description or refId: 3 to 200 characters. {SEARCH_RULE} A search reads"
        " rows one by one from the cursor until the page is full; on a long ledger, narrow it with `createdAt`.",
    )


FilterArgument = Annotated[
    TransactionFilterInput | None, strawberry.argument(description="Filters the list, its count and its totals.")
]


def filter_of(given: TransactionFilterInput | None) -> TransactionFilter:
    if given is None:
        return ALL_TRANSACTIONS
    created_at, amount = given.created_at or DateTimeRange(), given.amount or DecimalRange()
    return transactions.transaction_filter(
        types=given.types,
        sources=given.sources,
        created_gte=created_at.gte,
        created_lt=created_at.lt,
        amount_gte=amount.gte,
        amount_lte=amount.lte,
        ref_type=given.ref_type,
        ref_id=given.ref_id,
        search=given.search,
    )


def prefetch_transactions(
    reads: QueryContext,
    account_id: int,
    filter: TransactionFilterInput | None = None,  # noqa: A002
    projection: Projection = ANY,
    **paging: Any,
) -> transactions.PageKey:
    """Prefetches the page's rows."""
    return transactions.prefetch_page(
        reads, account_id, filter_of(filter), page_projection=page_projection(projection), **paging
    )
