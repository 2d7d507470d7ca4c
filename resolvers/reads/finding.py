"""Finding: whatever has an id that a customer, a colleague or Stripe quotes, in any account. For operators."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from access.keys import key_prefix_in
from db import finding
from db.finding import NamedAccountRow
from db.limit_rows import AuthorizationRow, SpendLimitRow
from db.rows import AccountRow, ApiKeyRow, ChargeRow, TransactionRow
from db.stripe_events import StripeEventRow
from ledger.errors import NotFound
from resolvers.context import QueryContext
from resolvers.reads.objects import WORDS, Row, object_with_id
from resolvers.reads.texts import checked_length

MAX_ID: Final = 255
MAX_FOUND: Final = finding.MAX_FOUND
MAX_ACCOUNTS: Final = 5
"""Maximum number of accounts whose rows are looked for. An id of Stripe belongs to one."""


@dataclass(frozen=True, slots=True)
class Found:
    account_id: int | None
    transaction: TransactionRow | None = None
    charge: ChargeRow | None = None
    authorization: AuthorizationRow | None = None
    spend_limit: SpendLimitRow | None = None
    api_key: ApiKeyRow | None = None
    stripe_event: StripeEventRow | None = None


def _found(row: Row) -> Found:
    match row:
        case AccountRow():
            return Found(row.id)
        case TransactionRow():
            return Found(row.account_id, transaction=row)
        case ChargeRow():
            return Found(row.account_id, charge=row)
        case AuthorizationRow():
            return Found(row.account_id, authorization=row)
        case SpendLimitRow():
            return Found(row.account_id, spend_limit=row)


_OWN_ID: Final = re.compile(rf"({'|'.join(WORDS)})(_\d{{1,19}}){{1,2}}", re.ASCII)


async def find(context: QueryContext, text: str) -> list[Found]:
    """Returns what has this id, at most MAX_FOUND objects. Raises Forbidden and BadUserInput."""
    context.require_operator()
    text = checked_length(text.strip(), "id", 1, MAX_ID)
    context.hosts()
    if _OWN_ID.fullmatch(text):
        try:
            return [_found(await object_with_id(context, text))]
        except NotFound:
            return []
    if (prefix := key_prefix_in(text)) is not None:
        keys = [await finding.key_with_prefix(one, prefix) for one in context.snapshots]
        return [Found(key.account_id, api_key=key) for key in keys if key is not None]
    return await _named_elsewhere(context, text)


async def _named_elsewhere(context: QueryContext, text: str) -> list[Found]:
    named = [row for one in context.snapshots for row in await finding.accounts_named(one, text)]
    found = [Found(row.account_id) for row in named if row.external]
    of_stripe = _objects_by_account(named, text)
    for account_id, objects in list(of_stripe.items())[:MAX_ACCOUNTS]:
        rows = await finding.rows_of_objects(context.snapshot_of(account_id), account_id, objects)
        found += [Found(account_id, transaction=row) for row in rows] or [Found(account_id)]
    events = [row for one in context.snapshots for row in await finding.events_of(one, text)]
    return (found + [Found(event.account_id, stripe_event=event) for event in events])[:MAX_FOUND]


def _objects_by_account(named: list[NamedAccountRow], text: str) -> dict[int, set[str]]:
    objects: dict[int, set[str]] = {}
    for row in named:
        if not row.external:
            ids = objects.setdefault(row.account_id, {text})
            ids.update(() if row.object_id is None else (row.object_id,))
    return objects


async def account_of(context: QueryContext, found: Found) -> AccountRow | None:
    return None if found.account_id is None else await context.loaders.account.load(found.account_id)
