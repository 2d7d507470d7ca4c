from __future__ import annotations

from typing import Annotated

import strawberry
from strawberry import Info

from access.keys import Principal
from db.rows import AccountRow, AuditEntryRow, TransactionRow
from db.stripe_events import StripeEventRow
from execution.calls import PREFETCH
from resolvers.context import QueryContext
from resolvers.pages import Page
from resolvers.reads import (
    accounts,
    audit,
    finding,
    objects,
    stripe_events,
    transactions,
)
from resolvers.reads.texts import SEARCH_RULE
from schema.account import Account, AccountConnection
from schema.audit import AuditEntryConnection
from schema.audit import FilterArgument as AuditFilterArgument
from schema.audit import filter_of as audit_filter_of
from schema.found import Found
from schema.kinds import EventState
from schema.node import Node
from schema.stripe_event import StripeEventConnection
from schema.transaction import Transaction
from schema.viewer import Viewer


@strawberry.type(description="Queries. All figures of one answer come from one snapshot of the data.")
class Query:
    @strawberry.field(description="The API key that sent the request.", graphql_type=Viewer)
    def viewer(self, info: Info[QueryContext, None]) -> Principal:
        return info.context.principal

    @strawberry.field(
        description="The account of the API key. Operator and service keys must name one.",
        graphql_type=Account | None,
        metadata={PREFETCH: accounts.prefetch_account},
    )
    async def account(
        self,
        info: Info[QueryContext, None],
        id: Annotated[  # noqa: A002
            strawberry.ID | None,
            strawberry.argument(description="Id of the account, `acct_7`; the API key's own account if omitted."),
        ] = None,
    ) -> AccountRow:
        return await accounts.account(info.context, id)

    @strawberry.field(description="All accounts, newest first. Only for operators.", graphql_type=AccountConnection)
    async def accounts(
        self,
        info: Info[QueryContext, None],
        first: Annotated[int | None, strawberry.argument(description="Maximum number of results: 1 to 1000.")] = 50,
        after: Annotated[
            str | None, strawberry.argument(description="Returns only accounts older than this cursor.")
        ] = None,
        search: Annotated[
            str | None,
            strawberry.argument(
                description="Text to find in names and external ids, or an account's id: 3 to 200 characters."
                f" {SEARCH_RULE}"
            ),
        ] = None,
    ) -> Page[AccountRow]:
        return await accounts.account_page(info.context, first, after, search)

    @strawberry.field(
        description="Actions taken on accounts and keys by hand, newest first. Only for operators.",
        graphql_type=AuditEntryConnection,
    )
    async def audit_entries(
        self,
        info: Info[QueryContext, None],
        first: Annotated[int | None, strawberry.argument(description="Maximum number of results: 1 to 1000.")] = 50,
        after: Annotated[
            str | None, strawberry.argument(description="Returns only entries older than this cursor.")
        ] = None,
        filter: AuditFilterArgument = None,  # noqa: A002
    ) -> Page[AuditEntryRow]:
        return await audit.audit_page(info.context, audit_filter_of(info.context, filter), first, after)

    @strawberry.field(
        description="Objects with this id, in any account: at most 20; empty if there are none. Only for operators.",
        graphql_type=list[Found],
    )
    async def find(
        self,
        info: Info[QueryContext, None],
        id: Annotated[  # noqa: A002
            str,
            strawberry.argument(
                description="An id of this API (`acct_7`, `txn_7_1042`, `chg_7_129`, `auth_7_3`, `limit_7_2`), the"
                " visible prefix of a key, an account's external id, or an id of Stripe: of a customer, a Checkout"
                " session, a payment intent, a refund, an invoice or an event. 1 to 255 characters."
            ),
        ],
    ) -> list[finding.Found]:
        return await finding.find(info.context, id)

    @strawberry.field(
        description="Stripe events in the order received, newest first. Only for operators.",
        graphql_type=StripeEventConnection,
    )
    async def stripe_events(
        self,
        info: Info[QueryContext, None],
        first: Annotated[int | None, strawberry.argument(description="Maximum number of results: 1 to 1000.")] = 50,
        after: Annotated[
            str | None, strawberry.argument(description="Returns only events older than this cursor.")
        ] = None,
        state: Annotated[
            EventState | None, strawberry.argument(description="Returns only events in this state.")
        ] = None,
    ) -> Page[StripeEventRow]:
        return await stripe_events.event_page(info.context, state, first, after)

    @strawberry.field(
        description="A ledger row, by its id.",
        graphql_type=Transaction | None,
        metadata={PREFETCH: transactions.prefetch_transaction},
    )
    async def transaction(
        self,
        info: Info[QueryContext, None],
        id: Annotated[strawberry.ID, strawberry.argument(description="`txn_7_1042`.")],  # noqa: A002
    ) -> TransactionRow:
        return await transactions.transaction(info.context, id)

    @strawberry.field(description="Any object that has an id, by its id.", graphql_type=Node | None)
    async def node(
        self,
        info: Info[QueryContext, None],
        id: Annotated[  # noqa: A002
            strawberry.ID,
            strawberry.argument(
                description="Id of the object: `acct_7`, `txn_7_1042`, `chg_7_129`, `limit_7_2` or `auth_7_3`."
            ),
        ],
    ) -> objects.Row:
        return await objects.object_with_id(info.context, id)
