"""Stripe receipts: the address of the receipt of each payment."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, Final

from db.connections.snapshots import Read
from db.database import WriteConnection
from db.keyed_rows import read_with_keys
from db.stripe_tables import stripe_credits, stripe_receipts
from db.writes import upsert

_RECEIPT: Final = stripe_receipts
_CREDIT: Final = stripe_credits


async def put_receipt(connection: WriteConnection, account_id: int, payment_intent: str, url: str) -> None:
    """Writes the receipt in place of the one before: a payment has one that succeeded."""
    statement = upsert(connection, _RECEIPT).values(account_id=account_id, payment_intent=payment_intent, url=url)
    keys = [_RECEIPT.c.account_id, _RECEIPT.c.payment_intent]
    await connection.execute(statement.on_conflict_do_update(index_elements=keys, set_={"url": statement.excluded.url}))


def payments_of_credits(postgresql: bool, keys: Collection[tuple[int, str]]) -> Read[dict[tuple[int, str], str | None]]:
    """Reads the payment of each credited object, by account and the object's id."""

    def by_key(rows: Iterable[Any]) -> dict[tuple[int, str], str | None]:
        return {(row[0], row[1]): row[2] for row in rows}

    columns = (_CREDIT.c.account_id, _CREDIT.c.id, _CREDIT.c.payment_intent)
    return read_with_keys(columns, columns[:2], set(keys), by_key, postgresql=postgresql)


def receipts_by_payment(postgresql: bool, keys: Collection[tuple[int, str]]) -> Read[dict[tuple[int, str], str]]:
    """Reads the receipts by account and payment."""

    def by_key(rows: Iterable[Any]) -> dict[tuple[int, str], str]:
        return {(row[0], row[1]): row[2] for row in rows}

    columns = (_RECEIPT.c.account_id, _RECEIPT.c.payment_intent, _RECEIPT.c.url)
    return read_with_keys(columns, columns[:2], set(keys), by_key, postgresql=postgresql)
