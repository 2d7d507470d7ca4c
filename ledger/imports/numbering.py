from __future__ import annotations

from typing import Final

WINDOW: Final = 200_000


class Numbering:
    """Numbers the equal lines of a file: 1, 2, 3 …

    The lines around the current line in time are remembered. A file that is ordered by time in either direction, or
    nearly so, is therefore numbered exactly, however long it is. The number is None, never a guess, if dropped lines
    might be needed: a wrong number would lose the line or count it twice.
    """

    def __init__(self, window: int = WINDOW) -> None:
        self._window = self._limit = window
        self._seen: dict[int, int] = {}
        self._dropped_through: int | None = None
        self._dropped_from: int | None = None

    def number(self, account_id: int, timestamp_nanos: int, digest: bytes) -> int | None:
        if self._dropped_through is not None and timestamp_nanos <= self._dropped_through:
            return None
        if self._dropped_from is not None and timestamp_nanos >= self._dropped_from:
            return None
        key = timestamp_nanos << 64 | hash((account_id, digest)) & 2**64 - 1
        number = self._seen[key] = self._seen.get(key, 0) + 1
        if len(self._seen) > self._limit:
            self._drop_far_from(timestamp_nanos)
            self._limit = max(self._window, 2 * len(self._seen))
        return number

    def _drop_far_from(self, timestamp_nanos: int) -> None:
        """Drops the half that is farthest in time, but no line with this timestamp."""
        by_distance = sorted(self._seen, key=lambda key: abs((key >> 64) - timestamp_nanos))
        half = by_distance[len(by_distance) // 2 :]
        for key in half:
            time = key >> 64
            if time < timestamp_nanos:
                self._dropped_through = max(time, self._dropped_through or time)
            elif time > timestamp_nanos:
                self._dropped_from = min(time, self._dropped_from or time)
        through, later = self._dropped_through, self._dropped_from
        self._seen = {
            key: count
            for key, count in self._seen.items()
            if (through is None or key >> 64 > through) and (later is None or key >> 64 < later)
        }
