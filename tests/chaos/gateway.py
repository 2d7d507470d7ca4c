"""`billing-gateway` with a clock that jumps: two minutes ahead on SIGUSR1, right again on SIGUSR2."""

from __future__ import annotations

import signal
from datetime import datetime, timedelta
from functools import partial
from unittest import mock

from gateway.cli import main
from gateway.services import build_services
from ledger.posting import utc_now

JUMP = timedelta(minutes=2)


class JumpingClock:
    def __init__(self) -> None:
        self._ahead = timedelta()

    def __call__(self) -> datetime:
        return utc_now() + self._ahead

    def jump(self, number: int, _frame: object) -> None:
        self._ahead = JUMP if number == signal.SIGUSR1 else timedelta()


if __name__ == "__main__":
    clock = JumpingClock()
    for number in (signal.SIGUSR1, signal.SIGUSR2):
        signal.signal(number, clock.jump)
    with mock.patch("gateway.serve.build_services", partial(build_services, clock=clock, machine_clock=clock)):
        main()
