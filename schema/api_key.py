from __future__ import annotations

from datetime import datetime

import strawberry
from strawberry import Info

from db.rows import ApiKeyRow
from ledger.ids import account_id_text
from resolvers import api_keys
from resolvers.context import Reads
from resolvers.pages import Page
from schema.kinds import KeyScope, ServiceOperation
from schema.page_info import PageInfo
from schema.scalars import BigInteger
from schema.transaction import EdgeRow, edge_rows


@strawberry.type(description="An API key, without its secret: that is shown once, when the key is made.")
class ApiKey:
    prefix: str = strawberry.field(description="The visible part, by which the key is named: `eco_k3x7q2ab`.")
    scope: KeyScope = strawberry.field(description="What the key may do.")

    @strawberry.field(description="The account of a READ or MANAGE key; null for others.")
    def account_id(self: ApiKeyRow) -> strawberry.ID | None:
        return None if self.account_id is None else strawberry.ID(account_id_text(self.account_id))

    @strawberry.field(description="The accounts that a SERVICE key is narrowed to; null for all.")
    def account_ids(self: ApiKeyRow) -> list[strawberry.ID] | None:
        ids = api_keys.account_ids(self)
        return None if ids is None else [strawberry.ID(one) for one in ids]

    @strawberry.field(
        description="The mutations that a SERVICE key is narrowed to; null for all.",
        graphql_type=list[ServiceOperation] | None,
    )
    def operations(self: ApiKeyRow) -> list[str] | None:
        return api_keys.operations(self)

    owner: str = strawberry.field(description="Who answers for the key.")
    created_at: datetime = strawberry.field(description="When the key was made.")
    last_used_at: datetime | None = strawberry.field(
        description="When it was used last, up to half a minute late; null if never."
    )
    expires_at: datetime | None = strawberry.field(description="When it stops working; null for never.")
    revoked_at: datetime | None = strawberry.field(description="When it was revoked; null if it was not.")


@strawberry.type(description="A key and its cursor.")
class ApiKeyEdge:
    cursor: str = strawberry.field(description="Opaque. It pages in this account's list of keys, and nowhere else.")
    node: ApiKey = strawberry.field(description="The key.")


@strawberry.type(description="A page of an account's keys, newest first, those that ended among them.")
class ApiKeyConnection:
    @strawberry.field(description="The page's keys with their cursors.", graphql_type=list[ApiKeyEdge])
    def edges(self: Page[ApiKeyRow]) -> list[EdgeRow]:
        return edge_rows(self)

    @strawberry.field(description="The page's keys.", graphql_type=list[ApiKey])
    def nodes(self: Page[ApiKeyRow]) -> tuple[ApiKeyRow, ...]:
        return self.rows

    @strawberry.field(description="Where the page lies in the list.", graphql_type=PageInfo)
    def page_info(self: Page[ApiKeyRow]) -> Page[ApiKeyRow]:
        return self

    @strawberry.field(description="Number of keys of the account. Worked out when it is asked for.")
    async def total_count(self: Page[ApiKeyRow], info: Info[Reads, None]) -> BigInteger:
        return BigInteger(await api_keys.key_count(info.context, self))
