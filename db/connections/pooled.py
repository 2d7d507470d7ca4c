"""Connections through a pooler that lends a server's connection for one transaction, as PgBouncer does.

The next transaction may run on another connection of the server. So nothing may be left there that a later statement
relies on or that another client could meet: no prepared statement, no setting, no lock of the session.

- Statements have no name. The driver sends the text again with the values, in one message.
- Settings stand in each transaction, with `BEGIN`, because poolers refuse those of a connection. A statement outside a
  transaction has the settings that the server gives to the role.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import asyncpg

from db.connections.postgresql import PostgresConnection

POOLED_ARGUMENTS: Final[Mapping[str, Any]] = {"statement_cache_size": 0}
"""Arguments of `asyncpg.connect`: the driver then names no statement."""

KEPT_SETTINGS: Final = ("application_name", "timezone")
"""Settings of a connection that poolers carry from one connection of the server to the next."""


def _in_transaction(settings: Mapping[str, str]) -> str:
    changes = (f"SET LOCAL {name} = '{value}'" for name, value in settings.items() if name not in KEPT_SETTINGS)
    return "; ".join(changes)


class PooledConnection(PostgresConnection):
    """A connection whose transactions have `settings`."""

    settings: Mapping[str, str] = {}
    each_in_transaction = False
    """Whether a statement outside a transaction gets one of its own, for the sake of its settings."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        # Else the driver turns it off for the session while it asks for types, and on again on another connection.
        self._server_caps = self._server_caps._replace(jit=False)  # type: ignore[has-type]
        self._begin = _in_transaction(self.settings)

    async def execute(self, query: str, *arguments: Any, **options: Any) -> Any:
        if query.startswith("BEGIN"):
            query = f"{query.rstrip('; ')}; {self._begin}"
        return await super().execute(query, *arguments, **options)

    async def _execute(self, *arguments: Any, **options: Any) -> Any:
        if self.is_in_transaction() or not self.each_in_transaction:
            return await super()._execute(*arguments, **options)
        simple = super(PostgresConnection, self).execute
        await simple(f"BEGIN; {self._begin}")
        try:
            result = await super()._execute(*arguments, **options)
        except asyncpg.PostgresError:
            if not self.is_closed():
                await simple("ROLLBACK")
            raise
        await simple("COMMIT")
        return result


def pooled(settings: Mapping[str, str], *, each_in_transaction: bool = False) -> type[PooledConnection]:
    """Returns the class of connections with these settings, for `asyncpg.connect`."""
    members = {"settings": settings, "each_in_transaction": each_in_transaction}
    return type("PooledConnection", (PooledConnection,), members)
