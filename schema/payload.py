"""What the inputs and payloads of all mutations have."""

from __future__ import annotations

from typing import Final

import strawberry

from ledger.texts import IDEMPOTENCY_KEY
from schema.scalars import Nanos
from schema.transaction import Transaction

ACCOUNT: Final = "`acct_7`. One that the key does not cover is NOT_FOUND."


@strawberry.input
class Call:
    idempotency_key: str = strawberry.field(
        description=f"{IDEMPOTENCY_KEY.bounds} that tell this call from every other one of this mutation on this"
        " account. The same call with the same key is carried out once and answered alike however often it is sent;"
        " with another input it is IDEMPOTENCY_CONFLICT. Keys never expire. A refused call leaves its key free."
    )


@strawberry.type
class Payload:
    transactions: list[Transaction] = strawberry.field(
        description="The rows that the call wrote, in their order; empty where it took none."
    )
    balance_nanos: Nanos = strawberry.field(name="balance", description="The account's balance after the call.")
    replayed: bool = strawberry.field(
        description="The call was carried out before: this is its outcome of that time, and nothing was written now."
    )
