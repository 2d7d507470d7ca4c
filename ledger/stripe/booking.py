"""Booking: the shared part of crediting payments and refunds, which is the transaction of an event and its writer."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from db import stripe_customers
from ledger.commands import Entry, Posting, Writer
from ledger.kinds import WriterKind
from ledger.posting import LedgerTransaction

WRITER: Final = Writer(WriterKind.WEBHOOK, "stripe-webhook")
OPERATION: Final = "stripe"


class Booking:
    """Writes the effects of one event."""

    def __init__(self, transaction: LedgerTransaction, received_at: datetime, now: datetime) -> None:
        self._transaction = transaction
        self._connection = transaction.connection
        self._received_at = received_at
        self._now = now

    async def _account(self, customer: str | None) -> int | None:
        return None if customer is None else await stripe_customers.account_of_customer(self._connection, customer)

    async def _post(self, account_id: int, entries: Sequence[Entry]) -> None:
        await self._transaction.post(Posting(account_id, WRITER, entries, OPERATION))
