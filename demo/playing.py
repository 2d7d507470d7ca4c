"""Carries out histories: each moment at its own time, by the code that also carries it out in production.

Commands are posted as mutations post them, Stripe's notices are applied as its events are, and volumes are set and
billed as services and the storage worker do it. Moments are forgotten once they are carried out, so memory stays small.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from itertools import groupby, islice
from typing import Final, cast

from db import recharges as attempts
from db import stripe_customers
from db.database import Database
from db.recharges import RechargeAttemptRow
from demo.scenes import Customer, Moment, Night, Operated, Posted
from ledger.audit import Actor, post_audited
from ledger.commands import Posting, Writer
from ledger.kinds import WriterKind
from ledger.posting import Ledger, LedgerTransaction, post
from ledger.recharges import AttemptState, RechargeSettings, put_settings
from ledger.storage import StorageBilling
from ledger.stripe.credits import apply
from ledger.stripe.notices import Notice, Recharge
from ledger.stripe.verdicts import Applied
from ledger.volumes import VolumeRate, set_volume

OPERATION: Final = "demo"
ACTOR: Final = Actor("demo", "demo")
_ORDERS_A_TRANSACTION: Final = 5_000


def _is_posted(moment: Moment) -> bool:
    return isinstance(moment.told, Posted)


async def play(database: Database, account_id: int, moments: Iterable[Moment]) -> None:
    """Carries out a history of one account."""
    for together, some in groupby(moments, _is_posted):
        if together:
            for batch in _batches(some):
                await _post(database, account_id, batch)
        else:
            for moment in some:
                await _carry_out(database, account_id, moment)


def _batches(moments: Iterator[Moment]) -> Iterator[list[Moment]]:
    while batch := list(islice(moments, _ORDERS_A_TRANSACTION)):
        yield batch


async def _post(database: Database, account_id: int, moments: Sequence[Moment]) -> None:
    told = [cast("Posted", moment.told) for moment in moments]
    postings = [Posting(account_id, one.writer, (one.command,), OPERATION, attribution=one.attribution) for one in told]
    # It is first asked when the batch is opened, and then for each posting.
    clock = iter([moments[0].at, *(moment.at for moment in moments)]).__next__
    async with database.write() as connection:
        await post(connection, postings, clock)


async def _carry_out(database: Database, account_id: int, moment: Moment) -> None:
    at, told = moment
    ledger = Ledger(database, lambda: at)
    assert not isinstance(told, Posted), "those are posted together"
    if isinstance(told, Night):
        await StorageBilling(database, ledger, clock=lambda: at).run()
    else:
        await ledger.within(lambda transaction: _told(transaction, account_id, at, told))


async def _told(
    transaction: LedgerTransaction,
    account_id: int,
    at: datetime,
    told: Operated | Notice | Customer | RechargeSettings | VolumeRate,
) -> None:
    match told:
        case Operated():
            writer = Writer(WriterKind.OPERATOR, ACTOR.name)
            await post_audited(transaction, Posting(account_id, writer, told.entries, OPERATION), told.act, ACTOR)
        case Customer():
            await stripe_customers.link_customer(transaction.connection, told.id, account_id, at)
        case RechargeSettings():
            await put_settings(transaction.connection, account_id, told, at)
        case VolumeRate():
            await set_volume(transaction.connection, account_id, told, at)
        case _:
            await _apply(transaction, account_id, at, told)


async def _apply(transaction: LedgerTransaction, account_id: int, at: datetime, notice: Notice) -> None:
    if isinstance(notice, Recharge):
        await attempts.insert_attempt(transaction.connection, await _attempt(transaction, account_id, at, notice))
    applied = await apply(transaction, notice, at, at)
    assert isinstance(applied, Applied), applied


async def _attempt(transaction: LedgerTransaction, account_id: int, at: datetime, paid: Recharge) -> RechargeAttemptRow:
    """Returns the payment as it was requested, before Stripe's event tells that it was made."""
    settings = await attempts.lock_settings(transaction.connection, account_id)
    assert settings is not None
    return RechargeAttemptRow(
        id=paid.attempt,
        account_id=account_id,
        state=AttemptState.SUBMITTED.value,
        amount_nanos=paid.amount_nanos,
        threshold_nanos=settings.threshold_nanos,
        customer=None,
        payment_method=None,
        payment_intent=paid.payment_intent,
        started_at=at,
        sent_at=at,
        retry_at=at,
        sends=1,
        ended_at=None,
        failure=None,
    )
