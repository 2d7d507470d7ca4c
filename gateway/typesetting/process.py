"""The process that typesets (`worker`): how many there are at the same time, how long one may take, and its end."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO, Final

from access.keys import Principal
from gateway.errors import RequestError
from gateway.slots import Claim, SlotLimits, Slots
from gateway.typesetting.languages import Language

_WORKER: Final = Path(__file__).with_name("worker.py")
_FONTS_SECONDS: Final = 20.0
_QUEUE: Final = 20
"""Statements of a key that may wait for their turn."""


class TypesettingFailed(Exception):
    """The process ended without a file. The text is what it wrote on its way."""


class Typesetter:
    """Makes PDF files: a key or an account has one made at a time, and keys take turns."""

    def __init__(self, slots: int, timeout_seconds: float, wait_seconds: float) -> None:
        limits = SlotLimits(
            total=slots,
            of_key=1,
            of_account=1,
            of_kind={},
            queue=_QUEUE,
            wait_seconds=wait_seconds,
        )
        self.slots = Slots(limits)
        self._timeout_seconds = timeout_seconds
        self._languages: frozenset[str] = frozenset({Language.EN, Language.DE})

    async def has_fonts_for(self, language: Language) -> bool:
        """Returns whether the machine has fonts for the language. Looks again for those that it lacked."""
        if language not in self._languages:
            self._languages |= await _languages()
        return language in self._languages

    async def typeset(self, principal: Principal, parts: AsyncIterator[bytes]) -> IO[bytes]:
        """Returns a temporary file with the PDF. Raises QueueFull, RequestError if it takes too long, and the errors of
        the parts."""
        claim = Claim(principal.key_prefix, principal.account_id)
        async with self.slots.taken(claim):
            limit = asyncio.timeout(self._timeout_seconds)
            try:
                async with limit, contextlib.aclosing(parts):  # type: ignore[type-var]
                    return await _made(parts)
            except TimeoutError as error:
                if not limit.expired():
                    raise
                msg = (
                    f"the PDF took longer than {self._timeout_seconds:g} seconds: ask for a shorter period, or for CSV"
                )
                raise RequestError("QUERY_TOO_COMPLEX", msg) from error


async def _languages() -> frozenset[str]:
    async with asyncio.timeout(_FONTS_SECONDS), _started(PIPE, *Language) as process:
        told, failure = await process.communicate()
    if process.returncode:
        raise TypesettingFailed(f"status {process.returncode}: {failure.decode(errors='replace')[-2_000:]}")
    return frozenset(told.decode().split())


async def _made(parts: AsyncIterator[bytes]) -> IO[bytes]:
    written = tempfile.TemporaryFile()  # noqa: SIM115  the caller closes it
    try:
        async with _started(written) as process:
            told, _ = await asyncio.gather(_read(process), _feed(process, parts))
            status = await process.wait()
    except BaseException:
        written.close()
        raise
    if status:
        written.close()
        raise TypesettingFailed(f"status {status}: {told}")
    written.seek(0)
    return written


@contextlib.asynccontextmanager
async def _started(written: IO[bytes] | int, *arguments: str) -> AsyncIterator[Process]:
    """The process knows where Python's packages are, and nothing else of this one's environment: it has secrets."""
    environment = {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "RAYON_NUM_THREADS": "1"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", str(_WORKER), *arguments),
        stdin=PIPE,
        stdout=written,
        stderr=PIPE,
        env=environment,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        # With its child, which may be at work.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


async def _feed(process: Process, parts: AsyncIterator[bytes]) -> None:
    assert process.stdin is not None
    # A process that ended early tells why by its status.
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        async for part in parts:
            process.stdin.write(part + b"\n")
            await process.stdin.drain()
        process.stdin.close()


async def _read(process: Process) -> str:
    assert process.stderr is not None
    return (await process.stderr.read()).decode(errors="replace")[-2_000:]
