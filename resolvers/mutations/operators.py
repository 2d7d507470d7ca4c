"""Operator mutations: change accounts. Each change gets an entry in the audit list."""

from __future__ import annotations

from dataclasses import astuple, dataclass

from db import writes as rows
from db.rows import TransactionRow
from ledger import grants
from ledger.accounts import STATUS_ACTS, NewAccount, change_status, create_account, locked_account
from ledger.audit import Actor, post_audited
from ledger.commands import Entry, Outcome, Posting, Writer
from ledger.errors import NotFound
from ledger.idempotent_calls import CallResult, IdempotentCall, run_once
from ledger.ids import parse_transaction_id
from ledger.kinds import AccountStatus, TransactionType, WriterKind
from ledger.placement import place_account
from ledger.posting import LedgerTransaction
from resolvers.mutations.context import MutationContext


@dataclass(frozen=True, slots=True)
class AccountOutcome:
    account_id: int
    transactions: tuple[TransactionRow, ...]
    balance_nanos: int
    replayed: bool


async def open_account(context: MutationContext, idempotency_key: str, new: NewAccount) -> AccountOutcome:
    context.require_operator()
    call = IdempotentCall("createAccount", idempotency_key, astuple(new))
    placed: int | None = None
    if context.first_shard is not None:
        placed = await context.run_before(lambda ledger: place_account(ledger, new, call))
    known_id: int | None = None
    """The account that the first call created. It may have been moved since."""

    async def work(transaction: LedgerTransaction, actor: Actor) -> AccountOutcome:
        async def created() -> CallResult:
            row = await create_account(transaction, new, actor)
            return CallResult(row.id, row.balance_nanos, last_seq=row.head_seq)

        result = await run_once(transaction, call, created)
        if result.replayed and placed is not None:
            nonlocal known_id
            known_id = result.account_id
            assert known_id is not None, "the call created an account"
            await locked_account(transaction, known_id)
        return await _account_outcome(transaction, result)

    async def shard_of() -> int | None:
        return placed if known_id is None else await context.find_shard(known_id)

    return await context.run_as_operator(work, shard_of=shard_of)


async def set_status(
    context: MutationContext, account_id: str, idempotency_key: str, status: AccountStatus, reason: str
) -> AccountOutcome:
    context.require_operator()
    number = context.account_in_scope(account_id, "accountId")

    async def work(transaction: LedgerTransaction, actor: Actor) -> AccountOutcome:
        async def changed() -> CallResult:
            row = await change_status(transaction, number, status, reason, actor)
            return CallResult(number, row.balance_nanos)

        call = IdempotentCall(STATUS_ACTS[status], idempotency_key, reason, number)
        return await _account_outcome(transaction, await run_once(transaction, call, changed))

    return await context.run_as_operator(work, number)


async def _account_outcome(transaction: LedgerTransaction, result: CallResult) -> AccountOutcome:
    assert result.account_id is not None
    assert result.balance_nanos is not None
    found = (
        await rows.rows_between(transaction.connection, result.account_id, 1, result.last_seq)
        if result.last_seq
        else []
    )
    return AccountOutcome(result.account_id, tuple(found), result.balance_nanos, result.replayed)


async def correct_balance(
    context: MutationContext,
    account_id: str,
    idempotency_key: str,
    *,
    amount_nanos: int,
    description: str,
    corrects: str | None,
) -> Outcome:
    context.require_operator()
    number = context.account_in_scope(account_id, "accountId")
    seq = None if corrects is None else _row_of(number, corrects)
    entry = Entry(TransactionType.ADMIN_CORRECTION, amount_nanos, description, corrects_seq=seq)
    return await _posted(context, number, (entry,), "correctBalance", idempotency_key, None)


def _row_of(account_id: int, transaction_id: str) -> int:
    found = parse_transaction_id(transaction_id)
    if found is None or found[0] != account_id:
        raise NotFound("corrects does not name a transaction of this account")
    return found[1]


async def grant_contract(
    context: MutationContext,
    account_id: str,
    idempotency_key: str,
    *,
    contract: str,
    cash_nanos: int,
    bonus_nanos: int | None,
    description: str | None,
) -> Outcome:
    context.require_operator()
    number = context.account_in_scope(account_id, "accountId")
    entries = tuple(grants.contract(contract, cash_nanos, bonus_nanos, description))
    payload = [contract, cash_nanos, bonus_nanos, description]
    return await _posted(context, number, entries, "grantContract", idempotency_key, payload)


async def _posted(
    context: MutationContext,
    account_id: int,
    entries: tuple[Entry, ...],
    operation: str,
    idempotency_key: str,
    payload: object,
) -> Outcome:
    async def work(transaction: LedgerTransaction, actor: Actor) -> Outcome:
        writer = Writer(WriterKind.OPERATOR, actor.name)
        posting = Posting(account_id, writer, entries, operation, idempotency_key, payload)
        return await post_audited(transaction, posting, operation, actor)

    return await context.run_as_operator(work, account_id)
