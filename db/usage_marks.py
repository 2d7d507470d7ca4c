"""Usage marks: the time up to which each service has reported all usage of an account."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import BigInteger, ColumnElement, Select, bindparam, delete, func, select

from db.attribution_tables import usage_marks
from db.connections.snapshots import Read, Rows
from db.database import WriteConnection
from db.statements import THE_ACCOUNT, for_each_account, read_each
from db.tables import timestamp
from db.writes import upsert

_MARK: Final = usage_marks


async def marks_of(connection: WriteConnection, account_id: int) -> dict[str, datetime]:
    """Reads the marks of an account by service."""
    statement = select(_MARK.c.service, _MARK.c.complete_until).where(_MARK.c.account_id == account_id)
    return {row[0]: row[1] for row in await connection.execute(statement)}


async def put_mark(connection: WriteConnection, account_id: int, service: str, until: datetime) -> None:
    """Stores a mark. The account must be locked."""
    statement = upsert(connection, _MARK).values(account_id=account_id, service=service, complete_until=until)
    await connection.execute(
        statement.on_conflict_do_update(
            index_elements=[_MARK.c.account_id, _MARK.c.service],
            set_={"complete_until": statement.excluded.complete_until},
        )
    )


async def delete_mark(connection: WriteConnection, account_id: int, service: str) -> None:
    """Deletes a mark, if there is one. The account must be locked."""
    await connection.execute(delete(_MARK).where(_MARK.c.account_id == account_id, _MARK.c.service == service))


def _earliest(account: ColumnElement[int]) -> Select[Any]:
    listed: list[Any] = [account.label("account_id"), func.min(_MARK.c.complete_until, type_=timestamp())]
    return select(*listed).where(_MARK.c.account_id == account)


@lru_cache(maxsize=2)
def _statements(postgresql: bool) -> tuple[Select[Any], Select[Any] | None]:
    one = _earliest(bindparam(THE_ACCOUNT, type_=BigInteger()))
    return one, for_each_account(_earliest) if postgresql else None


def complete_until(postgresql: bool, account_ids: Sequence[int], _: None) -> Read[dict[int, datetime | None]]:
    """Reads the earliest mark of each account; None if no service reports usage for it."""
    one, each = _statements(postgresql)

    def marks(found: Mapping[int, Rows]) -> dict[int, datetime | None]:
        return {account_id: rows[0][1] for account_id, rows in found.items()}

    return read_each(account_ids, {}, marks, one=one, each=each)
