from __future__ import annotations

import contextlib
import logging
import re
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, BinaryIO, Final, TextIO, cast

import orjson
import structlog

from gateway.settings import Settings
from ledger.chain import format_time

request_id: ContextVar[str] = ContextVar("request_id", default="-")
shard: ContextVar[int | None] = ContextVar("shard", default=None)
"""The shard that a worker works on; None without shards."""

_SECRET: Final = re.compile(r"(eco_[a-z2-7]{8})_[A-Za-z0-9_-]+", re.ASCII)


def without_keys(text: str) -> str:
    """The text with only the prefix of each API key in it: a client may put its key into a path by mistake."""
    return _SECRET.sub(r"\1_…", text) if "eco_" in text else text


def _with_place(_logger: Any, _method: str, event: Any) -> Any:
    if (current := request_id.get()) != "-":
        event.setdefault("request_id", current)
    if (number := shard.get()) is not None:
        event.setdefault("shard", number)
    return event


def _json(event: Any, **_options: Any) -> str:
    return orjson.dumps(event, default=repr).decode()


def _json_line(_logger: Any, method: str, event: Any) -> bytes:
    """Does the work of `before` and a JSON renderer in one step: each request has a line."""
    if "exc_info" in event:
        structlog.processors.format_exc_info(_logger, method, event)
    now = format_time(datetime.now(UTC))
    line = {"event": event.pop("event", None), **event, "level": method, "timestamp": now}
    return orjson.dumps(_with_place(_logger, method, line), default=repr)


class _Lines:
    """Standard error. A line that it cannot take is lost: a full disk or a closed pipe must not end a request."""

    def __init__(self, file: Any) -> None:
        self._file = file

    def write(self, line: Any) -> None:
        with contextlib.suppress(OSError):
            self._file.write(line)

    def flush(self) -> None:
        with contextlib.suppress(OSError):
            self._file.flush()


def configure_logs(settings: Settings) -> None:
    """Everything goes to stderr: stdout is for what a command was asked to print."""
    is_json = settings.log_format == "json"
    renderer: Any = (
        structlog.processors.JSONRenderer(serializer=_json)
        if is_json
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    before: list[Any] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _with_place,
        structlog.processors.format_exc_info,
    ]
    level = getattr(logging, settings.log_level.upper())
    structlog.configure(
        processors=[_json_line] if is_json else [*before, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.BytesLoggerFactory(cast("BinaryIO", _Lines(sys.stderr.buffer)))
        if is_json
        else structlog.PrintLoggerFactory(cast("TextIO", _Lines(sys.stderr))),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processor=renderer, foreign_pre_chain=before))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(level, logging.WARNING))
    # The only warning of this logger repeats a header: the subprotocols of a client that is refused.
    logging.getLogger("aiohttp.websocket").setLevel(logging.ERROR)
