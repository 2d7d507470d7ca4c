"""Each kind of text has one rule, whichever way the text comes in: the same verdict in the same words."""

from __future__ import annotations

import csv
import io
from collections.abc import Awaitable, Callable, Iterable, Iterator
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any, Final, NamedTuple

from click.testing import CliRunner

from gateway.cli import cli
from ledger.errors import BadUserInput
from ledger.imports.importer import Importer
from ledger.imports.options import ImportOptions
from ledger.imports.sources import Refusal, Source
from ledger.price_file import read_prices
from ledger.prices import Prices
from ledger.texts import (
    ACCOUNT_NAME,
    API_KEY,
    DESCRIPTION,
    END_USER,
    EXTERNAL_ID,
    IDEMPOTENCY_KEY,
    KINDS,
    MODEL,
    OWNER,
    PROJECT,
    REASON,
    REF_ID,
    REQUEST_ID,
    SERVICE,
    STRIPE_ID,
    TextKind,
)
from tests.gateway.mutations.office import Office, number_of
from tests.gateway.mutations.test_lifecycles import GPU, HOUR_OF_GPU
from tests.gateway.mutations.test_metering import request
from tests.stripe_objects import body, event, invoice

_TAKEN: Final = ""
_BLANK: Final = "must not be blank"
_CONTROL: Final = "must not contain control characters"
_HALF: Final = "a\ud800b"
_NOT_JSON: Final = "invalid JSON in the body: no low surrogate in string"


def _texts(kind: TextKind) -> dict[str, str]:
    """Odd texts, and what is said of each after the name of its field."""
    longest = kind.longest
    too_long = f"must have at most {longest} characters, not {longest + 1}"
    return {
        "": _BLANK,
        "   ": _BLANK,
        "\u00a0": _BLANK,
        " padded ": _TAKEN,
        "no-break\u00a0space": _TAKEN,
        "می\u200cخواهم": _TAKEN,
        "👩\u200d👩\u200d👧": _TAKEN,
        "Zu\u0308rich": _TAKEN,
        'a, "b"; c': _TAKEN,
        "x" * longest: _TAKEN,
        "x" * (longest + 1): too_long,
        "𝒳" * longest: _TAKEN,
        "𝒳" * (longest + 1): too_long,
        "a\nb": _CONTROL,
        "a\0b": _CONTROL,
        "a\x1b[31m": _CONTROL,
        "a\x85b": _CONTROL,
        "a\u2028b": _CONTROL,
        "a\u202eb": _CONTROL,
        _HALF: "is not Unicode text: it contains an unpaired surrogate",
    }


class Way(NamedTuple):
    kind: TextKind
    what: str
    """The name of the field, by which a refusal begins."""
    send: Callable[[str], Awaitable[str]]
    """Returns the refusal, or nothing."""
    then: str = _TAKEN
    """What a text that is taken may meet next."""
    unlike: dict[str, str] = {}  # noqa: RUF012
    """Texts that do not come through this way as they are, and what is said then."""

    def check(self, text: str, words: str, said: str) -> None:
        expected = self.unlike.get(text, words and f"{self.what} {words}")
        is_right = expected in said if expected else said == "" or (self.then and self.then in said)
        assert is_right, (self.kind.name, self.what, text[:40], said, expected)


async def _check(ways: Iterable[Way]) -> None:
    for way in ways:
        for text, words in _texts(way.kind).items():
            way.check(text, words, await way.send(text))


async def _sent(office: Office, name: str, field: str, given: dict[str, Any], text: object) -> str:
    answer = await office.answer(name, office.right_key(name), "replayed", **given | {field: text})
    return str(answer["errors"][0]["message"]) if "errors" in answer else ""


def _of_mutations(office: Office, account: str) -> Iterator[Way]:
    mine = {"accountId": account}
    hold = {**mine, **GPU, "amount": "0.01", **HOUR_OF_GPU}
    volume = {**mine, "refType": "VOLUME", "gib": 1, "pricePerGibDay": "1"}
    rate = {**mine, "gpus": 1, "pricePerGpuHour": "1"}
    grant = {**mine, "amount": "1", "promotion": "p"}

    async def used(field: str, text: str) -> str:
        new = request(office.new_key(), cost="0.01")
        if field in new:
            return await _sent(office, "recordUsage", "requests", mine, [new | {field: text}])
        return await _sent(office, "recordUsage", field, {**mine, "requests": [new]}, text)

    unlike = {_HALF: _NOT_JSON}
    for kind, what in (
        (REQUEST_ID, "requests[0].id"),
        (MODEL, "requests[0].model"),
        (REF_ID, "batchId"),
        (DESCRIPTION, "description"),
    ):
        yield Way(kind, what, partial(used, what.removeprefix("requests[0].")), unlike=unlike)
    for kind, name, field, given, then in (
        (ACCOUNT_NAME, "createAccount", "name", {}, ""),
        (EXTERNAL_ID, "createAccount", "externalId", {"name": "One"}, ""),
        (IDEMPOTENCY_KEY, "createAccount", "idempotencyKey", {"name": "One"}, ""),
        (IDEMPOTENCY_KEY, "grantBonus", "idempotencyKey", grant, ""),
        (REF_ID, "openHold", "refId", hold, ""),
        (REF_ID, "setVolume", "refId", volume, ""),
        (REF_ID, "setInstanceRate", "refId", rate, "has no hold: open it first"),
        (REF_ID, "grantBonus", "promotion", grant, ""),
        (REF_ID, "grantContract", "contract", {**mine, "amount": "1"}, ""),
        (DESCRIPTION, "correctBalance", "description", {**mine, "amount": "1"}, ""),
        (REASON, "suspendAccount", "reason", mine, "is already suspended"),
        (REASON, "dismissStripeEvent", "reason", {"eventId": "evt_none"}, "there is no such event"),
        (STRIPE_ID, "dismissStripeEvent", "eventId", {"reason": "none"}, "there is no such event"),
        (STRIPE_ID, "linkStripeCustomer", "customer", mine, ""),
        (OWNER, "createApiKey", "owner", {"scope": "SERVICE"}, ""),
        (SERVICE, "markUsageComplete", "service", {**mine, "until": "2026-11-01T00:00:00Z"}, ""),
    ):
        what = "the customer" if field == "customer" else field
        yield Way(kind, what, partial(_sent, office, name, field, given), then, unlike)


def _of_importer(office: Office) -> Iterator[Way]:
    async def imported(field: str, text: str) -> str:
        given = {"timestamp": "2026-10-30T12:00:00Z", "account": "one", "model": "m", "category": "chat"}
        given |= {"input_tokens": "1", "output_tokens": "1", "request_id": "", "cost": "1", field: text}
        file = io.StringIO(newline="")
        csv.writer(file).writerows([given.keys(), given.values()])
        refusals: list[Refusal] = []
        importer = Importer(
            office.services.database,
            ImportOptions(create_accounts=True),
            Prices(),
            office.clock,
            on_refusals=lambda _, found: refusals.extend(found),
        )
        await importer.run([Source("file", io.BytesIO(file.getvalue().encode("utf-8", "surrogatepass")))])
        return " ".join(refusal.reason for refusal in refusals)

    unlike = {_HALF: "invalid UTF-8 at byte"}
    yield Way(MODEL, "model", partial(imported, "model"), unlike=unlike)
    yield Way(EXTERNAL_ID, "account", partial(imported, "account"), unlike=unlike)
    # Spaces around a field are no part of it, and an empty one names nothing.
    none = {"": _TAKEN, "   ": _TAKEN}
    for kind, column in (
        (REQUEST_ID, "request_id"),
        (API_KEY, "api_key"),
        (PROJECT, "project"),
        (END_USER, "end_user"),
    ):
        yield Way(kind, column, partial(imported, column), unlike=unlike | none)


def _of_webhook(office: Office) -> Way:
    async def told(contract: str) -> str:
        paid = invoice(f"in_{office.new_key()}", customer="cus_1", subtotal=100, metadata={"contract": contract})
        try:
            receipt = await office.services.stripe_events.receive(body(event("invoice.paid", paid)))
        except BadUserInput as refusal:
            return str(refusal)
        return receipt.reason or ""

    # Every event can be kept, so NUL is read as U+FFFD.
    unlike = {"": "the invoice does not name a contract", "a\0b": _TAKEN, _HALF: _NOT_JSON}
    return Way(REF_ID, "the metadata's contract", told, unlike=unlike)


async def test_texts_in_mutations_files_and_events(office: Office) -> None:
    account = await office.account("100.00")
    await office.services.stripe_events.link(number_of(account), "cus_1")
    await _check(_of_mutations(office, account))
    await _check(_of_importer(office))
    await _check([_of_webhook(office)])


async def _priced(text: str) -> str:
    quoted = "".join(f"\\U{ord(letter):08x}" for letter in text)
    try:
        read_prices(io.BytesIO(f'[models."{quoted}"]\nusd_per_call = 1\n'.encode()))
    except BadUserInput as refusal:
        return str(refusal)
    return ""


async def test_models_of_the_price_file() -> None:
    unlike = {_HALF: "the price file is not TOML"}
    way = Way(MODEL, "", _priced, unlike=unlike)
    await _check([way])


COMMANDS: Final = (
    (ACCOUNT_NAME, "name", ("accounts", "create", "--name"), ""),
    (EXTERNAL_ID, "externalId", ("accounts", "create", "--name", "One", "--external-id"), ""),
    (OWNER, "owner", ("keys", "create", "--scope", "operator", "--owner"), ""),
    (REASON, "reason", ("stripe", "dismiss", "evt_none", "--reason"), "there is no such event"),
    (STRIPE_ID, "eventId", ("stripe", "dismiss", "--reason", "none"), "there is no such event"),
    (STRIPE_ID, "the customer", ("stripe", "link", "acct_1"), ""),
    (MODEL, "--model", ("import-usage", "-", "--model"), "the first line is empty"),
    (EXTERNAL_ID, "--account", ("import-usage", "-", "--account"), "the first line is empty"),
)


def test_texts_of_commands(sqlite_file_url: str) -> None:
    async def never(_: str) -> str:
        raise AssertionError

    for kind, what, arguments, then in COMMANDS:
        for text, words in _texts(kind).items():
            found = CliRunner().invoke(cli, [*arguments, text, "--database-url", sqlite_file_url], input="")
            refused = found.exception if isinstance(found.exception, BadUserInput) else found.stderr
            Way(kind, what, never, then).check(text, words, str(refused))


FILTERS: Final = (("refId", "ref_id"), ("search", "search"))


async def test_texts_that_are_looked_for(office: Office) -> None:
    """GraphQL's filters and the parameters of REST."""
    account = await office.account("1.00")
    operator = office.keys["operator"]
    filtered = "($id: ID!, $by: TransactionFilter) { account(id: $id) { transactions(filter: $by) { totalCount } } }"
    for (field, parameter), text in product(FILTERS, _texts(REF_ID).keys() - {_HALF}):
        answer = await office.send(f"query {filtered}", operator, {"id": account, "by": {field: text}})
        said = answer["errors"][0]["message"] if "errors" in answer else ""
        given, headers = {"account": account, parameter: text}, {"Authorization": f"Bearer {operator}"}
        async with office.session.get(f"{office.url}/billing/transactions", params=given, headers=headers) as response:
            found = await response.json()
        told = found["error"]["message"].replace(parameter, field) if response.status != 200 else ""
        assert told == said, (field, text[:40])


def test_the_kinds_are_in_the_guide() -> None:
    guide = (Path(__file__).parents[3] / "docs/mutations.md").read_text()
    listed = [line for line in guide.splitlines() if line.startswith("| ") and line.endswith(" characters |")]
    assert [line.split(" | ")[0].removeprefix("| ") for line in listed] == [kind.name for kind in KINDS]
    assert [line.split(" | ")[-1] for line in listed] == [f"{kind.bounds} |" for kind in KINDS]
