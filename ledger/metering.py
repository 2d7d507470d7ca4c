"""Metering: counts live requests once each and, in the same transaction, charges each batch as one row."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

from db.rows import UsageFigures
from ledger import descriptions
from ledger.commands import Entry, Period, Posting, Recording, Ref, Writer
from ledger.errors import BadUserInput, Conflict
from ledger.kinds import RefType, TransactionType, UsageCategory, UsageOrigin
from ledger.money import in_range
from ledger.past import checked_past
from ledger.texts import MODEL, REF_ID, REQUEST_ID
from ledger.usage import MAX_COUNT, UsageRequest, Verdict, id_digest

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
    cost_nanos: int


@dataclass(frozen=True, slots=True)
class UsageBatch:
    requests: Sequence[MeteredRequest]
    batch_id: str | None = None
    """The ref id of the row. If None, the idempotency key."""
    description: str | None = None
    """If None, the description is generated."""


def usage_posting(account_id: int, writer: Writer, idempotency_key: str, batch: UsageBatch, now: datetime) -> Posting:
    """Records the batch and charges its new requests by one row, or by no row if they cost nothing.

    The outcome's `result` is the number of new requests. Raises BadUserInput. Posting raises Conflict if a request's
    day is known from a rollup.
    """
    _check(batch, now)

    def charge(verdicts: Sequence[Verdict]) -> tuple[Sequence[Entry], int]:
        _check_verdicts(verdicts, batch)
        new = [one for one, verdict in zip(batch.requests, verdicts, strict=True) if verdict == Verdict.TAKEN]
        return _charge(new, batch.batch_id or idempotency_key[: REF_ID.longest], batch), len(new)

    recording = Recording([_recordable(account_id, one) for one in batch.requests], charge)
    payload = [OPERATION, batch.batch_id, batch.description, batch.requests]
    return Posting(account_id, writer, (), OPERATION, idempotency_key, payload, recording=recording)


def _check(batch: UsageBatch, now: datetime) -> None:
    if not 1 <= len(batch.requests) <= MAX_REQUESTS:
        msg = f"requests must have 1 to {MAX_REQUESTS} elements, not {len(batch.requests)}"
        raise BadUserInput(msg)
    if batch.batch_id is not None:
        REF_ID.checked(batch.batch_id, "batchId")
    for number, request in enumerate(batch.requests):
        _check_request(request, f"requests[{number}]", now)


def _check_request(request: MeteredRequest, what: str, now: datetime) -> None:
    REQUEST_ID.checked(request.id, f"{what}.id")
    MODEL.checked(request.model, f"{what}.model")
    if checked_past(request.at, now, f"{what}.at") < _EPOCH:
        msg = f"{what}.at must not be before 1970"
        raise BadUserInput(msg)
    figures = {
        "inputTokens": request.input_tokens,
        "outputTokens": request.output_tokens,
        "cost": in_range(request.cost_nanos, f"{what}.cost"),
    }
    for name, figure in figures.items():
        if not 0 <= figure <= MAX_COUNT:
            msg = f"{what}.{name} must not be negative"
            raise BadUserInput(msg)


def _recordable(account_id: int, request: MeteredRequest) -> UsageRequest:
    return UsageRequest(
        account_id,
        request.at.astimezone(UTC).date(),
        request.model,
        request.category.value,
        request.origin.value,
        request.input_tokens,
        request.output_tokens,
        request.cost_nanos,
        id_digest(request.id),
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


def _charge(requests: Sequence[MeteredRequest], ref_id: str, batch: UsageBatch) -> tuple[Entry, ...]:
    if not any(one.cost_nanos for one in requests):
        return ()
    figures = UsageFigures(
        len(requests),
        sum(one.input_tokens for one in requests),
        sum(one.output_tokens for one in requests),
        sum(one.cost_nanos for one in requests),
    )
    period = Period(min(one.at for one in requests), max(one.at for one in requests) + _MICROSECOND)
    return (usage_entry(ref_id, {one.model for one in requests}, figures, period, batch.description),)


def usage_entry(
    ref_id: str, models: Collection[str], figures: UsageFigures, period: Period, description: str | None = None
) -> Entry:
    """Returns the row for usage that costs something."""
    if description is None:
        description = descriptions.api_usage(models, figures.calls, figures.input_tokens, figures.output_tokens)
    return Entry(TransactionType.GPU_USAGE, -figures.cost_nanos, description, Ref(RefType.API_USAGE, ref_id), period)
