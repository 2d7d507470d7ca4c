"""Receives events of other systems: Stripe's."""

from __future__ import annotations

from typing import Final

import structlog
from aiohttp import web

from gateway.errors import RequestError
from gateway.requests import read_anonymous_body
from gateway.services import SERVICES
from ledger.errors import BadUserInput
from ledger.stripe.events import OPEN
from ledger.stripe.signatures import check_signature

log = structlog.get_logger()

SIGNATURE: Final = "Stripe-Signature"


async def stripe_webhook(request: web.Request) -> web.Response:
    """Answers 200 as soon as the event is recorded; Stripe sends again whatever it got no such answer to."""
    services = request.app[SERVICES]
    secrets = services.settings.webhook_secrets()
    if not secrets:
        raise RequestError("UNAVAILABLE", "the Stripe webhook is not set up: set its secret")
    body = await read_anonymous_body(request, services.settings.max_webhook_bytes)
    check_signature(body, request.headers.get(SIGNATURE), secrets, services.settings.stripe_tolerance_seconds)
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise BadUserInput("the body is not UTF-8") from error
    receipt = await services.stripe_events.receive(text)
    note = log.warning if receipt.state in OPEN else log.info
    note(
        "stripe event",
        event_id=receipt.event_id,
        state=receipt.state.value,
        reason=receipt.reason,
        repeated=receipt.is_repeated,
    )
    return web.json_response({"received": True})


def add_webhook_routes(app: web.Application) -> None:
    app.router.add_post("/webhooks/stripe", stripe_webhook)
