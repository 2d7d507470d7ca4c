"""Documents that are named instead of sent, over HTTP, WebSockets and event streams, and answers that clients keep."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from access.keys import Keys, KeyScope, NewKey
from gateway.app import build_app
from gateway.commands.options import settings_of
from gateway.pages import PAGE_DOCUMENTS
from gateway.persisted_queries import PersistedQueries
from gateway.services import Services, build_services
from gateway.trusted_documents import APOLLO, ManifestWrong, digest_of, read_manifest
from ledger.accounts import Accounts
from ledger.commands import Entry, Posting, Writer
from ledger.kinds import TransactionType, WriterKind

BALANCE = "query Balance { account { balance } }"
NAME = "{ account { name } }"
UNKNOWN = "0" * 64
PLAIN, NEWER = "application/json", "application/graphql-response+json"
FOUND = {"data": {"account": {"balance": "0.00"}}}


def persisted(text: str, version: int = 1) -> dict[str, Any]:
    return {"persistedQuery": {"version": version, "sha256Hash": digest_of(text)}}


@dataclass
class Gateway:
    services: Services
    client: TestClient[web.Request, web.Application]
    account_id: int
    key: str

    def headers(self, **more: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"} | {name.replace("_", "-"): text for name, text in more.items()}

    async def post(self, body: Any, accept: str = PLAIN) -> tuple[int, Any]:
        async with self.client.post("/graphql", json=body, headers=self.headers(Accept=accept)) as response:
            return response.status, await response.json()

    async def get(self, given: dict[str, Any], method: str = "GET", **headers: str) -> tuple[int, Any, bytes]:
        """The status, headers and body."""
        parameters = {name: one if isinstance(one, str) else json.dumps(one) for name, one in given.items()}
        asked = self.client.request(method, "/graphql", params=parameters, headers=self.headers(**headers))
        async with asked as response:
            return response.status, response.headers, await response.read()

    async def grant(self) -> None:
        entry = Entry(TransactionType.BONUS, 1, "Bonus")
        await self.services.ledger.post(
            Posting(self.account_id, Writer(WriterKind.SERVICE, "tests"), [entry], "grantBonus")
        )


Serve = Callable[..., Awaitable[Gateway]]


@pytest.fixture
async def serve(sqlite_file_url: str) -> AsyncIterator[Serve]:
    async with AsyncExitStack() as stack:

        async def served(**settings: Any) -> Gateway:
            given = {"database_url": sqlite_file_url, "key_cache_seconds": 0} | settings
            services = build_services(settings_of(given))
            account = await Accounts(services.database).create("One")
            key = await Keys(services.database).create(NewKey(KeyScope.MANAGE, "tests", account.id))
            client = await stack.enter_async_context(TestClient(TestServer(build_app(services))))
            return Gateway(services, client, account.id, key.secret)

        yield served


@pytest.fixture
def manifest(tmp_path: Path) -> str:
    path = tmp_path / "documents.json"
    path.write_text(json.dumps({digest_of(text): text for text in (BALANCE, f"{NAME} # trusted")}))
    return str(path)


def error(answer: Any) -> tuple[str, str]:
    (one,) = answer["errors"]
    return one["extensions"]["code"], one["message"]


async def test_a_document_is_registered_once_and_then_named(serve: Serve) -> None:
    gateway = await serve()
    named = {"extensions": persisted(BALANCE)}
    status, answer = await gateway.post(named)
    assert (status, error(answer)) == (200, ("PERSISTED_QUERY_NOT_FOUND", "PersistedQueryNotFound"))
    assert (await gateway.post(named, NEWER))[0] == 400
    assert await gateway.post(named | {"query": BALANCE}) == (200, FOUND)
    assert await gateway.post(named) == (200, FOUND)
    status, _, body = await gateway.get(named)
    assert (status, json.loads(body)) == (200, FOUND)


async def test_invalid_persisted_queries_are_refused(serve: Serve) -> None:
    gateway = await serve()
    for extensions, said in (
        (persisted(NAME), "extensions.persistedQuery.sha256Hash is not the SHA-256 of query"),
        (persisted(BALANCE, version=2), "extensions.persistedQuery must be an object of version 1"),
        ({"persistedQuery": []}, "extensions.persistedQuery must be an object of version 1"),
        ({"persistedQuery": {"version": 1}}, "extensions.persistedQuery.sha256Hash must be 64 hexadecimal digits"),
    ):
        _, answer = await gateway.post({"query": BALANCE, "extensions": extensions})
        assert error(answer) == ("BAD_USER_INPUT", said)
    _, answer = await gateway.post({"query": "{ nothing }", "extensions": persisted("{ nothing }")})
    assert error(answer)[0] == "GRAPHQL_VALIDATION_FAILED"
    _, answer = await gateway.post({"extensions": persisted("{ nothing }")})
    assert error(answer)[0] == "PERSISTED_QUERY_NOT_FOUND"
    bodies: list[dict[str, Any]] = [{}, {"extensions": {}}, {"query": None}, {"query": ""}]
    for body in (*bodies, {"query": "", "extensions": persisted("")}):
        status, answer = await gateway.post(body)
        assert (status, error(answer)) == (400, ("BAD_USER_INPUT", "query must be a string"))


async def test_persisted_queries_can_be_disabled(serve: Serve) -> None:
    gateway = await serve(persisted_query_bytes=0)
    _, answer = await gateway.post({"extensions": persisted(BALANCE)})
    assert error(answer) == ("PERSISTED_QUERY_NOT_SUPPORTED", "PersistedQueryNotSupported")
    assert await gateway.post({"query": BALANCE, "extensions": persisted(BALANCE)}) == (200, FOUND)


def test_the_store_keeps_to_its_bytes_and_gives_up_what_was_not_asked_for() -> None:
    store = PersistedQueries(2_000)
    store.keep("large", "x" * 2_000)
    for number in range(100):
        store.keep(str(number), "x" * 100)
        assert store.get("0") == "x" * 100
        assert store.bytes <= 2_000
    assert store.get("large") is None
    assert store.get("1") is None
    assert store.get("99") == "x" * 100


async def test_a_trusted_document_is_named_by_its_id(serve: Serve, manifest: str) -> None:
    gateway = await serve(trusted_documents=manifest)
    for name in (digest_of(BALANCE), f"sha256:{digest_of(BALANCE)}"):
        assert await gateway.post({"documentId": name}) == (200, FOUND)
        assert json.loads((await gateway.get({"documentId": name}))[2]) == FOUND
    # Apollo's clients name it as they name a persisted query.
    assert await gateway.post({"extensions": persisted(BALANCE)}) == (200, FOUND)
    assert await gateway.post({"query": "{ viewer { scope } }"}) == (200, {"data": {"viewer": {"scope": "MANAGE"}}})
    _, answer = await gateway.post({"documentId": UNKNOWN})
    assert error(answer) == ("PERSISTED_QUERY_NOT_FOUND", "there is no trusted document with this documentId")
    for more in ({"query": BALANCE}, {"extensions": persisted(BALANCE)}):
        status, answer = await gateway.post({"documentId": digest_of(BALANCE)} | more)
        assert (status, error(answer)[0]) == (400, "BAD_USER_INPUT")
    assert (await gateway.post({"documentId": 7}))[0] == 400


async def test_only_trusted_documents_run(serve: Serve, manifest: str) -> None:
    gateway = await serve(trusted_documents=manifest, trusted_documents_only=True)
    assert await gateway.post({"documentId": digest_of(BALANCE)}) == (200, FOUND)
    assert await gateway.post({"query": BALANCE}) == (200, FOUND)
    assert await gateway.post({"extensions": persisted(BALANCE)}) == (200, FOUND)
    for body in (
        {"query": NAME},
        {"query": NAME, "extensions": persisted(NAME)},
        {"extensions": persisted(NAME)},
        {"query": "{ __schema { queryType { name } } }"},
    ):
        status, answer = await gateway.post(body)
        assert (status, error(answer)[0]) == (200, "FORBIDDEN"), body
    for text in read_manifest(PAGE_DOCUMENTS).values():
        _, answer = await gateway.post({"query": text})
        assert "only trusted documents" not in str(answer), text


async def test_only_trusted_documents_run_over_sockets_and_event_streams(serve: Serve, manifest: str) -> None:
    gateway = await serve(trusted_documents=manifest, trusted_documents_only=True)
    named = {"documentId": digest_of(BALANCE)}
    async with gateway.client.ws_connect("/graphql", protocols=["graphql-transport-ws"]) as socket:
        await socket.send_json({"type": "connection_init", "payload": gateway.headers()})
        assert (await socket.receive_json())["type"] == "connection_ack"
        await socket.send_json({"id": "1", "type": "subscribe", "payload": named})
        assert await socket.receive_json() == {"id": "1", "type": "next", "payload": FOUND}
        assert (await socket.receive_json())["type"] == "complete"
        await socket.send_json({"id": "2", "type": "subscribe", "payload": {"query": NAME}})
        refused = await socket.receive_json()
        assert (refused["type"], refused["payload"][0]["extensions"]) == ("error", {"code": "FORBIDDEN"})
    for body, sign in ((named, '"balance":"0.00"'), ({"query": NAME}, '"code":"FORBIDDEN"')):
        headers = gateway.headers(Accept="text/event-stream")
        async with gateway.client.post("/graphql", json=body, headers=headers) as response:
            assert sign in await response.text()


async def test_an_answer_to_a_name_is_kept_until_it_changes(serve: Serve) -> None:
    gateway = await serve()
    named = {"extensions": persisted(BALANCE)}
    await gateway.post(named | {"query": BALANCE})
    status, headers, body = await gateway.get(named)
    assert (status, json.loads(body)) == (200, FOUND)
    assert headers["ETag"].startswith('W/"')
    assert headers["Cache-Control"] == "private, no-cache"
    assert headers["Vary"] == "Authorization, Accept"
    for known in (headers["ETag"], f'"other", {headers["ETag"]}', headers["ETag"].removeprefix("W/"), "*"):
        status, again, body = await gateway.get(named, If_None_Match=known)
        assert (status, body, again["ETag"]) == (304, b"", headers["ETag"])
        assert (again["Cache-Control"], again["Vary"]) == (headers["Cache-Control"], headers["Vary"])
    assert (await gateway.get(named, If_None_Match='W/"other"'))[0] == 200
    assert (await gateway.get(named, "HEAD", If_None_Match=headers["ETag"]))[0] == 304
    assert (await gateway.get(named, If_None_Match=headers["ETag"], Accept=NEWER))[0] == 200
    await gateway.grant()
    status, changed, body = await gateway.get(named, If_None_Match=headers["ETag"])
    assert (status, json.loads(body)["data"]["account"]["balance"]) == (200, "0.000000001")
    assert changed["ETag"] != headers["ETag"]


async def test_answers_to_others_and_refusals_are_never_kept(serve: Serve, manifest: str) -> None:
    gateway = await serve(trusted_documents=manifest, answer_max_age_seconds=60)
    named = {"documentId": digest_of(BALANCE)}
    assert (await gateway.get(named))[1]["Cache-Control"] == "private, max-age=60"
    operator = (await Keys(gateway.services.database).create(NewKey(KeyScope.OPERATOR, "tests"))).secret
    asked: list[tuple[dict[str, Any], dict[str, str]]] = [
        ({"query": BALANCE}, {}),
        ({"extensions": persisted(BALANCE) | {"cost": True}}, {}),
        (named, {"Authorization": f"Bearer {operator}"}),
        ({"documentId": UNKNOWN}, {}),
        (named, {"Authorization": "Bearer none"}),
    ]
    for given, headers in asked:
        _, told, _ = await gateway.get(given, If_None_Match="*", **headers)
        assert (told["Cache-Control"], "ETag" in told) == ("no-store", False), (given, headers)
    async with gateway.client.post("/graphql", json=named, headers=gateway.headers()) as response:
        assert response.headers["Cache-Control"] == "no-store"


async def test_a_mutation_is_not_run_by_get_under_any_name(serve: Serve) -> None:
    gateway = await serve()
    text = 'mutation { revokeApiKey(input: {idempotencyKey: "1", prefix: "eco_aaaaaaaa"}) { replayed } }'
    await gateway.post({"query": text, "extensions": persisted(text)})
    assert (await gateway.get({"extensions": persisted(text)}))[0] == 405


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nonsense", "invalid JSON"),
        ("[]", "expected an object"),
        ('{"a": 1}', "expected an object"),
        (json.dumps({digest_of(NAME): BALANCE}), "is not the SHA-256 of its text"),
        (json.dumps({digest_of("{ nothing }"): "{ nothing }"}), "Cannot query field 'nothing'"),
        (json.dumps({"format": "another", "operations": []}), "expected an object"),
    ],
)
def test_a_manifest_that_does_not_fit_keeps_the_server_from_starting(
    sqlite_file_url: str, tmp_path: Path, text: str, said: str
) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(text)
    with pytest.raises(ManifestWrong, match=str(path)) as caught:
        build_services(settings_of({"database_url": sqlite_file_url, "trusted_documents": str(path)}))
    assert said in str(caught.value)


def test_apollo_s_manifest_is_read(tmp_path: Path) -> None:
    path = tmp_path / "manifest.json"
    operation = {"id": hashlib.sha256(BALANCE.encode()).hexdigest(), "name": "Balance", "type": "query"}
    path.write_text(json.dumps({"format": APOLLO, "version": 1, "operations": [operation | {"body": BALANCE}]}))
    assert read_manifest(path) == {digest_of(BALANCE): BALANCE}
    with pytest.raises(ManifestWrong, match="No such file"):
        read_manifest(tmp_path / "none.json")


ONE_TYPE = "query($t: TransactionType!) { account { transactions(filter: {types: [$t]}) { totalCount } } }"
HIDDEN = [
    ("{ accuont { id } }", {}),
    ("query($f: TransactionFilter) { account { transactions(filter: $f) { totalCount } } }", {"f": {"typs": []}}),
    ("{ account { transactions(filter: {types: [TOPUPS]}) { totalCount } } }", {}),
    (ONE_TYPE, {"t": "TOPUPS"}),
]


@pytest.mark.parametrize("profile", ["development", "production"])
async def test_the_production_profile_tells_nothing_of_the_schema(serve: Serve, profile: str) -> None:
    gateway = await serve(profile=profile)
    shown = profile == "development"
    for query, variables in HIDDEN:
        _, answer = await gateway.post({"query": query, "variables": variables})
        assert answer["errors"][0]["extensions"]["code"] in {"GRAPHQL_VALIDATION_FAILED", "BAD_USER_INPUT"}
        assert ("Did you mean" in str(answer)) == shown, answer
    for query in ("{ __schema { queryType { name } } }", '{ __type(name: "Query") { name } }'):
        _, answer = await gateway.post({"query": query})
        codes = {one["extensions"]["code"] for one in answer.get("errors", ())}
        assert codes == (set() if shown else {"GRAPHQL_VALIDATION_FAILED"})
    assert await gateway.post({"query": "{ __typename }"}) == (200, {"data": {"__typename": "Query"}})
    async with gateway.client.get("/graphql", headers={"Accept": "text/html"}) as response:
        assert (response.status == 404) == (not shown)
    async with gateway.client.get("/static/graphiql/none.js") as response:
        assert response.status == 404
    async with gateway.client.get("/console/") as response:
        assert response.status == 200


def test_a_setting_of_its_own_comes_before_the_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BILLING_INTROSPECTION", "true")
    settings = settings_of({"profile": "production", "graphiql": "true"})
    assert (settings.introspection, settings.suggestions, settings.graphiql) == (True, False, True)
    monkeypatch.setenv("BILLING_PROFILE", "production")
    assert settings_of({}).suggestions is False
    assert settings_of({"profile": "development"}).suggestions is True
