from __future__ import annotations

import asyncio
import importlib
from types import ModuleType

import click
import structlog

from db.schema_version import Tables
from db.schema_version import migrate as migrate_database
from db.shard_set import form_set
from gateway.commands.options import ARCHIVE_ALONE, SECRETS, WORKERS_ALONE, with_settings
from gateway.databases import check_before_migrating, opened_databases, shard_named
from gateway.logs import configure_logs
from gateway.pages import missing_pages
from gateway.prices import open_prices
from gateway.serve import check_schema, serve_here, serve_workers
from gateway.services import check_trusted
from gateway.settings import PRODUCTION, Settings
from gateway.trusted_documents import ManifestWrong
from ledger.errors import BadUserInput

log = structlog.get_logger()


@click.command()
@with_settings(*(name for name in Settings.model_fields if name not in SECRETS | WORKERS_ALONE | ARCHIVE_ALONE))
def serve(settings: Settings) -> None:
    """Serve GraphQL and REST until SIGTERM."""
    configure_logs(settings)
    if settings.workers > 1 and settings.port == 0:
        raise click.UsageError("several workers need a fixed port: --port 0 works only with one")
    _check_manifest(settings)
    _check_prices(settings)
    _check_extras(settings)
    asyncio.run(check_schema(settings))
    _say_profile(settings)
    for page in missing_pages(graphiql=settings.graphiql):
        log.warning("page not built", page=page, hint="its address says how to build it")
    start = serve_here if settings.workers == 1 else serve_workers
    start(settings, lambda address: log.info("serving", address=address, workers=settings.workers))


def _check_manifest(settings: Settings) -> None:
    try:
        check_trusted(settings)
    except ManifestWrong as error:
        msg = f"trusted_documents: {error}"
        raise click.UsageError(msg) from error


def _check_prices(settings: Settings) -> None:
    try:
        open_prices(settings)
    except BadUserInput as error:
        msg = f"price_file: {error}"
        raise click.UsageError(msg) from error


def _check_extras(settings: Settings) -> None:
    if settings.tracing:
        _check_extra("tracing", "gateway.tracing", "otel")
    if settings.rate_limit_url is not None:
        shared_rates = _check_extra("rate_limit_url", "gateway.shared_rates", "redis")
        if not shared_rates.is_usable(settings.rate_limit_url.get_secret_value()):
            raise click.UsageError("rate_limit_url: the options of the URL cannot be used")


def _check_extra(setting: str, module: str, extra: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        msg = f"{setting}: install the extra billing-gateway[{extra}] first"
        raise click.UsageError(msg) from error


def _say_profile(settings: Settings) -> None:
    if settings.profile != "production":
        return
    log.info("production profile", **{name: getattr(settings, name) for name in PRODUCTION})
    if settings.stripe_secret_key is not None and settings.allowed_return_origins is None:
        log.warning("every https address is allowed as successUrl", hint="set BILLING_ALLOWED_RETURN_ORIGINS")


@click.command()
@with_settings("database_url", "direct_database_url", "shards", "direct_shards")
def migrate(settings: Settings) -> None:
    """Create the tables, or migrate them to the version of this program. With shards, migrate all of them and make
    them one set.
    """

    async def run() -> None:
        await check_before_migrating(settings)
        async with opened_databases(settings, direct=True) as databases:
            for number, database in enumerate(databases):
                shard = f"shard {number}: " if len(databases) > 1 else ""
                with shard_named(database):
                    click.echo(f"{shard}{_told(*await migrate_database(database))}")
            if len(databases) > 1:
                for number in await form_set(databases):
                    click.echo(f"shard {number} joined the set")

    asyncio.run(run())


def _told(before: str | None, tables: Tables) -> str:
    if tables.are_newer:
        return f"{tables}: nothing to do"
    if before == tables.version:
        return f"the tables already have version {tables.version}"
    return f"the tables now have version {tables.version}"
