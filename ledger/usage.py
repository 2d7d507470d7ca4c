"""Usage: records requests one by one or as daily rollups, into usage days and monthly figures.

Recording usage writes no ledger rows. The caller that records live usage posts its charge in the same transaction.

A usage day's key is (account, day, model, category, origin). The day is fed by requests or by one rollup, never by
both, because the same calls would then count twice. A rollup with the same figures changes nothing, whatever fed the
day. A request counts once because of its digest, 16 bytes (BLAKE2b) stored per account: of the request's id, or of
(timestamp, model, category, tokens) and the number of equal lines before it in its file. Digests are kept when a rollup
replaces their day, so the log stays known.

Usage hours part each day by hour, API key, project and price: their sums always equal the day. A rollup, of which only
the day is known, has one hour row that spans the day.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import date, datetime
from enum import StrEnum
from hashlib import blake2b
from operator import add
from typing import Final, NamedTuple

from db import usage_writes, writes
from db.attribution_rows import USAGE_HOUR_FIGURES, HourKey, RequestDetailRow, UsageHourRow, UsagePriceRow
from db.database import WriteConnection
from db.errors import NumberOutOfRange
from db.hours import HOURS_A_DAY, first_hour
from db.rows import DayKey, MonthlyFiguresRow, UsageDayRow, UsageFigures
from db.usage_writes import FedDay, RequestKey
from ledger.errors import NotFound
from ledger.ids import account_id_text
from ledger.kinds import UsageCategory, UsageOrigin
from ledger.usage_prices import NO_PRICE, UsagePrice, price_id

MAX_COUNT: Final = 2**63 - 1
TOKEN_CATEGORIES: Final = frozenset({UsageCategory.CHAT.value, UsageCategory.EMBEDDING.value})
"""The categories whose tokens the card counts."""

_ROLLUP: Final = "rollup"
_REQUESTS: Final = "requests"
_DIGEST_BYTES: Final = 16


class Verdict(StrEnum):
    """The outcome for a request or rollup."""

    TAKEN = "taken"
    KNOWN = "known"
    DIFFERS = "differs"
    """The day has other figures."""
    FED_BY_REQUESTS = "fed_by_requests"
    """A rollup for a day whose requests were recorded."""
    FED_BY_ROLLUP = "fed_by_rollup"
    """A request of a day that is known from a rollup."""


class UsageRequest(NamedTuple):
    account_id: int
    day: date
    model: str
    category: str
    origin: str
    input_tokens: int
    output_tokens: int
    cost_nanos: int
    digest: bytes
    hour: int
    """UTC hour of the timestamp, counted from 1970."""
    api_key: str = ""
    project: str = ""
    cached_input_tokens: int = 0
    reasoning_tokens: int = 0
    units_nanos: int = 0
    price: UsagePrice | None = None
    """None if the cost was given without a price."""
    at: datetime | None = None
    request_id: str | None = None
    end_user: str | None = None
    keeps_detail: bool = False
    """Whether the request is kept in full. It then has a timestamp."""
    is_imported: bool = False
    """Whether it was recorded without being charged."""


class Rollup(NamedTuple):
    row: UsageDayRow
    replace: bool = False
    """Replaces other figures, and requests."""


def id_digest(request_id: str) -> bytes:
    return blake2b(b"id\0" + request_id.encode(), digest_size=_DIGEST_BYTES).digest()


def line_digest(timestamp_nanos: int, model: str, category: str, input_tokens: int, output_tokens: int) -> bytes:
    """Returns the digest of the first such line of a file; `nth_digest` returns that of the others. The account is
    stored separately."""
    text = f"line\0{timestamp_nanos}\0{category}\0{input_tokens}\0{output_tokens}\0{model}"
    return blake2b(text.encode(), digest_size=_DIGEST_BYTES).digest()


def nth_digest(first: bytes, number: int) -> bytes:
    return first if number == 1 else blake2b(b"nth\0%d\0" % number + first, digest_size=_DIGEST_BYTES).digest()


async def record_requests(connection: WriteConnection, requests: Sequence[UsageRequest]) -> list[Verdict]:
    """Records requests. Returns the verdicts in the order of the requests: TAKEN, KNOWN or FED_BY_ROLLUP.

    Raises NotFound for an account that does not exist and NumberOutOfRange for sums beyond 64 bits. The caller must
    then roll back the transaction.
    """
    await _lock(connection, {request.account_id for request in requests})
    known = await usage_writes.known_requests(connection, {request_key(one) for one in requests})
    recorder = Recorder(known, await usage_writes.usage_days(connection, {one[:5] for one in requests}))
    verdicts = recorder.record(requests)
    await _write(connection, recorder.recorded())
    return verdicts


async def record_rollups(connection: WriteConnection, rollups: Sequence[Rollup]) -> list[Verdict]:
    """Records rollups. Returns the verdicts in the order of the rollups: TAKEN, KNOWN, DIFFERS or FED_BY_REQUESTS.

    Raises the same errors as `record_requests`.
    """
    await _lock(connection, {rollup.row.account_id for rollup in rollups})
    days = _Rollups(await usage_writes.usage_days(connection, {one.row.key for one in rollups}))
    verdicts = [days.put(rollup) for rollup in rollups]
    await _write(connection, days.recorded())
    return verdicts


async def _write(connection: WriteConnection, recorded: Recorded) -> None:
    await usage_writes.delete_usage_hours(connection, recorded.replaced_days)
    await usage_writes.put_usage(connection, recorded.hours, recorded.prices, recorded.details)
    await usage_writes.insert_requests(connection, recorded.requests)
    await usage_writes.put_usage_days(connection, recorded.days)
    await writes.add_to_months(connection, recorded.months)


async def _lock(connection: WriteConnection, account_ids: Collection[int]) -> None:
    found = await writes.lock_accounts(connection, account_ids)
    await writes.touch_accounts(connection, account_ids)
    missing = set(account_ids) - found.keys()
    if missing:
        msg = f"there is no account {account_id_text(min(missing))}"
        raise NotFound(msg)


class Recorded(NamedTuple):
    """The changes to write."""

    requests: Sequence[RequestKey]
    days: Sequence[FedDay]
    months: Sequence[MonthlyFiguresRow]
    """Increments to add to the months."""
    hours: Sequence[UsageHourRow]
    """Increments to add to the hours, after the hours of replaced days are deleted."""
    prices: Collection[UsagePriceRow] = ()
    details: Sequence[RequestDetailRow] = ()
    replaced_days: Sequence[DayKey] = ()


def request_key(request: UsageRequest) -> RequestKey:
    return request.account_id, request.digest


class Recorder:
    """Counts requests in memory, each once, starting from the known requests and the stored days."""

    def __init__(self, known: set[RequestKey], stored: dict[DayKey, FedDay]) -> None:
        """`stored` has all stored days of the requests that will be recorded."""
        self._known = known
        self._stored = stored
        self._sums: dict[DayKey, list[int]] = {}
        self._hours: dict[HourKey, list[int]] = {}
        self._seqs: dict[int, int] = {}
        self._taken: list[UsageRequest] = []

    def record(self, requests: Sequence[UsageRequest]) -> list[Verdict]:
        return [self._recorded(request) for request in requests]

    def _recorded(self, request: UsageRequest) -> Verdict:
        key = request_key(request)
        if key in self._known:
            return Verdict.KNOWN
        stored = self._stored.get(request[:5])
        if stored is not None and stored.fed_by == _ROLLUP:
            return Verdict.FED_BY_ROLLUP
        self._known.add(key)
        self._taken.append(request)
        self._add(request, 1)
        return Verdict.TAKEN

    def _add(self, request: UsageRequest, sign: int) -> None:
        sums = self._sums.setdefault(request[:5], [0, 0, 0, 0])
        sums[0] += sign
        sums[1] += sign * request.input_tokens
        sums[2] += sign * request.output_tokens
        sums[3] += sign * request.cost_nanos
        hour = self._hours.setdefault(_hour_key(request), [0] * len(USAGE_HOUR_FIGURES))
        for place, figure in enumerate(_hour_figures(request)):
            hour[place] += sign * figure

    def mark(self) -> int:
        return len(self._taken)

    def undo(self, mark: int) -> None:
        """Undoes what was recorded since the mark."""
        for request in self._taken[mark:]:
            self._known.discard(request_key(request))
            self._add(request, -1)
        del self._taken[mark:]
        self._seqs = {place: seq for place, seq in self._seqs.items() if place < mark}

    def charged(self, mark: int, seq: int) -> None:
        """Notes the row that charges the requests recorded since the mark."""
        self._seqs.update(dict.fromkeys(range(mark, len(self._taken)), seq))

    def _days(self) -> list[FedDay]:
        rows = []
        for key, sums in self._sums.items():
            if sums[0]:
                stored = self._stored.get(key)
                before = _figures(stored)
                rows.append(FedDay(UsageDayRow(*key, *map(add, before, sums)), _REQUESTS))
        return rows

    def recorded(self) -> Recorded:
        """Returns the changes to write. Raises NumberOutOfRange for sums beyond 64 bits."""
        recorded = _recorded([request_key(one) for one in self._taken], self._days(), self._stored)
        prices = {(one.account_id, one.price) for one in self._taken if one.price is not None}
        return recorded._replace(
            hours=[_hour_row(key, sums) for key, sums in sorted(self._hours.items()) if sums[0]],
            prices=[price.row(account_id) for account_id, price in sorted(prices, key=_price_key)],
            details=[_detail(one, self._seqs.get(place)) for place, one in enumerate(self._taken) if one.keeps_detail],
        )


def _price_key(priced: tuple[int, UsagePrice]) -> tuple[int, int]:
    return priced[0], price_id(priced[1])


def _price_id(request: UsageRequest) -> int:
    return NO_PRICE if request.price is None else price_id(request.price)


def _hour_key(request: UsageRequest) -> HourKey:
    return (
        *(request.account_id, request.hour, 1, request.model, request.category, request.origin),
        *(request.api_key, request.project, _price_id(request)),
    )


def _hour_figures(request: UsageRequest) -> Sequence[int]:
    return (
        *(1, request.input_tokens, request.cached_input_tokens, request.output_tokens, request.reasoning_tokens),
        *(request.units_nanos, request.cost_nanos, request.cost_nanos if request.is_imported else 0),
    )


def _hour_row(key: HourKey, figures: Sequence[int]) -> UsageHourRow:
    row = UsageHourRow._make((*key, *figures))
    _check_range(figures, f"{row.model} in one hour", row.account_id)
    return row


def _hour_of_day(row: UsageDayRow) -> UsageHourRow:
    """Returns the hour row of an imported day, of which nothing more is known."""
    key = (row.account_id, first_hour(row.day), HOURS_A_DAY, row.model, row.category, row.origin, "", "", NO_PRICE)
    tokens = (row.input_tokens, 0, row.output_tokens, 0)
    return UsageHourRow._make((*key, row.calls, *tokens, 0, row.cost_nanos, row.cost_nanos))


def _detail(request: UsageRequest, seq: int | None) -> RequestDetailRow:
    assert request.at is not None
    return RequestDetailRow(
        request.account_id,
        request.at,
        request.digest,
        request.request_id,
        request.model,
        request.category,
        request.origin,
        request.api_key or None,
        request.project or None,
        request.end_user,
        request.input_tokens,
        request.cached_input_tokens,
        request.output_tokens,
        request.reasoning_tokens,
        request.units_nanos,
        request.cost_nanos,
        _price_id(request),
        seq,
    )


class _Rollups:
    """The days that rollups change: their stored and their new figures."""

    def __init__(self, stored: dict[DayKey, FedDay]) -> None:
        self._stored = stored
        self._rollups: dict[DayKey, FedDay] = {}

    def put(self, rollup: Rollup) -> Verdict:
        key = rollup.row.key
        known = self._rollups.get(key) or self._stored.get(key)
        if known is not None:
            if known.row == rollup.row:
                return Verdict.KNOWN
            if not rollup.replace:
                return Verdict.DIFFERS if known.fed_by == _ROLLUP else Verdict.FED_BY_REQUESTS
        self._rollups[key] = FedDay(rollup.row, _ROLLUP)
        return Verdict.TAKEN

    def recorded(self) -> Recorded:
        """Returns the changes to write. Raises NumberOutOfRange for sums beyond 64 bits."""
        recorded = _recorded([], self._rollups.values(), self._stored)
        return recorded._replace(
            hours=[_hour_of_day(day.row) for day in recorded.days],
            replaced_days=[key for key in self._rollups if key in self._stored],
        )


def _figures(stored: FedDay | None) -> UsageFigures:
    return UsageFigures(0, 0, 0, 0) if stored is None else stored.row.figures


def _recorded(requests: Sequence[RequestKey], changed: Iterable[FedDay], stored: dict[DayKey, FedDay]) -> Recorded:
    days = sorted(changed)
    for row, _ in days:
        _check_range(row.figures, f"{row.model} on {row.day}", row.account_id)
    return Recorded(requests, days, _increments(days, stored), ())


def _check_range(figures: Sequence[int], what: str, account_id: int) -> None:
    # The database checks this too, but a driver cannot even bind a larger number.
    if any(abs(figure) > MAX_COUNT for figure in figures):
        msg = f"the sum of usage for {what} of {account_id_text(account_id)} exceeds the 64-bit range"
        raise NumberOutOfRange(msg)


def _increments(days: Sequence[FedDay], stored: dict[DayKey, FedDay]) -> list[MonthlyFiguresRow]:
    """Returns the change of the monthly figures, positive or negative, caused by the change of their days."""
    months: dict[tuple[int, str], list[int]] = {}
    for row, _ in days:
        sums = months.setdefault((row.account_id, row.day.isoformat()[:7]), [0, 0, 0])
        old = _figures(stored.get(row.key))
        sums[1 if row.origin == UsageOrigin.USER_INFERENCE else 0] += row.calls - old.calls
        if row.category in TOKEN_CATEGORIES:
            sums[2] += row.input_tokens + row.output_tokens - old.input_tokens - old.output_tokens
    for (account_id, month), sums in months.items():
        _check_range(sums, month, account_id)
    return [
        MonthlyFiguresRow(*key, platform_calls=platform, user_inference_calls=user_inference, tokens=tokens)
        for key, (platform, user_inference, tokens) in months.items()
        if platform or user_inference or tokens
    ]
