from __future__ import annotations

from db.company_details import CompanyDetailsRow
from resolvers.context import QueryContext


def prefetch_company_details(context: QueryContext, account_id: int) -> None:
    context.loaders.company_details.load(account_id)


async def company_details(context: QueryContext, account_id: int) -> CompanyDetailsRow | None:
    return await context.loaders.company_details.load(account_id)
