"""Finds what must not be in the history of a run, whatever broke underneath."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Final

from tests.chaos.history import Answer, Fault, History, Row, Stored

RECOVERY_SECONDS: Final = 5.0
MEMORY_MIB: Final = 60.0
"""By which both gateways together may grow after the first fault."""

AWAY: Final = frozenset({"UNAVAILABLE", "RATE_LIMITED"})
"""Codes that a client may get while something is broken. Names of exceptions are lost connections."""


def problems(history: History) -> list[str]:
    return [
        *_rows(history),
        *_reads(history),
        *_streams(history),
        *_errors(history),
        *_memory(history.faults),
    ]


def _rows(history: History) -> Iterator[str]:
    by_call: dict[str, list[Row]] = defaultdict(list)
    for one in history.stored:
        by_call[one.call].append(one.row)
    for call, row in history.acknowledged.items():
        if row not in by_call[call]:
            yield f"{call} was acknowledged as {row.id} and is not stored"
    for call, rows in by_call.items():
        if call and len(rows) > 1:
            yield f"{call} is stored {len(rows)} times: {', '.join(row.id for row in rows)}"


def _of_account(stored: Sequence[Stored], account: str) -> list[Row]:
    return [one.row for one in stored if one.account == account]


def _reads(history: History) -> Iterator[str]:
    rows = {one.row for one in history.stored}
    for read in history.reads:
        if read.newest not in rows or read.balance != read.newest.balance_after:
            yield f"{read.account} was read with {read.balance} after {read.newest.id}, a balance that it never had"


def _streams(history: History) -> Iterator[str]:
    for name, stream in history.streams.items():
        rows = _of_account(history.stored, stream.account)
        if stream.received == rows:
            continue
        counts = Counter(stream.received)
        missed = [row.id for row in rows if row not in counts]
        twice = [row.id for row, count in counts.items() if count > 1]
        if missed:
            yield f"{name} missed {len(missed)} rows, {missed[0]} first"
        if twice:
            yield f"{name} received {len(twice)} rows twice, {twice[0]} first"
        if not missed and not twice:
            yield f"{name} received rows in another order, or rows that are not stored"


def is_within(answer: Answer, fault: Fault) -> bool:
    return answer.began <= fault.ended + RECOVERY_SECONDS and answer.ended >= fault.began


def _errors(history: History) -> Iterator[str]:
    for answer in history.answers:
        if not answer.error:
            continue
        if answer.error.isupper() and answer.error not in AWAY:
            yield f"{answer.kind} was answered with {answer.error}"
        elif not any(is_within(answer, fault) for fault in history.faults):
            when = f"at {answer.began:.1f} s, {_nearest(answer, history.faults)}"
            yield f"{answer.kind} failed with {answer.error} {when}"


def _nearest(answer: Answer, faults: Sequence[Fault]) -> str:
    before = [fault for fault in faults if fault.ended <= answer.began]
    if not before:
        return "before any fault"
    return f"{answer.began - before[-1].ended:.1f} s after the end of: {before[-1].name}"


def _memory(faults: Sequence[Fault]) -> Iterator[str]:
    if len(faults) < 2:
        return
    grown = faults[-1].memory_mib - faults[0].memory_mib
    if grown > MEMORY_MIB:
        yield f"the gateways grew by {grown:.0f} MiB from {faults[0].memory_mib:.0f} MiB"
