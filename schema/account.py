from __future__ import annotations

from datetime import datetime
from typing import Annotated

import strawberry
from strawberry import Info

from db.attribution_rows import RequestDetailRow
from db.company_details import CompanyDetailsRow
from db.limit_rows import AuthorizationRow, SpendLimitRow
from db.recharges import RechargeViewRow
from db.rows import AccountRow, ApiKeyRow, AuditEntryRow, ChargeRow, MonthlyFiguresRow, TransactionRow, UsageDayRow
from execution.attributes import PROJECTION, ROWS, projection_of
from execution.calls import PREFETCH, OfClass
from ledger.ids import account_id_text
from resolvers.context import QueryContext
from resolvers.pages import Page
from resolvers.reads import (
    account_audit,
    accounts,
    api_keys,
    authorizations,
    charges,
    company_details,
    hour_totals,
    months,
    recharges,
    runway,
    spend_limits,
    statements,
    transactions,
    usage,
    usage_marks,
    usage_requests,
)
from resolvers.reads.hour_totals import CostGroupRow, TotalsPage, UsageGroupRow
from resolvers.reads.runway import RunwayEstimate
from resolvers.time_zones import DEFAULT_ZONE
from schema.activity import ActivityConnection
from schema.api_key import ApiKeyConnection
from schema.arguments import After, Before, First, Last
from schema.authorization import AuthorizationConnection, AuthorizationFilterArgument
from schema.authorization import filter_of as authorization_filter_of
from schema.auto_recharge import AutoRecharge
from schema.charge import ChargeConnection, prefetch_charges
from schema.charge import FilterArgument as ChargeFilterArgument
from schema.charge import filter_of as charge_filter_of
from schema.company_details import CompanyDetails
from schema.connection import Words, connection
from schema.cost_group import CostGroupConnection, prefetch_cost_totals
from schema.cost_group import FilterArgument as CostFilterArgument
from schema.cost_group import GroupByArgument as CostGroupByArgument
from schema.cost_group import filter_of as cost_totals_filter_of
from schema.kinds import AccountStatus
from schema.monthly_summary import MonthlySummary
from schema.node import Node
from schema.projection import page_projection
from schema.runway import Runway
from schema.scalars import Month, Nanos
from schema.spend_limit import SpendLimit
from schema.statement import FromDay, Statement, ToDay
from schema.totals import After as AfterGroup
from schema.totals import First as FirstGroups
from schema.totals import TimeZone
from schema.transaction import FilterArgument as TransactionFilterArgument
from schema.transaction import TransactionConnection, prefetch_transactions
from schema.transaction import filter_of as transaction_filter_of
from schema.usage import FilterArgument as UsageFilterArgument
from schema.usage import UsageDayConnection, prefetch_usage
from schema.usage import filter_of as usage_filter_of
from schema.usage_group import FilterArgument as UsageTotalsFilterArgument
from schema.usage_group import GroupByArgument as UsageGroupByArgument
from schema.usage_group import UsageGroupConnection, prefetch_usage_totals
from schema.usage_group import filter_of as usage_totals_filter_of
from schema.usage_request import FilterArgument as UsageRequestFilterArgument
from schema.usage_request import UsageRequest, UsageRequestConnection, prefetch_usage_requests
from schema.usage_request import filter_of as usage_request_filter_of


@strawberry.type(description="A customer's prepaid account.")
class Account(Node):
    @strawberry.field(description="`acct_7`.", metadata={PROJECTION: ("id",)})  # type: ignore[misc]
    def id(self: AccountRow) -> strawberry.ID:
        return strawberry.ID(account_id_text(self.id))

    external_id: str | None = strawberry.field(description="Unique name by which other systems know the account.")
    name: str = strawberry.field(description="Display name.")
    currency: str = strawberry.field(description="ISO 4217 code of the currency of all the account's amounts.")
    status: AccountStatus = strawberry.field(description="Whether the account may open new holds.")
    created_at: datetime = strawberry.field(description="When the account was created.")

    @strawberry.field(
        description="The credit balance: money available for new launches and API calls. It can be negative, because"
        " usage that has happened is owed.",
        metadata={PREFETCH: accounts.prefetch_balance, PROJECTION: ("id", "balance_nanos", "head_at")},
    )
    async def balance(
        self: AccountRow,
        info: Info[QueryContext, None],
        as_of: Annotated[
            datetime | None,
            strawberry.argument(
                description="Returns the balance at the end of this moment; the current balance if omitted."
            ),
        ] = None,
    ) -> Nanos:
        return Nanos(await accounts.balance(info.context, self, as_of))

    @strawberry.field(
        description="The balance minus what open authorizations reserve. New holds and authorizations must fit into"
        " this amount, and into the spend limits.",
        metadata={PREFETCH: authorizations.prefetch_available},
    )
    async def available(self: AccountRow, info: Info[QueryContext, None]) -> Nanos:
        return Nanos(await authorizations.available_nanos(info.context, self))

    @strawberry.field(
        description="How fast the account spends, and when its available credit runs out if that goes on.",
        graphql_type=Runway,
        metadata={PREFETCH: runway.prefetch_runway},
    )
    async def runway(self: AccountRow, info: Info[QueryContext, None]) -> RunwayEstimate:
        return await runway.runway(info.context, self)

    @strawberry.field(
        description="The account's authorizations, newest first. Those that ended are kept as long as requests.",
        graphql_type=AuthorizationConnection,
    )
    async def authorizations(
        self: AccountRow,
        info: Info[QueryContext, None],
        first: Annotated[int | None, strawberry.argument(description="Maximum number of results: 1 to 1000.")] = 50,
        after: Annotated[
            str | None, strawberry.argument(description="Returns only authorizations older than this cursor.")
        ] = None,
        filter: AuthorizationFilterArgument = None,  # noqa: A002
    ) -> Page[AuthorizationRow]:
        return await authorizations.authorization_page(
            info.context, self, authorization_filter_of(filter), first, after
        )

    @strawberry.field(
        description="Cursor of this answer in the account's ledger. Pass it as `after` to subscribe from here. It is"
        " valid for an empty ledger too.",
        metadata={PROJECTION: ("id", "head_seq", "head_hash")},
    )
    def balance_cursor(self: AccountRow) -> str:
        return accounts.balance_cursor(self)

    @strawberry.field(
        description="Costs and usage of one month, as the cards show them.",
        graphql_type=MonthlySummary,
        metadata={PREFETCH: months.prefetch_summary},
    )
    async def monthly_summary(
        self: AccountRow,
        info: Info[QueryContext, None],
        month: Annotated[
            Month | None, strawberry.argument(description="UTC month; the current one if omitted.")
        ] = None,
    ) -> MonthlyFiguresRow:
        return await months.monthly_summary(info.context, self, month)

    @strawberry.field(
        description="Costs and usage of the newest months, oldest first, ending with the current UTC month. Months"
        " without data are zeros.",
        graphql_type=list[MonthlySummary],
        metadata={PREFETCH: months.prefetch_summaries},
    )
    async def monthly_summaries(
        self: AccountRow,
        info: Info[QueryContext, None],
        last: Annotated[int | None, strawberry.argument(description="How many months: 1 to 120.")] = 12,
    ) -> list[MonthlyFiguresRow]:
        return await months.monthly_summaries(info.context, self, last)

    @strawberry.field(
        description="The account's ledger rows, newest first. A page costs the same however far back it is.",
        graphql_type=TransactionConnection,
        metadata={PREFETCH: prefetch_transactions, ROWS: "Transaction"},
    )
    async def transactions(
        self: AccountRow,
        info: Info[QueryContext, None],
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
        filter: TransactionFilterArgument = None,  # noqa: A002
    ) -> Page[TransactionRow]:
        row_filter = transaction_filter_of(filter)
        return await transactions.transaction_page(
            info.context,
            self.id,
            row_filter,
            first=first,
            after=after,
            last=last,
            before=before,
            page_projection=page_projection(projection_of(info)),
        )

    @strawberry.field(
        description="The account's charges, one for each resource, newest first by the time of the first row.",
        graphql_type=ChargeConnection,
        metadata={PREFETCH: prefetch_charges},
    )
    async def charges(
        self: AccountRow,
        info: Info[QueryContext, None],
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
        filter: ChargeFilterArgument = None,  # noqa: A002
    ) -> Page[ChargeRow]:
        row_filter = charge_filter_of(filter)
        return await charges.charge_page(
            info.context, self.id, row_filter, first=first, after=after, last=last, before=before
        )

    @strawberry.field(
        description="Usage by UTC day and model, newest first.",
        graphql_type=UsageDayConnection,
        metadata={PREFETCH: prefetch_usage, ROWS: "UsageDay"},
    )
    async def usage(
        self: AccountRow,
        info: Info[QueryContext, None],
        first: First = None,
        after: After = None,
        last: Last = None,
        before: Before = None,
        filter: UsageFilterArgument = None,  # noqa: A002
    ) -> Page[UsageDayRow]:
        row_filter = usage_filter_of(filter)
        return await usage.usage_page(
            info.context,
            self.id,
            row_filter,
            first=first,
            after=after,
            last=last,
            before=before,
            page_projection=page_projection(projection_of(info)),
        )

    @strawberry.field(
        description="The time up to which all services have reported all usage, by `markUsageComplete`. Figures up to"
        " this time are complete; later ones may still grow. Null if no service reports this.",
        metadata={PREFETCH: usage_marks.prefetch_complete_until},
    )
    async def usage_complete_until(self: AccountRow, info: Info[QueryContext, None]) -> datetime | None:
        return await usage_marks.complete_until(info.context, self.id)

    @strawberry.field(
        description="The request with this id, as its service recorded it; null if there is none, or if it is not kept"
        " any longer.",
        graphql_type=UsageRequest | None,
        metadata={PREFETCH: usage_requests.prefetch_usage_request},
    )
    async def usage_request(
        self: AccountRow,
        info: Info[QueryContext, None],
        id: Annotated[str, strawberry.argument(description="The request's own id.")],  # noqa: A002
    ) -> RequestDetailRow | None:
        return await usage_requests.usage_request(info.context, self.id, id)

    @strawberry.field(
        description="The account's single requests, newest first by the time of the request. They are kept for a"
        " number of days that the operator sets, 35 by default.",
        graphql_type=UsageRequestConnection,
        metadata={PREFETCH: prefetch_usage_requests},
    )
    async def usage_requests(
        self: AccountRow,
        info: Info[QueryContext, None],
        first: Annotated[int | None, strawberry.argument(description="Maximum number of results: 1 to 1000.")] = 50,
        after: Annotated[
            str | None, strawberry.argument(description="Returns only requests older than this cursor.")
        ] = None,
        filter: UsageRequestFilterArgument = None,  # noqa: A002
    ) -> Page[RequestDetailRow]:
        row_filter = usage_request_filter_of(filter)
        return await usage_requests.usage_request_page(info.context, self.id, row_filter, first=first, after=after)

    @strawberry.field(
        description="Usage added up by time, model, category, origin, API key and project.",
        graphql_type=UsageGroupConnection,
        metadata={PREFETCH: prefetch_usage_totals},
    )
    async def usage_totals(
        self: AccountRow,
        info: Info[QueryContext, None],
        group_by: UsageGroupByArgument = None,
        filter: UsageTotalsFilterArgument = None,  # noqa: A002
        time_zone: TimeZone = DEFAULT_ZONE,
        first: FirstGroups = None,
        after: AfterGroup = None,
    ) -> TotalsPage[UsageGroupRow]:
        totals_filter = usage_totals_filter_of(group_by, filter, time_zone)
        return await hour_totals.USAGE_LIST.page(info.context, self.id, totals_filter, first, after)

    @strawberry.field(
        description="Cost added up by time, cause, resource, API key and project: money deducted from the balance for"
        " usage and storage, minus what was returned from holds. The sums are those of the ledger's rows, by the"
        " time at which they were recorded.",
        graphql_type=CostGroupConnection,
        metadata={PREFETCH: prefetch_cost_totals},
    )
    async def cost_totals(
        self: AccountRow,
        info: Info[QueryContext, None],
        group_by: CostGroupByArgument = None,
        filter: CostFilterArgument = None,  # noqa: A002
        time_zone: TimeZone = DEFAULT_ZONE,
        first: FirstGroups = None,
        after: AfterGroup = None,
    ) -> TotalsPage[CostGroupRow]:
        totals_filter = cost_totals_filter_of(group_by, filter, time_zone)
        return await hour_totals.COST_LIST.page(info.context, self.id, totals_filter, first, after)

    @strawberry.field(
        description="The account's READ and MANAGE keys, newest first, including revoked and expired keys. Only for"
        " operators and the account's MANAGE keys; FORBIDDEN for other keys.",
        graphql_type=ApiKeyConnection | None,
    )
    async def api_keys(
        self: AccountRow,
        info: Info[QueryContext, None],
        first: Annotated[int | None, strawberry.argument(description="Maximum number of results: 1 to 1000.")] = 50,
        after: Annotated[
            str | None, strawberry.argument(description="Returns only keys older than this cursor.")
        ] = None,
        sessions: Annotated[
            bool | None,
            strawberry.argument(
                description="True for sessions only, false for other keys only (`ApiKey.isSession`); all if omitted."
            ),
        ] = None,
    ) -> Page[ApiKeyRow]:
        return await api_keys.key_page(info.context, self, first, after, sessions)

    @strawberry.field(
        description="What was done with the account, by its keys, by services and by operators, newest first. Only for"
        " operators and the account's MANAGE keys; FORBIDDEN for other keys.",
        graphql_type=ActivityConnection | None,
    )
    async def activity(
        self: AccountRow,
        info: Info[QueryContext, None],
        first: Annotated[int | None, strawberry.argument(description="Maximum number of results: 1 to 1000.")] = 50,
        after: Annotated[
            str | None, strawberry.argument(description="Returns only entries older than this cursor.")
        ] = None,
    ) -> Page[AuditEntryRow]:
        return await account_audit.account_audit_page(info.context, self, first, after)

    @strawberry.field(
        description="Settings and current state of auto-recharge; null if it was never set.",
        graphql_type=AutoRecharge | None,
        metadata={PREFETCH: recharges.prefetch_auto_recharge},
    )
    async def auto_recharge(self: AccountRow, info: Info[QueryContext, None]) -> RechargeViewRow | None:
        return await recharges.auto_recharge(info.context, self.id)

    @strawberry.field(
        description="Whether the account has a saved card that auto-recharge can charge. A top-up through Stripe"
        " Checkout saves the card.",
        metadata={PREFETCH: recharges.prefetch_saved_card},
    )
    async def has_saved_card(self: AccountRow, info: Info[QueryContext, None]) -> bool:
        return await recharges.has_saved_card(info.context, self.id)

    @strawberry.field(
        description="The account's spend limits, in the order in which they were first set. Deleted limits are not"
        " listed.",
        graphql_type=list[SpendLimit],
        metadata={PREFETCH: spend_limits.prefetch_spend_limits},
    )
    async def spend_limits(self: AccountRow, info: Info[QueryContext, None]) -> list[SpendLimitRow]:
        return await spend_limits.spend_limits(info.context, self.id)

    @strawberry.field(
        description="Name, address and tax id for statements; null if `setCompanyDetails` never set them.",
        graphql_type=CompanyDetails | None,
        metadata={PREFETCH: company_details.prefetch_company_details, PROJECTION: ("id",)},
    )
    async def company_details(self: AccountRow, info: Info[QueryContext, None]) -> CompanyDetailsRow | None:
        return await company_details.company_details(info.context, self.id)

    @strawberry.field(
        description="Statement of a period: opening balance, movements, closing balance and rows. The opening and the"
        " closing balance and the number of rows are found by look-ups, however long the ledger is. The movements are"
        " added up by hour, as `costTotals` does.",
        graphql_type=Statement,
        metadata={PREFETCH: statements.prefetch_statement, PROJECTION: ("id", "head_at")},
    )
    def statement(self: AccountRow, from_day: FromDay, to_day: ToDay) -> statements.Statement:
        return statements.statement(self, from_day, to_day)

    is_type_of = OfClass(AccountRow)


AccountConnection = connection(
    Account,
    "A page of accounts, newest first.",
    Words("An account", "accounts", "accounts that match the search", cursors_of="the list of accounts"),
    count=accounts.account_count,
)
