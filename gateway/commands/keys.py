from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from access import addresses
from access.keys import (
    MAX_BURST_POINTS,
    MAX_POINTS_PER_SECOND,
    IssuedKey,
    Keys,
    KeyScope,
    NewKey,
    ServiceOperation,
    key_rate,
    shard_of_prefix,
)
from db.database import Database
from db.rows import ApiKeyRow
from db.shards import databases_of, found_account, shard_numbered
from gateway.commands.accounts import AccountId, command_line, with_database
from gateway.commands.options import with_settings
from gateway.settings import Settings
from ledger.chain import format_time
from ledger.ids import account_id_text


def _keys(database: Database) -> Keys:
    return Keys(database, actor=command_line())


async def _keys_of(database: Database, account: int | None) -> Keys:
    """Keys of the account's shard; without an account, of the first."""
    return _keys(database if account is None else await found_account(database, account))


async def _keys_with(database: Database, prefix: str) -> Keys:
    return _keys(shard_numbered(database, await shard_of_prefix(database, prefix)))


async def _listed(database: Database, account: int | None) -> list[ApiKeyRow]:
    if account is not None:
        return await (await _keys_of(database, account)).list(account)
    return [row for one in databases_of(database) for row in await _keys(one).list()]


def _with_key(settings: Settings, prefix: str, work: Callable[[Keys], Awaitable[Any]]) -> Any:
    """Runs `work` with the keys of the shard that has this one."""

    async def run(database: Database) -> Any:
        return await work(await _keys_with(database, prefix))

    return with_database(settings, run)


@click.group()
def keys() -> None:
    """Create, list, rotate and revoke API keys, and set their rates."""


@keys.command()
@click.option(
    "--scope", type=click.Choice([scope.value for scope in KeyScope]), required=True, help="What the key may do."
)
@click.option("--account", type=AccountId(), default=None, help="Account of a read or manage key: acct_7.")
@click.option(
    "--only-account",
    type=AccountId(),
    multiple=True,
    help="Account that a service key is restricted to. Can be repeated.",
)
@click.option("--operation", type=click.Choice([one.value for one in ServiceOperation]), multiple=True,
              help="Operation that a service key is restricted to. Can be repeated.")  # fmt: skip
@click.option("--owner", required=True, help="Person or team responsible for the key.")
@click.option(
    "--expires-in-days",
    type=click.IntRange(1, 3650),
    default=None,
    help="Days until the key expires. Without it, the key never expires.",
)
@click.option(
    "--allowed-address",
    multiple=True,
    help="Client address or network that the key is restricted to: 203.0.113.0/24. Can be repeated.",
)
@with_settings("database_url", "shards")
def create(
    settings: Settings,
    scope: str,
    account: int | None,
    only_account: tuple[int, ...],
    operation: tuple[str, ...],
    owner: str,
    expires_in_days: int | None,
    allowed_address: tuple[str, ...],
) -> None:
    """Create a key and print it. The key is shown only once."""
    expires_at = None if expires_in_days is None else datetime.now(UTC) + timedelta(days=expires_in_days)
    networks = addresses.parse_networks(allowed_address, "--allowed-address") if allowed_address else None
    new = NewKey(KeyScope(scope), owner, account, only_account or None, operation or None, expires_at, networks)

    async def created(database: Database) -> IssuedKey:
        return await (await _keys_of(database, account)).create(new)

    issued = with_database(settings, created)
    click.echo(issued.secret)


@keys.command("list")
@click.option("--account", type=AccountId(), default=None, help="Only keys of this account.")
@with_settings("database_url", "shards")
def list_keys(settings: Settings, account: int | None) -> None:
    """List keys: prefix, scope, account, owner, created, last used, expires, revoked, address of the last use, allowed
    addresses, points per second and burst if set; separated by tabs."""
    for row in with_database(settings, lambda database: _listed(database, account)):
        times = (row.created_at, row.last_used_at, row.expires_at, row.revoked_at)
        columns = [row.prefix, row.scope, account_id_text(row.account_id) if row.account_id else "", row.owner]
        columns += [format_time(moment) if moment else "" for moment in times]
        allowed = addresses.texts_of(addresses.read(row.allowed_addresses) or ())
        columns += [row.last_used_address or "", ",".join(allowed)]
        columns += [str(points or "") for points in (row.points_per_second, row.burst_points)]
        click.echo("\t".join(columns))


@keys.command()
@click.argument("prefix")
@click.option(
    "--grace-seconds",
    default=0,
    type=click.IntRange(0, 604_800),
    help="Seconds for which the old key keeps working. [default: 0]",
)
@with_settings("database_url", "shards")
def rotate(settings: Settings, prefix: str, grace_seconds: int) -> None:
    """Replace the key PREFIX with a new one that has the same rights, and print it. The key is shown only once."""
    grace = timedelta(seconds=grace_seconds)
    click.echo(_with_key(settings, prefix, lambda keys: keys.rotate(prefix, grace)).secret)


@keys.command()
@click.argument("prefix")
@with_settings("database_url", "shards")
def revoke(settings: Settings, prefix: str) -> None:
    """Revoke the key PREFIX. Every process refuses it within seconds."""
    row = _with_key(settings, prefix, lambda keys: keys.revoke(prefix))
    click.echo(f"{row.prefix} revoked at {format_time(row.revoked_at)}")


@keys.command("set-rate")
@click.argument("prefix")
@click.option(
    "--points-per-second",
    type=click.IntRange(1, MAX_POINTS_PER_SECOND),
    default=None,
    help="Points that the key may spend each second. Without it, the key gets the rate of its scope.",
)
@click.option(
    "--burst",
    type=click.IntRange(1, MAX_BURST_POINTS),
    default=None,
    help="Points that the key may spend at once. Without it, ten times --points-per-second.",
)
@with_settings("database_url", "shards")
def set_rate(settings: Settings, prefix: str, points_per_second: int | None, burst: int | None) -> None:
    """Set the rate of the key PREFIX. Every process applies it within seconds."""
    if points_per_second is None and burst is not None:
        raise click.UsageError("--burst requires --points-per-second")
    rate = key_rate(points_per_second, burst)
    row = _with_key(settings, prefix, lambda keys: keys.set_rate(prefix, rate))
    if row.points_per_second is None:
        click.echo(f"{row.prefix} has the rate of its scope")
    else:
        click.echo(f"{row.prefix} may spend {row.points_per_second} points a second, {row.burst_points} at once")
