"""Metering: counts live requests once each and, in the same transaction, charges each batch as one row."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import astuple, dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from db.hours import hour_of
from db.rows import UsageFigures
from ledger import descriptions
from ledger.attribution import Attribution, Share, checked_attribution
from ledger.commands import Capture, Entry, Period, Posting, Recording, Ref, UsageEntry, Writer
from ledger.errors import BadUserInput, Conflict
from ledger.kinds import RefType, TransactionType, UsageCategory, UsageOrigin
from ledger.money import format_nanos, in_range
from ledger.past import checked_past
from ledger.texts import END_USER, MODEL, REF_ID, REQUEST_ID
from ledger.usage import MAX_COUNT, UsageRequest, Verdict, id_digest
from ledger.usage_prices import NO_PRICES, PriceTable, Quantities, UsagePrice

MAX_REQUESTS: Final = 1_000
OPERATION: Final = "recordUsage"

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class MeteredRequest(NamedTuple):
    id: str
    at: datetime
    model: str
    category: UsageCategory
    origin: UsageOrigin
    input_tokens: int
    output_tokens: int
    cost_nanos: int | None
    """If None, computed from the price."""
    api_key_id: str | None = None
    project: str | None = None
    end_user: str | None = None
    cached_input_tokens: int = 0
    reasoning_tokens: int = 0
    units_nanos: int = 0
    price: UsagePrice | None = None
    """If None, from the price table where no cost is given."""

    @property
    def quantities(self) -> Quantities:
        return Quantities(
            *(self.input_tokens, self.cached_input_tokens, self.output_tokens, self.reasoning_tokens),
            self.units_nanos,
        )

    def as_payload(self) -> Sequence[object]:
        """Returns the JSON values that tell a repeated call from another one.

        Those of a request without the later fields are the same as in earlier releases.
        """
        first, later = self[:8], self[8:]
        return first if later == _LATER_DEFAULTS else [*first, *later[:-1], self.price and self.price[:6]]


_LATER_DEFAULTS: Final = (None, None, None, 0, 0, 0, None)


@dataclass(frozen=True, slots=True)
class UsageBatch:
    requests: Sequence[MeteredRequest]
    batch_id: str | None = None
    """The ref id of the row. If None, the idempotency key."""
    description: str | None = None
    """If None, the description is generated."""
    capture: Capture | None = None
    """The authorization that pays for the batch."""


@dataclass(frozen=True, slots=True)
class MeteringOptions:
    """The operator's settings for recorded usage."""

    prices: PriceTable = NO_PRICES
    """The price table in force."""
    detail_days: int = 35
    """How many days requests are kept in full; 0 for none."""

    def keeps_detail(self, at: datetime, now: datetime) -> bool:
        return at > now - timedelta(days=self.detail_days)


def usage_posting(
    account_id: int,
    writer: Writer,
    idempotency_key: str,
    batch: UsageBatch,
    now: datetime,
    options: MeteringOptions = MeteringOptions(),
) -> Posting:
    """Records the batch and charges its new requests by one row, or by no row if they cost nothing.

    The outcome's `result` is the number of new requests. Raises BadUserInput. Posting raises Conflict if a request's
    day is known from a rollup, or if the authorization has ended.
    """
    _check(batch)

    def charge(requests: Sequence[UsageRequest], verdicts: Sequence[Verdict]) -> tuple[Sequence[Entry], int]:
        _check_verdicts(verdicts, batch)
        _check_priced(batch.requests, requests, verdicts)
        new = [one for one, verdict in zip(requests, verdicts, strict=True) if verdict == Verdict.TAKEN]
        return _charge(new, batch.batch_id or idempotency_key[: REF_ID.longest], batch), len(new)

    requests = _recordable_requests(account_id, batch.requests, options, now)
    recording = Recording(requests, charge, batch.capture)
    payload: list[object] = [OPERATION, batch.batch_id, batch.description, [one.as_payload() for one in batch.requests]]
    if batch.capture is not None:
        payload.append(astuple(batch.capture))
    return Posting(account_id, writer, (), OPERATION, idempotency_key, payload, recording=recording)


def _check(batch: UsageBatch) -> None:
    if not 1 <= len(batch.requests) <= MAX_REQUESTS:
        msg = f"requests must have 1 to {MAX_REQUESTS} elements, not {len(batch.requests)}"
        raise BadUserInput(msg)
    if batch.batch_id is not None:
        REF_ID.checked(batch.batch_id, "batchId")


def _recordable_requests(
    account_id: int, given: Sequence[MeteredRequest], options: MeteringOptions, now: datetime
) -> list[UsageRequest]:
    """Raises BadUserInput, which names the request and its field."""
    found: list[UsageRequest] = []
    try:
        for request in given:
            _check_request(request, now)
            found.append(_recordable(account_id, request, options, now))
    except BadUserInput as error:
        msg = f"requests[{len(found)}].{error}"
        raise BadUserInput(msg) from error
    return found


def _check_request(request: MeteredRequest, now: datetime) -> None:
    REQUEST_ID.checked(request.id, "id")
    MODEL.checked(request.model, "model")
    if checked_past(request.at, now, "at") < _EPOCH:
        msg = "at must not be before 1970"
        raise BadUserInput(msg)
    if request.end_user is not None:
        END_USER.checked(request.end_user, "endUser")
    _check_figures(request.quantities, request.cost_nanos or 0)
    if request.price is not None:
        _check_price(request.price)
    _check_parts(request)


def _check_figures(used: Quantities, cost_nanos: int) -> None:
    if min(used) >= 0 <= cost_nanos and max(used) <= MAX_COUNT >= cost_nanos:
        return
    in_range(used.units_nanos, "units")
    in_range(cost_nanos, "cost")
    names = ("inputTokens", "cachedInputTokens", "outputTokens", "reasoningTokens", "units", "cost")
    wrong = next(name for name, figure in zip(names, (*used, cost_nanos), strict=True) if not 0 <= figure <= MAX_COUNT)
    msg = f"{wrong} must not be negative"
    raise BadUserInput(msg)


def _check_price(price: UsagePrice) -> None:
    for nanos in price[:6]:
        if nanos is not None and in_range(nanos, "price") < 0:
            msg = "price must not be negative"
            raise BadUserInput(msg)


def _check_parts(used: MeteredRequest) -> None:
    if used.cached_input_tokens > used.input_tokens:
        msg = "cachedInputTokens must not exceed inputTokens, of which they are a part"
        raise BadUserInput(msg)
    if used.reasoning_tokens > used.output_tokens:
        msg = "reasoningTokens must not exceed outputTokens, of which they are a part"
        raise BadUserInput(msg)


def _cost(request: MeteredRequest, prices: PriceTable) -> tuple[UsagePrice | None, int]:
    """Returns the price and the cost. Without a price, the cost is the given one, or 0. Raises BadUserInput."""
    price = request.price
    if price is None and request.cost_nanos is None:
        price = prices.price(request.model, request.at, request.input_tokens)
    if price is None:
        return None, request.cost_nanos or 0
    cost_nanos = price.cost_nanos(request.quantities, "cost")
    if request.cost_nanos not in {None, cost_nanos}:
        msg = (
            f"cost must be {format_nanos(cost_nanos)}, which its price gives,"
            f" not {format_nanos(request.cost_nanos or 0)}"
        )
        raise BadUserInput(msg)
    return price, cost_nanos


def _recordable(account_id: int, request: MeteredRequest, options: MeteringOptions, now: datetime) -> UsageRequest:
    api_key, project = checked_attribution(request.api_key_id, request.project)
    price, cost_nanos = _cost(request, options.prices)
    at = request.at.astimezone(UTC)
    return UsageRequest(
        account_id,
        at.date(),
        request.model,
        request.category.value,
        request.origin.value,
        request.input_tokens,
        request.output_tokens,
        cost_nanos,
        id_digest(request.id),
        hour_of(at),
        api_key,
        project,
        request.cached_input_tokens,
        request.reasoning_tokens,
        request.units_nanos,
        price,
        at,
        request.id,
        request.end_user,
        options.keeps_detail(at, now),
    )


def _check_verdicts(verdicts: Sequence[Verdict], batch: UsageBatch) -> None:
    if Verdict.FED_BY_ROLLUP in verdicts:
        number = verdicts.index(Verdict.FED_BY_ROLLUP)
        request = batch.requests[number]
        msg = (
            f"a rollup already has the usage of {request.model} on {request.at.astimezone(UTC).date()}:"
            f" requests[{number}] cannot be added to it"
        )
        raise Conflict(msg)


def _check_priced(
    given: Sequence[MeteredRequest], requests: Sequence[UsageRequest], verdicts: Sequence[Verdict]
) -> None:
    """Raises BadUserInput for a new request that has neither cost nor price.

    A call that is sent again, and a request that is known, were charged by the price table of the time.
    """
    for number, (request, recorded, verdict) in enumerate(zip(given, requests, verdicts, strict=True)):
        if verdict == Verdict.TAKEN and request.cost_nanos is None and recorded.price is None:
            what = f"requests[{number}] needs a cost or a price"
            msg = f"{what}: the price table has none for {request.model!r} at that time"
            raise BadUserInput(msg)


def _shares(requests: Iterable[UsageRequest]) -> list[Share]:
    """Returns what each attribution spent, as parts of the row's amount."""
    sums: dict[Attribution, int] = {}
    for one in requests:
        who = Attribution(one.api_key, one.project)
        sums[who] = sums.get(who, 0) - one.cost_nanos
    return [(who, nanos) for who, nanos in sorted(sums.items()) if nanos]


def _charge(requests: Sequence[UsageRequest], ref_id: str, batch: UsageBatch) -> tuple[Entry, ...]:
    if not any(one.cost_nanos for one in requests):
        return ()
    figures = UsageFigures(
        len(requests),
        sum(one.input_tokens for one in requests),
        sum(one.output_tokens for one in requests),
        sum(one.cost_nanos for one in requests),
    )
    times = [one.at for one in requests if one.at is not None]
    period = Period(min(times), max(times) + _MICROSECOND)
    models = {one.model for one in requests}
    return (usage_entry(ref_id, models, figures, period, batch.description, _shares(requests)),)


def usage_entry(
    ref_id: str,
    models: Collection[str],
    figures: UsageFigures,
    period: Period,
    description: str | None = None,
    shares: Sequence[Share] = (),
) -> Entry:
    """Returns the row for usage that costs something."""
    if description is None:
        description = descriptions.api_usage(models, figures.calls, figures.input_tokens, figures.output_tokens)
    ref = Ref(RefType.API_USAGE, ref_id)
    if not shares:
        return Entry(TransactionType.GPU_USAGE, -figures.cost_nanos, description, ref, period)
    return UsageEntry(TransactionType.GPU_USAGE, -figures.cost_nanos, description, ref, period, shares=shares)
