"""What operators do to accounts, each act with its entry in the audit list."""

from __future__ import annotations

from dataclasses import astuple, dataclass

from db import writes as rows
from db.rows import TransactionRow
from ledger import grants
from ledger.accounts import STATUS_ACTS, NewAccount, change_status, create_account
from ledger.audit import Actor, post_noted
from ledger.commands import Entry, Order, Outcome, Writer
from ledger.errors import NotFound
from ledger.idempotent_calls import Call, Came, once
from ledger.ids import parse_transaction_id
from ledger.kinds import AccountStatus, TransactionType, WriterKind
from ledger.posting import LedgerTransaction
from resolvers.mutations.context import Writes


@dataclass(frozen=True, slots=True)
class AccountOutcome:
    account_id: int
    transactions: tuple[TransactionRow, ...]
    balance_nanos: int
    replayed: bool


async def open_account(writes: Writes, idempotency_key: str, new: NewAccount) -> AccountOutcome:
    async def work(transaction: LedgerTransaction, actor: Actor) -> AccountOutcome:
        async def created() -> Came:
            row = await create_account(transaction, new, actor)
            return Came(row.id, row.balance_nanos, last_seq=row.head_seq)

        came = await once(transaction, Call("createAccount", idempotency_key, astuple(new)), created)
        return await _account_outcome(transaction, came)

    return await writes.act_as_operator(work)


async def set_status(
    writes: Writes, account_id: str, idempotency_key: str, status: AccountStatus, reason: str
) -> AccountOutcome:
    writes.require_operator()
    number = writes.account_in_scope(account_id, "accountId")

    async def work(transaction: LedgerTransaction, actor: Actor) -> AccountOutcome:
        async def changed() -> Came:
            row = await change_status(transaction, number, status, reason, actor)
            return Came(number, row.balance_nanos)

        call = Call(STATUS_ACTS[status], idempotency_key, reason, number)
        return await _account_outcome(transaction, await once(transaction, call, changed))

    return await writes.act_as_operator(work, number)


async def _account_outcome(transaction: LedgerTransaction, came: Came) -> AccountOutcome:
    assert came.account_id is not None
    assert came.balance_nanos is not None
    found = await rows.rows_between(transaction.connection, came.account_id, 1, came.last_seq) if came.last_seq else []
    return AccountOutcome(came.account_id, tuple(found), came.balance_nanos, came.replayed)


async def correct_balance(
    writes: Writes,
    account_id: str,
    idempotency_key: str,
    *,
    amount_nanos: int,
    description: str,
    corrects: str | None,
) -> Outcome:
    writes.require_operator()
    number = writes.account_in_scope(account_id, "accountId")
    seq = None if corrects is None else _row_of(number, corrects)
    entry = Entry(TransactionType.ADMIN_CORRECTION, amount_nanos, description, corrects_seq=seq)
    return await _posted(writes, number, (entry,), "correctBalance", idempotency_key, None)


def _row_of(account_id: int, transaction_id: str) -> int:
    found = parse_transaction_id(transaction_id)
    if found is None or found[0] != account_id:
        raise NotFound("corrects does not name a transaction of this account")
    return found[1]


async def grant_contract(
    writes: Writes,
    account_id: str,
    idempotency_key: str,
    *,
    contract: str,
    cash_nanos: int,
    bonus_nanos: int | None,
    description: str | None,
) -> Outcome:
    writes.require_operator()
    number = writes.account_in_scope(account_id, "accountId")
    entries = tuple(grants.contract(contract, cash_nanos, bonus_nanos, description))
    payload = [contract, cash_nanos, bonus_nanos, description]
    return await _posted(writes, number, entries, "grantContract", idempotency_key, payload)


async def _posted(
    writes: Writes,
    account_id: int,
    entries: tuple[Entry, ...],
    operation: str,
    idempotency_key: str,
    payload: object,
) -> Outcome:
    async def work(transaction: LedgerTransaction, actor: Actor) -> Outcome:
        writer = Writer(WriterKind.OPERATOR, actor.name)
        order = Order(account_id, writer, entries, operation, idempotency_key, payload)
        return await post_noted(transaction, order, operation, actor)

    return await writes.act_as_operator(work, account_id)
