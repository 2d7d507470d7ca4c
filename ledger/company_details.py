"""Company details: the name, address and tax id that a customer's statements show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from db import company_details
from db.company_details import CompanyDetailsRow
from ledger.errors import BadUserInput
from ledger.posting import LedgerTransaction
from ledger.texts import ADDRESS_LINE, COMPANY_NAME, TAX_ID

MAX_ADDRESS_LINES: Final = 6


@dataclass(frozen=True, slots=True)
class CompanyDetails:
    name: str
    address_lines: tuple[str, ...] = ()
    tax_id: str | None = None


def describe_details(details: CompanyDetails | CompanyDetailsRow) -> str:
    """Returns the details in one line, for the audit list."""
    tax_id = [f"tax id {details.tax_id}"] if details.tax_id else []
    return "; ".join([details.name, *details.address_lines, *tax_id])


def check_details(details: CompanyDetails) -> None:
    """Raises BadUserInput."""
    COMPANY_NAME.checked(details.name, "name")
    if len(details.address_lines) > MAX_ADDRESS_LINES:
        msg = f"addressLines must have at most {MAX_ADDRESS_LINES} lines, not {len(details.address_lines)}"
        raise BadUserInput(msg)
    for number, line in enumerate(details.address_lines):
        ADDRESS_LINE.checked(line, f"addressLines[{number}]")
    if details.tax_id is not None:
        TAX_ID.checked(details.tax_id, "taxId")


async def set_details(transaction: LedgerTransaction, account_id: int, details: CompanyDetails) -> CompanyDetailsRow:
    """Replaces the details of an account that is locked. Raises BadUserInput."""
    check_details(details)
    row = CompanyDetailsRow(
        account_id, details.name, "\n".join(details.address_lines), details.tax_id, transaction.clock()
    )
    await company_details.put_details(transaction.connection, row)
    return row
