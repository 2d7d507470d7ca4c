"""Usage prices: the cost of a request from its quantities, and the identity of a price.

Prices are in nano-dollars: per million tokens, per unit and per call. A cost is computed in whole numbers and rounded
half-even once.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from functools import lru_cache
from hashlib import blake2b
from typing import Final, NamedTuple, Protocol

from db.attribution_rows import UsagePriceRow
from ledger.money import in_range

NO_PRICE: Final = 0
"""The id of usage whose cost was given without a price."""

_BILLION: Final = 10**9


class PriceSource(StrEnum):
    REQUEST = "request"
    """Named by the request."""
    TABLE = "table"
    """Taken from the operator's price table."""
    LIST = "list"
    """Taken from genai-prices, when usage was imported."""


class Quantities(NamedTuple):
    """Quantities of one request, or the sum of several requests."""

    input_tokens: int = 0
    cached_input_tokens: int = 0
    """Part of the input tokens."""
    output_tokens: int = 0
    reasoning_tokens: int = 0
    """Part of the output tokens."""
    units_nanos: int = 0
    """Images, seconds and the like, in billionths."""


class UsagePrice(NamedTuple):
    input_nanos: int = 0
    cached_input_nanos: int | None = None
    """If None, cached tokens cost what the other input tokens cost."""
    output_nanos: int = 0
    reasoning_nanos: int | None = None
    """If None, reasoning tokens cost what the other output tokens cost."""
    unit_nanos: int = 0
    call_nanos: int = 0
    valid_from: datetime | None = None
    valid_until: datetime | None = None
    source: PriceSource = PriceSource.REQUEST

    def billionths(self, used: Quantities, calls: int = 1) -> int:
        """Returns the exact cost in billionths of a nano-dollar."""
        cached_input = self.input_nanos if self.cached_input_nanos is None else self.cached_input_nanos
        reasoning = self.output_nanos if self.reasoning_nanos is None else self.reasoning_nanos
        tokens = (
            (used.input_tokens - used.cached_input_tokens) * self.input_nanos
            + used.cached_input_tokens * cached_input
            + (used.output_tokens - used.reasoning_tokens) * self.output_nanos
            + used.reasoning_tokens * reasoning
        )
        return 1_000 * tokens + used.units_nanos * self.unit_nanos + _BILLION * calls * self.call_nanos

    def cost_nanos(self, used: Quantities, what: str = "the cost") -> int:
        """Returns the cost of one request, rounded half-even. Raises BadUserInput beyond ±$9.2 billion."""
        whole, rest = divmod(self.billionths(used), _BILLION)
        if 2 * rest > _BILLION or (2 * rest == _BILLION and whole % 2):
            whole += 1
        return in_range(whole, what)

    def row(self, account_id: int) -> UsagePriceRow:
        return UsagePriceRow._make((account_id, price_id(self), *self[:-1], self.source.value))

    @classmethod
    def of_row(cls, row: UsagePriceRow) -> UsagePrice:
        return cls(*row[2:-1], PriceSource(row.source))


@lru_cache(maxsize=4_096)
def price_id(price: UsagePrice) -> int:
    """Returns a positive number that identifies the price: 63 bits of a digest of all its fields."""
    times = (None if time is None else time.isoformat() for time in (price.valid_from, price.valid_until))
    text = repr((*price[:6], *times, price.source.value))
    return (int.from_bytes(blake2b(text.encode(), digest_size=8).digest()) >> 1) or 1


class PriceTable(Protocol):
    """The prices in force over time, for requests that name neither cost nor price."""

    def price(self, model: str, at: datetime, input_tokens: int) -> UsagePrice | None:
        """Returns the price of a request of this size at this time; None if the model has none."""


class _NoPrices:
    def price(self, model: str, at: datetime, input_tokens: int) -> UsagePrice | None:
        return None


NO_PRICES: Final[PriceTable] = _NoPrices()
