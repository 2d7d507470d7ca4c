from __future__ import annotations

import asyncio
import os
from importlib.util import find_spec
from typing import Final

import click

from gateway.commands.options import with_settings
from gateway.logs import configure_logs
from gateway.settings import Settings

KEY_VARIABLE: Final = "BILLING_READ_KEY"

_SCOPE: Final = "{ viewer { scope } }"


def _read_key() -> str:
    """Raises click.UsageError. Never an option: arguments can be read by others."""
    key = os.environ.get(KEY_VARIABLE, "")
    if not key:
        msg = f"set {KEY_VARIABLE} to a key of scope `read`: billing-gateway keys create --scope read --account acct_…"
        raise click.UsageError(msg)
    return key


async def serve_reader(settings: Settings, url: str | None, key: str) -> None:
    """Raises click.ClickException for a key that may do more than read."""
    # Imported here: neither the package nor the server's parts are needed to print the help.
    from gateway.mcp.asking import NotAnswered, own_gateway, remote_gateway
    from gateway.mcp.server import serve_stdio
    from gateway.mcp.tools import SCOPE, read_tools

    async with remote_gateway(url, key) if url else own_gateway(settings, key) as ask:
        try:
            scope = (await ask(_SCOPE, {}))["viewer"]["scope"]
        except NotAnswered as refused:
            raise click.ClickException(str(refused)) from refused
        if scope != SCOPE:
            msg = f"{KEY_VARIABLE} has a key of scope `{scope.lower()}`, which may do more than read: use a `read` key"
            raise click.ClickException(msg)
        await serve_stdio(read_tools(), ask)


@click.command()
@click.option("--url", default=None, help="Address of a running gateway. Without it, the database is read directly.")
@with_settings("database_url", "archive_url", "log_format", "log_level")
def mcp(settings: Settings, url: str | None) -> None:
    """Serve an account to an assistant: read-only tools over the Model Context Protocol, on stdin and stdout."""
    if find_spec("mcp") is None:
        raise click.ClickException("the package `mcp` is not installed: pip install 'billing-gateway[mcp]'")
    key = _read_key()
    configure_logs(settings)
    asyncio.run(serve_reader(settings, url, key))
