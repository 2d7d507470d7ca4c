from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import text

from access.keys import IssuedKey, Keys, KeyScope, NewKey
from db.database import Database, DatabaseOptions
from ledger.accounts import Accounts
from ledger.ids import transaction_id_text
from ledger.money import format_nanos
from ledger.posting import Ledger
from tests.gateway.streams.clients.partners import Received
from tests.ledger.desk import OPERATOR, api_usage, correction, posting


@dataclass(frozen=True)
class FollowedAccount:
    """An account with an opening balance as row 1, and a key to follow it with."""

    id: int
    key: IssuedKey


class Accountant:
    """Prepares the ledger that partners follow, and says afterwards what they must have received."""

    def __init__(self, url: str) -> None:
        self.database = Database(DatabaseOptions(url))
        self._ledger = Ledger(self.database)

    async def open_account(self) -> FollowedAccount:
        account = await Accounts(self.database).create("Partner")
        key = await Keys(self.database).create(NewKey(KeyScope.READ, "partner", account.id))
        await self._ledger.post(posting(account.id, correction(5_000_000_000), writer=OPERATOR))
        return FollowedAccount(account.id, key)

    async def post(self, account_id: int, rows: int = 1) -> None:
        await self._ledger.post(*(posting(account_id, api_usage(1 + number)) for number in range(rows)))

    async def rows_after_opening(self, account_id: int) -> list[Received]:
        found = await self.database.read(
            text(
                "SELECT seq, amount_nanos, balance_after_nanos FROM transactions"
                " WHERE account_id = :account_id AND seq > 1 ORDER BY seq"
            ),
            {"account_id": account_id},
        )
        return [
            Received(transaction_id_text(account_id, seq), format_nanos(amount), format_nanos(balance))
            for seq, amount, balance in found
        ]
