"""How the time to stop is divided, so that the process ends within it."""

from __future__ import annotations


def _reserve(seconds: float) -> float:
    """For cancelled requests, the database's connections and the interpreter to end."""
    return min(1.0, seconds / 4)


def seconds_for_requests(seconds: float) -> float:
    """Then requests that still run are cancelled."""
    return seconds - _reserve(seconds)


def seconds_for_streams(seconds: float) -> float:
    """Then streams that have not ended are cut off with the requests."""
    return seconds - 2 * _reserve(seconds)
