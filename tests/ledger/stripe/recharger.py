"""A ledger with a worker that asks the stand-in for the payments of auto-recharge."""

from __future__ import annotations

from db import recharges
from db.database import Database
from db.recharges import AutoRechargeRow, RechargeAttemptRow
from ledger.recharge_payments import RechargePayments
from ledger.recharges import RechargeSettings, put_settings, switch_off
from ledger.stripe.api import StripeApi
from tests.ledger.desk import usd
from tests.ledger.stripe.attempts import attempts_of
from tests.ledger.stripe.till import CUSTOMER, Till
from tests.stripe_objects import Object
from tests.stripe_stand_in import StandIn

SETTINGS = RechargeSettings(usd("10.00"), usd("25.00"), usd("60.00"))


class Recharger(Till):
    """A till with a worker that asks the stand-in for payments."""

    def __init__(self, database: Database, stand_in: StandIn, api: StripeApi) -> None:
        super().__init__(database, api)
        self.stand_in = stand_in
        self.payments = RechargePayments(database, api, lambda: self.now)

    async def low_account(
        self, balance: str = "4.00", given: RechargeSettings = SETTINGS, customer: str = CUSTOMER
    ) -> int:
        account_id = await self.account(balance)
        await self.events.link(account_id, customer)
        self.stand_in.customers[customer] = {"id": customer, "object": "customer", "invoice_settings": {}}
        self.stand_in.cards[customer] = ["pm_1"]
        await self.set(account_id, given)
        return account_id

    async def change_status(self, account_id: int, status: str) -> None:
        await self.execute(f"UPDATE accounts SET status = '{status}' WHERE id = {account_id}")

    async def set(self, account_id: int, given: RechargeSettings) -> AutoRechargeRow:
        async with self.database.write() as connection:
            return await put_settings(connection, account_id, given, self.now)

    async def switch_off(self, account_id: int) -> None:
        async with self.database.write() as connection:
            await switch_off(connection, account_id, self.now)

    async def setting(self, account_id: int) -> AutoRechargeRow:
        async with self.database.write() as connection:
            row = await recharges.lock_settings(connection, account_id)
        assert row is not None
        return row

    async def attempts(self, account_id: int) -> list[RechargeAttemptRow]:
        """The newest first."""
        return await attempts_of(self.database, account_id)

    async def told_states(self, account_id: int) -> list[str]:
        return [one.state for one in await self.attempts(account_id)]

    def made(self) -> list[Object]:
        return [{**one} for one in self.stand_in.payments.values()]

    async def tell_of_payments(self) -> None:
        """What Stripe's events say of every payment."""
        for one in self.made():
            kind = "succeeded" if one["status"] == "succeeded" else "payment_failed"
            await self.tell(f"payment_intent.{kind}", one)
