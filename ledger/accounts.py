from __future__ import annotations

from db import accounts, writes
from db.database import Database
from db.errors import DuplicateKey
from db.rows import AccountRow
from ledger.errors import BadUserInput, Conflict
from ledger.ids import is_shaped_like_account_id, parse_account_id
from ledger.moves import checked_text
from ledger.posting import Clock, utc_now


class Accounts:
    def __init__(self, database: Database, clock: Clock = utc_now) -> None:
        self._database = database
        self._clock = clock

    async def create(self, name: str, external_id: str | None = None) -> AccountRow:
        checked_text(name, "name", 200)
        if external_id is not None:
            checked_text(external_id, "externalId", 200)
            if is_shaped_like_account_id(external_id):
                raise BadUserInput("externalId must not look like an account's id, such as acct_7")
        try:
            async with self._database.write() as connection:
                return await writes.insert_account(
                    connection, external_id=external_id, name=name, created_at=self._clock()
                )
        except DuplicateKey as error:
            msg = f"there is an account with the external id {external_id} already"
            raise Conflict(msg) from error

    async def newest(self, limit: int, search: str | None = None) -> list[AccountRow]:
        async with self._database.snapshot() as snapshot:
            return await accounts.account_page(
                snapshot,
                limit=limit,
                after=None,
                search=search,
                search_id=None if search is None else parse_account_id(search),
            )
