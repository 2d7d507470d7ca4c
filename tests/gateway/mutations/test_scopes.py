"""Who may call what: every mutation by every kind of key, and nothing written where it is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

import pytest
from graphql import is_non_null_type

from access.keys import KeyScope, NewKey
from ledger.chain import format_time
from schema.build import graphql_schema
from tests.gateway.mutations.office import Office, contents, number_of, opened
from tests.gateway.mutations.test_auto_recharge import GIVEN as RECHARGE
from tests.gateway.mutations.test_lifecycles import FIRST_DAY, GPU, HOUR_OF_GPU, INFERENCE
from tests.gateway.mutations.test_metering import request
from tests.gateway.mutations.test_spend_limits import GIVEN as LIMIT
from tests.gateway.mutations.test_top_ups import URLS
from tests.ledger.desk import DAY, START
from tests.stripe_objects import body, event, session
from tests.stripe_stand_in import settings, standing_in

ANONYMOUS, FORBIDDEN, NOT_FOUND, DONE = "UNAUTHENTICATED", "FORBIDDEN", "NOT_FOUND", "done"

CALLERS: Final = (
    "anonymous",
    "read",
    "manage",
    "manage of another account",
    "service",
    "service of another account",
    "service of other operations",
    "operator",
)
_SERVICES: Final = (ANONYMOUS, FORBIDDEN, FORBIDDEN, FORBIDDEN, DONE, NOT_FOUND, FORBIDDEN, FORBIDDEN)
_OPERATORS: Final = (ANONYMOUS, FORBIDDEN, FORBIDDEN, FORBIDDEN, FORBIDDEN, FORBIDDEN, FORBIDDEN, DONE)
_OWNERS: Final = (ANONYMOUS, FORBIDDEN, DONE, NOT_FOUND, FORBIDDEN, FORBIDDEN, FORBIDDEN, FORBIDDEN)
_KEEPERS: Final = (ANONYMOUS, FORBIDDEN, DONE, NOT_FOUND, FORBIDDEN, FORBIDDEN, FORBIDDEN, DONE)

MATRIX: Final = {
    "openHold": _SERVICES,
    "renewHold": _SERVICES,
    "settleHold": _SERVICES,
    "recordUsage": _SERVICES,
    "authorizeUsage": _SERVICES,
    "releaseAuthorization": _SERVICES,
    "grantBonus": _SERVICES,
    "createAccount": _OPERATORS,
    "suspendAccount": _OPERATORS,
    "reactivateAccount": _OPERATORS,
    "correctBalance": _OPERATORS,
    "grantContract": _OPERATORS,
    "createApiKey": _KEEPERS,
    "rotateApiKey": _KEEPERS,
    "revokeApiKey": _KEEPERS,
    "setApiKeyRate": _OPERATORS,
    # A service key must name it: tests/gateway/mutations/test_sign_in_links.py.
    "createSignInLink": _OPERATORS,
    "createTopUp": _OWNERS,
    "setAutoRecharge": _OWNERS,
    "createBillingPortalSession": _OWNERS,
    "setSpendLimit": _KEEPERS,
    "deleteSpendLimit": _KEEPERS,
    "setCompanyDetails": _OWNERS,
    "linkStripeCustomer": _OPERATORS,
    "dismissStripeEvent": _OPERATORS,
    "setVolume": _SERVICES,
    "deleteVolume": _SERVICES,
    "setInstanceRate": _SERVICES,
    "markUsageComplete": _SERVICES,
}
"""What each of the callers meets, in their order."""


@pytest.fixture
async def office(database_url: str) -> AsyncIterator[Office]:
    async with standing_in() as stripe, opened(database_url, **settings(stripe)) as office:
        yield office


def test_every_mutation_is_in_the_matrix_and_fails_as_a_whole() -> None:
    mutation = graphql_schema().mutation_type
    assert mutation is not None
    assert sorted(mutation.fields) == sorted(MATRIX)
    # An error in a nullable field would commit, and say that it did nothing.
    assert all(is_non_null_type(field.type) for field in mutation.fields.values())


async def _keys(office: Office, account: str, other: str) -> dict[str, str | None]:
    mine, foreign = number_of(account), number_of(other)

    async def key(scope: KeyScope, of: int | None = None, **lists: Any) -> str:
        return await office.key(NewKey(scope, "tests", of, **lists))

    keys = (
        None,
        await key(KeyScope.READ, mine),
        await key(KeyScope.MANAGE, mine),
        await key(KeyScope.MANAGE, foreign),
        await key(KeyScope.SERVICE),
        await key(KeyScope.SERVICE, account_ids=(foreign,)),
        await key(KeyScope.SERVICE, operations=()),
        await key(KeyScope.OPERATOR),
    )
    return dict(zip(CALLERS, keys, strict=True))


async def _inputs(office: Office) -> tuple[str, dict[str, dict[str, Any]]]:
    """An account, and for each mutation an input that does something to it."""
    account, suspended = await office.account("100.00"), await office.account()
    await office.call("suspendAccount", accountId=suspended, reason="Chargeback")
    await office.call("openHold", accountId=account, **INFERENCE, amount="1", **FIRST_DAY)
    await office.call("openHold", accountId=account, **GPU | {"refId": "1"}, amount="1", **HOUR_OF_GPU)
    of_account = {"accountId": account}
    volume = {**of_account, "refType": "VOLUME", "refId": "v-1"}
    size = {"gib": 100, "pricePerGibDay": "0.01"}
    await office.call("setVolume", **volume | {"refId": "v-2"}, **size)
    authorized = await office.call("authorizeUsage", accountId=account, amount="1", ttlSeconds=86_400)
    waiting = event("checkout.session.completed", session("cs_1", customer="cus_9"), "evt_waiting")
    await office.services.stripe_events.receive(body(waiting))
    return account, {
        "openHold": {**of_account, **GPU, "amount": "1", **HOUR_OF_GPU},
        "renewHold": {**of_account, "refId": "7", "used": "1", "amount": "1"},
        "settleHold": {**of_account, **GPU, "refId": "1", "used": "1"},
        "recordUsage": {**of_account, "requests": [request("a")]},
        "authorizeUsage": {**of_account, "amount": "1"},
        "releaseAuthorization": {"authorizationId": authorized["authorization"]["id"]},
        "grantBonus": {**of_account, "amount": "1", "promotion": "p"},
        "createAccount": {"name": "New"},
        "suspendAccount": {**of_account, "reason": "Chargeback"},
        "reactivateAccount": {"accountId": suspended, "reason": "Paid"},
        "correctBalance": {**of_account, "amount": "1", "description": "Given back"},
        "grantContract": {**of_account, "contract": "EC-1", "amount": "1"},
        "createApiKey": {**of_account, "scope": "READ", "owner": "me"},
        "rotateApiKey": {"prefix": "that of a new key for each caller"},
        "revokeApiKey": {"prefix": "that of a new key for each caller"},
        "setApiKeyRate": {"prefix": "that of a new key for each caller", "pointsPerSecond": 500},
        "createSignInLink": of_account,
        "linkStripeCustomer": {**of_account, "customer": "cus_other"},
        "dismissStripeEvent": {"eventId": "evt_waiting", "reason": "A test"},
        "createTopUp": {**of_account, "amount": "5.00", **URLS},
        "createBillingPortalSession": {**of_account, "returnUrl": "https://example.com/billing"},
        "setAutoRecharge": {**of_account, **RECHARGE},
        "setSpendLimit": {**of_account, **LIMIT},
        "deleteSpendLimit": {"limitId": "that of a new limit for each caller"},
        "setCompanyDetails": {**of_account, "name": "Example GmbH"},
        "setVolume": {**volume, **size},
        "deleteVolume": {**volume, "refId": "v-2"},
        "markUsageComplete": {**of_account, "service": "router", "until": format_time(START)},
        "setInstanceRate": {**of_account, "refId": "7", "gpus": 1, "pricePerGpuHour": "1"},
    }


async def _met(office: Office, name: str, key: str | None, given: dict[str, Any]) -> str:
    """The code of the refusal, after a look that it wrote nothing; or that it was done."""
    before = await contents(office.services.database)
    answer = await office.answer(name, key, "replayed", **given)
    after = await contents(office.services.database)
    if "errors" not in answer:
        assert after != before
        return DONE
    assert after == before
    return str(answer["errors"][0]["extensions"]["code"])


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
async def test_each_scope_may_call_its_operations(office: Office) -> None:
    """The database has no say in it."""
    account, inputs = await _inputs(office)
    keys = await _keys(office, account, await office.account())
    office.now = START + DAY
    found: dict[str, tuple[str, ...]] = {}
    for name in MATRIX:
        met = {}
        # Those who may come last: what they do could be in the others' way.
        for caller in sorted(CALLERS, key=lambda one: MATRIX[name][CALLERS.index(one)] == DONE):
            given = inputs[name]
            if "prefix" in given:
                key = await office.key(NewKey(KeyScope.READ, "tests", number_of(account)))
                given = given | {"prefix": key[:12]}
            if "limitId" in given:
                limit = await office.call("setSpendLimit", **LIMIT, accountId=account, apiKeyId=caller)
                given = given | {"limitId": limit["spendLimit"]["id"]}
            met[caller] = await _met(office, name, keys[caller], given)
        found[name] = tuple(met[caller] for caller in CALLERS)
    assert found == MATRIX


async def test_a_key_of_no_account_finds_none_in_what_it_does_not_cover(office: Office) -> None:
    """Whether an account exists is not to be learnt from a refusal."""
    account = await office.account()
    keys = await _keys(office, await office.account(), await office.account())
    for caller in ("service of another account", "manage of another account"):
        name = "grantBonus" if "service" in caller else "createApiKey"
        given = {"amount": "1", "promotion": "p"} if "service" in caller else {"scope": "READ", "owner": "me"}
        refusals = {await office.refusal(name, keys[caller], accountId=one, **given) for one in (account, "acct_999")}
        assert refusals == {("NOT_FOUND", "there is no such account")}
