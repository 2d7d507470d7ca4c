from __future__ import annotations

from datetime import datetime

import strawberry
from strawberry import Info

from db.rows import AuditEntryRow, TransactionRow
from resolvers.context import QueryContext
from resolvers.reads import account_audit, audit
from schema.connection import Words, connection
from schema.kinds import KeyScope
from schema.transaction import Transaction


@strawberry.type(
    description="One action that was taken on an account: on its keys, limits, auto-recharge, top-ups, details, status"
    " or balance. Entries are kept forever and never change."
)
class Activity:
    @strawberry.field(description="Id of the entry, `audit_12`. Numbers increase in the order of the actions.")
    def id(self: AuditEntryRow) -> strawberry.ID:
        return strawberry.ID(f"audit_{self.id}")

    at: datetime = strawberry.field(description="When the action was taken, by the server's clock.")
    act: str = strawberry.field(description="Name of the mutation: `setSpendLimit`.")
    actor: str = strawberry.field(description="Visible prefix of the key that took the action, or `command-line`.")
    scope: KeyScope | None = strawberry.field(
        description="Scope of that key; null for the command line, and for entries that are older than this field."
    )

    @strawberry.field(
        description="Owner of that key at the time. MANAGE keys see the owners of READ and MANAGE keys; null for"
        " others."
    )
    def owner(self: AuditEntryRow, info: Info[QueryContext, None]) -> str | None:
        return account_audit.owner(info.context, self)

    key_prefix: str | None = strawberry.field(description="Visible prefix of the key that the action was about.")

    @strawberry.field(
        description="What the action was about, or the description of the rows that were written. Only operators see"
        " the reasons of suspendAccount and reactivateAccount; null for others."
    )
    def description(self: AuditEntryRow, info: Info[QueryContext, None]) -> str | None:
        return account_audit.description(info.context, self)

    old_value: str | None = strawberry.field(
        description="Value before the action, such as `active` or `balance 10.00`; null if there was none."
    )
    new_value: str | None = strawberry.field(description="Value after the action; null if there is none.")

    @strawberry.field(
        description="The rows that the action wrote, in the order of writing.", graphql_type=list[Transaction]
    )
    async def transactions(self: AuditEntryRow, info: Info[QueryContext, None]) -> list[TransactionRow | None]:
        return await audit.rows_of(info.context, self)


ActivityConnection = connection(
    Activity,
    "A page of an account's activity, newest first.",
    Words("An entry", "entries", "the account's entries", cursors_of="this account's activity"),
    count=account_audit.account_audit_count,
)
