"""The service of docs/examples/lease_service.py, run as a program against a gateway."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from decimal import Decimal
from pathlib import Path

from ledger.attribution import Attribution
from tests.gateway.mutations.office import Office, number_of
from tests.gateway.streams.clients.processes import GatewayProcess
from tests.ledger.recompute import differences
from tests.ledger.test_authorizations import limits, put_limit

PROGRAM = Path(__file__).parents[3] / "docs/examples/lease_service.py"
COST = Decimal("0.00054")
LIMIT = Decimal("0.50")


async def test_leases_charge_each_call_once_and_stay_within_the_limit(
    office: Office, database_url: str, tmp_path: Path
) -> None:
    account = await office.account("10.00")
    await put_limit(office.services.database, number_of(account), 1, str(LIMIT), Attribution("key_1"))
    gateway = GatewayProcess(database_url, tmp_path)
    await gateway.start()
    given = {"URL": gateway.address, "KEY": office.keys["service"], "ACCOUNT": account, "SECONDS": "4", "LEASE": "0.2"}
    try:
        program = await asyncio.create_subprocess_exec(
            sys.executable, PROGRAM, env=os.environ | given, stderr=asyncio.subprocess.PIPE
        )
        output = (await program.communicate())[1].decode()
    finally:
        await gateway.stop()
    match = re.search(r"answered (\d+), refused (\d+)", output)
    assert match is not None, output
    answered, refused = int(match[1]), int(match[2])
    assert refused > 0
    assert "no lease: LIMIT_EXCEEDED" in output
    [limit] = await limits(office.services.database)
    assert Decimal(limit.spent_nanos).scaleb(-9) == answered * COST <= LIMIT
    totals = "query ($id: ID!) { account(id: $id) { balance usage { totals { calls cost } } } }"
    found = (await office.query(totals, id=account))["account"]
    assert found["usage"]["totals"]["calls"] == str(answered)
    assert Decimal(found["balance"]) == 10 - answered * COST
    assert await differences(office.services.database) == []
