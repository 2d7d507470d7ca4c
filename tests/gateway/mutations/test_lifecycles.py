"""The lives of charges through the API, row by row, as the contract's tables tell them."""

from __future__ import annotations

from typing import Any

import pytest

from tests.gateway.mutations.office import CHARGE, Office, brief
from tests.ledger.desk import DAY, HOUR, START
from tests.ledger.recompute import differences

GPU = {"refType": "GPU_INSTANCE", "refId": "132"}
HOUR_OF_GPU = {"periodStart": "2026-11-01T00:00:00Z", "periodEnd": "2026-11-01T01:00:00Z"}
INFERENCE = {"refType": "INFERENCE_INSTANCE", "refId": "7"}
FIRST_DAY = {"periodStart": "2026-11-01T00:00:00Z", "periodEnd": "2026-11-02T00:00:00Z"}


LATER = f"query ($id: ID!) {{ account(id: $id) {{ balance charges {{ nodes {{ {CHARGE} }} }} }} }}"


def told(payload: dict[str, Any]) -> list[tuple[str, str, str, str]]:
    """(type, amount, balance after, description) of each row."""
    return [(*line, row["description"]) for line, row in zip(brief(payload), payload["transactions"], strict=True)]


def charged(payload: dict[str, Any]) -> tuple[str, ...]:
    """(state, held, refunded, overage, net, cycles) of the charge, as it was when the transaction ended."""
    return tuple(payload["charge"][name] for name in ("state", "held", "refunded", "overage", "net", "cycles"))


def periods(payload: dict[str, Any]) -> list[tuple[str, str]]:
    """Without the years, months, minutes and seconds, which are all alike."""
    return [(row["periodStart"][8:13], row["periodEnd"][8:13]) for row in payload["transactions"]]


@pytest.mark.parametrize(
    ("used", "rows", "charge"),
    [
        (
            "0.83",
            [("REFUND", "1.66", "9.17", "GPU Instance #132: used $0.83 of the $2.49 held")],
            ("1.66", "0.00", "0.83"),
        ),
        (
            "0",
            [("REFUND", "2.49", "10.00", "GPU Instance #132: used $0.00 of the $2.49 held")],
            ("2.49", "0.00", "0.00"),
        ),
        ("2.49", [], ("0.00", "0.00", "2.49")),
        (
            "2.905",
            [("GPU_USAGE", "-0.415", "7.095", "GPU Instance #132: used $2.905, $0.415 beyond the $2.49 held")],
            ("0.00", "0.415", "2.905"),
        ),
    ],
    ids=["stopped early", "never ran", "to its end", "over"],
)
async def test_a_gpu_instance(
    office: Office, used: str, rows: list[tuple[str, str, str, str]], charge: tuple[str, str, str]
) -> None:
    account = await office.account("10.00")
    opened = await office.call("openHold", accountId=account, **GPU, amount="2.49", **HOUR_OF_GPU)
    assert told(opened) == [("GPU_USAGE", "-2.49", "7.51", "GPU Instance #132: hold for 1h")]
    assert (opened["balance"], opened["replayed"]) == ("7.51", False)
    assert charged(opened) == ("OPEN", "2.49", "0.00", "0.00", "2.49", "1")
    assert opened["charge"]["heldNow"] == "2.49"
    office.now = START + HOUR
    settled = await office.call("settleHold", accountId=account, **GPU, used=used)
    assert told(settled) == rows
    assert settled["balance"] == (rows[0][2] if rows else "7.51")
    assert charged(settled) == ("SETTLED", "2.49", *charge, "1")
    assert settled["charge"]["heldNow"] == "0.00"
    assert {(row["source"], row["refType"], row["refId"]) for row in settled["transactions"]} <= {
        ("METERING", "GPU_INSTANCE", "132")
    }
    assert (await office.transactions(account))[1:] == opened["transactions"] + settled["transactions"]
    later = (await office.query(LATER, id=account))["account"]
    assert later == {"balance": settled["balance"], "charges": {"nodes": [settled["charge"]]}}
    assert await differences(office.services.database) == []


async def test_a_gpu_instance_that_stopped_a_while_ago_is_charged_until_then(office: Office) -> None:
    account = await office.account("10.00")
    await office.call("openHold", accountId=account, **GPU, amount="2.49", **HOUR_OF_GPU)
    office.now = START + HOUR
    ended = {"endedAt": "2026-11-01T00:20:00+00:00", "description": "GPU Instance #132: ran 20m of 1h"}
    settled = await office.call("settleHold", accountId=account, **GPU, used="0.83", **ended)
    (row,) = settled["transactions"]
    assert (row["periodEnd"], row["description"]) == ("2026-11-01T00:20:00.000000Z", "GPU Instance #132: ran 20m of 1h")


async def test_an_inference_instance_over_three_cycles(office: Office) -> None:
    account = await office.account("100.00")
    instance = {"accountId": account, "refId": "7"}
    first = await office.call("openHold", accountId=account, **INFERENCE, amount="24", **FIRST_DAY)
    office.now = START + DAY
    second = await office.call("renewHold", **instance, used="20", amount="24")
    office.now = START + 2 * DAY
    third = await office.call("renewHold", **instance, used="25", amount="24")
    office.now = START + 2 * DAY + 6 * HOUR
    end = await office.call("settleHold", accountId=account, **INFERENCE, used="6")
    name = "Inference Instance #7:"
    assert [told(one) for one in (first, second, third, end)] == [
        [("GPU_USAGE", "-24.00", "76.00", f"{name} hold for 24h, cycle 1")],
        [
            ("GPU_USAGE", "-24.00", "52.00", f"{name} hold for 24h, cycle 2"),
            ("REFUND", "4.00", "56.00", f"{name} cycle 1 used $20.00 of the $24.00 held"),
        ],
        [
            ("GPU_USAGE", "-24.00", "32.00", f"{name} hold for 24h, cycle 3"),
            ("GPU_USAGE", "-1.00", "31.00", f"{name} cycle 2 used $25.00, $1.00 beyond the $24.00 held"),
        ],
        [("REFUND", "18.00", "49.00", f"{name} cycle 3 used $6.00 of the $24.00 held")],
    ]
    assert [periods(one) for one in (first, second, third, end)] == [
        [("01T00", "02T00")],
        [("02T00", "03T00"), ("01T00", "02T00")],
        [("03T00", "04T00"), ("02T00", "03T00")],
        [("03T00", "03T06")],
    ]
    assert [one["toStop"] for one in (second, third)] == [False, False]
    assert [one["charge"]["heldNow"] for one in (first, second, third, end)] == ["24.00", "24.00", "24.00", "0.00"]
    assert [charged(one) for one in (first, second, third, end)] == [
        ("OPEN", "24.00", "0.00", "0.00", "24.00", "1"),
        ("OPEN", "48.00", "4.00", "0.00", "44.00", "2"),
        ("OPEN", "72.00", "4.00", "1.00", "69.00", "3"),
        ("SETTLED", "72.00", "22.00", "1.00", "51.00", "3"),
    ]
    assert await differences(office.services.database) == []


async def test_an_inference_instance_whose_next_cycle_cannot_be_paid(office: Office) -> None:
    account = await office.account("30.00")
    await office.call("openHold", accountId=account, **INFERENCE, amount="24", **FIRST_DAY)
    office.now = START + DAY
    stopped = await office.call(
        "renewHold", accountId=account, refId="7", used="6.000000001", amount="24", settlementDescription="Cycle 1"
    )
    assert (stopped["toStop"], stopped["balance"]) == (True, "23.999999999")
    assert told(stopped) == [("REFUND", "17.999999999", "23.999999999", "Cycle 1")]
    code, message = await office.refusal("renewHold", accountId=account, refId="7", used="0", amount="1")
    assert (code, message) == ("CONFLICT", "the hold of INFERENCE_INSTANCE 7 is already settled")
    assert await differences(office.services.database) == []
