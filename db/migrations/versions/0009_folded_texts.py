"""Texts as searches compare them, folded by the program: databases fold each in their own way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

from db.folding import folded_column

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

# Older programs would write rows without folded texts, which searches would never find: rows are append-only.
OLDEST_PROGRAM = "0009"

_ROWS_AT_ONCE = 1_000


def upgrade() -> None:
    name = sa.String().with_variant(sa.String(collation="C"), "postgresql")
    for table, text in (
        *(("accounts", "name"), ("accounts", "external_id")),
        *(("transactions", "description"), ("transactions", "ref_id")),
    ):
        op.add_column(table, sa.Column(f"{text}_folded", name, nullable=True))
    _fill("accounts", ("id",), ("name", "external_id"))
    lift, restore = _POSTGRESQL_GUARD if op.get_bind().dialect.name == "postgresql" else _SQLITE_GUARD
    op.execute(lift)
    _fill("transactions", ("account_id", "seq"), ("description", "ref_id"))
    op.execute(restore)


# As in migration 0001.
_POSTGRESQL_GUARD = (
    "ALTER TABLE transactions DISABLE TRIGGER transactions_refuse_change",
    "ALTER TABLE transactions ENABLE ALWAYS TRIGGER transactions_refuse_change",
)
_SQLITE_GUARD = (
    "DROP TRIGGER transactions_refuse_update",
    """
    CREATE TRIGGER transactions_refuse_update BEFORE UPDATE ON transactions
    BEGIN SELECT RAISE(ABORT, 'ledger rows are append-only: UPDATE refused'); END
    """,
)


def _fill(name: str, key: Sequence[str], texts: Sequence[str]) -> None:
    table = sa.table(name, *(sa.column(column) for column in (*key, *texts, *(f"{text}_folded" for text in texts))))
    update = (
        sa.update(table)
        .where(*(table.c[column] == sa.bindparam(f"of_{column}") for column in key))
        .values({f"{text}_folded": sa.bindparam(f"new_{text}") for text in texts})
    )
    for rows in _beyond_ascii(table, key, texts):
        changes = [
            {f"of_{column}": getattr(row, column) for column in key} | folded
            for row in rows
            if any((folded := {f"new_{text}": folded_column(getattr(row, text)) for text in texts}).values())
        ]
        if changes:
            op.get_bind().execute(update, changes)


def _beyond_ascii(table: sa.TableClause, key: Sequence[str], texts: Sequence[str]) -> Iterator[Sequence[sa.Row[Any]]]:
    """The rows whose texts have more bytes than characters, in batches: of all others nothing is stored."""
    position = [table.c[column] for column in key]
    more_bytes = _more_bytes(op.get_bind().dialect.name)
    statement = (
        sa.select(*position, *(table.c[text] for text in texts))
        .where(sa.or_(*(more_bytes(table.c[text]) for text in texts)))
        .order_by(*position)
        .limit(_ROWS_AT_ONCE)
    )
    rows = op.get_bind().execute(statement).all()
    while rows:
        yield rows
        last = sa.tuple_(*(sa.literal(getattr(rows[-1], column), sa.BigInteger()) for column in key))
        rows = op.get_bind().execute(statement.where(sa.tuple_(*position) > last)).all()


def _more_bytes(dialect: str) -> Callable[[sa.ColumnElement[Any]], sa.ColumnElement[bool]]:
    if dialect == "postgresql":
        return lambda text: sa.func.octet_length(text) > sa.func.length(text)
    return lambda text: sa.func.length(sa.cast(text, sa.LargeBinary())) > sa.func.length(text)


def downgrade() -> None:
    raise NotImplementedError
