from __future__ import annotations

from typing import Final

POSITION: Final = "Billing-Position"


class ReadPosition:
    """The newest position of the gateway's answers: a gateway with read replicas answers from one that is as far.

    Events of a subscription have no position, nor have answers while the primary does not tell any. After one, requests
    have none either, and are answered by the primary, until an answer to such a request tells the next position.
    """

    def __init__(self) -> None:
        self.position: str | None = None
        self._events = 0

    @property
    def headers(self) -> dict[str, str]:
        return {} if self.position is None else {POSITION: self.position}

    def begin(self) -> int:
        """Returns what `note` needs of the time when the request was sent."""
        return self._events

    def note(self, began: int, position: str | None) -> None:
        if position is None:
            self.note_event()
        elif began == self._events and _time(position) > _time(self.position):
            self.position = position

    def note_event(self) -> None:
        self.position = None
        self._events += 1


def _time(position: str | None) -> int:
    return int((position or "0").split("-")[0])
