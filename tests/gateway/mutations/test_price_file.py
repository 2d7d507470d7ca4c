"""Usage without a cost has the price of the gateway's price file at the time of the request."""

from __future__ import annotations

from pathlib import Path

from tests.gateway.mutations.office import Office, opened
from tests.gateway.mutations.test_metering import request
from tests.ledger.recompute import differences

_FILE = """
[[models."m-large"]]
until = 2026-11-01
input_usd_per_million = 2
cached_input_usd_per_million = 1

[[models."m-large"]]
from = 2026-11-01
input_usd_per_million = 3
"""


async def test_usage_has_the_price_in_force_at_its_time(office: Office, database_url: str, tmp_path: Path) -> None:
    path = tmp_path / "prices.toml"
    path.write_text(_FILE)
    account = await office.account("1.00")
    requests = [
        request("a", cost=None, inputTokens="1000", cachedInputTokens="500"),
        request("b", cost=None, inputTokens="1000", at="2026-11-01T00:00:00Z"),
    ]
    given = {"accountId": account, "requests": requests, "idempotencyKey": "one"}
    async with opened(database_url, price_file=str(path)) as gateway:
        told = await gateway.call("recordUsage", office.keys["service"], **given)
    # 500 × $2 + 500 × $1, and 1000 × $3, per million.
    assert (told["recorded"], told["balance"]) == (2, "0.9955")
    # The model has left the price file. Calls that are sent again still have their outcome.
    again = await office.call("recordUsage", **given)
    assert (again["replayed"], again | {"replayed": False}) == (True, told)
    assert (await office.call("recordUsage", **given | {"idempotencyKey": "other"}))["recorded"] == 0
    assert await differences(office.services.database) == []


async def test_usage_without_cost_and_price_is_refused(office: Office) -> None:
    account = await office.account("1.00")
    code, message = await office.refusal("recordUsage", accountId=account, requests=[request("a", cost=None)])
    assert code == "BAD_USER_INPUT"
    assert message.startswith("requests[0] needs a cost or a price")
