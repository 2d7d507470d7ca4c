"""Idempotent calls: calls that write no ledger rows, or that create the account, and so need a stored idempotency key.

The key is claimed before anything else is done, so if a call is sent twice at once, the second waits for the first.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from db import idempotent_calls
from db.database import Database
from db.rows import IdempotentCallRow
from ledger.commands import digest_of_payload
from ledger.errors import IdempotencyConflict
from ledger.ids import account_id_text
from ledger.posting import LedgerTransaction
from ledger.texts import IDEMPOTENCY_KEY


@dataclass(frozen=True, slots=True)
class IdempotentCall:
    operation: str
    idempotency_key: str
    payload: Any
    """The caller's input as JSON values."""
    account_id: int | None = None
    """The account that the key is scoped to. If None, all calls without an account share one scope."""


@dataclass(frozen=True, slots=True)
class CallResult:
    """The result of a call: enough to answer a replay."""

    account_id: int | None
    balance_nanos: int | None
    key_prefix: str | None = None
    last_seq: int | None = None
    replayed: bool = False


def _scope(call: IdempotentCall) -> str:
    return "" if call.account_id is None else account_id_text(call.account_id)


def _first_result(call: IdempotentCall, known: IdempotentCallRow) -> CallResult:
    """Returns the result of the first call. Raises IdempotencyConflict."""
    if known.payload_digest != digest_of_payload(call.payload):
        msg = f"the idempotency key was used for another {call.operation} call with another payload"
        raise IdempotencyConflict(msg)
    return CallResult(known.account_id, known.balance_nanos, known.key_prefix, known.last_seq, replayed=True)


async def run_once(
    transaction: LedgerTransaction, call: IdempotentCall, work: Callable[[], Awaitable[CallResult]]
) -> CallResult:
    """Does the work, or returns the result of the first call. Raises IdempotencyConflict and the errors of the work."""
    IDEMPOTENCY_KEY.checked(call.idempotency_key, "idempotencyKey")
    claimed = IdempotentCallRow(
        scope=_scope(call),
        operation=call.operation,
        key=call.idempotency_key,
        payload_digest=digest_of_payload(call.payload),
        account_id=None,
        key_prefix=None,
        balance_nanos=None,
        last_seq=None,
        created_at=transaction.clock(),
    )
    known = await idempotent_calls.claim_call(transaction.connection, claimed)
    if known is not None:
        return _first_result(call, known)
    result = await work()
    row = claimed._replace(
        account_id=result.account_id,
        key_prefix=result.key_prefix,
        balance_nanos=result.balance_nanos,
        last_seq=result.last_seq,
    )
    await idempotent_calls.finish_call(transaction.connection, row)
    return result


async def has_result(database: Database, call: IdempotentCall) -> bool:
    """Returns whether the call has a stored result. Raises IdempotencyConflict."""
    known = await idempotent_calls.read_call(database, _scope(call), call.operation, call.idempotency_key)
    return known is not None and _first_result(call, known).replayed
