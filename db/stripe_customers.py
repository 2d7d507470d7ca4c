"""Stripe customers of accounts: which of them pays, and whether it has a saved card."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

from sqlalchemy import BigInteger, Select, bindparam, select, update

from db.connections.snapshots import Read, Rows, Wanted
from db.database import Database, WriteConnection
from db.statements import columns, is_here, is_one_of
from db.stripe_tables import stripe_customers
from db.tables import timestamp
from db.writes import upsert

_CUSTOMER = stripe_customers


class StripeCustomerRow(NamedTuple):
    id: str
    account_id: int
    created_at: datetime
    has_card: bool
    """Whether a card is saved, as far as is known."""
    paid_at: datetime | None
    """When the newest top-up of the customer was credited."""
    ask_at: datetime | None
    """When Stripe must be asked whether a card is saved; None while the answer is known."""
    deleted_at: datetime | None


async def account_of_customer(connection: WriteConnection, customer: str) -> int | None:
    statement = select(_CUSTOMER.c.account_id).where(_CUSTOMER.c.id == customer)
    return (await connection.execute(statement)).scalar_one_or_none()


_OF_ACCOUNT = (
    select(*columns(_CUSTOMER, StripeCustomerRow))
    .where(_CUSTOMER.c.account_id == bindparam("account_id"))
    .order_by(
        _CUSTOMER.c.deleted_at.is_not(None),
        _CUSTOMER.c.has_card.desc(),
        _CUSTOMER.c.paid_at.desc().nulls_last(),
        _CUSTOMER.c.created_at,
        _CUSTOMER.c.id,
    )
)


def _customer_rows(rows: Sequence[Any]) -> list[StripeCustomerRow]:
    return [StripeCustomerRow._make(row) for row in rows]


async def customers_of_account(connection: WriteConnection, account_id: int) -> list[StripeCustomerRow]:
    """Returns the account's customers, the paying one first. Customers with a saved card come first, then those that
    topped up last, then the oldest. Deleted ones come last."""
    return _customer_rows((await connection.execute(_OF_ACCOUNT, {"account_id": account_id})).all())


async def read_customers_of_account(database: Database, account_id: int) -> list[StripeCustomerRow]:
    """Does the same as `customers_of_account`, outside a transaction."""
    return _customer_rows(await database.read(_OF_ACCOUNT, {"account_id": account_id}))


async def read_customer(database: Database, customer: str) -> StripeCustomerRow | None:
    rows = await database.read(select(*columns(_CUSTOMER, StripeCustomerRow)).where(_CUSTOMER.c.id == customer))
    return StripeCustomerRow._make(rows[0]) if rows else None


_LINKED = select(_CUSTOMER.c.id).where(_CUSTOMER.c.id == bindparam("customer"))


async def is_linked(database: Database, customer: str) -> bool:
    return bool(await database.read(_LINKED, {"customer": customer}))


async def link_customer(
    connection: WriteConnection, customer: str, account_id: int, now: datetime, *, ask_at: datetime | None = None
) -> int:
    """Links the customer. Returns its account: this one, unless it was linked before."""
    values = {"id": customer, "account_id": account_id, "created_at": now, "has_card": False, "ask_at": ask_at}
    statement = upsert(connection, _CUSTOMER).values(**values)
    await connection.execute(statement.on_conflict_do_nothing(index_elements=["id"]))
    found = await account_of_customer(connection, customer)
    assert found is not None
    return found


async def update_customer(connection: WriteConnection, customer: str, **changed: Any) -> None:
    """Sets columns of the customer, such as `has_card` and `ask_at`, from an event."""
    await connection.execute(update(_CUSTOMER).where(_CUSTOMER.c.id == customer).values(**changed))


async def schedule_card_lookups(connection: WriteConnection, account_id: int, now: datetime) -> None:
    """Schedules a question to Stripe about each customer of the account without a card."""
    without = (_CUSTOMER.c.account_id == account_id, ~_CUSTOMER.c.has_card, _CUSTOMER.c.deleted_at.is_(None))
    await connection.execute(update(_CUSTOMER).where(*without).values(ask_at=now))


async def store_answer(
    connection: WriteConnection, asked: StripeCustomerRow, *, has_card: bool, deleted_at: datetime | None
) -> None:
    """Stores Stripe's answer, unless an event reported a change since the row was read."""
    is_current = (_CUSTOMER.c.id == asked.id, _CUSTOMER.c.ask_at.is_not_distinct_from(asked.ask_at))
    values = {"has_card": has_card, "deleted_at": deleted_at, "ask_at": None}
    await connection.execute(update(_CUSTOMER).where(*is_current).values(**values))


_TO_ASK = (
    select(*columns(_CUSTOMER, StripeCustomerRow))
    .where(_CUSTOMER.c.ask_at <= bindparam("now", type_=timestamp()), is_here(_CUSTOMER.c.account_id))
    .order_by(_CUSTOMER.c.ask_at, _CUSTOMER.c.id)
    .limit(bindparam("rows", type_=BigInteger()))
)


async def customers_to_ask(database: Database, now: datetime, limit: int) -> list[StripeCustomerRow]:
    """Returns customers to ask Stripe about, longest waiting first."""
    return _customer_rows(await database.read(_TO_ASK, {"now": now, "rows": limit}))


@lru_cache(maxsize=2)
def _with_card_statement(postgresql: bool) -> Select[Any]:
    return select(_CUSTOMER.c.account_id).where(
        is_one_of(_CUSTOMER.c.account_id, "account_ids", postgresql=postgresql),
        _CUSTOMER.c.has_card,
        _CUSTOMER.c.deleted_at.is_(None),
    )


def saved_cards(postgresql: bool, account_ids: Sequence[int]) -> Read[dict[int, bool]]:
    """Reads whether any customer of each account has a saved card."""

    def told(found: Sequence[Rows]) -> dict[int, bool]:
        having = {row[0] for row in found[0]}
        return {account_id: account_id in having for account_id in account_ids}

    return Read((Wanted(_with_card_statement(postgresql), {"account_ids": list(account_ids)}),), told)
