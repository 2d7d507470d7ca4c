"""GraphiQL's examples: each runs as it is offered, for a key of every kind, in Chromium against a whole gateway."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.async_api import Page, expect

from access.keys import KeyScope, NewKey
from gateway.streams.subscription import answers
from ledger.commands import Entry, OpenHold, Period, Posting, Ref, Writer
from ledger.kinds import RefType, TransactionType, WriterKind
from ledger.money import NANOS
from tests.chromium import launched
from tests.doses import IS_NIGHTLY
from tests.gateway.streams.conftest import Gateway, Serve, serve
from tests.stripe_stand_in import settings, standing_in

__all__ = ["serve"]

ROOT: Final = Path(__file__).parents[2]
FOLDERS: Final = [ROOT / "graphql" / name for name in ("operations", "examples")]
STREAMS: Final = {"BalanceChanges", "LowBalance"}
ACCOUNT_SCOPES: Final = (KeyScope.READ, KeyScope.MANAGE)


def names_for(scope: KeyScope) -> list[str]:
    names = []
    for path in (path for folder in FOLDERS for path in folder.glob("*.graphql")):
        beside = path.with_suffix(".json")
        scopes = json.loads(beside.read_text()).get("scopes") if beside.exists() else None
        if scopes is None or scope.name in scopes:
            names.append(path.stem)
    return sorted(names)


def by_day(scope: KeyScope, names: list[str]) -> list[str]:
    """Returns each example once, for operators if they may run it, and a few of those that differ by the account."""
    of_operators = set(names_for(KeyScope.OPERATOR))
    return [name for name in names if scope == KeyScope.OPERATOR or name not in of_operators or name in names[:3]]


@pytest.fixture
async def gateway(serve: Serve) -> AsyncIterator[Gateway]:
    """Its account has a top-up and an open hold."""
    async with standing_in() as stand_in:
        gateway = await serve(answers, **settings(stand_in))
        writer, now = Writer(WriterKind.SERVICE, "tests"), datetime.now(UTC)
        bonus = Entry(TransactionType.BONUS, 50 * NANOS, "Welcome")
        hold = OpenHold(Ref(RefType.GPU_INSTANCE, "7"), NANOS, "Hold", Period(now, now + timedelta(hours=1)))
        await gateway.services.ledger.post(Posting(gateway.account_id, writer, [bonus, hold], "openHold"))
        yield gateway


@pytest.fixture
async def page(gateway: Gateway) -> AsyncIterator[Page]:
    async with launched() as browser:
        page = await browser.new_page(viewport={"width": 1440, "height": 900})
        page.set_default_timeout(30_000)
        await page.goto(gateway.url)
        yield page


async def run(page: Page, name: str) -> Any:
    """The answer to the example; of a stream, the text that the page shows once an event is there."""
    await page.get_by_label("Example queries").get_by_role("button", name=re.compile(f"^{name}\\b")).click()
    await expect(page.get_by_role("tab", name=name).last).to_have_attribute("aria-selected", "true", timeout=30_000)
    execute = page.get_by_role("button", name=re.compile("^Execute query"))
    if name in STREAMS:
        await execute.click()
        shown = page.locator(".result-window .view-lines")
        await expect(shown).to_contain_text("transaction", timeout=30_000)
        text = await shown.inner_text()
        await page.get_by_role("button", name=re.compile("^Stop query")).click()
        return {"data": text} if "errors" not in text else {"errors": text}

    def is_of_example(response: Any) -> bool:
        posted = response.request.post_data or ""
        return bool(posted) and json.loads(posted).get("operationName") == name

    async with page.expect_response(is_of_example) as response:
        await execute.click()
    return await (await response.value).json()


@pytest.mark.parametrize("scope", list(KeyScope))
@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
async def test_every_example_runs_as_given(gateway: Gateway, page: Page, scope: KeyScope) -> None:
    account = gateway.account_id if scope in ACCOUNT_SCOPES else None
    key = await gateway.keys.create(NewKey(scope, "tests", account))
    await page.get_by_label("API key").fill(key.secret)
    await page.keyboard.press("Enter")
    offered = page.get_by_label("Example queries").get_by_role("button")
    names = names_for(scope)
    await expect(offered).to_have_count(len(names), timeout=30_000)
    assert [text.split("\n")[0] for text in await offered.all_inner_texts()] == names
    for name in names if IS_NIGHTLY else by_day(scope, names):
        answer = await run(page, name)
        assert "errors" not in answer, (name, answer)
        assert answer["data"], name


def test_examples_have_mutations_and_streams_for_the_keys_that_may_run_them() -> None:
    kinds = {scope: {_kind(name) for name in names_for(scope)} for scope in KeyScope}
    every = {"query", "mutation", "subscription"}
    assert kinds == {scope: every - ({"mutation"} if scope == KeyScope.READ else set()) for scope in KeyScope}


def _kind(name: str) -> str:
    (text,) = (path.read_text() for folder in FOLDERS if (path := folder / f"{name}.graphql").exists())
    (kind,) = re.findall(r"^(query|mutation|subscription)\b", text, re.MULTILINE)
    return str(kind)
