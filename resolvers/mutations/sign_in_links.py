"""Sign-in links for customers, which a platform asks for."""

from __future__ import annotations

from dataclasses import astuple, dataclass, replace
from datetime import datetime
from typing import Final

from access.keys import KeyScope, ServiceOperation, acting_row, actor_of
from access.sign_in_links import NewLink, check_link, create_link
from db.rows import ApiKeyRow, TransactionRow
from ledger.audit import AuditedAction, note
from ledger.errors import Forbidden
from ledger.idempotent_calls import IdempotentCall
from ledger.posting import LedgerTransaction
from resolvers.mutations.calls import run_once_on_account
from resolvers.mutations.context import MutationContext

_OPERATION: Final = ServiceOperation.CREATE_SIGN_IN_LINK


@dataclass(frozen=True, slots=True)
class LinkOutcome:
    url: str | None
    """None if the call is a replay: the token is not stored."""
    expires_at: datetime | None
    balance_nanos: int
    replayed: bool
    transactions: tuple[TransactionRow, ...] = ()


def account_of_signer(context: MutationContext, account_id: str) -> int:
    """Returns the number of an account that the key may sign customers in to. Raises Forbidden and NotFound."""
    principal = context.principal
    if principal.scope == KeyScope.OPERATOR:
        return context.account_in_scope(account_id, "accountId")
    if principal.scope == KeyScope.SERVICE and _OPERATION not in (principal.operations or ()):
        msg = f"{_OPERATION.value} requires a service key whose list of operations names it"
        raise Forbidden(msg)
    return context.account_of_service(_OPERATION, account_id)


async def create_sign_in_link(
    context: MutationContext, account_id: int, idempotency_key: str, link: NewLink
) -> LinkOutcome:
    """Returns the link, which signs in once. Raises BadUserInput, and Unauthenticated if the key was just revoked."""
    check_link(link)
    call = IdempotentCall(_OPERATION.value, idempotency_key, _payload(link), account_id)

    async def work(transaction: LedgerTransaction) -> LinkOutcome:
        caller = await acting_row(transaction, context.principal, lock=True)
        address: str | None = None

        async def made() -> None:
            nonlocal address
            address = await create_link(transaction, caller, link)
            await note(transaction, _entry(caller, link))

        done = await run_once_on_account(transaction, call, made)
        outcome = LinkOutcome(None, None, done.balance_nanos, done.replayed)
        if address is None:
            return outcome
        url = f"{context.public_url}{address}"
        return replace(outcome, url=url, expires_at=transaction.clock() + link.expires_in)

    return await context.run(work, account_id)


def _payload(link: NewLink) -> list[object]:
    return [*astuple(link.grant), link.expires_in.total_seconds(), link.return_path]


def _entry(caller: ApiKeyRow, link: NewLink) -> AuditedAction:
    grant = link.grant
    described = f"{grant.scope} session of {grant.owner} for {grant.seconds} seconds"
    return AuditedAction(_OPERATION.value, actor_of(caller), grant.account_id, description=described)
