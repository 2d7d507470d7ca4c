"""The command line within this process: a process of its own takes a second only to start."""

from __future__ import annotations

import io
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import redirect_stderr, redirect_stdout
from threading import Lock
from unittest import mock

from gateway.cli import main

_one_at_a_time = Lock()
"""Arguments, environment and output are the process's."""


def _called(arguments: tuple[str, ...]) -> int:
    with mock.patch.object(sys, "argv", ["billing-gateway", *arguments]):
        try:
            main()
        except SystemExit as ended:
            return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return 0


def run(*arguments: str, url: str, status: int = 0, output_of_failure: bool = False) -> str:
    """Returns what the command printed: on standard error if it is expected to fail, unless its output is asked for.

    It runs in a thread of its own, as it starts an event loop.
    """
    output, errors = io.StringIO(), io.StringIO()
    environment = mock.patch.dict(os.environ, {"BILLING_DATABASE_URL": url})
    with _one_at_a_time, environment, redirect_stdout(output), redirect_stderr(errors), ThreadPoolExecutor(1) as thread:
        ended = thread.submit(_called, arguments).result(60)
    assert ended == status, errors.getvalue()
    return (output if status == 0 or output_of_failure else errors).getvalue()
