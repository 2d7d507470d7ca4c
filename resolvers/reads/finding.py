"""Finding: whatever has an id that a customer, a colleague or Stripe quotes, in any account. For operators."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from access.keys import key_prefix_in
from db import finding
from db.finding import NamedAccountRow
from db.limit_rows import AuthorizationRow, SpendLimitRow
from db.rows import AccountRow, ApiKeyRow, ChargeRow, TransactionRow
from db.stripe_events import StripeEventRow
from ledger.errors import NotFound
from resolvers.context import QueryContext
from resolvers.reads import accounts, authorizations, charges, spend_limits, transactions
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


async def _account(context: QueryContext, text: str) -> Found:
    return Found((await accounts.account(context, text)).id)


async def _transaction(context: QueryContext, text: str) -> Found:
    row = await transactions.transaction(context, text)
    return Found(row.account_id, transaction=row)


async def _charge(context: QueryContext, text: str) -> Found:
    row = await charges.charge(context, text)
    return Found(row.account_id, charge=row)


async def _authorization(context: QueryContext, text: str) -> Found:
    row = await authorizations.authorization(context, text)
    return Found(row.account_id, authorization=row)


async def _spend_limit(context: QueryContext, text: str) -> Found:
    row = await spend_limits.spend_limit(context, text)
    return Found(row.account_id, spend_limit=row)


_OWN: Final[Mapping[str, Callable[[QueryContext, str], Awaitable[Found]]]] = MappingProxyType(
    {
        "acct": _account,
        "txn": _transaction,
        "chg": _charge,
        "auth": _authorization,
        "limit": _spend_limit,
    }
)
"""Objects by the word that their ids begin with."""

_OWN_ID: Final = re.compile(r"(acct|txn|chg|auth|limit)(_\d{1,19}){1,2}", re.ASCII)


async def find(context: QueryContext, text: str) -> list[Found]:
    """Returns what has this id, at most MAX_FOUND objects. Raises Forbidden and BadUserInput."""
    context.require_operator()
    text = checked_length(text.strip(), "id", 1, MAX_ID)
    if match := _OWN_ID.fullmatch(text):
        try:
            return [await _OWN[match[1]](context, text)]
        except NotFound:
            return []
    if (prefix := key_prefix_in(text)) is not None:
        key = await finding.key_with_prefix(context.snapshot, prefix)
        return [] if key is None else [Found(key.account_id, api_key=key)]
    return await _named_elsewhere(context, text)


async def _named_elsewhere(context: QueryContext, text: str) -> list[Found]:
    named = await finding.accounts_named(context.snapshot, text)
    found = [Found(row.account_id) for row in named if row.external]
    of_stripe = _objects_by_account(named, text)
    for account_id, objects in list(of_stripe.items())[:MAX_ACCOUNTS]:
        rows = await finding.rows_of_objects(context.snapshot, account_id, objects)
        found += [Found(account_id, transaction=row) for row in rows] or [Found(account_id)]
    events = await finding.events_of(context.snapshot, text)
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
