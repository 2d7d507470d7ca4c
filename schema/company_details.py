from __future__ import annotations

from datetime import datetime
from typing import Annotated

import strawberry
from strawberry import Info

from db.company_details import CompanyDetailsRow
from ledger.company_details import MAX_ADDRESS_LINES
from ledger.company_details import CompanyDetails as NewDetails
from ledger.texts import ADDRESS_LINE, COMPANY_NAME, TAX_ID
from resolvers.mutations.company_details import CompanyDetailsOutcome, set_company_details
from resolvers.mutations.context import MutationContext
from schema.payload import MutationInput, Payload


@strawberry.type(
    description="Name, address and tax id of the customer, as the account's MANAGE keys set them. Statements show"
    " them. They have no other effect: no tax is computed."
)
class CompanyDetails:
    name: str = strawberry.field(description="Name of the company or person.")

    @strawberry.field(description=f"Lines of the postal address, at most {MAX_ADDRESS_LINES}.", graphql_type=list[str])
    def address_lines(self: CompanyDetailsRow) -> list[str]:
        return self.address_lines

    tax_id: str | None = strawberry.field(
        description="Tax id, such as a VAT number, as the customer wrote it; null if there is none."
    )
    updated_at: datetime = strawberry.field(description="When the details were last set.")


@strawberry.input(description="Company details. They replace all earlier ones.")
class SetCompanyDetailsInput(MutationInput):
    account_id: strawberry.ID | None = strawberry.field(
        default=None, description="The key's own account, `acct_7`. It can be omitted."
    )
    name: str = strawberry.field(description=f"Name of the company or person: {COMPANY_NAME.bounds}.")
    address_lines: list[str] = strawberry.field(
        default_factory=list,
        description=f"Lines of the postal address: at most {MAX_ADDRESS_LINES}, each {ADDRESS_LINE.bounds}.",
    )
    tax_id: str | None = strawberry.field(
        default=None, description=f"Tax id: {TAX_ID.bounds}. It is not checked. None if omitted."
    )


@strawberry.type(description="Result of setCompanyDetails.")
class SetCompanyDetailsPayload(Payload):
    details: CompanyDetails = strawberry.field(
        name="companyDetails",
        description="The details after the call. If the call is replayed, the details as they are now.",
    )


DetailsArgument = Annotated[SetCompanyDetailsInput, strawberry.argument(description="The details to set.")]


@strawberry.type
class CompanyDetailsMutations:
    @strawberry.mutation(
        description="Sets the name, address and tax id that the account's statements show. For MANAGE keys. The audit"
        " list names the key.",
        graphql_type=SetCompanyDetailsPayload,
    )
    async def set_company_details(
        self,
        info: Info[MutationContext, None],
        input: DetailsArgument,  # noqa: A002
    ) -> CompanyDetailsOutcome:
        details = NewDetails(input.name, tuple(input.address_lines), input.tax_id)
        return await set_company_details(info.context, input.account_id, input.idempotency_key, details)
