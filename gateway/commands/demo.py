from __future__ import annotations

import asyncio
import os
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import click
import orjson

from access.authenticator import Authenticator
from access.keys import Keys, KeyScope, NewKey
from access.tokens import MAX_LIFETIME, Purpose, Tokens
from db.database import Database, DatabaseOptions, sqlite_url
from db.schema_version import migrate
from demo.playing import ACTOR
from demo.story import Story, tell
from gateway.commands.options import with_settings
from gateway.logs import configure_logs
from gateway.serve import check_schema, serve_here
from gateway.settings import Settings
from ledger.ids import account_id_text, parse_account_id


@dataclass(frozen=True, slots=True)
class Demo:
    accounts: list[str]
    """Developer, inference-heavy, enterprise."""
    keys: dict[str, str]
    """`account` (a manage key of the inference-heavy account), `service` and `operator`, whole."""


async def _issue_keys(database: Database, story: Story) -> dict[str, str]:
    keys = Keys(database, actor=ACTOR)
    heavy = story.account_ids[1]
    wanted = {
        "account": NewKey(KeyScope.MANAGE, "demo", account_id=heavy),
        "service": NewKey(KeyScope.SERVICE, "demo"),
        "operator": NewKey(KeyScope.OPERATOR, "demo"),
    }
    return {name: (await keys.create(new)).secret for name, new in wanted.items()}


async def _fill(path: Path) -> Demo:
    database = Database(DatabaseOptions(sqlite_url(path)))
    try:
        await migrate(database)
        story = await tell(database, datetime.now(UTC))
        return Demo([account_id_text(number) for number in story.account_ids], await _issue_keys(database, story))
    finally:
        await database.close()


def _write_private(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)


def _read_notes(path: Path) -> Demo | None:
    """None where they are not there, or not whole."""
    try:
        return Demo(**orjson.loads(path.read_bytes()))
    except (FileNotFoundError, orjson.JSONDecodeError, TypeError):
        return None


async def _migrate(path: Path) -> None:
    database = Database(DatabaseOptions(sqlite_url(path)))
    try:
        await migrate(database)
    finally:
        await database.close()


def prepared(data_dir: Path) -> tuple[Path, Demo]:
    """The demo's database, made the first time and migrated later. What was cut off half-way is made anew."""
    data_dir.mkdir(parents=True, exist_ok=True)
    path, notes = data_dir / "billing.db", data_dir / "demo.json"
    known = _read_notes(notes)
    if path.exists() and known is not None:
        asyncio.run(_migrate(path))
        return path, known
    click.echo("creating the demo's database: this happens only once", err=True)
    for leftover in data_dir.glob("billing.db*"):
        leftover.unlink()
    unfinished = data_dir / "billing.db.unfinished"
    demo = asyncio.run(_fill(unfinished))
    unfinished.rename(path)
    # Only the demo's keys are kept in the clear, for the next start; real ones are shown once.
    _write_private(notes, orjson.dumps(asdict(demo)))
    return path, demo


async def _sign_in_codes(database_url: str, keys: dict[str, str]) -> dict[str, str]:
    """A code for the console by the name of the key that it stands for. Each is good once."""
    database = Database(DatabaseOptions(database_url))
    try:
        authenticator, tokens = Authenticator(database, ttl_seconds=0), Tokens(database)
        return {
            name: await tokens.issue(await authenticator.principal(keys[name]), Purpose.SIGN_IN, MAX_LIFETIME)
            for name in ("account", "operator")
        }
    finally:
        await database.close()


def _introduction(address: str, demo: Demo, links: dict[str, str]) -> str:
    names = ("developer", "inference-heavy", "enterprise")
    accounts = "\n".join(f"  {account:<10} {name}" for account, name in zip(demo.accounts, names, strict=True))
    keys = "\n".join(f"  {name:<10} {secret}" for name, secret in demo.keys.items())
    number = parse_account_id(demo.accounts[1])
    return f"""
The billing gateway's demo is running. Press Ctrl-C to stop it.

  Console    {links["account"]}
  Operator   {links["operator"]}
  GraphiQL   {address}/graphql
  REST       {address}/billing/transactions
  OpenAPI    {address}/openapi.json

Accounts
{accounts}

Each console link works once, within a day. After that, paste a key at {address}/console/

API keys (`account` is a manage key of acct_{number})
{keys}

Try
  curl -s {address}/graphql -H 'Authorization: Bearer {demo.keys["account"]}' \\
    -H 'Content-Type: application/json' \\
    -d '{{"query": "{{ account {{ name balance monthlySummary {{ totalCost apiCalls totalTokens }} }} }}"}}'
"""


@click.command()
@click.option("--data-dir", type=click.Path(path_type=Path, file_okay=False), default=Path("demo-data"),
              help="Folder of the demo's database. [default: demo-data]")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print one JSON line when the server is ready.")
@with_settings("host", "port", "log_format", "log_level")
def demo(settings: Settings, data_dir: Path, as_json: bool) -> None:
    """Serve a SQLite database with sample data, and print its URLs, keys and an example request."""
    if settings.shard_urls:
        raise click.UsageError("shards: the demo has one database of its own: unset BILLING_SHARDS")
    configure_logs(settings)
    try:
        path, made = prepared(data_dir)
    except OSError as error:
        msg = f"cannot create the demo's database in {data_dir}: {error.strerror or error}"
        raise click.ClickException(msg) from error
    others = ("direct_database_url", "read_database_urls", "shards", "direct_shards", "read_shards")
    own = {"database_url": sqlite_url(path), "workers": 1} | dict.fromkeys(others)
    settings = settings.model_copy(update=own)
    asyncio.run(check_schema(settings))
    codes = asyncio.run(_sign_in_codes(settings.database_url, made.keys))

    def started(address: str) -> None:
        # The code follows the #: browsers do not send that part, so the code is in no log.
        links = {name: f"{address}/console/#code={code}" for name, code in codes.items()}
        line = {"url": address, "accounts": made.accounts, "keys": made.keys, "console": links}
        click.echo(orjson.dumps(line).decode() if as_json else _introduction(address, made, links))

    serve_here(settings, started)
