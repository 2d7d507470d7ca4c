from __future__ import annotations

from datetime import datetime
from typing import Annotated

import strawberry
from strawberry import Info

from db.filters import AuditFilter
from db.rows import AccountRow, AuditEntryRow, TransactionRow
from resolvers.context import QueryContext
from resolvers.reads import audit
from schema.account import Account
from schema.connection import Words, connection
from schema.kinds import KeyScope
from schema.transaction import DateTimeRange, Transaction


@strawberry.type(
    description="One action that was taken on accounts or keys by hand. Entries are kept forever and never change."
)
class AuditEntry:
    @strawberry.field(description="Id of the entry, `audit_12`. Numbers increase in the order of the actions.")
    def id(self: AuditEntryRow) -> strawberry.ID:
        return strawberry.ID(f"audit_{self.id}")

    at: datetime = strawberry.field(description="When the action was taken, by the server's clock.")
    act: str = strawberry.field(
        description="Name of the mutation: `correctBalance`. A command is listed under the name of the mutation that"
        " does the same; only `repairMonths` and `repairLimits` of `billing-gateway verify` have no mutation."
    )
    actor: str = strawberry.field(description="Visible prefix of the key that took the action, or `command-line`.")
    owner: str = strawberry.field(
        description="Owner of that key at the time; for the command line, the operating system user."
    )

    scope: KeyScope | None = strawberry.field(
        description="Scope of that key; null for the command line, and for entries that are older than this field."
    )

    @strawberry.field(description="The account that the action was about.", graphql_type=Account | None)
    async def account(self: AuditEntryRow, info: Info[QueryContext, None]) -> AccountRow | None:
        return await audit.account_of(info.context, self)

    key_prefix: str | None = strawberry.field(description="Visible prefix of the key that the action was about.")
    description: str | None = strawberry.field(
        description="The reason that was given, or the description of the rows that were written."
    )

    old_value: str | None = strawberry.field(
        description="Value before the action, such as `active` or `balance 10.00`; null if there was none."
    )
    new_value: str | None = strawberry.field(description="Value after the action; null if there is none.")

    @strawberry.field(
        description="The rows that the action wrote, in the order of writing.", graphql_type=list[Transaction]
    )
    async def transactions(self: AuditEntryRow, info: Info[QueryContext, None]) -> list[TransactionRow | None]:
        return await audit.rows_of(info.context, self)


AuditEntryConnection = connection(
    AuditEntry,
    "A page of the audit list, newest first.",
    Words("An entry", "entries", "entries that match the filter"),
    count=audit.audit_count,
)


@strawberry.input(name="AuditFilter", description="Conditions that must all match.")
class AuditFilterInput:
    act: str | None = strawberry.field(
        default=None, description="Only entries of this mutation, by its name: `correctBalance`."
    )
    actor: str | None = strawberry.field(
        default=None, description="Only entries of this key, by its visible prefix, or of `command-line`."
    )
    account_id: strawberry.ID | None = strawberry.field(
        default=None, description="Only entries about this account: `acct_7`."
    )
    at: DateTimeRange | None = strawberry.field(default=None, description="Only actions taken in this range of time.")


FilterArgument = Annotated[AuditFilterInput | None, strawberry.argument(description="Filters the list and its count.")]


def filter_of(reads: QueryContext, given: AuditFilterInput | None) -> AuditFilter:
    given = given or AuditFilterInput()
    at = given.at or DateTimeRange()
    return audit.audit_filter(
        reads, act=given.act, actor=given.actor, account_id=given.account_id, at_gte=at.gte, at_lt=at.lt
    )
