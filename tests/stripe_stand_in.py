"""A stand-in for Stripe's API: an HTTP server that answers in Stripe's shapes and knows nothing of the gateway.

It keeps idempotency keys as Stripe does: the first answer is given again, `500`s and declines too, other parameters
under a known key are refused, and so is a key whose first request still runs. `faults` are what happens to the next
requests, one each.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any, Final, Literal

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.stripe_objects import CREATED, Object, listing, payment, session

API_KEY = "sk_test_of_the_stand_in"
stripe_hangs = pytest.mark.parametrize("stripe_timeout_seconds", [1], ids=["hangs"])
"""Marks a test that waits until a call has timed out, so that it doesn't wait long."""

Fault = Literal[
    "none",
    "hangs",
    "hangs_afterwards",
    "breaks_off",
    "breaks_off_and_comes_late",
    "cut_short",
    "500",
    "503",
    "429",
    "declines",
    "html",
]

_DECLINE = {
    "error": {
        "type": "card_error",
        "code": "card_declined",
        "decline_code": "insufficient_funds",
        "message": "Your card has insufficient funds.",
        "param": "",
    }
}


_IN_PROGRESS = {
    "error": {
        "type": "invalid_request_error",
        "code": "idempotency_key_in_use",
        "message": "There is currently another in-progress request using this Stripe-Idempotent-Key.",
    }
}


def _error(kind: str, message: str) -> Object:
    return {"error": {"type": kind, "message": message}}


@dataclass
class Answer:
    body: Object
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Asked:
    method: str
    path: str
    form: dict[str, str]
    key: str | None
    traceparent: str | None = None


class StandIn:
    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.faults_of_payments: list[Fault] = []
        """As `faults`, of the next payments that are asked for, whatever else is asked."""
        self.asked: list[Asked] = []
        self.cards: dict[str, list[str]] = {}
        """Saved payment methods by customer, the newest first."""
        self.customers: dict[str, Object] = {}
        self.payments: dict[str, Object] = {}
        self.charges: dict[str, Object] = {}
        self.refunds: list[Object] = []
        self.meanwhile: Callable[[], Awaitable[None]] | None = None
        """What happens elsewhere while the next read is answered."""
        self.declines_all = False
        self.payment_status = "succeeded"
        self.sessions_expire_at = CREATED + 86_400
        self.seconds = 0.0
        """How long the first request with a key takes."""
        self.address = ""
        self._keys: dict[str, tuple[str, dict[str, str], Answer]] = {}
        self._running: set[str] = set()
        self.late: list[tuple[web.Request, dict[str, str], str | None]] = []
        """Requests that broke off and are yet to come."""
        self._numbers = count(1)
        self._over = asyncio.Event()

    def charged(self) -> dict[str, int]:
        """How many cents were taken, by idempotency key: what a card's owner would see."""
        taken: dict[str, int] = {}
        for one in self.payments.values():
            if one["status"] in {"succeeded", "processing"}:
                key = one["idempotency_key"]
                taken[key] = taken.get(key, 0) + one["amount"]
        return taken

    def asked_for(self, path: str) -> list[Asked]:
        return [one for one in self.asked if one.path == path and one.method == "POST"]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        form = {name: str(value) for name, value in (await request.post()).items()}
        key = request.headers.get("Idempotency-Key")
        self.asked.append(Asked(request.method, request.path, form, key, request.headers.get("traceparent")))
        fault = self._next_fault(request)
        await self._let_happen(request)
        if request.headers.get("Authorization") != f"Bearer {API_KEY}":
            return _sent(Answer(_error("invalid_request_error", "Invalid API Key provided"), 401))
        if fault == "hangs":
            await self._over.wait()
        if fault == "breaks_off_and_comes_late":
            self.late.append((request, form, key))
            _break_off(request)
        refused = _REFUSED.get(fault)
        if refused is not None:
            return refused()
        if key in self._running:
            return _sent(Answer(_IN_PROGRESS, 409))
        await self._take_time(key)
        answer = self._keyed(request, form, key, fault)
        if fault == "hangs_afterwards":
            await self._over.wait()
        if fault == "breaks_off":
            _break_off(request)
        if fault == "cut_short":
            return await _cut_short(request)
        return _sent(answer)

    async def _let_happen(self, request: web.Request) -> None:
        if self.meanwhile is not None and request.method == "GET":
            happens, self.meanwhile = self.meanwhile, None
            await happens()

    def _next_fault(self, request: web.Request) -> Fault:
        is_payment = (request.method, request.path) == ("POST", "/v1/payment_intents")
        faults = self.faults_of_payments if is_payment and self.faults_of_payments else self.faults
        return faults.pop(0) if faults else "none"

    async def _take_time(self, key: str | None) -> None:
        if self.seconds and key is not None and key not in self._keys:
            self._running.add(key)
            await asyncio.sleep(self.seconds)
            self._running.remove(key)

    def _keyed(self, request: web.Request, form: dict[str, str], key: str | None, fault: Fault) -> Answer:
        if request.method != "POST":
            return self._answer(request, form, "", fault)
        assert key, "a POST without an idempotency key could do its work twice"
        assert len(key) <= 255
        known = self._keys.get(key)
        if known is None:
            answer = self._answer(request, form, key, fault)
            self._keys[key] = (request.path, form, answer)
            return answer
        if known[:2] != (request.path, form):
            message = (
                "Keys for idempotent requests can only be used with the same parameters they were first used with."
            )
            return Answer(_error("idempotency_error", message), 400)
        return Answer(known[2].body, known[2].status, {"Idempotent-Replayed": "true"})

    def forget_keys(self) -> None:
        """As Stripe does after a day."""
        self._keys.clear()

    def carry_out_late(self) -> None:
        """What broke off and comes late comes now."""
        late, self.late = self.late, []
        for request, form, key in late:
            self._keyed(request, form, key, "none")

    def put_otherwise(self) -> None:
        """As if what was asked for so far had been asked for with one parameter more."""
        self._keys = {key: (path, form | {"more": "1"}, answer) for key, (path, form, answer) in self._keys.items()}

    def _answer(self, request: web.Request, form: dict[str, str], key: str, fault: Fault) -> Answer:
        if fault == "500":
            return Answer(_error("api_error", "An unknown error occurred"), 500, {"Stripe-Should-Retry": "false"})
        path = request.path.strip("/").split("/")[1:]
        if request.method == "GET":
            return self._read(path, request.query)
        match path:
            case ["customers"]:
                return self._new_customer(form)
            case ["checkout", "sessions"]:
                return self._new_session(form)
            case ["billing_portal", "sessions"]:
                return self._new_portal(form)
            case ["payment_intents"]:
                return self._new_payment(form, key, declined=fault == "declines" or self.declines_all)
        return _missing("path", request.path)

    def _read(self, path: list[str], query: Mapping[str, str]) -> Answer:
        match path:
            case ["customers", str(customer), "payment_methods"]:
                cards = [{"id": one, "object": "payment_method"} for one in self.cards.get(customer, [])]
                return Answer(listing(cards[: int(query.get("limit", "10"))]))
            case ["payment_intents"]:
                return self._payments_of(query["customer"], query.get("starting_after"))
            case ["refunds"]:
                return Answer(listing([one for one in self.refunds if one["charge"] == query["charge"]]))
            case [str(kind), str(name)]:
                known = {"customers": self.customers, "payment_intents": self.payments, "charges": self.charges}
                found = known.get(kind, {}).get(name)
                return Answer(found) if found else _missing(kind.removesuffix("s"), name)
        return _missing("path", "/".join(path))

    def _new_customer(self, form: dict[str, str]) -> Answer:
        customer = {
            "id": f"cus_{next(self._numbers)}",
            "object": "customer",
            "created": CREATED,
            "invoice_settings": {"default_payment_method": None},
            "metadata": _nested(form, "metadata"),
            "name": form.get("name"),
        }
        self.customers[str(customer["id"])] = customer
        return Answer(customer)

    def _new_session(self, form: dict[str, str]) -> Answer:
        if self.customers.get(form["customer"], {}).get("deleted"):
            return _missing("customer", form["customer"])
        cents = int(form["line_items[0][price_data][unit_amount]"])
        session_id = f"cs_test_{next(self._numbers)}"
        made = session(
            session_id,
            customer=form["customer"],
            subtotal=cents,
            currency=form["line_items[0][price_data][currency]"],
            payment_status="unpaid",
            metadata=_nested(form, "metadata"),
            mode=form["mode"],
            expires_at=self.sessions_expire_at,
            status="open",
            url=f"https://checkout.stripe.example/c/pay/{session_id}",
        )
        return Answer(made)

    def _new_portal(self, form: dict[str, str]) -> Answer:
        if self.customers.get(form["customer"], {}).get("deleted"):
            return _missing("customer", form["customer"])
        number = next(self._numbers)
        made = {"id": f"bps_{number}", "object": "billing_portal.session", "created": CREATED, **form}
        return Answer(made | {"url": f"https://billing.stripe.example/p/session/{number}"})

    def _new_payment(self, form: dict[str, str], key: str, *, declined: bool) -> Answer:
        payment_id = f"pi_{next(self._numbers)}"
        made = payment(
            payment_id,
            customer=form["customer"],
            amount=int(form["amount"]),
            currency=form["currency"],
            status="requires_payment_method" if declined else self.payment_status,
            metadata=_nested(form, "metadata"),
            failure=_DECLINE["error"]["message"] if declined else None,
        )
        self.payments[payment_id] = made | {"idempotency_key": key}
        if declined:
            return Answer({"error": _DECLINE["error"] | {"payment_intent": made}}, 402)
        return Answer(made)

    def _payments_of(self, customer: str, after: str | None) -> Answer:
        """The newest first, as Stripe does."""
        found = [one for one in reversed(self.payments.values()) if one["customer"] == customer]
        if after is not None:
            found = found[[one["id"] for one in found].index(after) + 1 :]
        return Answer(listing(found[:100], has_more=len(found) > 100))

    async def close(self) -> None:
        self._over.set()


def _missing(kind: str, name: str) -> Answer:
    return Answer(_error("invalid_request_error", f"No such {kind}: '{name}'"), 404)


def _nested(form: dict[str, str], name: str) -> dict[str, str]:
    return {key[len(name) + 1 : -1]: value for key, value in form.items() if key.startswith(f"{name}[")}


def _sent(answer: Answer) -> web.Response:
    return web.json_response(answer.body, status=answer.status, headers={"Request-Id": "req_1"} | answer.headers)


def _break_off(request: web.Request) -> None:
    assert request.transport is not None
    request.transport.close()


_REFUSED: Final[dict[Fault, Callable[[], web.Response]]] = {
    "breaks_off_and_comes_late": lambda: web.Response(status=499),
    # Limits are of the edge: no key is kept.
    "429": lambda: _sent(Answer(_error("rate_limit_error", "Too many requests"), 429, {"Retry-After": "7"})),
    "503": lambda: _sent(Answer(_error("api_error", "Unavailable"), 503)),
    "html": lambda: web.Response(text="<html>Bad gateway</html>", status=502, content_type="text/html"),
}
"""What happens before the request is looked at."""


async def _cut_short(request: web.Request) -> web.StreamResponse:
    """Its headers promise more than comes."""
    response = web.StreamResponse(headers={"Content-Length": "1000", "Content-Type": "application/json"})
    await response.prepare(request)
    await response.write(b'{"id": "pi_')
    _break_off(request)
    return response


@asynccontextmanager
async def standing_in() -> AsyncIterator[StandIn]:
    stand_in = StandIn()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", stand_in.handle)
    server = TestServer(app)
    await server.start_server(shutdown_timeout=0)
    stand_in.address = str(server.make_url("")).rstrip("/")
    try:
        yield stand_in
    finally:
        await stand_in.close()
        await server.close()


def settings(stand_in: StandIn, **more: Any) -> dict[str, Any]:
    """What a gateway needs to be told to talk to the stand-in."""
    return {
        "stripe_secret_key": API_KEY,
        "stripe_api_base": stand_in.address,
        "stripe_timeout_seconds": 20,
        "stripe_retries": 0,
    } | more
