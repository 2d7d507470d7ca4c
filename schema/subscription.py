from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Annotated, Any, cast

import strawberry
from strawberry import Info

from resolvers.context import SubscriptionContext
from resolvers.reads import balance_changes
from schema.scalars import Nanos
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


@strawberry.type(description="The balance fell below the threshold.")
class LowBalance:
    cursor: str = strawberry.field(description="Opaque cursor. Pass it as `after` to resume from here.")
    balance_nanos: Nanos = strawberry.field(name="balance", description="The credit balance after the row.")
    threshold_nanos: Nanos = strawberry.field(name="threshold", description="The threshold, as given.")
    transaction: Transaction | None = strawberry.field(
        description="The row that took the balance below the threshold, or the newest row if the balance is already"
        " below at the start; null on an empty ledger."
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


def _events(stream: object) -> AsyncGenerator[Any, None]:
    """Casts the stream to the type that Strawberry requires. Unlike a generator, its `aclose` works before the first
    event."""
    return cast("AsyncGenerator[Any, None]", stream)
