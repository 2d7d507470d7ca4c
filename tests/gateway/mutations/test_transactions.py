"""A mutation is one transaction: replays in parallel, what its payload shows, and what is kept when something fails."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from sqlalchemy import text

from access.keys import KeyScope, Principal
from ledger.commands import Posting, Writer
from ledger.kinds import WriterKind
from resolvers.mutations.context import MutationContext
from tests.gateway.mutations.office import MORE, PAYLOAD, ROW, Office, contents, number_of, opened
from tests.gateway.mutations.test_lifecycles import FIRST_DAY, GPU, HOUR_OF_GPU, INFERENCE
from tests.gateway.mutations.test_metering import request
from tests.ledger.desk import api_usage
from tests.ledger.recompute import differences
from tests.statements import watched


async def test_the_same_call_from_two_servers_at_once_is_carried_out_once(office: Office, database_url: str) -> None:
    account = await office.account("10.00")
    call = {"accountId": account, **GPU, "amount": "2.49", **HOUR_OF_GPU, "idempotencyKey": "once"}
    async with opened(database_url) as other:
        answers = await asyncio.gather(
            *(one.call("openHold", office.keys["service"], **call) for _ in range(6) for one in (office, other))
        )
    assert sorted(one.pop("replayed") for one in answers) == [False] + [True] * 11
    assert all(one == answers[0] for one in answers)
    assert (await office.transactions(account))[1:] == answers[0]["transactions"]


async def test_a_payload_shows_its_own_call_though_others_follow_at_once(office: Office) -> None:
    account = await office.account("100.00")
    calls = [
        office.call("openHold", accountId=account, refType="GPU_INSTANCE", refId=str(n), amount="1", **HOUR_OF_GPU)
        for n in range(20)
    ]
    payloads = await asyncio.gather(*calls)
    assert all(one["balance"] == one["transactions"][-1]["balanceAfter"] for one in payloads)
    rows = sorted(
        (row for one in payloads for row in one["transactions"]), key=lambda row: int(row["id"].split("_")[2])
    )
    assert rows == (await office.transactions(account))[1:]


async def test_both_executors_answer_alike(database_url: str) -> None:
    answers: list[list[Any]] = []
    for compiled in (True, False):
        async with opened(database_url, compiled=compiled) as office:
            account = await office.account("30.00")
            gpu = {"accountId": account, **GPU, "amount": "2.49", **HOUR_OF_GPU, "idempotencyKey": "a"}
            told = [await office.answer("openHold", office.keys["service"], **gpu) for _ in range(2)]
            for name, given in (
                ("openHold", {**INFERENCE, "amount": "24", **FIRST_DAY}),
                ("renewHold", {"refId": "7", "used": "20", "amount": "24"}),
                ("renewHold", {"refId": "7", "used": "1", "amount": "1"}),
                ("settleHold", {**GPU, "used": "3"}),
                ("settleHold", {**GPU, "used": "1.0000000001"}),
            ):
                told.append(await office.answer(name, office.keys["service"], accountId=account, **given))
            number = number_of(account)
            told = json.loads(json.dumps(told).replace(f"txn_{number}_", "txn_N_").replace(f"chg_{number}_", "chg_N_"))
            assert await differences(office.services.database) == []
        answers.append(told)
    assert answers[0] == answers[1]
    assert [len(one.get("errors", ())) for one in answers[0]] == [0, 0, 0, 0, 1, 0, 1]


@pytest.mark.parametrize("compiled", [True, False])
async def test_fields_before_the_one_that_fails_are_kept_and_those_after_it_not_done(
    database_url: str, compiled: bool
) -> None:
    async with opened(database_url, compiled=compiled) as office:
        account = await office.account("10.00")
        fields = " ".join(
            f'{name}: openHold(input: {{idempotencyKey: "{name}", accountId: "{account}", refType: GPU_INSTANCE,'
            f' refId: "{name}", amount: "{amount}", periodStart: "2026-11-01T00:00:00Z",'
            f' periodEnd: "2026-11-01T01:00:00Z"}}) {{ {PAYLOAD} }}'
            for name, amount in (("first", "6"), ("second", "6"), ("third", "1"))
        )
        answer = await office.send(f"mutation {{ {fields} }}", office.keys["service"])
        assert answer["data"] is None
        assert [(error["path"], error["extensions"]["code"]) for error in answer["errors"]] == [
            (["second"], "INSUFFICIENT_BALANCE")
        ]
        assert [row["refId"] for row in await office.transactions(account)] == [None, "first"]


def _writes(office: Office) -> MutationContext:
    principal = Principal(1, "eco_test", KeyScope.SERVICE, None, None, None, None)
    services = office.services
    return MutationContext(services.ledger, principal, office.clock, services.top_ups, services.metering)


async def test_nothing_is_kept_where_a_part_of_the_payload_could_not_be_read(office: Office) -> None:
    """PostgreSQL would answer COMMIT as if it had, and the read's error may have nulled a nullable field alone."""
    account = await office.account("10.00")
    before = await contents(office.services.database)
    writes, writer = _writes(office), Writer(WriterKind.SERVICE, "eco_test")

    async def acted() -> None:
        async with writes.around_field():
            outcome = await writes.post(Posting(number_of(account), writer, [api_usage(5)], "test"))
            assert len(outcome.transactions) == 1
            with pytest.raises(Exception, match="no_such_table"):
                await writes.snapshot.rows(text("SELECT * FROM no_such_table"))

    with pytest.raises(Exception, match="no_such_table"):
        await acted()
    assert await contents(office.services.database) == before


_FUNCTION = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN RAISE EXCEPTION 'no space' USING ERRCODE = '53100'; END $$
"""
_TRIGGER = """
    CREATE CONSTRAINT TRIGGER refuse_at_commit AFTER INSERT ON transactions
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION refuse()
"""
_REFUSED_AT_COMMIT = {
    True: (_FUNCTION, _TRIGGER),
    False: (
        "CREATE TABLE nowhere (id INTEGER REFERENCES accounts (id) DEFERRABLE INITIALLY DEFERRED)",
        "CREATE TRIGGER refuse_at_commit AFTER INSERT ON transactions BEGIN INSERT INTO nowhere VALUES (-1); END",
    ),
}
"""What makes PostgreSQL, or else SQLite, refuse a new row when it is committed, and not before."""


@pytest.mark.parametrize("compiled", [True, False])
async def test_a_commit_that_fails_is_the_field_s_error(database_url: str, compiled: bool) -> None:
    async with opened(database_url, compiled=compiled) as office:
        account = await office.account("10.00")
        postgresql = office.services.database.is_postgresql
        async with office.services.database.write() as connection:
            for statement in _REFUSED_AT_COMMIT[postgresql]:
                await connection.execute(text(statement))
        before = await contents(office.services.database)
        call = {"accountId": account, **GPU, "amount": "2.49", **HOUR_OF_GPU}
        answer = await office.answer("openHold", office.keys["service"], **call)
        assert answer["data"] is None
        assert [(error["path"], error["extensions"]["code"]) for error in answer["errors"]] == [
            (["openHold"], "UNAVAILABLE" if postgresql else "INTERNAL")
        ]
        assert await contents(office.services.database) == before


async def test_a_payload_with_written_rows_takes_two_statements(postgresql_url: str) -> None:
    """One reads and one writes, whatever is selected of what was written; what has to be read takes a transaction."""
    async with opened(postgresql_url) as office:
        account = await office.account("30.00")
        calls: list[tuple[str, dict[str, Any]]] = [
            ("openHold", {**INFERENCE, "amount": "5", **FIRST_DAY}),
            ("renewHold", {"refId": "7", "used": "4", "amount": "5"}),
            ("settleHold", {**INFERENCE, "used": "6"}),
            ("recordUsage", {"requests": [request("a", cost="0.25"), request("b", model="n")]}),
            ("grantBonus", {"amount": "1.00", "promotion": "summer"}),
        ]
        told = []
        for name, given in calls:
            # What a charge holds now is read from its hold.
            written = MORE.get(name, "").replace("heldNow ", "")
            selection = f"{PAYLOAD} {written} transactions {{ charge {{ net }} balanceBefore }}"
            with watched(office.services.database) as sent:
                told.append(await office.call(name, None, selection, accountId=account, **given))
            assert len([one for one, _ in sent if "api_keys" not in one]) == 2, name
        rows = [row for payload in told for row in payload["transactions"]]
        assert [row["charge"] and row["charge"]["net"] for row in rows] == ["5.00", "9.00", "9.00", "10.00", None, None]
        assert [{name: row[name] for name in ROW.split()} for row in rows] == (await office.transactions(account))[1:]
        with watched(office.services.database) as sent:
            read = await office.call(
                "grantBonus", None, "transactions { explanation }", accountId=account, **calls[-1][1]
            )
        assert read["transactions"][0]["explanation"].startswith("Added $1.00")
        assert any("FOR NO KEY UPDATE" in one for one, _ in sent)
