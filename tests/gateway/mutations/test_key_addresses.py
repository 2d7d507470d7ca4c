"""Keys that are restricted to client addresses, in whatever way they come, and the address of the last use."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from access.addresses import allows, are_within, parse_networks, texts_of
from access.keys import KEY_PATTERN, Keys, KeyScope, NewKey
from access.tokens import Purpose
from gateway.networks import parse_address
from ledger.errors import BadUserInput
from tests.gateway.mutations.office import Office, number_of, opened
from tests.ledger.desk import DAY

ELSEWHERE = "203.0.113.7"
OPERATING = (Path(__file__).parents[3] / "docs" / "operating.md").read_text()
NEW = "apiKey { prefix allowedAddresses } secret replayed"
ROTATED = f"{NEW} replaced {{ prefix }}"


async def create(office: Office, key: str | None = None, **given: Any) -> Any:
    return await office.call("createApiKey", key, NEW, **{"owner": "me"} | given)


async def asked_from(office: Office, key: str, address: str) -> tuple[int, Any]:
    """By a client behind the proxy of this machine."""
    headers = {"Authorization": f"Bearer {key}", "X-Forwarded-For": address}
    body = {"query": "{ viewer { scope } }"}
    async with office.session.post(f"{office.url}/graphql", json=body, headers=headers) as response:
        return response.status, await response.json()


async def test_a_key_is_refused_from_other_addresses(office: Office) -> None:
    account = await office.account()
    told = await create(office, scope="READ", accountId=account, allowedAddresses=["203.0.113.0/24", "2001:db8::/32"])
    assert told["apiKey"]["allowedAddresses"] == ["203.0.113.0/24", "2001:db8::/32"]
    key = told["secret"]
    for address in (ELSEWHERE, "::ffff:203.0.113.255", "2001:db8::1", f"10.0.0.1, {ELSEWHERE}"):
        assert await asked_from(office, key, address) == (200, {"data": {"viewer": {"scope": "READ"}}}), address
    for address in ("203.0.114.1", "2001:db9::1", f"{ELSEWHERE}, 10.0.0.1", "unknown"):
        status, answer = await asked_from(office, key, address)
        assert (status, answer["errors"][0]["extensions"]["code"]) == (403, "FORBIDDEN"), address
    _, answer = await asked_from(office, key, "203.0.114.1")
    assert answer["errors"][0]["message"] == "the API key is not allowed from the address 203.0.114.1"
    headers = {"Authorization": f"Bearer {key}"}
    for path in ("/billing/transactions", "/billing/transactions.csv", "/graphql?query={__typename}"):
        async with office.session.get(f"{office.url}{path}", headers=headers) as response:
            assert response.status == 403, path


async def test_no_proxy_is_believed_that_is_not_trusted(database_url: str) -> None:
    async with opened(database_url, trusted_proxies="10.0.0.0/8") as office:
        key = await office.key(NewKey(KeyScope.OPERATOR, "me", allowed_addresses=parse_networks([ELSEWHERE], "")))
        assert (await asked_from(office, key, ELSEWHERE))[0] == 403
        local = await office.key(NewKey(KeyScope.OPERATOR, "me", allowed_addresses=parse_networks(["127.0.0.1"], "")))
        assert (await asked_from(office, local, ELSEWHERE))[0] == 200


async def test_tokens_and_sockets_are_refused_as_their_key_is(office: Office) -> None:
    account = await office.account()
    keys = Keys(office.services.database, office.clock)
    networks = parse_networks([ELSEWHERE], "")
    issued = await keys.create(NewKey(KeyScope.READ, "me", number_of(account), allowed_addresses=networks))
    principal = await office.services.authenticator.principal(issued.secret)
    for address, expected in (("127.0.0.1", 403), (ELSEWHERE, 201)):
        code = {"code": await office.services.tokens.issue(principal, Purpose.SIGN_IN, DAY)}
        headers = {"X-Forwarded-For": address}
        async with office.session.post(f"{office.url}/console/sign-in", json=code, headers=headers) as response:
            assert response.status == expected
            made = (await response.json()).get("key")
    # The console's key has the restriction of the key behind the link.
    assert [(await asked_from(office, made, address))[0] for address in (ELSEWHERE, "10.0.0.1")] == [200, 403]
    export = "/billing/transactions.csv"
    for address, expected in (("127.0.0.1", 403), (ELSEWHERE, 200)):
        token = await office.services.tokens.issue(principal, Purpose.EXPORT, DAY, f"{export}?")
        headers = {"X-Forwarded-For": address}
        async with office.session.get(f"{office.url}{export}?token={token}", headers=headers) as response:
            assert response.status == expected
    stream = await office.services.tokens.issue(principal, Purpose.STREAM, DAY)
    headers = {"Cookie": f"billing_stream={stream}", "Accept": "text/event-stream"}
    async with office.session.get(f"{office.url}/graphql?query={{__typename}}", headers=headers) as response:
        assert response.status == 403
    async with office.session.ws_connect(f"{office.url}/graphql", protocols=["graphql-transport-ws"]) as socket:
        await socket.send_json({"type": "connection_init", "payload": {"Authorization": f"Bearer {issued.secret}"}})
        await socket.receive()
        assert socket.close_code == 4403


async def test_a_restricted_key_makes_none_that_is_allowed_elsewhere(office: Office) -> None:
    account = await office.account()
    networks = parse_networks(["127.0.0.0/8", "2001:db8::/32"], "")
    key = await office.key(NewKey(KeyScope.MANAGE, "me", number_of(account), allowed_addresses=networks))
    for wider in (None, ["127.0.0.1", ELSEWHERE], ["0.0.0.0/0"], ["2001::/16"]):
        call = {"scope": "READ", "owner": "me", "allowedAddresses": wider}
        said = "allowedAddresses must be within those of the calling key"
        assert await office.refusal("createApiKey", key, **call) == ("BAD_USER_INPUT", said), wider
    call = {"scope": "READ", "allowedAddresses": ["127.0.0.1", "2001:db8:1::/48"], "idempotencyKey": "mine"}
    told = await create(office, key, **call)
    assert await create(office, key, **call) == told | {"secret": None, "replayed": True}
    changed = {"owner": "me"} | call | {"allowedAddresses": ["127.0.0.2"]}
    assert (await office.refusal("createApiKey", key, **changed))[0] == "IDEMPOTENCY_CONFLICT"
    free = await office.manager(account)
    assert (await office.refusal("rotateApiKey", key, prefix=free[:12]))[0] == "FORBIDDEN"
    rotated = await office.call("rotateApiKey", key, ROTATED, prefix=key[:12])
    assert rotated["apiKey"]["allowedAddresses"] == ["127.0.0.0/8", "2001:db8::/32"]
    assert (await asked_from(office, rotated["secret"], ELSEWHERE))[0] == 403


@pytest.mark.one_database
@pytest.mark.parametrize(
    "given",
    [
        [],
        ["127.0.0.1"] * 101,
        ["localhost"],
        ["127.0.0.1/8"],
        ["::ffff:127.0.0.1"],
        [""],
        ["127.0.0.0/33"],
        ["x" * 999],
    ],
)
async def test_invalid_addresses_are_refused(office: Office, given: list[str]) -> None:
    call = {"scope": "SERVICE", "owner": "me", "allowedAddresses": given}
    code, message = await office.refusal("createApiKey", **call)
    assert (code, message.startswith("allowedAddresses must ")) == ("BAD_USER_INPUT", True)
    assert len(message) < 250


async def test_the_address_of_the_last_use_is_kept_beside_its_time(office: Office) -> None:
    account = await office.account()
    key, operator = await office.manager(account), office.keys["operator"]
    query = "query ($id: ID) { account(id: $id) { apiKeys { nodes { prefix lastUsedAt lastUsedAddress } } } }"

    async def last_used() -> tuple[str | None, str | None]:
        await office.services.authenticator.flush_last_used()
        (one,) = (await office.query(query, operator, id=account))["account"]["apiKeys"]["nodes"]
        return one["lastUsedAt"], one["lastUsedAddress"]

    assert await last_used() == (None, None)
    await asked_from(office, key, ELSEWHERE)
    assert await last_used() == ("2026-11-01T00:00:00.000000Z", ELSEWHERE)
    office.now += DAY
    await asked_from(office, key, "2001:db8::1")
    assert await last_used() == ("2026-11-02T00:00:00.000000Z", "2001:db8::1")
    restricted = await office.key(
        NewKey(KeyScope.MANAGE, "me", number_of(account), allowed_addresses=parse_networks(["10.0.0.1"], ""))
    )
    await asked_from(office, restricted, ELSEWHERE)
    await office.services.authenticator.flush_last_used()
    nodes = (await office.query(query, operator, id=account))["account"]["apiKeys"]["nodes"]
    assert [one["lastUsedAddress"] for one in nodes] == [None, "2001:db8::1"]


def test_networks_are_sorted_each_once() -> None:
    networks = parse_networks(["10.0.0.0/8", "2001:db8::/32", "10.0.0.1", "10.0.0.0/8", "9.9.9.9/32"], "x")
    assert texts_of(networks) == ["9.9.9.9", "10.0.0.0/8", "10.0.0.1", "2001:db8::/32"]
    assert allows(None, None)
    assert not allows(networks, None)
    assert not allows(networks, parse_address("::1"))
    assert are_within(networks, None)
    assert not are_within(None, networks)
    with pytest.raises(BadUserInput):
        parse_networks(["::/129"], "x")


async def test_every_key_has_the_public_pattern(office: Office) -> None:
    assert f"`{KEY_PATTERN}`" in OPERATING
    for key in (*office.keys.values(), await office.manager(await office.account())):
        assert re.fullmatch(KEY_PATTERN, key)
        assert re.findall(KEY_PATTERN, f"KEY={key}\n") == [key]
