from __future__ import annotations

from datetime import datetime

import strawberry

from db.rows import ApiKeyRow
from ledger.ids import account_id_text
from resolvers.reads import api_keys
from schema.connection import Words, connection
from schema.kinds import KeyScope, ServiceOperation


@strawberry.type(description="An API key without its secret. The secret is shown once, when the key is created.")
class ApiKey:
    prefix: str = strawberry.field(description="The key's visible prefix, which identifies it: `eco_k3x7q2ab`.")
    scope: KeyScope = strawberry.field(description="What the key may do.")

    @strawberry.field(description="The account of a READ or MANAGE key; null for others.")
    def account_id(self: ApiKeyRow) -> strawberry.ID | None:
        return None if self.account_id is None else strawberry.ID(account_id_text(self.account_id))

    @strawberry.field(description="Accounts that a SERVICE key is restricted to; null for all accounts.")
    def account_ids(self: ApiKeyRow) -> list[strawberry.ID] | None:
        ids = api_keys.account_ids(self)
        return None if ids is None else [strawberry.ID(one) for one in ids]

    @strawberry.field(
        description="Mutations that a SERVICE key is restricted to; null for all mutations but `createSignInLink`.",
        graphql_type=list[ServiceOperation] | None,
    )
    def operations(self: ApiKeyRow) -> list[str] | None:
        return api_keys.operations(self)

    owner: str = strawberry.field(description="Person or team responsible for the key.")
    created_at: datetime = strawberry.field(description="When the key was created.")
    last_used_at: datetime | None = strawberry.field(
        description="When the key was last used, up to half a minute behind; null if never."
    )
    last_used_address: str | None = strawberry.field(
        description="Client address of the last use, an IPv4 or IPv6 address; null if never used, or if not known."
    )

    @strawberry.field(
        description="Client addresses and networks that the key is restricted to, `203.0.113.0/24`; null for all."
    )
    def allowed_addresses(self: ApiKeyRow) -> list[str] | None:
        return api_keys.allowed_addresses(self)

    @strawberry.field(
        description="Whether the key is a session: a sign-in link or another session created it, and it ends with the"
        " key that the link was made with."
    )
    def is_session(self: ApiKeyRow) -> bool:
        return self.session_of is not None

    points_per_second: int | None = strawberry.field(
        description="Points that the key may spend each second, if an operator has set a rate for this key; null for"
        " the rate of its scope."
    )
    burst_points: int | None = strawberry.field(
        name="burst",
        description="Points that the key may spend at once, if an operator has set a rate for this key; null for the"
        " burst of its scope.",
    )
    expires_at: datetime | None = strawberry.field(description="When the key expires; null if never.")
    revoked_at: datetime | None = strawberry.field(description="When the key was revoked; null if it was not.")


ApiKeyConnection = connection(
    ApiKey,
    "A page of an account's keys, newest first, including revoked and expired keys.",
    Words("A key", "keys", "the account's keys", cursors_of="this account's list of keys"),
    count=api_keys.key_count,
)
