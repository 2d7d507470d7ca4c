"""The composition root: every part of the process is built here, from the settings, and handed on."""

from __future__ import annotations

from dataclasses import dataclass

from aiohttp import web

from access.authenticator import Authenticator
from access.tokens import Tokens
from db.database import Database
from execution.documents import Documents
from execution.limits import Limits
from gateway.admission import Admission
from gateway.databases import open_database
from gateway.metrics import Metrics
from gateway.settings import Settings
from gateway.stripe_http import build_stripe_api
from ledger.clock_watch import ClockWatch
from ledger.posting import Clock, Ledger, utc_now
from ledger.return_addresses import ReturnAddresses
from ledger.stripe.api import StripeApi
from ledger.stripe.events import StripeEvents
from ledger.top_ups import TopUps
from resolvers.sizes import AccountSizes
from schema.build import graphql_schema


@dataclass(frozen=True, slots=True)
class Services:
    settings: Settings
    database: Database
    ledger: Ledger
    authenticator: Authenticator
    tokens: Tokens
    stripe_events: StripeEvents
    stripe_api: StripeApi | None
    """None where no secret key is set."""
    top_ups: TopUps
    documents: Documents
    admission: Admission
    sizes: AccountSizes
    metrics: Metrics
    clock: Clock
    clock_watch: ClockWatch


SERVICES = web.AppKey("parts", Services)


def build_services(settings: Settings, clock: Clock = utc_now, machine_clock: Clock = utc_now) -> Services:
    """`clock` gives the time of what is done, and may be simulated; `machine_clock` is compared with the database's."""
    database = open_database(settings)
    metrics = Metrics()
    watch = ClockWatch(machine_clock, metrics.clock_ahead.set)
    limits = Limits(
        max_bytes=settings.max_document_bytes,
        max_depth=settings.max_depth,
        max_aliases=settings.max_aliases,
        max_directives=settings.max_directives,
        max_tokens=settings.max_tokens,
    )
    ledger = Ledger(database, clock, watch)
    stripe_api = build_stripe_api(settings)
    return Services(
        settings=settings,
        database=database,
        ledger=ledger,
        authenticator=Authenticator(database, ttl_seconds=settings.key_cache_seconds, clock=clock),
        tokens=Tokens(database, clock),
        stripe_events=StripeEvents(database, ledger, livemode=settings.stripe_livemode(), clock=clock),
        stripe_api=stripe_api,
        top_ups=TopUps(database, stripe_api, clock, ReturnAddresses(settings.return_origins)),
        documents=Documents(graphql_schema(), limits, settings.document_cache_size),
        admission=Admission(settings, metrics),
        sizes=AccountSizes(),
        metrics=metrics,
        clock=clock,
        clock_watch=watch,
    )
