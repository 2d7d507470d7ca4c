from __future__ import annotations

import logging
import sys
from contextvars import ContextVar
from typing import Any

import orjson
import structlog

from gateway.settings import Settings

request_id: ContextVar[str] = ContextVar("request_id", default="-")


def _with_request_id(_logger: Any, _method: str, event: Any) -> Any:
    if (current := request_id.get()) != "-":
        event.setdefault("request_id", current)
    return event


def _json(event: Any, **_options: Any) -> str:
    return orjson.dumps(event, default=repr).decode()


def configure_logs(settings: Settings) -> None:
    """Everything goes to stderr: stdout is for what a command was asked to print."""
    renderer: Any = (
        structlog.processors.JSONRenderer(serializer=_json)
        if settings.log_format == "json"
        else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    before: list[Any] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _with_request_id,
        structlog.processors.format_exc_info,
    ]
    level = getattr(logging, settings.log_level.upper())
    structlog.configure(
        processors=[*before, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processor=renderer, foreign_pre_chain=before))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(level, logging.WARNING))
    # Its one warning repeats a header: the subprotocols of a client that is refused.
    logging.getLogger("aiohttp.websocket").setLevel(logging.ERROR)
