"""Borders: up to which row an account's ledger has left the table `transactions` for the archive.

A border is read in the statement, or the transaction, of the reads that it is for, so it is that of the rows that they
see. Statements that name the table are found by their text, so that none is forgotten: one that says nothing about
archived rows is refused for accounts that have some (`db/connections/snapshots.py`).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from datetime import datetime
from functools import lru_cache
from itertools import groupby
from typing import Any, Final, NamedTuple

from sqlalchemy import ARRAY, BigInteger, Executable, Select, and_, any_, bindparam, literal_column, select

from db import tables
from db.connections import postgresql_batches, sqlite_batches
from db.integrity_tables import ledger_archives

_NAMED: Final = re.compile(rf"\b{tables.transactions.name}\b")

_ACCOUNT: Final = tables.accounts
_PROOF: Final = ledger_archives
_HAS_ARCHIVED: Final = and_(_ACCOUNT.c.id == _PROOF.c.account_id, _ACCOUNT.c.archived_seq >= _PROOF.c.first_seq)


@lru_cache(maxsize=4_096)
def names_the_ledger(statement: Executable, *, postgresql: bool) -> bool:
    """Returns whether the statement reads ledger rows."""
    if postgresql:
        return _NAMED.search(postgresql_batches.compiled(statement).text) is not None
    return _NAMED.search(sqlite_batches.text_of(statement)) is not None


class ProofRow(NamedTuple):
    """A file of the archive that was compared with its rows."""

    account_id: int
    first_seq: int
    last_seq: int
    first_at: datetime
    last_at: datetime
    previous_hash: bytes
    last_hash: bytes
    sha256: bytes


class Border(NamedTuple):
    account_id: int
    archived_seq: int
    """The newest archived row."""
    proofs: tuple[ProofRow, ...]
    """Proofs of the files that have the archived rows, oldest first. The last file may have rows after the border."""

    @property
    def until(self) -> datetime:
        """No archived row is later."""
        return self.proofs[-1].last_at


Borders = Mapping[int, Border]
"""Borders by account. An account without archived rows has none."""


def _columns() -> list[Any]:
    return [*(_PROOF.c[name] for name in ProofRow._fields), _ACCOUNT.c.archived_seq]


def _borders_statement(*, postgresql: bool) -> Select[Any]:
    """Begins with the proofs: most databases have none, and need no look-up of accounts."""
    if postgresql:
        chosen = _PROOF.c.account_id == any_(bindparam("accounts", type_=ARRAY(BigInteger())))
    else:
        chosen = _PROOF.c.account_id.in_(bindparam("accounts", expanding=True))
    return (
        select(*_columns())
        .select_from(_PROOF.join(_ACCOUNT, _HAS_ARCHIVED))
        .where(chosen)
        .order_by(_PROOF.c.account_id, _PROOF.c.first_seq)
    )


BORDERS: Final = {postgresql: _borders_statement(postgresql=postgresql) for postgresql in (False, True)}

ANY_BORDER: Final = select(*_columns()).select_from(_PROOF.join(_ACCOUNT, _HAS_ARCHIVED)).limit(literal_column("1"))
"""Finds the border of any account, for statements that may read rows of all."""


ANY_PROOF: Final = select(_PROOF.c.account_id).limit(literal_column("1"))
"""Finds a proof, which is stored before a row of the database leaves it for the first time."""


def borders_of(rows: Iterable[Any]) -> dict[int, Border]:
    """Returns the borders from the rows of a statement above."""
    found = {}
    for account_id, several in groupby(rows, key=lambda row: row[0]):
        of_one = list(several)
        found[account_id] = Border(account_id, of_one[0][-1], tuple(ProofRow._make(row[:-1]) for row in of_one))
    return found


def accounts_of(parameters: Mapping[str, Any]) -> Collection[int] | None:
    """Returns the accounts that a statement with these parameters reads, by the names that all statements use; None if
    it names none."""
    if "account_id" in parameters:
        account_id = parameters["account_id"]
        return account_id if isinstance(account_id, list) else (account_id,)
    several: Collection[int] | None = parameters.get("account_ids")
    return several
