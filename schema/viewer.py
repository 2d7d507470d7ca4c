from __future__ import annotations

from datetime import datetime

import strawberry
from strawberry import Info

from access.keys import Principal
from db.rows import AccountRow
from resolvers.context import QueryContext
from resolvers.reads import accounts
from schema.account import Account
from schema.kinds import KeyScope


@strawberry.type(description="The API key that sent the request.")
class Viewer:
    scope: KeyScope = strawberry.field(description="What the key may do.")

    @strawberry.field(description="The account of a READ or MANAGE key; null for others.", graphql_type=Account | None)
    async def account(self: Principal, info: Info[QueryContext, None]) -> AccountRow | None:
        return None if self.account_id is None else await accounts.account(info.context, None)

    key_prefix: str = strawberry.field(description="The key's visible prefix.")

    @strawberry.field(description="When the key expires; null if never.")
    def key_expires_at(self: Principal) -> datetime | None:
        return self.expires_at
