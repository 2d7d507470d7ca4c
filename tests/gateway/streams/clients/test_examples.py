"""The guide's examples, run as they stand, each by the client that it is written for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from random import Random
from typing import Final

import pytest
from playwright.async_api import Browser, expect

from access.keys import Keys
from tests.chromium import launched
from tests.doses import dose
from tests.gateway.streams.clients.ledger_accounts import Accountant, FollowedAccount
from tests.gateway.streams.clients.partners import (
    ARRIVAL_SECONDS,
    PROGRAMS,
    Page,
    Partner,
    Program,
    Received,
    StoringProgram,
)
from tests.gateway.streams.clients.processes import GatewayProcess, PosterProcess

LIVES: Final = dose(2, 4)

pytestmark = pytest.mark.parametrize("backend", ["sqlite"])


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with launched() as browser:
        yield browser


def _without_repetition(rows: list[Received]) -> list[Received]:
    return list(dict.fromkeys(rows))


async def _live_and_die(partner: Partner) -> None:
    random = Random(partner.name)
    for _ in range(LIVES - 1):
        await asyncio.sleep(random.uniform(0.3, 1.5))
        await partner.kill()
        await asyncio.sleep(random.uniform(0, 0.5))
        await partner.start()


def _programs(gateway: GatewayProcess, account: FollowedAccount, folder: Path) -> list[Program]:
    return [kind(name, gateway.address, account.key.secret, folder) for name, kind in PROGRAMS.items()]


async def test_a_partner_that_is_killed_misses_nothing(
    accountant: Accountant, gateway: GatewayProcess, browser: Browser, database_url: str, tmp_path: Path
) -> None:
    """It may get the row that it was handling once more; the one that keeps rows and cursor together does not."""
    account = await accountant.open_account()
    partners = [*_programs(gateway, account, tmp_path), Page(browser, gateway.address, account.key.secret)]
    await asyncio.gather(*(partner.start() for partner in partners))
    await asyncio.gather(*(partner.began() for partner in partners))
    poster = PosterProcess(database_url, "killed", [account.id], writers=2, rows_a_second=20)
    await poster.start()
    await asyncio.gather(*(_live_and_die(partner) for partner in partners))
    await poster.stop()
    expected = await accountant.rows_after_opening(account.id)
    await asyncio.gather(*(partner.has_received(expected[-1]) for partner in partners))
    for partner in partners:
        received = await partner.received()
        await partner.kill()
        assert _without_repetition(received) == expected, partner.name
        repeated = len(received) - len(expected)
        assert repeated <= (0 if isinstance(partner, StoringProgram) else LIVES - 1), partner.name


async def test_a_program_whose_key_is_revoked_ends(
    accountant: Accountant, gateway: GatewayProcess, tmp_path: Path
) -> None:
    """While it is connected, and when it connects."""
    account = await accountant.open_account()
    programs = _programs(gateway, account, tmp_path)
    await asyncio.gather(*(program.start() for program in programs))
    await asyncio.gather(*(program.began() for program in programs))
    await accountant.post(account.id)
    expected = await accountant.rows_after_opening(account.id)
    await asyncio.gather(*(program.has_received(expected[-1]) for program in programs))
    await Keys(accountant.database).revoke(account.key.row.prefix)
    assert await asyncio.gather(*(program.ended() for program in programs)) == [1] * len(programs)
    await asyncio.gather(*(program.start() for program in programs))
    assert await asyncio.gather(*(program.ended() for program in programs)) == [1] * len(programs)


async def test_a_page_whose_key_is_revoked_asks_for_another(
    accountant: Accountant, gateway: GatewayProcess, browser: Browser
) -> None:
    account = await accountant.open_account()
    page = Page(browser, gateway.address, account.key.secret)
    await page.start()
    await page.began()
    await expect(page.page.get_by_label("API key")).to_be_hidden()
    await Keys(accountant.database).revoke(account.key.row.prefix)
    await expect(page.page.get_by_label("API key")).to_be_visible(timeout=ARRIVAL_SECONDS * 1000)
