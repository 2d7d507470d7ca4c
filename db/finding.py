"""Finds rows of any account by an id of another system: all by indexes, and few for each id."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final, NamedTuple

from sqlalchemy import BigInteger, Select, String, bindparam, literal, null, select, union_all

from db import tables
from db.archive.past import past_rows
from db.archive.reach import Reach
from db.connections.snapshots import Read, Snapshot, Wanted
from db.rows import ApiKeyRow, TransactionRow
from db.statements import columns, is_here, is_one_of
from db.stripe_events import StripeEventRow
from db.stripe_tables import recharge_attempts, stripe_credits, stripe_customers, stripe_events, top_ups
from db.transactions.conditions import unindexed

MAX_FOUND: Final = 20
"""Maximum number of rows of one statement."""

_ID: Final = bindparam("id", type_=String())
_ACCOUNT, _CREDIT, _EVENT, _KEY = tables.accounts, stripe_credits, stripe_events, tables.api_keys
_ROW: Final = tables.transactions


class NamedAccountRow(NamedTuple):
    account_id: int
    external: bool
    """The id is the account's external id; otherwise it is of a Stripe object of the account."""
    object_id: str | None
    """The id by which the account's rows refer to the object."""


def _account(account: Any, condition: Any, object_id: Any = None, *, external: bool = False) -> Select[Any]:
    shown = null() if object_id is None else object_id
    found = select(account.label("account_id"), literal(external).label("external"), shown.label("object_id"))
    return found.where(condition, is_here(account))


_ACCOUNTS: Final = union_all(
    _account(_ACCOUNT.c.id, _ACCOUNT.c.external_id == _ID, external=True),
    _account(stripe_customers.c.account_id, stripe_customers.c.id == _ID),
    _account(top_ups.c.account_id, top_ups.c.session_id == _ID),
    _account(recharge_attempts.c.account_id, recharge_attempts.c.id == _ID, recharge_attempts.c.payment_intent),
    _account(recharge_attempts.c.account_id, recharge_attempts.c.payment_intent == _ID),
    _account(_CREDIT.c.account_id, (_CREDIT.c.id == _ID) & _CREDIT.c.account_id.is_not(None), _CREDIT.c.id),
    _account(_CREDIT.c.account_id, (_CREDIT.c.payment_intent == _ID) & _CREDIT.c.account_id.is_not(None), _CREDIT.c.id),
).limit(MAX_FOUND)


async def accounts_named(snapshot: Snapshot, text: str) -> list[NamedAccountRow]:
    """Returns the accounts with this external id, and those of the Stripe object with this id."""
    return [NamedAccountRow(row[0], bool(row[1]), row[2]) for row in await snapshot.rows(_ACCOUNTS, {"id": text})]


def _rows_statement(*, postgresql: bool) -> Select[Any]:
    listed = is_one_of(_ROW.c.ref_id, "ref_ids", postgresql=postgresql)
    account = _ROW.c.account_id == bindparam("account", type_=BigInteger())
    return (
        select(*columns(_ROW, TransactionRow)).where(account, listed).order_by(unindexed(_ROW.c.seq)).limit(MAX_FOUND)
    )


_ROWS: Final = {postgresql: _rows_statement(postgresql=postgresql) for postgresql in (False, True)}


async def rows_of_objects(snapshot: Snapshot, account_id: int, ref_ids: Collection[str]) -> list[TransactionRow]:
    """Returns the account's rows that refer to one of these objects, oldest first."""
    given = {"account": account_id, "ref_ids": sorted(ref_ids)}
    past = past_rows(account_id, Reach(), Read((Wanted(_ROWS[False], given),), lambda rows: rows[0]), limit=MAX_FOUND)
    return [TransactionRow._make(row) for row in await snapshot.rows(_ROWS[snapshot.is_postgresql], given, past)]


_BY_PREFIX: Final = select(*columns(_KEY, ApiKeyRow)).where(
    _KEY.c.prefix == bindparam("prefix"), _KEY.c.shard.is_(None)
)


async def key_with_prefix(snapshot: Snapshot, prefix: str) -> ApiKeyRow | None:
    rows = await snapshot.rows(_BY_PREFIX, {"prefix": prefix})
    return ApiKeyRow._make(rows[0]) if rows else None


_EVENTS: Final = union_all(
    select(_EVENT.c.number).where(_EVENT.c.id == _ID),
    # Events that are done do not wait and need nobody: only those that are open are found by their object.
    select(_EVENT.c.number).where(_EVENT.c.state == "needs_attention", _EVENT.c.object_id == _ID),
    select(_EVENT.c.number).where(_EVENT.c.waits_for.is_not(None), _EVENT.c.waits_for == _ID),
).subquery()
_OPEN_EVENTS: Final = (
    select(*columns(_EVENT, StripeEventRow))
    .where(_EVENT.c.number.in_(select(_EVENTS.c.number).limit(MAX_FOUND)))
    .order_by(_EVENT.c.number)
)


async def events_of(snapshot: Snapshot, text: str) -> list[StripeEventRow]:
    """Returns the event with this id, and open events that are about the object with this id or wait for it."""
    return [StripeEventRow._make(row) for row in await snapshot.rows(_OPEN_EVENTS, {"id": text})]
