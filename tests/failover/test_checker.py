"""The checker passes a sound history and finds each fault that is planted in it."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Final

import pytest

from tests.failover.checker import GRACE_SECONDS, faults
from tests.failover.history import (
    GAVE_UP,
    Acknowledged,
    Event,
    History,
    Read,
    Refused,
    Row,
    Streamed,
    Window,
    read_history,
)

_CENT: Final = 10_000_000


def _acknowledged(seq: int) -> Acknowledged:
    return Acknowledged("client", 1, seq * 10.0, seq * 10.0 + 1, f"key-{seq}", seq)


def _read(seq: int, at: float) -> Read:
    return Read("client", 1, at, at + 1, seq, f"key-{seq}", seq * _CENT)


def _streamed(seq: int) -> Streamed:
    return Streamed("follower", 1, seq * 10.0 + 2, seq, f"key-{seq}")


def _row(seq: int) -> Row:
    return Row(1, seq, f"key-{seq}", _CENT)


_WINDOW: Final = Window("kill the machine", 21, 25)
_REFUSED: Final = Refused("client", 22, 23, "UNAVAILABLE", has_retry_after=True)
_SOUND: Final[tuple[Event, ...]] = (
    _acknowledged(1), _streamed(1), _read(1, 12), _acknowledged(2), _streamed(2), _REFUSED,
    Refused("client", 50, 52, GAVE_UP), _acknowledged(3), _read(3, 32), _streamed(3),
    _WINDOW, _row(1), _row(2), _row(3),
)  # fmt: skip


def _changed(event: Event, *instead: Event) -> list[Event]:
    number = _SOUND.index(event)
    return [*_SOUND[:number], *instead, *_SOUND[number + 1 :]]


_LATE: Final = _WINDOW.ended + GRACE_SECONDS + 0.1
_PLANTED: Final[dict[str, tuple[list[Event], list[str]]]] = {
    "acknowledged row lost": (
        [event for event in _SOUND if event not in {_row(3), _read(3, 32), _streamed(3)}],
        ["lost: client acknowledged row 3 of key-3, the ledger has None"],
    ),
    "another row in its place": (
        _changed(_row(2), replace(_row(2), key="other")),
        [
            "lost: client acknowledged row 2 of key-2, the ledger has other",
            "lost: follower streamed row 2 of key-2, the ledger has other",
        ],
    ),
    "row doubled": (
        [*_changed(_streamed(3), _streamed(3), replace(_streamed(3), seq=4)), replace(_row(3), seq=4)],
        ["doubled: 2 rows of key-3 on account 1"],
    ),
    "numbers with a hole": (
        [event for event in _SOUND if event != _row(3)] + [_row(4)],
        [
            "numbers: the rows of account 1 are not numbered one after the other",
            "lost: client acknowledged row 3 of key-3, the ledger has key-4",
            "lost: client read row 3 of key-3, the ledger has key-4",
            "lost: follower streamed row 3 of key-3, the ledger has key-4",
        ],
    ),
    "read behind its own call": (
        _changed(_read(3, 32), _read(2, 32)),
        ["behind: client read row 2 at 33.000, after row 3"],
    ),
    "read behind its own read": (
        _changed(_read(3, 32), _read(3, 32), _read(2, 34)),
        ["behind: client read row 2 at 35.000, after row 3"],
    ),
    "balance of other rows": (
        _changed(_read(3, 32), replace(_read(3, 32), balance_nanos=_CENT)),
        ["balance: client read 10000000 at row 3, not 30000000"],
    ),
    "gap in a stream": (_changed(_streamed(2)), ["gap: follower received row 3 after row 1"]),
    "row streamed twice": (
        _changed(_streamed(2), _streamed(2), _streamed(2)),
        ["gap: follower received row 2 after row 2"],
    ),
    "stream without its end": (_changed(_streamed(3)), ["gap: follower received 2 of 3 rows"]),
    "another code": (
        _changed(_REFUSED, replace(_REFUSED, code="INTERNAL")),
        ["refused: client with INTERNAL at 23.000"],
    ),
    "no Retry-After": (
        _changed(_REFUSED, replace(_REFUSED, has_retry_after=False)),
        ["refused: client without Retry-After at 23.000"],
    ),
    "refused without a fault": (
        _changed(_REFUSED, replace(_REFUSED, began=_LATE, ended=_LATE)),
        [f"refused: client with UNAVAILABLE at {_LATE:.3f}, while there was no fault"],
    ),
}


def test_a_sound_history_passes(tmp_path: Path) -> None:
    path = tmp_path / "history.jsonl"
    History(list(_SOUND)).write(path)
    found = read_history(io.StringIO(path.read_text()))
    assert (found.events, faults(found)) == (list(_SOUND), [])


@pytest.mark.parametrize("name", list(_PLANTED))
def test_planted_faults_are_found(name: str) -> None:
    events, expected = _PLANTED[name]
    assert sorted(faults(History(events))) == sorted(expected)
