from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from ledger.imports.columns import Format


@dataclass(frozen=True, slots=True)
class ImportOptions:
    model: str | None = None
    """Model, account, category and origin are used if the file lacks the column."""
    account: str | None = None
    category: str | None = None
    origin: str | None = None
    start: datetime | None = None
    """The time from which BurstGPT's seconds are counted."""
    format: Format | None = None
    strict: bool = False
    create_accounts: bool = False
    replace: bool = False
    detail_days: int = 35
    """How many days requests are kept in full, from their own time on; 0 for none."""
