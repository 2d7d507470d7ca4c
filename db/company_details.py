"""Company details: name, address and tax id that customers set for their statements."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import select

from db.company_tables import company_details
from db.connections.snapshots import Read
from db.database import WriteConnection
from db.keyed_rows import read_with_keys
from db.statements import columns
from db.writes import upsert

_DETAILS: Final = company_details


class CompanyDetailsRow(NamedTuple):
    account_id: int
    name: str
    address: str
    """Lines, separated by line feeds."""
    tax_id: str | None
    updated_at: datetime

    @property
    def address_lines(self) -> list[str]:
        return self.address.split("\n") if self.address else []


async def put_details(connection: WriteConnection, row: CompanyDetailsRow) -> None:
    """Writes the details in place of those before. The account must be locked."""
    statement = upsert(connection, _DETAILS).values(**row._asdict())
    changed = {name: statement.excluded[name] for name in CompanyDetailsRow._fields[1:]}
    await connection.execute(statement.on_conflict_do_update(index_elements=[_DETAILS.c.account_id], set_=changed))


async def details_of(connection: WriteConnection, account_id: int) -> CompanyDetailsRow | None:
    statement = select(*columns(_DETAILS, CompanyDetailsRow)).where(_DETAILS.c.account_id == account_id)
    row = (await connection.execute(statement)).one_or_none()
    return None if row is None else CompanyDetailsRow._make(row)


def details_by_account(postgresql: bool, account_ids: Collection[int]) -> Read[dict[int, CompanyDetailsRow]]:
    def by_account(rows: Iterable[Any]) -> dict[int, CompanyDetailsRow]:
        return {row[0]: CompanyDetailsRow._make(row) for row in rows}

    keys = [(account_id,) for account_id in account_ids]
    listed = tuple(columns(_DETAILS, CompanyDetailsRow))
    return read_with_keys(listed, tuple(_DETAILS.primary_key), keys, by_account, postgresql=postgresql)
