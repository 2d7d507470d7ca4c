from __future__ import annotations

from operator import attrgetter

import click

from db.database import Database
from db.shards import databases_of
from db.stripe_events import StripeEventRow, newest
from gateway.commands.accounts import AccountId, command_line, with_database
from gateway.commands.options import with_settings
from gateway.settings import Settings
from ledger.chain import format_time
from ledger.ids import account_id_text
from ledger.posting import Ledger
from ledger.stripe.events import EventState, StripeEvents


def _events(settings: Settings, database: Database) -> StripeEvents:
    return StripeEvents(database, Ledger(database), livemode=settings.stripe_livemode())


async def _newest(database: Database, state: str | None, limit: int) -> list[StripeEventRow]:
    found = [row for one in databases_of(database) for row in await newest(one, state, limit)]
    # Shards number them by themselves, and those that a shard took over later than they were received.
    return sorted(found, key=attrgetter("received_at"), reverse=True)[:limit] if database.place else found


@click.group()
def stripe() -> None:
    """Link Stripe customers to accounts, and list or dismiss Stripe events."""


@stripe.command()
@click.argument("account", type=AccountId())
@click.argument("customer")
@with_settings("database_url", "shards")
def link(settings: Settings, account: int, customer: str) -> None:
    """Link CUSTOMER (cus_…) to ACCOUNT, and apply the events that waited for the link."""

    async def work(database: Database) -> int:
        return await _events(settings, database).link(account, customer, command_line())

    waited = with_database(settings, work)
    click.echo(f"{customer} is linked to {account_id_text(account)}; {waited} events were waiting for it")


@stripe.command()
@click.option(
    "--state", type=click.Choice([one.value for one in EventState]), default=None, help="Only events in this state."
)
@click.option(
    "--limit", default=50, type=click.IntRange(1, 1000), help="Maximum number of results, newest first. [default: 50]"
)
@with_settings("database_url", "shards")
def events(settings: Settings, state: str | None, limit: int) -> None:
    """List events, newest first: id, type, received, state, account, reason, object, separated by tabs."""
    for row in with_database(settings, lambda database: _newest(database, state, limit)):
        account = account_id_text(row.account_id) if row.account_id else ""
        told = (row.reason or "", row.object_id or "")
        click.echo("\t".join([row.id, row.type, format_time(row.received_at), row.state, account, *told]))


@stripe.command()
@click.argument("event")
@click.option("--reason", required=True, help="Reason for dismissing the event.")
@with_settings("database_url", "shards")
def dismiss(settings: Settings, event: str, reason: str) -> None:
    """Dismiss EVENT (evt_…), which waits or needs attention. It is not tried again."""

    async def work(database: Database) -> None:
        await _events(settings, database).dismiss(event, reason, command_line())

    with_database(settings, work)
    click.echo(f"{event} is dismissed")
