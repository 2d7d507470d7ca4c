"""The verifier in TypeScript (docs/examples/verify-ledger.ts), run by Node.js against a gateway."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import insert, text, update

from access.keys import KeyScope, NewKey
from console.build import find_node, install
from db import tables, writes
from ledger.chain import row_hash
from ledger.commands import Entry, Ref
from ledger.errors import BadUserInput
from ledger.kinds import RefType, TransactionType
from tests.gateway.mutations.office import Office, opened
from tests.ledger.desk import OPERATOR, Desk, api_usage, correction, open_hold, settle, usd
from tests.ledger.verification.filled import lift_guards

pytestmark = pytest.mark.one_database

ROOT: Final = Path(__file__).parents[2]

TEXTS: Final = (
    "quotes \" and ' and “these”",
    "a backslash \\ and one more \\\\ and a slash / and </script>",
    "beyond the first plane: 😀 𐍈 👩‍💻 𝒳",
    "joined and combined: é e\u0301 ﷽ \u200d \ufeff",
    "the last code points: \ud7ff \ue000 \ufffd \uffff \U0010ffff",
)
REFUSED: Final = ("a tab \t", "a bell \x07", "a line\nmore", "DEL \x7f", "\u2028", "half a pair \ud83d", "\udc00")
# What none of our writers takes now: the hash is defined for such texts all the same.
CONTROLS: Final = "".join(map(chr, range(1, 32))) + "\x7f\x80\u2028\u2029"


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example without its types, for a Node.js that does not take them off itself."""
    page = ROOT / "console" / "billing"
    install(page)
    folder = tmp_path_factory.mktemp("example")
    compiler = str(page / "node_modules" / "typescript" / "bin" / "tsc")
    command = (str(find_node().node), compiler, "--project", str(ROOT / "docs" / "examples"), "--outDir", str(folder))
    subprocess.run(command, check=True, timeout=120)
    (folder / "package.json").write_text('{"type": "module"}')
    return folder / "verify-ledger.js"


@pytest.fixture
async def office(database_url: str) -> AsyncIterator[Office]:
    async with opened(database_url) as office:
        yield office


@pytest.fixture
def desk(office: Office) -> Desk:
    return Desk(office.services.database)


async def _append_unchecked(desk: Desk, account_id: int, description: str) -> None:
    """A row as an older writer may have written it, whose texts nobody had checked."""
    async with desk.database.write() as connection:
        account = (await writes.lock_accounts(connection, [account_id]))[account_id]
        newest = (await writes.rows_between(connection, account_id, account.head_seq, account.head_seq))[0]
        balance = newest.balance_after_nanos + newest.amount_nanos
        row = newest._replace(seq=newest.seq + 1, balance_after_nanos=balance, description=description)
        row = row._replace(hash=row_hash(account.head_hash or bytes(32), row))
        await connection.execute(insert(tables.transactions), row._asdict())
        head = {"head_seq": row.seq, "head_hash": row.hash, "balance_nanos": balance}
        await connection.execute(update(tables.accounts).where(tables.accounts.c.id == account_id).values(head))


async def _filled(desk: Desk) -> int:
    account_id = await desk.account("10.00")
    for description in TEXTS:
        desk.now += timedelta(microseconds=1)
        await desk.post(account_id, correction(-5, description), writer=OPERATOR)
    await desk.post(account_id, Entry(TransactionType.BONUS, 3, "Promotion", ref=Ref(RefType.PROMOTION, TEXTS[2])))
    await _append_unchecked(desk, account_id, CONTROLS)
    await desk.post(account_id, open_hold(usd("2.49")))
    await desk.post(account_id, settle(usd("1.123456789")), Entry(TransactionType.BONUS, 7, "One", corrects_seq=2))
    return account_id


async def _verified(program: Path, office: Office, account_id: int) -> tuple[int | None, str]:
    key = await office.key(NewKey(KeyScope.READ, owner="customer", account_id=account_id))
    process = await asyncio.create_subprocess_exec(
        *(str(find_node().node), str(program)),
        env=os.environ | {"URL": office.url, "KEY": key},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(60):
        output, _ = await process.communicate()
    return process.returncode, output.decode().strip()


async def test_odd_texts_and_several_pages_fit(program: Path, office: Office, desk: Desk) -> None:
    account_id = await _filled(desk)
    await desk.post(account_id, *(api_usage(number) for number in range(1, 2_200)))
    newest = (await desk.rows(account_id))[-1]
    name = f"txn_{account_id}_{newest.seq}"
    said = f"{newest.seq} rows fit; the newest is {name} with the hash {newest.hash.hex()}"
    assert await _verified(program, office, account_id) == (0, said)
    empty = await desk.account()
    assert await _verified(program, office, empty) == (0, "0 rows fit")


async def test_characters_invalid_in_a_text_are_refused(desk: Desk) -> None:
    account_id = await desk.account("1.00")
    for description in REFUSED:
        with pytest.raises(BadUserInput):
            await desk.post(account_id, correction(-5, description), writer=OPERATOR)
    assert len(await desk.rows(account_id)) == 1


@pytest.mark.parametrize(
    ("change", "seq", "said"),
    [
        ("UPDATE transactions SET description = 'another' WHERE seq = 3", 3, "the chain is broken"),
        ("UPDATE transactions SET amount_nanos = amount_nanos - 1 WHERE seq = 4", 4, "balance_after does not add up"),
        ("DELETE FROM transactions WHERE seq = 5", 6, "the row before it is missing"),
        ("DELETE FROM transactions WHERE seq = 1", 2, "the row before it is missing"),
    ],
)
async def test_a_row_that_was_changed_is_named(
    program: Path, office: Office, desk: Desk, change: str, seq: int, said: str
) -> None:
    account_id = await _filled(desk)
    await lift_guards(desk.database)
    async with desk.database.write() as connection:
        await connection.execute(text(change))
    assert await _verified(program, office, account_id) == (1, f"txn_{account_id}_{seq}: {said}")
