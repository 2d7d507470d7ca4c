"""Objects that another subgraph refers to by type and id."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

from db.rows import AccountRow, ChargeRow, TransactionRow
from ledger.errors import BadUserInput, NotFound
from resolvers.context import QueryContext
from resolvers.reads import accounts, charges, transactions

Entity = AccountRow | TransactionRow | ChargeRow
Reference = Mapping[str, object]

MAX_REFERENCES: Final = 1_000

_READS: Final[Mapping[str, Callable[[QueryContext, str], Awaitable[Entity]]]] = MappingProxyType(
    {"Account": accounts.account, "Transaction": transactions.transaction, "Charge": charges.charge}
)
TYPES: Final = tuple(_READS)


async def entities(context: QueryContext, references: Sequence[object]) -> list[Entity | None]:
    """Returns the objects in the order of their references; None for an object that does not exist or that the key does
    not cover. Raises BadUserInput."""
    if len(references) > MAX_REFERENCES:
        msg = f"representations has {len(references)} items: at most {MAX_REFERENCES} are allowed"
        raise BadUserInput(msg)
    named = [_named(reference) for reference in references]
    # Side by side, so that dataloaders read them in batches.
    return list(await asyncio.gather(*(_found(context, type_name, id_) for type_name, id_ in named)))


def _named(reference: object) -> tuple[str, str]:
    """Returns the type and id of a reference. Raises BadUserInput."""
    if isinstance(reference, Mapping):
        type_name, id_ = reference.get("__typename"), reference.get("id")
        if isinstance(id_, str) and isinstance(type_name, str) and type_name in _READS:
            return type_name, id_
    msg = f"a representation must have an id and the __typename {', '.join(TYPES[:-1])} or {TYPES[-1]}"
    raise BadUserInput(msg)


async def _found(context: QueryContext, type_name: str, id_: str) -> Entity | None:
    try:
        return await _READS[type_name](context, id_)
    except NotFound:
        return None
