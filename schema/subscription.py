from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Annotated, Any, cast

import strawberry
from strawberry import Info

from resolvers import balance_changes
from resolvers.context import Watching
from schema.scalars import Nanos
from schema.transaction import Transaction

AccountArgument = Annotated[
    strawberry.ID | None, strawberry.argument(description="`acct_7`; the key's own account if left out.")
]


@strawberry.type(description="A row of the ledger, and the balance after it.")
class BalanceChange:
    cursor: str = strawberry.field(
        description="Opaque: go on from here with `after`. The same row has it in Account.transactions without filter."
    )
    balance_nanos: Nanos = strawberry.field(name="balance", description="The credit balance after the row.")
    transaction: Transaction = strawberry.field(description="The row that changed it.")


@strawberry.type(description="The balance came to lie below the threshold.")
class LowBalance:
    cursor: str = strawberry.field(description="Opaque: go on from here with `after`.")
    balance_nanos: Nanos = strawberry.field(name="balance", description="The credit balance after the row.")
    threshold_nanos: Nanos = strawberry.field(name="threshold", description="The threshold, as it was given.")
    transaction: Transaction | None = strawberry.field(
        description="The row that took it there, or at the start the newest row; null on an empty ledger."
    )


@strawberry.type(
    description="Over WebSocket (graphql-transport-ws) or server-sent events (graphql-sse), on the same path. Here"
    " `after` means newer."
)
class Subscription:
    @strawberry.subscription(
        description="Every change of the balance, in order, none missed. With `after`: the rows since that cursor, then"
        " live. Without: the newest row first (nothing on an empty account), then live. One that falls more than 1,000"
        " rows or 1 MiB behind is ended with LAGGED and the cursor to resume from.",
    )
    async def balance_changed(
        self,
        info: Info[Watching, None],
        account_id: AccountArgument = None,
        after: Annotated[
            str | None,
            strawberry.argument(description="Of an event, a row of Account.transactions, or Account.balanceCursor."),
        ] = None,
    ) -> AsyncGenerator[BalanceChange, None]:
        return _events(await balance_changes.balance_changes(info.context, account_id, after))

    @strawberry.subscription(
        description="Fires when a row takes the balance below the threshold, and at the start if it is below already;"
        " re-arms when it is back at the threshold or above. With `after`: what was crossed since that cursor, then"
        " live, and nothing at the start.",
    )
    async def low_balance(
        self,
        info: Info[Watching, None],
        *,
        account_id: AccountArgument = None,
        threshold: Annotated[Nanos, strawberry.argument(description="Below it, not at it, the balance is low.")],
        after: Annotated[
            str | None, strawberry.argument(description="Of an event of either subscription, or Account.balanceCursor.")
        ] = None,
    ) -> AsyncGenerator[LowBalance, None]:
        return _events(await balance_changes.low_balances(info.context, account_id, threshold, after))


def _events(stream: object) -> AsyncGenerator[Any, None]:
    """Strawberry wants this annotation; what is iterated is the stream, whose `aclose` works before the first event."""
    return cast("AsyncGenerator[Any, None]", stream)
