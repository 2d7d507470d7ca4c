"""Answers `/readyz`: whether the database can be read and, separately, whether it can be written."""

from __future__ import annotations

from typing import Any, Final

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
    health = await services.health.look(services.clock_watch.clock)
    clock, warnings = _clock(services, health)
    reads, writes = health.reads, health.writes and clock == OK
    checks = {
        name: getattr(health, name) for name in ("reachable", "schema", "readable", "writable", "disk", "corrupt")
    }
    body: dict[str, Any] = {"reads": reads, "writes": writes, "checks": {**checks, "clock": clock}}
    reasons = health.reasons(writes=True) + ([clock] if clock not in {OK, UNKNOWN} else [])
    if reads if purpose == "reads" else writes:
        # Read while a new release is rolled out, when both versions matter.
        messages = [str(health.tables)] if health.tables is not None and health.tables.are_newer else []
        messages += [*reasons, *warnings, *health.warnings]
        return _answer(200, {"status": "ok", **({"message": "; ".join(messages)} if messages else {}), **body})
    message = "; ".join(reasons)
    log.warning("not ready", reason=message, purpose=purpose)
    services.metrics.errors.labels("UNAVAILABLE").inc()
    error = {"code": "UNAVAILABLE", "message": message, "requestId": request_id.get()}
    return _answer(503, {"status": "unavailable", "error": error, **body})


def _answer(status: int, body: dict[str, Any]) -> web.Response:
    headers = {hdrs.CACHE_CONTROL: "no-store", **({hdrs.RETRY_AFTER: "1"} if status == 503 else {})}
    return web.Response(body=orjson.dumps(body), status=status, content_type="application/json", headers=headers)
