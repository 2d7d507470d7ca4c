from __future__ import annotations

from datetime import datetime

from resolvers.context import QueryContext


def prefetch_complete_until(context: QueryContext, account_id: int) -> None:
    context.loaders.usage_complete_until.load((account_id, None))


async def complete_until(context: QueryContext, account_id: int) -> datetime | None:
    """Returns the time up to which all services have reported all usage; None if no service reports."""
    return await context.loaders.usage_complete_until.load((account_id, None))
