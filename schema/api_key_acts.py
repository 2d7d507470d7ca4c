"""What operators, and manage keys of an account, do to API keys. Each act is kept in the audit list."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Final

import strawberry
from strawberry import Info

from ledger.keys import MAX_ACCOUNTS, MAX_GRACE, MAX_VALID_KEYS, NewKey
from ledger.texts import OWNER
from resolvers import api_keys
from resolvers.api_keys import KeyOutcome
from resolvers.writes import Writes
from schema.api_key import ApiKey
from schema.kinds import KeyScope, ServiceOperation
from schema.payload import Call
from schema.scalars import Nanos
from schema.transaction import Transaction

_PREFIX: Final = "The visible part of the key: `eco_k3x7q2ab`. A manage key knows the keys of its own account alone."
_MAX_GRACE_SECONDS: Final = int(MAX_GRACE.total_seconds())
_SHOWN_ONCE: Final = (
    "The whole key, shown this once: it is kept nowhere. Null where the call is replayed, since it was shown then;"
    " whoever lost it rotates the key."
)


@strawberry.input(description="A new key.")
class CreateApiKeyInput(Call):
    scope: KeyScope = strawberry.field(description="What it may do. A manage key makes READ and MANAGE keys alone.")
    owner: str = strawberry.field(description=f"Who answers for the key: {OWNER.bounds}.")
    account_id: strawberry.ID | None = strawberry.field(
        default=None,
        description="The account of a READ or MANAGE key, `acct_7`; a manage key's own if left out. Others have none.",
    )
    account_ids: list[strawberry.ID] | None = strawberry.field(
        default=None,
        description=f"The accounts of a SERVICE key, at most {MAX_ACCOUNTS}; all if left out. Others have no list.",
    )
    operations: list[ServiceOperation] | None = strawberry.field(
        default=None, description="The mutations of a SERVICE key; all if left out. Others have no list."
    )
    expires_at: datetime | None = strawberry.field(
        default=None,
        description="When it stops working, before the year 9999; never if left out. A key that expires makes none of"
        " its own scope that outlives it.",
    )


@strawberry.input(description="A key that another is to take the place of.")
class RotateApiKeyInput(Call):
    prefix: str = strawberry.field(description=_PREFIX)
    grace_seconds: int = strawberry.field(
        default=0,
        description=f"How long the old key goes on: 0 to {_MAX_GRACE_SECONDS}. Give a key that rotates itself some, in"
        " case the answer is lost.",
    )


@strawberry.input(description="A key that is to end.")
class RevokeApiKeyInput(Call):
    prefix: str = strawberry.field(description=_PREFIX)


@strawberry.type
class KeyPayload:
    key: ApiKey = strawberry.field(name="apiKey", description="The key as it is after the call, or now if replayed.")
    transactions: list[Transaction] = strawberry.field(description="Empty: keys write no rows.")
    balance_nanos: Nanos | None = strawberry.field(
        name="balance", description="The balance of the key's account after the call; null for a key of no account."
    )
    replayed: bool = strawberry.field(
        description="The call was carried out before: this is its outcome of that time, and nothing was written now."
    )


@strawberry.type(description="What createApiKey did.")
class CreateApiKeyPayload(KeyPayload):
    secret: str | None = strawberry.field(description=_SHOWN_ONCE)


@strawberry.type(description="What rotateApiKey did.")
class RotateApiKeyPayload(KeyPayload):
    secret: str | None = strawberry.field(description=_SHOWN_ONCE)
    replaced: ApiKey = strawberry.field(description="The old key: it is revoked, or expires when its grace ends.")


@strawberry.type(description="What revokeApiKey did.")
class RevokeApiKeyPayload(KeyPayload):
    pass


CreateApiKeyArgument = Annotated[CreateApiKeyInput, strawberry.argument(description="What it may do, and for whom.")]
RotateApiKeyArgument = Annotated[RotateApiKeyInput, strawberry.argument(description="Which one.")]
RevokeApiKeyArgument = Annotated[RevokeApiKeyInput, strawberry.argument(description="Which one.")]


def _new_key(given: CreateApiKeyInput, account_ids: tuple[int, ...] | None) -> NewKey:
    operations = None if given.operations is None else tuple(one.value for one in given.operations)
    return NewKey(given.scope, given.owner, account_ids=account_ids, operations=operations, expires_at=given.expires_at)


@strawberry.type
class KeyMutations:
    @strawberry.mutation(
        description="Makes a key. For operators, and for manage keys on their own account. CONFLICT where the account"
        f" has {MAX_VALID_KEYS} valid keys already.",
        graphql_type=CreateApiKeyPayload,
    )
    async def create_api_key(self, info: Info[Writes, None], input: CreateApiKeyArgument) -> KeyOutcome:  # noqa: A002
        new = _new_key(input, api_keys.listed_accounts(info.context, input.account_ids))
        return await api_keys.create(info.context, input.idempotency_key, new, input.account_id)

    @strawberry.mutation(
        description="Puts a new key of the same rights in the place of another. For operators, and for manage keys on"
        " their own account. CONFLICT where it has ended or was rotated already.",
        graphql_type=RotateApiKeyPayload,
    )
    async def rotate_api_key(self, info: Info[Writes, None], input: RotateApiKeyArgument) -> KeyOutcome:  # noqa: A002
        grace = timedelta(seconds=input.grace_seconds)
        return await api_keys.rotate(info.context, input.idempotency_key, input.prefix, grace)

    @strawberry.mutation(
        description="Ends a key: every process refuses it within seconds. For operators, and for manage keys on their"
        " own account. Revoking twice keeps the first time.",
        graphql_type=RevokeApiKeyPayload,
    )
    async def revoke_api_key(self, info: Info[Writes, None], input: RevokeApiKeyArgument) -> KeyOutcome:  # noqa: A002
        return await api_keys.revoke(info.context, input.idempotency_key, input.prefix)
