"""What a failover may not do, looked for in the history of a drill. A pure function.

- A row that was acknowledged, read or streamed is in the ledger in the end, at the same place.
- A call's row is there once, however often the call was sent.
- A client reads no less than it has been told before, by an acknowledgement or another read, and the balance is that of
  the rows up to the newest one.
- A follower receives every row once, in order, up to the end.
- Calls are refused with UNAVAILABLE and Retry-After only, and only while a fault lasts.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Final, NamedTuple, TypeVar

from tests.failover.history import GAVE_UP, Acknowledged, Event, History, Read, Refused, Row, Streamed, Window

GRACE_SECONDS: Final = 5.0
"""Time after a window in which gateways may not yet have found the new primary."""

Kind = TypeVar("Kind", bound=Event)


class Ledger(NamedTuple):
    rows: Sequence[Row]
    balances: Sequence[int]
    """After each row."""

    def key(self, seq: int) -> str | None:
        return self.rows[seq - 1].key if 0 < seq <= len(self.rows) else None


def _of(kind: type[Kind], history: History) -> Iterator[Kind]:
    return (event for event in history.events if isinstance(event, kind))


def _ledgers(history: History) -> Mapping[int, Ledger]:
    by_account: dict[int, list[Row]] = defaultdict(list)
    for row in _of(Row, history):
        by_account[row.account].append(row)
    return defaultdict(
        lambda: Ledger([], []),
        {
            account: Ledger(rows, list(accumulate(row.amount_nanos for row in rows)))
            for account, rows in by_account.items()
        },
    )


def _lost(history: History, ledgers: Mapping[int, Ledger]) -> Iterator[str]:
    words = {Acknowledged: "acknowledged", Read: "read", Streamed: "streamed"}
    for event in history.events:
        if isinstance(event, (Acknowledged, Read, Streamed)) and event.seq:
            found = ledgers[event.account].key(event.seq)
            if found != event.key:
                word = words[type(event)]
                yield f"lost: {event.client} {word} row {event.seq} of {event.key}, the ledger has {found}"


def _doubled(ledgers: Mapping[int, Ledger]) -> Iterator[str]:
    for account, ledger in ledgers.items():
        if [row.seq for row in ledger.rows] != list(range(1, len(ledger.rows) + 1)):
            yield f"numbers: the rows of account {account} are not numbered one after the other"
        for key, times in Counter(row.key for row in ledger.rows).items():
            if times > 1:
                yield f"doubled: {times} rows of {key} on account {account}"


def _behind(history: History, ledgers: Mapping[int, Ledger]) -> Iterator[str]:
    seen: dict[tuple[str, int], int] = defaultdict(int)
    for event in history.events:
        if isinstance(event, Acknowledged):
            about = event.client, event.account
            seen[about] = max(seen[about], event.seq)
        elif isinstance(event, Read):
            about = event.client, event.account
            if event.seq < seen[about]:
                yield f"behind: {event.client} read row {event.seq} at {event.ended:.3f}, after row {seen[about]}"
            seen[about] = max(seen[about], event.seq)
            balances = [0, *ledgers[event.account].balances[: event.seq]]
            if event.seq < len(balances) and balances[event.seq] != event.balance_nanos:
                found = balances[event.seq]
                yield f"balance: {event.client} read {event.balance_nanos} at row {event.seq}, not {found}"


def _gaps(history: History, ledgers: Mapping[int, Ledger]) -> Iterator[str]:
    received: dict[tuple[str, int], list[int]] = defaultdict(list)
    for event in _of(Streamed, history):
        received[event.client, event.account].append(event.seq)
    for (client, account), seqs in received.items():
        for before, seq in zip([0, *seqs], seqs, strict=False):
            if seq != before + 1:
                yield f"gap: {client} received row {seq} after row {before}"
        if seqs[-1] < len(ledgers[account].rows):
            yield f"gap: {client} received {seqs[-1]} of {len(ledgers[account].rows)} rows"


def _is_within(windows: Iterable[Window], refused: Refused) -> bool:
    return any(window.began <= refused.ended and refused.began <= window.ended + GRACE_SECONDS for window in windows)


def _refused(history: History) -> Iterator[str]:
    windows = list(_of(Window, history))
    for refused in _of(Refused, history):
        if refused.code == GAVE_UP:
            continue
        if refused.code != "UNAVAILABLE":
            yield f"refused: {refused.client} with {refused.code} at {refused.ended:.3f}"
        elif not refused.has_retry_after:
            yield f"refused: {refused.client} without Retry-After at {refused.ended:.3f}"
        if not _is_within(windows, refused):
            yield f"refused: {refused.client} with {refused.code} at {refused.ended:.3f}, while there was no fault"


def faults(history: History) -> list[str]:
    ledgers = _ledgers(history)
    return [
        *_lost(history, ledgers),
        *_doubled(ledgers),
        *_behind(history, ledgers),
        *_gaps(history, ledgers),
        *_refused(history),
    ]
