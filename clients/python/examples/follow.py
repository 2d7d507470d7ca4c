"""Lists the newest rows, grants a bonus and follows the balance from a saved cursor on."""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

from billing_gateway_client import BillingClient, InsufficientBalance
from billing_gateway_client.operations import (
    BalanceChanges,
    GrantBonus,
    GrantBonusInput,
    OpenHold,
    OpenHoldInput,
    TransactionFilter,
)

ACCOUNT = "acct_1"
CURSOR = Path("cursor.txt")


async def main() -> None:
    async with BillingClient(os.environ.get("URL", "http://127.0.0.1:8000"), os.environ["KEY"]) as client:
        async for edge in client.transactions(ACCOUNT, filter=TransactionFilter(types=["GPU_USAGE"])):
            sys.stdout.write(f"{edge.node.id} {edge.node.amount} {edge.node.description}\n")

        # The idempotency key is made once, for all attempts.
        given = GrantBonusInput(account_id=ACCOUNT, amount=Decimal("5.00"), promotion="launch")
        granted = await client.execute(GrantBonus(input=given))
        sys.stdout.write(f"{granted.grant_bonus.balance}\n")

        start = datetime(2026, 11, 1, 9, tzinfo=UTC)
        hold = OpenHoldInput(
            # With a key of your own, the call can be sent again after a restart.
            idempotency_key="gpu-132-start",
            account_id=ACCOUNT,
            ref_type="GPU_INSTANCE",
            ref_id="132",
            amount=Decimal("2.49"),
            period_start=start,
            period_end=start + timedelta(hours=1),
        )
        try:
            await client.execute(OpenHold(input=hold))
        except InsufficientBalance:
            sys.stdout.write("it must not start\n")

        after = CURSOR.read_text() if CURSOR.exists() else None
        async for event in client.follow(BalanceChanges(account=ACCOUNT, after=after)):
            sys.stdout.write(f"{event.balance_changed.transaction.id} {event.balance_changed.balance}\n")
            CURSOR.write_text(event.balance_changed.cursor)


if __name__ == "__main__":
    asyncio.run(main())
