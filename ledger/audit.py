"""Audit list: who changed accounts and keys by hand. Each entry is written in the transaction of its change."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from db import audit
from db.rows import TransactionRow
from ledger.commands import Outcome, Posting
from ledger.money import format_nanos
from ledger.posting import LedgerTransaction


@dataclass(frozen=True, slots=True)
class Actor:
    name: str
    """The visible prefix of a key, or the name of another way to act."""
    owner: str
    scope: str | None = None
    """The scope of the key."""


COMMAND_LINE = Actor("command-line", "")


@dataclass(frozen=True, slots=True)
class AuditedAction:
    name: str
    """The mutation's name, even if the command line was used."""
    actor: Actor
    account_id: int | None = None
    key_prefix: str | None = None
    """The key that was changed."""
    description: str | None = None
    old_value: str | None = None
    """The changed setting before the change, as text."""
    new_value: str | None = None
    """The same, after."""


async def note(transaction: LedgerTransaction, act: AuditedAction, rows: Sequence[TransactionRow] = ()) -> None:
    """Adds an entry. Must be the last step of the change, because it takes the list's lock."""
    await audit.lock_audit_entries(transaction.connection)
    entry = {
        "at": transaction.clock(),
        "act": act.name,
        "actor": act.actor.name,
        "owner": act.actor.owner,
        "account_id": act.account_id,
        "key_prefix": act.key_prefix,
        "description": act.description,
        "first_seq": rows[0].seq if rows else None,
        "last_seq": rows[-1].seq if rows else None,
        "scope": act.actor.scope,
        "old_value": act.old_value,
        "new_value": act.new_value,
    }
    await audit.insert_audit_entry(transaction.connection, entry)


def _balance(nanos: int) -> str:
    return f"balance {format_nanos(nanos)}"


async def post_audited(transaction: LedgerTransaction, posting: Posting, act: str, actor: Actor) -> Outcome:
    """Posts an operator's rows and adds an audit entry, unless the call is a replay."""
    (outcome,) = await transaction.post(posting)
    if not outcome.replayed:
        rows = outcome.transactions
        entry = AuditedAction(
            act,
            actor,
            posting.account_id,
            description=rows[0].description,
            old_value=_balance(rows[0].balance_after_nanos - rows[0].amount_nanos),
            new_value=_balance(rows[-1].balance_after_nanos),
        )
        await note(transaction, entry, rows)
    return outcome
