from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from types import MappingProxyType
from typing import Final

import structlog
from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware

from db.errors import DatabaseError
from gateway.graphql_view import graphql
from gateway.media_types import takes_html
from gateway.memory import FreedMemory
from gateway.metrics import may_read_metrics
from gateway.pages import STATIC, add_page_routes
from gateway.readiness import readyz
from gateway.requests import edge
from gateway.rest import add_rest_routes, openapi
from gateway.schema_text import PATH as SCHEMA_PATH
from gateway.schema_text import schema_text
from gateway.services import SERVICES, Services
from gateway.sign_in import PATH as SIGN_IN_PATH
from gateway.sign_in import sign_in
from gateway.stop_times import seconds_for_streams
from gateway.streams.live import LIVE, LiveStreams, watch_keys, watch_moves
from gateway.streams.session import PATH as SESSION_PATH
from gateway.streams.session import begin_session, end_session
from gateway.streams.source import ANSWERS, Answers
from gateway.streams.subscription import answers
from gateway.webhooks import add_webhook_routes

log = structlog.get_logger()

BACKGROUND_TASK_SECONDS: Final = 30.0
STRIPE_COUNT_SECONDS: Final = 2.0
DATABASE_METRICS_SECONDS: Final = 1.0


PLACES: Final = MappingProxyType(
    {
        "graphql": "/graphql",
        "console": "/console/",
        "rest": "/billing/transactions",
        "openapi": openapi.PATH,
        "docs": "/console/how-billing-works",
        "health": "/healthz",
        "ready": "/readyz",
    }
)


async def root(request: web.Request) -> web.Response:
    """Leads a browser to the Billing page; tells other clients in JSON where everything is."""
    if takes_html(request.headers.get(hdrs.ACCEPT, "")):
        location = str(request.rel_url.with_path("/console/", keep_query=True))
        return web.Response(status=302, headers={hdrs.LOCATION: location, hdrs.VARY: "Accept"})
    return web.json_response(dict(PLACES), headers={hdrs.VARY: "Accept"})


async def healthz(_request: web.Request) -> web.Response:
    """The process runs; it says nothing of the database."""
    return web.json_response({"status": "ok"})


async def metrics(request: web.Request) -> web.Response:
    services = request.app[SERVICES]
    token = services.settings.metrics_token
    may_read_metrics(request, token.get_secret_value() if token else None)
    try:
        async with asyncio.timeout(STRIPE_COUNT_SECONDS):
            await services.metrics.stripe_events.read(*(shard.database for shard in services.shards))
    except (DatabaseError, TimeoutError) as error:
        # All other figures are this process's own: they are told while the database is away.
        log.warning("stripe events not counted", reason=str(error))
    _read_pools(services)
    return web.Response(
        body=services.metrics.text(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"}
    )


def _read_pools(services: Services) -> None:
    services.metrics.database.read(services.database, *(one.database for one in services.others))


async def _give_back(freed: FreedMemory, services: Services) -> None:
    for shard in services.shards:
        await shard.database.free_memory()
    await asyncio.to_thread(freed.give_back)


async def _delete_expired_tokens(services: Services) -> None:
    for shard in services.shards:
        # A clock that is ahead would delete tokens that have not expired.
        await shard.clock_watch.measure(shard.database)
        await shard.tokens.delete_expired()


async def _run_background_tasks(services: Services) -> None:
    tasks_by_name: dict[str, Callable[[], Awaitable[object]]] = {
        "write the times of last use": services.authenticator.flush_last_used,
        "compare the clock and delete expired tokens": partial(_delete_expired_tokens, services),
        "give freed memory back to the system": partial(_give_back, FreedMemory(), services),
    }
    while True:
        await asyncio.sleep(BACKGROUND_TASK_SECONDS)
        for name, task in tasks_by_name.items():
            try:
                await task()
            except DatabaseError as error:
                # Nothing is lost: the next round does it.
                log.warning("background task failed", task=name, reason=str(error))


async def _read_database_metrics(services: Services) -> None:
    """With several workers, the figures are asked of one of them, which knows those that the others wrote down."""
    while True:
        _read_pools(services)
        await asyncio.sleep(DATABASE_METRICS_SECONDS)


async def _lifetime(app: web.Application) -> AsyncIterator[None]:
    services = app[SERVICES]
    await services.admission.open()
    tasks = [
        asyncio.create_task(_run_background_tasks(services)),
        asyncio.create_task(_read_database_metrics(services)),
        asyncio.create_task(watch_keys(app[LIVE], services)),
        asyncio.create_task(watch_moves(services)),
    ]
    yield
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    await services.close()
    services.metrics.hand_on()


async def _end_streams(app: web.Application) -> None:
    await app[LIVE].stop(seconds_for_streams(app[SERVICES].settings.shutdown_seconds))


def _middlewares(services: Services) -> list[Middleware]:
    if services.tracing is None:
        return [edge(services)]
    from gateway.traced_requests import traced_requests

    return [traced_requests(services.tracing), edge(services)]


def build_app(services: Services, answers: Answers = answers) -> web.Application:
    app = web.Application(middlewares=_middlewares(services), client_max_size=services.settings.max_body_bytes)
    app[SERVICES] = services
    app[ANSWERS] = answers
    app[LIVE] = LiveStreams()
    app.router.add_route("GET", "/graphql", graphql)
    app.router.add_route("HEAD", "/graphql", graphql)
    app.router.add_route("POST", "/graphql", graphql)
    app.router.add_get(SCHEMA_PATH, schema_text)
    app.router.add_post(SESSION_PATH, begin_session)
    app.router.add_delete(SESSION_PATH, end_session)
    app.router.add_get("/", root)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", metrics)
    add_rest_routes(app)
    add_webhook_routes(app)
    app.router.add_post(SIGN_IN_PATH, sign_in)
    if services.settings.oidc_issuer is not None:
        # The cryptography that it takes costs every process memory: only those that use it.
        from gateway.staff_sign_in import add_staff_routes

        add_staff_routes(app, services.settings)
    add_page_routes(app, STATIC, has_graphiql=services.settings.graphiql)
    app.on_shutdown.append(_end_streams)
    app.cleanup_ctx.append(_lifetime)
    return app
