"""Sign-in links for customers."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

import strawberry
from strawberry import Info

from access.sign_in_links import (
    CONSOLE,
    MAX_LINK_SECONDS,
    MAX_SESSION_SECONDS,
    MIN_LINK_SECONDS,
    MIN_SESSION_SECONDS,
    SESSION,
    SESSION_OWNER,
    Grant,
    NewLink,
)
from ledger.texts import ADDRESS, OWNER
from resolvers.mutations import sign_in_links
from resolvers.mutations.context import MutationContext
from resolvers.mutations.sign_in_links import LinkOutcome
from schema.kinds import KeyScope
from schema.payload import ACCOUNT, MutationInput, Payload


@strawberry.input(description="A link that signs a customer in to the Billing page.")
class CreateSignInLinkInput(MutationInput):
    account_id: strawberry.ID = strawberry.field(description=ACCOUNT)
    scope: KeyScope = strawberry.field(
        default=KeyScope.READ, description="READ or MANAGE: what the customer may do with the account."
    )
    owner: str = strawberry.field(
        default=SESSION_OWNER,
        description=f"Who signs in, as the account's activity shows it, such as a user name: {OWNER.bounds}.",
    )
    expires_in_seconds: int = strawberry.field(
        default=300,
        description=f"Seconds until the link expires: {MIN_LINK_SECONDS} to {MAX_LINK_SECONDS}.",
    )
    session_seconds: int = strawberry.field(
        default=int(SESSION.total_seconds()),
        description=f"Seconds until the session ends: {MIN_SESSION_SECONDS} to {MAX_SESSION_SECONDS}. It ends earlier"
        " if the calling key expires or is revoked.",
    )
    return_path: str = strawberry.field(
        default=CONSOLE,
        description="View of the Billing page that the link opens: `/console/` with the page's parameters, such as"
        f" `/console/?tab=usage`, at most {ADDRESS.longest} characters.",
    )


@strawberry.type(description="Result of createSignInLink. It writes no rows.")
class CreateSignInLinkPayload(Payload):
    url: str | None = strawberry.field(
        description="The link. It signs in once, and is shown only in this answer. It begins with `BILLING_PUBLIC_URL`,"
        " or with `/console/` if that is not set. Null if the call is replayed: use another idempotency key."
    )
    expires_at: datetime | None = strawberry.field(
        description="When the link expires if nobody opens it; null if the call is replayed."
    )


CreateSignInLinkArgument = Annotated[CreateSignInLinkInput, strawberry.argument(description="The link to create.")]


def _link(account_id: int, given: CreateSignInLinkInput) -> NewLink:
    grant = Grant(account_id, given.scope.value, given.owner, given.session_seconds)
    return NewLink(grant, timedelta(seconds=given.expires_in_seconds), given.return_path)


@strawberry.type
class SignInMutations:
    @strawberry.mutation(
        description="Creates a link that signs a customer in to the Billing page of one account, once. For SERVICE keys"
        " whose `operations` name CREATE_SIGN_IN_LINK, and for operators. The session is a key that ends after"
        " `sessionSeconds`, and with the calling key. An account has at most 1000 valid sessions.",
        graphql_type=CreateSignInLinkPayload,
    )
    async def create_sign_in_link(
        self,
        info: Info[MutationContext, None],
        input: CreateSignInLinkArgument,  # noqa: A002
    ) -> LinkOutcome:
        account_id = sign_in_links.account_of_signer(info.context, input.account_id)
        link = _link(account_id, input)
        return await sign_in_links.create_sign_in_link(info.context, account_id, input.idempotency_key, link)
