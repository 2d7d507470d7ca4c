"""Answers `/readyz`: whether the database can be read and, separately, whether it can be written."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

import orjson
import structlog
from aiohttp import hdrs, web

from db.errors import ClockWrong
from db.health.health import OK, UNKNOWN, Health
from gateway.errors import RequestError
from gateway.logs import request_id
from gateway.services import SERVICES, Services

PURPOSES: Final = ("writes", "reads")
CHECKS: Final = ("reachable", "schema", "readable", "writable", "disk", "corrupt")

log = structlog.get_logger()


def _clock(services: Services, health: Health) -> tuple[str, list[str]]:
    """Why nothing can be posted, and what is wrong otherwise."""
    if health.clock is not None:
        try:
            services.clock_watch.check(health.clock)
        except ClockWrong as error:
            return str(error), []
        return OK, []
    if health.readable != OK:
        return UNKNOWN, []
    warning = services.clock_watch.compare_newest(health.newest_row)
    return OK, [warning] if warning is not None else []


class _Look(NamedTuple):
    body: dict[str, Any]
    reasons: list[str]
    warnings: list[str]
    told: list[str]
    """Read while a new release is rolled out, when both versions matter."""


async def _look(services: Services) -> _Look:
    health = await services.health.look(services.clock_watch.clock)
    clock, warnings = _clock(services, health)
    checks = {name: getattr(health, name) for name in CHECKS}
    body = {"reads": health.reads, "writes": health.writes and clock == OK, "checks": {**checks, "clock": clock}}
    reasons = health.reasons(writes=True) + ([clock] if clock not in {OK, UNKNOWN} else [])
    told = [str(health.tables)] if health.tables is not None and health.tables.are_newer else []
    return _Look(body, reasons, [*warnings, *health.warnings], told)


def _of_all(looks: Sequence[_Look]) -> _Look:
    """Returns the look at all shards. Texts begin with the shard."""
    # One that is away must not take the accounts of the others with it.
    body: dict[str, Any] = {name: any(look.body[name] for look in looks) for name in ("reads", "writes")}
    body["shards"] = {str(number): look.body for number, look in enumerate(looks)}

    def named(texts: Iterable[list[str]]) -> list[str]:
        return [f"shard {number}: {text}" for number, of_shard in enumerate(texts) for text in of_shard]

    _, reasons, warnings, told = zip(*looks, strict=True)
    return _Look(body, named(reasons), named(warnings), named(told))


def _purpose(request: web.Request) -> str:
    purpose = request.query.get("for", PURPOSES[0])
    if purpose not in PURPOSES:
        raise RequestError("BAD_USER_INPUT", f"for must be one of {', '.join(PURPOSES)}")
    return purpose


async def readyz(request: web.Request) -> web.Response:
    """200 if the gateway can answer what it is asked for: everything, or with `?for=reads` queries. Else 503.

    It waits for no pool, and for the database no longer than `ANSWER_SECONDS`.
    """
    services, purpose = request.app[SERVICES], _purpose(request)
    looks = await asyncio.gather(*(_look(shard) for shard in services.shards))
    look = looks[0] if len(looks) == 1 else _of_all(looks)
    body = look.body
    if body["reads" if purpose == "reads" else "writes"]:
        messages = look.told + look.reasons + look.warnings
        return _answer(200, {"status": "ok", **({"message": "; ".join(messages)} if messages else {}), **body})
    message = "; ".join(look.reasons)
    log.warning("not ready", reason=message, purpose=purpose)
    services.metrics.errors.labels("UNAVAILABLE").inc()
    error = {"code": "UNAVAILABLE", "message": message, "requestId": request_id.get()}
    return _answer(503, {"status": "unavailable", "error": error, **body})


def _answer(status: int, body: dict[str, Any]) -> web.Response:
    headers = {hdrs.CACHE_CONTROL: "no-store", **({hdrs.RETRY_AFTER: "1"} if status == 503 else {})}
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json", headers=headers)
