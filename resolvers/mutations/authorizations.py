from __future__ import annotations

from access.keys import ServiceOperation
from ledger.attribution import Attribution
from ledger.commands import AuthorizeUsage, Outcome, ReleaseAuthorization
from ledger.errors import NotFound
from ledger.ids import account_id_text, parse_authorization_id
from resolvers.mutations.context import MutationContext


def _found(outcome: Outcome) -> Outcome:
    """Raises NotFound for a replay whose authorization is no longer kept."""
    if outcome.authorization is None:
        raise NotFound("the authorization of the first call is no longer kept")
    return outcome


async def authorize(
    context: MutationContext, account_id: str, idempotency_key: str, command: AuthorizeUsage, attribution: Attribution
) -> Outcome:
    operation = ServiceOperation.AUTHORIZE_USAGE
    return _found(
        await context.post_as_service(operation, account_id, idempotency_key, command, attribution=attribution)
    )


async def release(context: MutationContext, authorization_id: str, idempotency_key: str) -> Outcome:
    account_id, number = numbered(authorization_id)
    command = ReleaseAuthorization(number)
    operation = ServiceOperation.RELEASE_AUTHORIZATION
    return _found(await context.post_as_service(operation, account_id_text(account_id), idempotency_key, command))


def numbered(authorization_id: str) -> tuple[int, int]:
    """Returns (account, number). Raises NotFound."""
    key = parse_authorization_id(authorization_id)
    if key is None:
        raise NotFound("there is no such authorization")
    return key
