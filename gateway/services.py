"""The composition root: every part of the process is built here, from the settings, and handed on."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web

from access.authenticator import Authenticator
from access.keys import Principal
from access.tokens import Tokens
from db.connections.readers import Readers
from db.connections.snapshots import ShardSnapshots
from db.database import Database
from db.errors import DatabaseError
from db.feed.feed import ChangeFeed
from db.health.choice import health_check
from db.health.health import HealthCheck
from db.shards import account_shard
from execution.documents import Documents
from execution.introspection import SchemaAnswers
from execution.limits import Limits
from gateway.admission import Admission
from gateway.anonymous_bodies import AnonymousBodies
from gateway.cross_origin import CrossOrigin
from gateway.databases import open_databases
from gateway.loop_turns import LoopTurns
from gateway.metrics import Metrics
from gateway.networks import Networks
from gateway.pace import Pace
from gateway.pages import PAGE_DOCUMENTS
from gateway.persisted_queries import DocumentTexts, PersistedQueries
from gateway.prices import open_prices
from gateway.replay_turns import ReplayTurns
from gateway.settings import Settings
from gateway.stripe_http import build_stripe_api
from gateway.trusted_documents import check_valid, read_manifest
from gateway.typesetting.process import Typesetter
from ledger.clock_watch import ClockWatch
from ledger.metering import MeteringOptions
from ledger.posting import Clock, Ledger, utc_now
from ledger.return_addresses import ReturnAddresses
from ledger.stripe.api import StripeApi
from ledger.stripe.events import StripeEvents
from ledger.top_ups import TopUps
from resolvers.shards import AccountRoutes
from resolvers.sizes import AccountSizes
from schema.build import graphql_schema
from schema.federation import federated_schema

if TYPE_CHECKING:
    from gateway.tracing import Tracing


@dataclass(frozen=True, slots=True)
class Services:
    settings: Settings
    database: Database
    health: HealthCheck
    ledger: Ledger
    authenticator: Authenticator
    tokens: Tokens
    stripe_events: StripeEvents
    stripe_api: StripeApi | None
    """None where no secret key is set."""
    top_ups: TopUps
    metering: MeteringOptions
    documents: Documents
    schema_answers: SchemaAnswers
    admission: Admission
    sizes: AccountSizes
    document_texts: DocumentTexts
    metrics: Metrics
    trusted_proxies: Networks
    anonymous_bodies: AnonymousBodies
    cross_origin: CrossOrigin
    loop_turns: LoopTurns
    replay_turns: ReplayTurns
    refusals: Pace
    messages: Pace
    typesetter: Typesetter
    clock: Clock
    clock_watch: ClockWatch
    tracing: Tracing | None = None
    others: tuple[Services, ...] = ()
    """Services of the shards after the first, which differ in what belongs to the database."""
    first_alone: Services | None = None
    """These services without those of other shards, which a key of one account does not need. Given with `others`."""

    def of(self, principal: Principal) -> Services:
        """Returns the services of the shard that the key's account is on, as far as is known; these for a key without
        an account."""
        place = self.database.place
        if self.first_alone is None or place is None or principal.account_id is None:
            return self
        return (self.first_alone, *self.others)[place.shards.moved.shard_of(principal.account_id)]

    def routes(self, principal: Principal) -> AccountRoutes | None:
        """Returns the routes of an operation of the key, whose services these are; None without shards."""
        place = self.database.place
        return None if place is None else AccountRoutes(place.shards.moved, principal.account_id, place.number)

    @property
    def shards(self) -> tuple[Services, ...]:
        """Services of all shards, in their order."""
        return (self, *self.others)

    def snapshots(self, *, brief: bool = False, on: Readers[Any] | None = None) -> ShardSnapshots:
        """Returns a snapshot of each shard, which takes no connection before the first read."""
        others = [one.database.snapshot(brief=brief) for one in self.others]
        return ShardSnapshots(self.database.snapshot(brief=brief, on=on), *others)

    def changes_of(self, account_id: int) -> ChangeFeed:
        return account_shard(self.database, account_id).changes

    async def close(self) -> None:
        """Writes what is still to be written, and closes the connections."""
        with contextlib.suppress(DatabaseError):
            await self.authenticator.flush_last_used()
        if self.stripe_api is not None:
            await self.stripe_api.close()
        await self.admission.close()
        for shard in self.shards:
            await shard.health.close()
            await shard.database.close()
        if self.tracing is not None:
            await asyncio.to_thread(self.tracing.close)


SERVICES = web.AppKey("parts", Services)


def _documents(settings: Settings) -> Documents:
    limits = Limits(
        max_bytes=settings.max_document_bytes,
        max_depth=settings.max_depth,
        max_aliases=settings.max_aliases,
        max_directives=settings.max_directives,
        max_tokens=settings.max_tokens,
    )
    return Documents(
        federated_schema() if settings.federation else graphql_schema(),
        limits,
        settings.document_cache_size,
        max_bytes=settings.document_cache_bytes,
        introspection=settings.introspection,
        suggestions=settings.suggestions,
    )


def check_trusted(settings: Settings) -> None:
    """Raises ManifestWrong, before a server starts."""
    if settings.trusted_documents is not None:
        _document_texts(settings, _documents(settings))


def _document_texts(settings: Settings, documents: Documents) -> DocumentTexts:
    """The page's own documents are trusted, too. Raises ManifestWrong."""
    trusted = dict(read_manifest(PAGE_DOCUMENTS)) if PAGE_DOCUMENTS.is_file() else {}
    if settings.trusted_documents is not None:
        path = Path(settings.trusted_documents)
        manifest = read_manifest(path)
        check_valid(manifest, documents, path)
        trusted |= manifest
    persisted = PersistedQueries(settings.persisted_query_bytes)
    return DocumentTexts(trusted, trusted_only=settings.trusted_documents_only, persisted=persisted)


def _tracing(settings: Settings) -> Tracing | None:
    """OpenTelemetry's packages cost every process time and memory: only those that use them import them."""
    if not settings.tracing:
        return None
    from gateway.tracing import open_tracing

    return open_tracing()


def build_services(settings: Settings, clock: Clock = utc_now, machine_clock: Clock = utc_now) -> Services:
    """`clock` gives the time of what is done, and may be simulated; `machine_clock` is compared with the database's."""
    tracing = _tracing(settings)
    database, *others = open_databases(settings, tracing=tracing)
    metrics = Metrics()
    watch = ClockWatch(machine_clock, metrics.clock_ahead.set)
    ledger = Ledger(database, clock, watch)
    documents = _documents(settings)
    stripe_api = build_stripe_api(settings, tracing)
    services = Services(
        settings=settings,
        database=database,
        health=health_check(database),
        ledger=ledger,
        authenticator=Authenticator(database, ttl_seconds=settings.key_cache_seconds, clock=clock),
        tokens=Tokens(database, clock),
        stripe_events=StripeEvents(database, ledger, livemode=settings.stripe_livemode(), clock=clock),
        stripe_api=stripe_api,
        top_ups=TopUps(database, stripe_api, clock, ReturnAddresses(settings.return_origins)),
        metering=MeteringOptions(open_prices(settings), settings.request_detail_days),
        schema_answers=SchemaAnswers(),
        admission=Admission(settings, metrics),
        sizes=AccountSizes(),
        documents=documents,
        document_texts=_document_texts(settings, documents),
        metrics=metrics,
        trusted_proxies=settings.trusted_networks,
        anonymous_bodies=AnonymousBodies(settings.max_anonymous_bodies),
        cross_origin=CrossOrigin(settings.origins),
        loop_turns=LoopTurns(),
        replay_turns=ReplayTurns(settings.replay_slots, settings.replay_slots_per_key, settings.max_replays),
        refusals=Pace(settings.refusals_per_second),
        messages=Pace(settings.messages_per_second),
        typesetter=Typesetter(settings.pdf_slots, settings.pdf_timeout_seconds, settings.lock_timeout_seconds),
        clock=clock,
        clock_watch=watch,
        tracing=tracing,
    )
    if not others:
        return services
    return replace(services, others=_other_shards(services, others, machine_clock), first_alone=services)


def _other_shards(first: Services, databases: Sequence[Database], machine_clock: Clock) -> tuple[Services, ...]:
    clock, livemode, others = first.clock, first.settings.stripe_livemode(), []
    for database in databases:
        watch = ClockWatch(machine_clock, first.metrics.clock_ahead.set)
        ledger = Ledger(database, clock, watch)
        others.append(
            replace(
                first,
                database=database,
                health=health_check(database),
                ledger=ledger,
                tokens=Tokens(database, clock),
                stripe_events=StripeEvents(database, ledger, livemode=livemode, clock=clock),
                top_ups=TopUps(database, first.stripe_api, clock, ReturnAddresses(first.settings.return_origins)),
                clock_watch=watch,
            )
        )
    ledgers = (first.ledger, *(one.ledger for one in others))
    for ledger in ledgers:
        ledger.join(ledgers)
    return tuple(others)
