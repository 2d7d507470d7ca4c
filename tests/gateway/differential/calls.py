"""What is sent to a gateway or done to it, and what comes back, so that two gateways can be compared."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from typing import Any, Final, Protocol
from urllib.parse import urlencode

from db.errors import DatabaseError
from gateway.jobs import Job
from gateway.rest import export_links
from ledger.errors import BillingError
from ledger.imports.importer import Importer
from ledger.imports.options import ImportOptions
from ledger.imports.sources import Refusal, Source
from ledger.prices import Prices, Rate
from tests.gateway.mutations.office import Office
from tests.stripe_objects import Object, signature
from tests.stripe_stand_in import Fault, StandIn

REQUEST_ID: Final = "X-Request-Id"
HEADERS: Final = ("Content-Type", "Content-Disposition", "Link", "Retry-After", "Cache-Control")
"""What the headers of an answer say besides."""
PRICES: Final = Prices({"Node": Rate(), "Straße": "gpt-3.5-turbo"})


@dataclass
class Side:
    """One of the two gateways, with a Stripe of its own."""

    office: Office
    stand_in: StandIn
    jobs: Mapping[str, Job]
    asked: int = 0
    """How many of Stripe's requests were compared already."""


class Call(Protocol):
    async def answer(self, side: Side) -> Any: ...


def _headers(key: str | None) -> dict[str, str]:
    authorization = {} if key is None else {"Authorization": f"Bearer {key}"}
    return {REQUEST_ID: "the-same"} | authorization


def _in_order(answer: Any) -> Any:
    """Errors of fields beside each other stand in the order in which these end, which no contract fixes."""
    if isinstance(answer, dict) and "errors" in answer:
        answer["errors"].sort(key=lambda error: json.dumps(error, sort_keys=True))
    return answer


@dataclass(frozen=True)
class Operation:
    """Of GraphQL."""

    document: str
    variables: Mapping[str, Any]
    key: str | None
    name: str | None = None
    is_learned_from: bool = True
    """False where an alias may give a field another's name."""

    async def answer(self, side: Side) -> Any:
        body = {"query": self.document, "variables": self.variables, "operationName": self.name}
        url = f"{side.office.url}/graphql"
        async with side.office.session.post(url, json=body, headers=_headers(self.key)) as response:
            return response.status, _in_order(await response.json())


@dataclass(frozen=True)
class Download:
    """Of REST."""

    path: str
    parameters: Sequence[tuple[str, str]]
    key: str | None

    async def answer(self, side: Side) -> Any:
        url = f"{side.office.url}{self.path}"
        async with side.office.session.get(url, params=self.parameters, headers=_headers(self.key)) as response:
            shown = [(name, response.headers.get(name)) for name in HEADERS]
            return response.status, shown, await response.text()


@dataclass(frozen=True)
class LinkedDownload:
    """By a link that is asked for before."""

    download: Download

    async def answer(self, side: Side) -> Any:
        body = {"address": f"{self.download.path}?{urlencode(self.download.parameters)}"}
        url, headers = f"{side.office.url}{export_links.PATH}", _headers(self.download.key)
        async with side.office.session.post(url, json=body, headers=headers) as response:
            link = await response.json()
        if "address" not in link:
            return link
        path, _, token = link["address"].partition("?token=")
        return link, await Download(path, [("token", token)], None).answer(side)


@dataclass(frozen=True)
class Webhook:
    """An event of Stripe's."""

    text: str

    async def answer(self, side: Side) -> Any:
        headers = {"Stripe-Signature": signature(self.text), REQUEST_ID: "the-same"}
        url = f"{side.office.url}/webhooks/stripe"
        async with side.office.session.post(url, data=self.text.encode(), headers=headers) as response:
            return response.status, await response.text()


@dataclass(frozen=True)
class Import:
    files: Sequence[bytes]
    options: ImportOptions

    async def answer(self, side: Side) -> Any:
        refused: list[tuple[str, Refusal]] = []
        database, clock = side.office.services.database, side.office.clock
        importer = Importer(
            database,
            self.options,
            PRICES,
            clock,
            on_refusals=lambda name, refusals: refused.extend((name, one) for one in refusals),
        )
        sources = [Source(f"file {number}", io.BytesIO(text)) for number, text in enumerate(self.files)]
        failure = None
        try:
            await importer.run(sources)
        except (BillingError, DatabaseError) as error:
            failure = (type(error).__name__, str(error))
        return asdict(importer.report), refused, failure


@dataclass(frozen=True)
class Work:
    """A round of one of the worker's jobs."""

    job: str

    async def answer(self, side: Side) -> Any:
        return await side.jobs[self.job].run()


@dataclass(frozen=True)
class Wait:
    time: timedelta

    async def answer(self, side: Side) -> None:
        side.office.now += self.time


@dataclass(frozen=True)
class AtStripe:
    """What happens at Stripe without the gateway."""

    cards: Mapping[str, list[str]] = field(default_factory=dict)
    refunds: Sequence[Object] = ()
    faults: Sequence[Fault] = ()
    declines_all: bool = False
    payment_status: str = "succeeded"

    async def answer(self, side: Side) -> None:
        stripe = side.stand_in
        stripe.cards.update(self.cards)
        for customer in self.cards:
            known = {"id": customer, "object": "customer", "invoice_settings": {}}
            stripe.customers.setdefault(customer, known)
        stripe.refunds.extend(self.refunds)
        stripe.faults[:] = self.faults
        stripe.declines_all, stripe.payment_status = self.declines_all, self.payment_status
