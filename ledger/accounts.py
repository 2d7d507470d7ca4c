from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from db import accounts, writes
from db.database import Database
from db.errors import DuplicateKey
from db.rows import AccountRow, TransactionRow
from ledger import grants
from ledger.audit import COMMAND_LINE, Actor, AuditedAction, note
from ledger.commands import Posting, Writer
from ledger.errors import BadUserInput, Conflict, NotFound
from ledger.ids import account_id_text, is_shaped_like_account_id, parse_account_id
from ledger.kinds import AccountStatus, WriterKind
from ledger.posting import Clock, Ledger, LedgerTransaction, utc_now
from ledger.texts import ACCOUNT_NAME, EXTERNAL_ID, REASON


@dataclass(frozen=True, slots=True)
class NewAccount:
    name: str
    external_id: str | None = None
    signup_bonus_nanos: int | None = None


async def create_account(transaction: LedgerTransaction, new: NewAccount, actor: Actor) -> AccountRow:
    """Creates an account and posts its signup bonus. Returns the account after the bonus.

    Raises BadUserInput, and Conflict if the external id is taken.
    """
    row = await _insert(transaction, new)
    rows: tuple[TransactionRow, ...] = ()
    if new.signup_bonus_nanos is not None:
        entry = grants.signup_bonus(new.signup_bonus_nanos)
        writer = Writer(WriterKind.ACCOUNT_CREATION, actor.name)
        (outcome,) = await transaction.post(Posting(row.id, writer, (entry,), "createAccount"))
        rows = outcome.transactions
        row = await locked_account(transaction, row.id)
    await note(transaction, AuditedAction("createAccount", actor, row.id, description=new.name), rows)
    return row


def check_new_account(new: NewAccount) -> None:
    """Raises BadUserInput."""
    ACCOUNT_NAME.checked(new.name, "name")
    if new.external_id is not None:
        EXTERNAL_ID.checked(new.external_id, "externalId")
        if is_shaped_like_account_id(new.external_id):
            raise BadUserInput("externalId must not look like an account id, such as acct_7")


async def _insert(transaction: LedgerTransaction, new: NewAccount) -> AccountRow:
    check_new_account(new)
    try:
        return await writes.insert_account(
            transaction.connection, external_id=new.external_id, name=new.name, created_at=transaction.clock()
        )
    except DuplicateKey as error:
        msg = f"an account with the external id {new.external_id} already exists"
        raise Conflict(msg) from error


async def locked_account(transaction: LedgerTransaction, account_id: int) -> AccountRow:
    """Locks the account and returns it. Raises NotFound."""
    found = await writes.lock_accounts(transaction.connection, [account_id])
    if account_id not in found:
        msg = f"there is no account {account_id_text(account_id)}"
        raise NotFound(msg)
    return found[account_id]


STATUS_ACTS: Final = {AccountStatus.SUSPENDED: "suspendAccount", AccountStatus.ACTIVE: "reactivateAccount"}


async def change_status(
    transaction: LedgerTransaction, account_id: int, status: AccountStatus, reason: str, actor: Actor
) -> AccountRow:
    """Changes the status. Returns the account after the change. Raises NotFound, and Conflict if the status is the
    same."""
    REASON.checked(reason, "reason")
    row = await locked_account(transaction, account_id)
    if row.status == status:
        msg = f"{account_id_text(account_id)} is already {status.value}"
        raise Conflict(msg)
    await writes.update_status(transaction.connection, account_id, status.value)
    entry = AuditedAction(
        STATUS_ACTS[status], actor, account_id, description=reason, old_value=row.status, new_value=status.value
    )
    await note(transaction, entry)
    return row._replace(status=status.value)


class Accounts:
    """Creates and changes accounts, each in its own transaction, for callers with direct access to the database."""

    def __init__(self, database: Database, clock: Clock = utc_now, actor: Actor = COMMAND_LINE) -> None:
        self._database = database
        self._ledger = Ledger(database, clock)
        self._actor = actor

    async def create(
        self, name: str, external_id: str | None = None, *, signup_bonus_nanos: int | None = None
    ) -> AccountRow:
        new = NewAccount(name, external_id, signup_bonus_nanos)
        return await self._ledger.within(lambda transaction: create_account(transaction, new, self._actor))

    async def newest(self, limit: int, search: str | None = None) -> list[AccountRow]:
        async with self._database.snapshot() as snapshot:
            return await accounts.account_page(
                snapshot,
                limit=limit,
                after=None,
                search=search,
                search_id=None if search is None else parse_account_id(search),
            )
