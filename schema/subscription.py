from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Annotated, Any, cast

import strawberry
from strawberry import Info

from db.limit_rows import SpendLimitRow
from db.rows import AccountRow
from execution.attributes import ROWS, projection_of
from resolvers.context import QueryContext, SubscriptionContext
from resolvers.reads import accounts, balance_changes, spend_limit_events, spend_limits
from resolvers.reads.balance_changes import BalanceEvent
from resolvers.reads.spend_limit_events import SpendLimitEvent
from schema.account import Account
from schema.scalars import Nanos
from schema.spend_limit import SpendLimit
from schema.transaction import Transaction

AccountArgument = Annotated[
    strawberry.ID | None,
    strawberry.argument(description="Id of the account, `acct_7`; the API key's own account if omitted."),
]


@strawberry.type(description="A new ledger row and the balance after it.")
class BalanceChange:
    cursor: str = strawberry.field(
        description="Opaque cursor. Pass it as `after` to resume from here. It equals the row's cursor in an"
        " unfiltered Account.transactions."
    )
    balance_nanos: Nanos = strawberry.field(name="balance", description="The credit balance after the row.")
    transaction: Transaction = strawberry.field(description="The row that changed the balance.")

    @strawberry.field(
        description="The account, with the balance and balanceCursor after the row; its other fields are current. A"
        " client's cache that is keyed by `id` shows the new balance wherever it shows the account.",
        graphql_type=Account,
        metadata={ROWS: "Account"},
    )
    async def account(self: BalanceEvent, info: Info[QueryContext, None]) -> AccountRow:
        return await accounts.account_after(info.context, self.transaction, projection_of(info).of_value)


@strawberry.type(description="The balance fell below the threshold.")
class LowBalance:
    cursor: str = strawberry.field(description="Opaque cursor. Pass it as `after` to resume from here.")
    balance_nanos: Nanos = strawberry.field(name="balance", description="The credit balance after the row.")
    threshold_nanos: Nanos = strawberry.field(name="threshold", description="The threshold, as given.")
    transaction: Transaction | None = strawberry.field(
        description="The row that took the balance below the threshold, or the newest row if the balance is already"
        " below at the start; null on an empty ledger."
    )


@strawberry.type(description="Spending reached a percentage of a spend limit's amount.")
class SpendLimitReached:
    cursor: str = strawberry.field(description="Opaque cursor. Pass it as `after` to resume from here.")
    percent: int = strawberry.field(
        description="The percentage that was reached. At the start: the limit's highest percentage that was reached in"
        " the current window."
    )
    amount_nanos: Nanos = strawberry.field(name="amount", description="The limit's amount at that time.")
    spent_nanos: Nanos = strawberry.field(name="spent", description="Net cost in the window after the row.")

    @strawberry.field(
        description="The limit as it is now, even if it was deleted since.",
        graphql_type=SpendLimit,
    )
    async def limit(self: SpendLimitEvent, info: Info[QueryContext, None]) -> SpendLimitRow:
        return await spend_limits.limit_of(info.context, self.account_id, self.limit_number)

    @strawberry.field(
        description="The account, with the balance and balanceCursor after the row; its other fields are current.",
        graphql_type=Account,
        metadata={ROWS: "Account"},
    )
    async def account(self: SpendLimitEvent, info: Info[QueryContext, None]) -> AccountRow:
        return await accounts.account_after(info.context, self.transaction, projection_of(info).of_value)

    transaction: Transaction = strawberry.field(
        description="The row that took the cost to the percentage, or the newest row if it was already reached at the"
        " start."
    )


@strawberry.type(
    description="Subscriptions over WebSocket (graphql-transport-ws) or server-sent events (graphql-sse), on the"
    " same path. Here, `after` means newer."
)
class Subscription:
    @strawberry.subscription(
        description="Sends every change of the balance, in order, without gaps. With `after`: the rows since that"
        " cursor, then live rows. Without it: the newest row (none on an empty ledger), then live rows. A subscriber"
        " that falls more than 1,000 rows or 1 MiB behind gets the error LAGGED with the cursor to resume from, and"
        " the subscription ends.",
    )
    async def balance_changed(
        self,
        info: Info[SubscriptionContext, None],
        account_id: AccountArgument = None,
        after: Annotated[
            str | None,
            strawberry.argument(
                description="Cursor of an event or of a row of Account.transactions, or Account.balanceCursor."
            ),
        ] = None,
    ) -> AsyncGenerator[BalanceChange, None]:
        return _events(await balance_changes.balance_changes(info.context, account_id, after))

    @strawberry.subscription(
        description="Fires when a row takes the balance below the threshold, and at the start if the balance is"
        " already below it. Fires again only after the balance has been back at the threshold or above. With"
        " `after`: the crossings since that cursor, then live ones, and nothing at the start.",
    )
    async def low_balance(
        self,
        info: Info[SubscriptionContext, None],
        *,
        account_id: AccountArgument = None,
        threshold: Annotated[
            Nanos,
            strawberry.argument(description="The balance is low if it is below this amount, not if it equals it."),
        ],
        after: Annotated[
            str | None,
            strawberry.argument(description="Cursor of an event of either subscription, or Account.balanceCursor."),
        ] = None,
    ) -> AsyncGenerator[LowBalance, None]:
        return _events(await balance_changes.low_balances(info.context, account_id, threshold, after))

    @strawberry.subscription(
        description="Fires when a row raises the cost in a window to a percentage at which a spend limit notifies,"
        " once for each percentage and window. At the start, fires once for each limit that has already reached a"
        " percentage, with the highest one. With `after`: the events since that cursor, then live ones, and nothing"
        " at the start. A row that reaches several percentages has one event for each, in the order of the limits'"
        " ids and percentages.",
    )
    async def spend_limit_reached(
        self,
        info: Info[SubscriptionContext, None],
        account_id: AccountArgument = None,
        after: Annotated[
            str | None,
            strawberry.argument(
                description="Cursor of an event of any subscription or of a row of Account.transactions, or"
                " Account.balanceCursor."
            ),
        ] = None,
    ) -> AsyncGenerator[SpendLimitReached, None]:
        return _events(await spend_limit_events.spend_limit_events(info.context, account_id, after))


def _events(stream: object) -> AsyncGenerator[Any, None]:
    """Casts the stream to the type that Strawberry requires. Unlike a generator, its `aclose` works before the first
    event."""
    return cast("AsyncGenerator[Any, None]", stream)
