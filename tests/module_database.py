"""One PostgreSQL database for the tests of a module, which each of them finds migrated and empty.

The next module takes it on if what was deleted in it is small.
"""

from __future__ import annotations

from typing import Any, Final

import asyncpg

from tests.postgres import Postgres

# A copy of a template has the oids of the template, and the versions of its rows. What a test creates or alters has a
# newer version, and what it drops is missing; only figures about pages are changed in place. Triggers are compared as
# they are: deleting rows disables them and enables them again.
_SHAPE: Final = """
SELECT concat_ws(' ',
    (SELECT concat_ws(' ', count(*), max(xmin::text::bigint), sum(relpages), sum(reltuples::bigint),
                      bool_or(relhastriggers)) FROM pg_class WHERE oid >= 16384),
    (SELECT concat_ws(' ', count(*), max(xmin::text::bigint)) FROM pg_attribute WHERE attrelid >= 16384),
    (SELECT concat_ws(' ', count(*), max(xmin::text::bigint)) FROM pg_attrdef),
    (SELECT string_agg(concat_ws(' ', oid, tgname, tgtype, tgfoid, tgenabled), ' ' ORDER BY oid) FROM pg_trigger),
    (SELECT concat_ws(' ', count(*), max(xmin::text::bigint)) FROM pg_constraint WHERE oid >= 16384),
    (SELECT concat_ws(' ', count(*), max(xmin::text::bigint)) FROM pg_proc WHERE oid >= 16384),
    (SELECT concat_ws(' ', count(*), max(xmin::text::bigint)) FROM pg_statistic WHERE starelid >= 16384),
    (SELECT concat_ws(' ', datconnlimit, datacl) FROM pg_database WHERE datname = current_database()),
    (SELECT string_agg(setconfig::text, ' ') FROM pg_db_role_setting AS setting
     JOIN pg_database ON pg_database.oid = setdatabase AND datname = current_database())
)
"""

_END_OTHERS: Final = """
SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid()
"""

_WRITTEN: Final = """
SELECT relname, pg_relation_size(oid) AS bytes FROM pg_class
WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND pg_relation_size(oid) > 0 ORDER BY relname
"""

# Row triggers on DELETE that fire whatever the session's role is: the guards of the append-only tables.
_GUARDS: Final = """
SELECT relname, tgname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
WHERE tgenabled = 'A' AND tgtype & 1 <> 0 AND tgtype & 8 <> 0 AND relname = any($1::text[])
"""

_RESTART_SEQUENCES: Final = "SELECT setval(seqrelid::regclass, seqstart, false) FROM pg_sequence"

MAX_REUSED_BYTES: Final = 8 * 1024 * 1024
"""Deleted rows stay in the files. Beyond this size a new database is quicker."""

MAX_INHERITED_BYTES: Final = 1024 * 1024
"""The same for a module and the one after it, which come together by chance."""


class ModuleDatabase:
    """Deleting what a test wrote takes a fifth of the time of a new database.

    The database has another name in each test, so that what a test left running does not reach the next one.
    """

    def __init__(self, server: Postgres, template: str) -> None:
        self._server = server
        self._template = template
        self._name: str | None = None
        self._shape = ""
        self._bytes = 0
        self._seeds: dict[str, list[Any]] = {}

    async def lend(self) -> str:
        """Returns the URL of the empty database."""
        if self._name is None:
            self._name = await self._server.new_database(self._template)
            await self._note_template()
        return self._server.url(self._name)

    async def take_back(self) -> None:
        """Ends all connections and deletes all rows. A database that was changed otherwise is dropped."""
        assert self._name is not None
        connection = await asyncpg.connect(self._server.url(self._name))
        try:
            await connection.execute(_END_OTHERS)
            reusable = await self._is_as_created(connection) and await self._emptied(connection)
        finally:
            await connection.close()
        if reusable:
            self._name = await self._server.rename(self._name)
        else:
            await self.drop()

    async def end_module(self) -> None:
        """Dozens of databases would fill the disk, and be written to it when the server stops."""
        if self._bytes > MAX_INHERITED_BYTES:
            await self.drop()

    async def drop(self) -> None:
        if self._name is not None:
            await self._server.drop(self._name)
        self._name = None

    async def _note_template(self) -> None:
        connection = await asyncpg.connect(self._server.url(str(self._name)))
        try:
            self._shape = await connection.fetchval(_SHAPE)
            written = [row["relname"] for row in await connection.fetch(_WRITTEN)]
            self._seeds = {table: await _rows(connection, table) for table in written}
        finally:
            await connection.close()

    async def _is_as_created(self, connection: asyncpg.Connection[Any]) -> bool:
        """Whether tables, guards, settings and the rows that migrations wrote are what they were."""
        if await connection.fetchval(_SHAPE) != self._shape:
            return False
        return all([await _rows(connection, table) == rows for table, rows in self._seeds.items()])

    async def _emptied(self, connection: asyncpg.Connection[Any]) -> bool:
        """Deletes all rows but those of migrations; False, and nothing deleted, if the files are large."""
        written = await connection.fetch(_WRITTEN)
        self._bytes = sum(row["bytes"] for row in written)
        if self._bytes > MAX_REUSED_BYTES:
            return False
        tables = [row["relname"] for row in written if row["relname"] not in self._seeds]
        await connection.execute(_deletion(tables, await connection.fetch(_GUARDS, tables)))
        return True


async def _rows(connection: asyncpg.Connection[Any], table: str) -> list[Any]:
    return [tuple(row) for row in await connection.fetch(f'SELECT * FROM "{table}" ORDER BY 1')]


def _deletion(tables: list[str], guards: list[Any]) -> str:
    """One transaction. Foreign keys are not looked up: the role of a replica fires only what is always fired."""
    statements = ["SET session_replication_role = replica"]
    statements += [f'ALTER TABLE "{table}" DISABLE TRIGGER "{guard}"' for table, guard in guards]
    statements += [f'DELETE FROM "{table}"' for table in tables]
    statements += [f'ALTER TABLE "{table}" ENABLE ALWAYS TRIGGER "{guard}"' for table, guard in guards]
    return "; ".join([*statements, _RESTART_SEQUENCES])
