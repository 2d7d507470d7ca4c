from __future__ import annotations

from datetime import datetime
from typing import Annotated

import strawberry
from strawberry import Info

from db.criteria import AuditCriteria
from db.rows import AccountRow, AuditEntryRow, TransactionRow
from resolvers import audit
from resolvers.context import Reads
from resolvers.pages import Page
from schema.account import Account
from schema.page_info import PageInfo
from schema.scalars import BigInteger
from schema.transaction import DateTimeRange, EdgeRow, Transaction, edge_rows


@strawberry.type(description="One act on accounts or keys by hand. It is kept for ever and never changed.")
class AuditEntry:
    @strawberry.field(description="`audit_12`; numbers grow in the order of the acts.")
    def id(self: AuditEntryRow) -> strawberry.ID:
        return strawberry.ID(f"audit_{self.id}")

    at: datetime = strawberry.field(description="When it was done, by the server's clock.")
    act: str = strawberry.field(
        description="The mutation's name: `correctBalance`. Commands have that of the mutation."
    )
    actor: str = strawberry.field(description="The visible part of the key that acted, or `command-line`.")
    owner: str = strawberry.field(description="Who answered for that key then; on the command line, the user.")

    @strawberry.field(description="The account that the act was about.", graphql_type=Account | None)
    async def account(self: AuditEntryRow, info: Info[Reads, None]) -> AccountRow | None:
        return await audit.account_of(info.context, self)

    key_prefix: str | None = strawberry.field(description="The visible part of the key that the act was about.")
    description: str | None = strawberry.field(description="The reason, or the description that the rows got.")

    @strawberry.field(description="The rows that the act wrote, in their order.", graphql_type=list[Transaction])
    async def transactions(self: AuditEntryRow, info: Info[Reads, None]) -> list[TransactionRow | None]:
        return await audit.rows_of(info.context, self)


@strawberry.type(description="An entry and its cursor.")
class AuditEntryEdge:
    cursor: str = strawberry.field(description="Opaque. It pages in this list with this filter, and nowhere else.")
    node: AuditEntry = strawberry.field(description="The entry.")


@strawberry.type(description="A page of the audit list, newest first.")
class AuditEntryConnection:
    @strawberry.field(description="The page's entries with their cursors.", graphql_type=list[AuditEntryEdge])
    def edges(self: Page[AuditEntryRow]) -> list[EdgeRow]:
        return edge_rows(self)

    @strawberry.field(description="The page's entries.", graphql_type=list[AuditEntry])
    def nodes(self: Page[AuditEntryRow]) -> tuple[AuditEntryRow, ...]:
        return self.rows

    @strawberry.field(description="Where the page lies in the list.", graphql_type=PageInfo)
    def page_info(self: Page[AuditEntryRow]) -> Page[AuditEntryRow]:
        return self

    @strawberry.field(description="Number of entries over the whole filter. Worked out when it is asked for.")
    async def total_count(self: Page[AuditEntryRow], info: Info[Reads, None]) -> BigInteger:
        return BigInteger(await audit.audit_count(info.context, self))


@strawberry.input(description="All that is given must hold.")
class AuditFilter:
    act: str | None = strawberry.field(default=None, description="This mutation, by its name.")
    actor: str | None = strawberry.field(default=None, description="This key, by its visible part; or `command-line`.")
    account_id: strawberry.ID | None = strawberry.field(default=None, description="About this account: `acct_7`.")
    at: DateTimeRange | None = strawberry.field(default=None, description="Done in this time.")


FilterArgument = Annotated[AuditFilter | None, strawberry.argument(description="Narrows the list and its count.")]


def criteria_of(reads: Reads, given: AuditFilter | None) -> AuditCriteria:
    given = given or AuditFilter()
    at = given.at or DateTimeRange()
    return audit.audit_criteria(
        reads, act=given.act, actor=given.actor, account_id=given.account_id, at_gte=at.gte, at_lt=at.lt
    )
