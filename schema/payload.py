"""The shared part of the inputs and payloads of all mutations."""

from __future__ import annotations

from typing import Final

import strawberry

from ledger.texts import IDEMPOTENCY_KEY
from schema.scalars import Nanos
from schema.transaction import Transaction

ACCOUNT: Final = "Id of the account, `acct_7`. Fails with NOT_FOUND if the API key does not cover the account."


@strawberry.input
class MutationInput:
    idempotency_key: str = strawberry.field(
        description="Identifies this call among all calls of this mutation on this account:"
        f" {IDEMPOTENCY_KEY.bounds}. If the same call is sent again with the same key, it is not carried out again"
        " but returns the first outcome. The same key with different input fails with IDEMPOTENCY_CONFLICT. Keys"
        " never expire. A call that fails does not use up its key."
    )


@strawberry.type
class Payload:
    transactions: list[Transaction] = strawberry.field(
        description="The rows that the call wrote, in the order of writing; empty if it wrote none."
    )
    balance_nanos: Nanos = strawberry.field(name="balance", description="The account's balance after the call.")
    replayed: bool = strawberry.field(
        description="Whether the call had already been carried out. If true, this is the outcome of the first call,"
        " and nothing was written now."
    )
