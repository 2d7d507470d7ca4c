"""API key mutations, for operators and for manage keys of an account. Each change is kept in the audit list."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Final

import strawberry
from strawberry import Info

from access.addresses import MAX_NETWORKS
from access.keys import (
    MAX_ACCOUNTS,
    MAX_BURST_POINTS,
    MAX_GRACE,
    MAX_POINTS_PER_SECOND,
    MAX_VALID_KEYS,
    NewKey,
    key_rate,
)
from ledger.texts import OWNER
from resolvers.mutations import api_keys
from resolvers.mutations.api_keys import KeyOutcome
from resolvers.mutations.context import MutationContext
from schema.api_key import ApiKey
from schema.kinds import KeyScope, ServiceOperation
from schema.payload import MutationInput
from schema.scalars import Nanos
from schema.transaction import Transaction

_PREFIX: Final = "The key's visible prefix: `eco_k3x7q2ab`. A MANAGE key finds only the keys of its own account."
_MAX_GRACE_SECONDS: Final = int(MAX_GRACE.total_seconds())
_SHOWN_ONCE: Final = (
    "The full key. It is shown only in this answer and stored nowhere. Null if the call is replayed, because it was"
    " shown the first time; if it was lost, rotate the key."
)


@strawberry.input(description="A key to create.")
class CreateApiKeyInput(MutationInput):
    scope: KeyScope = strawberry.field(
        description="What the key may do. A MANAGE key can create only READ and MANAGE keys."
    )
    owner: str = strawberry.field(description=f"Person or team responsible for the key: {OWNER.bounds}.")
    account_id: strawberry.ID | None = strawberry.field(
        default=None,
        description="The account of a READ or MANAGE key, `acct_7`; the caller's own account if a MANAGE key omits"
        " it. Not allowed for other keys.",
    )
    account_ids: list[strawberry.ID] | None = strawberry.field(
        default=None,
        description=f"Accounts that a SERVICE key is restricted to, at most {MAX_ACCOUNTS}; all accounts if omitted."
        " Not allowed for other keys.",
    )
    operations: list[ServiceOperation] | None = strawberry.field(
        default=None,
        description="Mutations that a SERVICE key is restricted to; all mutations but `createSignInLink` if omitted."
        " Not allowed for other keys.",
    )
    expires_at: datetime | None = strawberry.field(
        default=None,
        description="When the key expires, before the year 9999; never if omitted. Required if the calling key expires,"
        " and not later than it: no key outlives the key that created it.",
    )
    allowed_addresses: list[str] | None = strawberry.field(
        default=None,
        description=f"Client addresses and networks that the key is restricted to, 1 to {MAX_NETWORKS} of IPv4 or IPv6:"
        " `203.0.113.7`, `203.0.113.0/24`, `2001:db8::/32`; all if omitted. From others, the key is refused with"
        " FORBIDDEN. A restricted key can create only keys that are restricted to addresses within its own.",
    )


@strawberry.input(description="A key to replace with a new one.")
class RotateApiKeyInput(MutationInput):
    prefix: str = strawberry.field(description=_PREFIX)
    grace_seconds: int = strawberry.field(
        default=0,
        description=f"Seconds for which the old key keeps working: 0 to {_MAX_GRACE_SECONDS}. If a key rotates"
        " itself, set some, in case the answer is lost.",
    )


@strawberry.input(description="A key to revoke.")
class RevokeApiKeyInput(MutationInput):
    prefix: str = strawberry.field(description=_PREFIX)


@strawberry.input(description="A key whose rate to set.")
class SetApiKeyRateInput(MutationInput):
    prefix: str = strawberry.field(description="The key's visible prefix: `eco_k3x7q2ab`.")
    points_per_second: int | None = strawberry.field(
        default=None,
        description=f"Points that the key may spend each second: 1 to {MAX_POINTS_PER_SECOND}. If omitted, the key gets"
        " the rate of its scope.",
    )
    burst: int | None = strawberry.field(
        default=None,
        description=f"Points that the key may spend at once: 1 to {MAX_BURST_POINTS}; ten times `pointsPerSecond` if"
        " omitted. Requires `pointsPerSecond`.",
    )


@strawberry.type
class KeyPayload:
    key: ApiKey = strawberry.field(
        name="apiKey", description="The key after the call, or its current state if the call is replayed."
    )
    transactions: list[Transaction] = strawberry.field(description="Always empty: key mutations write no rows.")
    balance_nanos: Nanos | None = strawberry.field(
        name="balance",
        description="Balance of the key's account after the call; null if the key belongs to no account.",
    )
    replayed: bool = strawberry.field(
        description="Whether the call had already been carried out. If true, this is the outcome of the first call,"
        " and nothing was written now."
    )


@strawberry.type(description="Result of createApiKey.")
class CreateApiKeyPayload(KeyPayload):
    secret: str | None = strawberry.field(description=_SHOWN_ONCE)


@strawberry.type(description="Result of rotateApiKey.")
class RotateApiKeyPayload(KeyPayload):
    secret: str | None = strawberry.field(description=_SHOWN_ONCE)
    replaced: ApiKey = strawberry.field(
        description="The old key. It is revoked, or expires at the end of the grace period."
    )


@strawberry.type(description="Result of revokeApiKey.")
class RevokeApiKeyPayload(KeyPayload):
    pass


@strawberry.type(description="Result of setApiKeyRate.")
class SetApiKeyRatePayload(KeyPayload):
    pass


CreateApiKeyArgument = Annotated[CreateApiKeyInput, strawberry.argument(description="The key to create.")]
RotateApiKeyArgument = Annotated[RotateApiKeyInput, strawberry.argument(description="The key to change.")]
RevokeApiKeyArgument = Annotated[RevokeApiKeyInput, strawberry.argument(description="The key to change.")]

SetApiKeyRateArgument = Annotated[SetApiKeyRateInput, strawberry.argument(description="The key and its rate.")]


def _new_key(context: MutationContext, given: CreateApiKeyInput) -> NewKey:
    return NewKey(
        given.scope,
        given.owner,
        account_ids=api_keys.listed_accounts(context, given.account_ids),
        operations=None if given.operations is None else tuple(one.value for one in given.operations),
        expires_at=given.expires_at,
        allowed_addresses=api_keys.listed_addresses(context, given.allowed_addresses),
    )


@strawberry.type
class KeyMutations:
    @strawberry.mutation(
        description="Creates a key. For operators, and for MANAGE keys on their own account. Fails with CONFLICT if"
        f" the account already has {MAX_VALID_KEYS} valid keys.",
        graphql_type=CreateApiKeyPayload,
    )
    async def create_api_key(self, info: Info[MutationContext, None], input: CreateApiKeyArgument) -> KeyOutcome:  # noqa: A002
        new = _new_key(info.context, input)
        return await api_keys.create(info.context, input.idempotency_key, new, input.account_id)

    @strawberry.mutation(
        description="Replaces a key with a new one that has the same rights. For operators, and for MANAGE keys on"
        " their own account. Fails with CONFLICT if the key has expired, was revoked or was rotated already, and with"
        " FORBIDDEN if the key expires later than the calling key or can be used from other addresses.",
        graphql_type=RotateApiKeyPayload,
    )
    async def rotate_api_key(self, info: Info[MutationContext, None], input: RotateApiKeyArgument) -> KeyOutcome:  # noqa: A002
        grace = timedelta(seconds=input.grace_seconds)
        return await api_keys.rotate(info.context, input.idempotency_key, input.prefix, grace)

    @strawberry.mutation(
        description="Revokes a key: every process refuses it within seconds. For operators, and for MANAGE keys on"
        " their own account. If the key was revoked before, the first time of revocation stays.",
        graphql_type=RevokeApiKeyPayload,
    )
    async def revoke_api_key(self, info: Info[MutationContext, None], input: RevokeApiKeyArgument) -> KeyOutcome:  # noqa: A002
        return await api_keys.revoke(info.context, input.idempotency_key, input.prefix)

    @strawberry.mutation(
        description="Sets a rate for one key, or resets the key to the rate of its scope. Every process applies the"
        " change within seconds. For operators. If the key is rotated, the new key has the same rate; keys that it"
        " creates do not.",
        graphql_type=SetApiKeyRatePayload,
    )
    async def set_api_key_rate(self, info: Info[MutationContext, None], input: SetApiKeyRateArgument) -> KeyOutcome:  # noqa: A002
        rate = key_rate(input.points_per_second, input.burst)
        return await api_keys.set_rate(info.context, input.idempotency_key, input.prefix, rate)
