"""Objects of any kind, by the ids that the API gives them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Final

from db.limit_rows import AuthorizationRow, SpendLimitRow
from db.rows import AccountRow, ChargeRow, TransactionRow
from ledger.errors import NotFound
from resolvers.context import QueryContext
from resolvers.reads import accounts, authorizations, charges, spend_limits, transactions

Row = AccountRow | TransactionRow | ChargeRow | SpendLimitRow | AuthorizationRow

_READS: Final[Mapping[str, Callable[[QueryContext, str], Awaitable[Row]]]] = MappingProxyType(
    {
        "acct": accounts.account,
        "txn": transactions.transaction,
        "chg": charges.charge,
        "limit": spend_limits.spend_limit,
        "auth": authorizations.authorization,
    }
)
"""Reads of one object, by the word that its id begins with."""

WORDS: Final = tuple(_READS)


async def object_with_id(context: QueryContext, text: str) -> Row:
    """Raises NotFound for an object that does not exist or that the key does not cover."""
    word, separator, _ = text.partition("_")
    if not separator or word not in _READS:
        raise NotFound("there is no such object")
    return await _READS[word](context, text)
