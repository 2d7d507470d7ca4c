"""Statements over REST: JSON, CSV, and PDF files, which a process of its own typesets."""

from __future__ import annotations

import asyncio
import io
import json
import os
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest
from jsonschema import Draft202012Validator
from pypdf import PdfReader

from gateway.rest import statements
from gateway.typesetting import process as typesetting
from gateway.typesetting.worker import JAPANESE, fonts_for
from tests.gateway.mutations.office import Office, opened

NOVEMBER: Final = {"from": "2026-11-01", "to": "2026-12-01"}
HOSTILE: Final = '#panic("x") *b* _i_ $x$ <l> @ref `raw` [c] \\ // /* = H #import "@preview/a:1.0.0" " </w>'
"""Typst would read each of these as markup, or fail."""


@pytest.fixture
async def office(sqlite_file_url: str) -> AsyncIterator[Office]:
    async with opened(sqlite_file_url) as office:
        yield office


async def _get(office: Office, key: str, path: str, accept: str = "*/*", **query: str) -> tuple[int, str, bytes]:
    headers = {"Authorization": f"Bearer {key}", "Accept": accept}
    async with office.session.get(office.url + path, params=query, headers=headers) as response:
        return response.status, response.content_type, await response.read()


def _text(pdf: bytes) -> str:
    """Without spaces, which stand where lines are broken."""
    return "".join("".join(page.extract_text() for page in PdfReader(io.BytesIO(pdf)).pages).split())


async def _account(office: Office) -> tuple[str, str]:
    account = await office.account("5.00")
    key = await office.manager(account)
    await office.call("setCompanyDetails", key, name=HOSTILE, addressLines=[HOSTILE[:90], "Straße 1"], taxId="#{1}")
    for description in (HOSTILE, HOSTILE * 4, "x" * 500):
        await office.call("correctBalance", accountId=account, amount="-0.000000001", description=description)
    return account, key


async def test_a_statement_in_each_of_its_types(office: Office) -> None:
    account, key = await _account(office)
    path = "/billing/statement"
    status, media_type, body = await _get(office, key, path, **NOVEMBER)
    answer = await (await office.session.get(f"{office.url}/openapi.json")).json()
    schemas = answer["components"]["schemas"]
    Draft202012Validator({**schemas["Statement"], "components": {"schemas": schemas}}).validate(json.loads(body))
    assert (status, media_type) == (200, "application/json")
    assert json.loads(body) == {
        "account": account,
        "name": HOSTILE,
        "address_lines": [HOSTILE[:90], "Straße 1"],
        "tax_id": "#{1}",
        **NOVEMBER,
        "currency": "USD",
        "opening": "0.00",
        "closing": "4.999999997",
        "rows": 4,
        "is_final": False,
        "movements": [{"kind": "correction", "gross": "4.999999997", "refunded": "0.00", "net": "4.999999997"}],
    }
    csv = await _get(office, key, f"{path}.csv", **NOVEMBER)
    assert csv[:2] == (200, "text/csv")
    assert csv[2] == (await _get(office, key, "/billing/transactions.csv"))[2]
    assert await _get(office, key, path, "text/csv", **NOVEMBER) == csv
    assert (await _get(office, key, path, "application/json;q=0.1, text/csv;q=0", **NOVEMBER))[1] == "application/json"

    office.now = datetime(2026, 12, 24, tzinfo=UTC)
    status, media_type, pdf = await _get(office, key, path, "application/pdf", **NOVEMBER)
    assert (status, media_type, pdf[:5]) == (200, "application/pdf", b"%PDF-")
    text = _text(pdf)
    for shown in (HOSTILE, HOSTILE * 4, "x" * 500, "Straße 1", "Tax id: #{1}", "4.999999997", "Nov 30, 2026 (UTC)"):
        assert "".join(shown.split()) in text, shown
    assert "canstillchange" not in text
    # A final statement is the same file each time, and so by a link.
    assert (await _get(office, key, f"{path}.pdf", **NOVEMBER))[2] == pdf
    address = f"{path}.pdf?from=2026-11-01&to=2026-12-01"
    headers = {"Authorization": f"Bearer {key}"}
    links = f"{office.url}/billing/export-links"
    async with office.session.post(links, json={"address": address}, headers=headers) as made:
        link = (await made.json())["address"]
    async with office.session.get(office.url + link) as response:
        assert response.headers["Content-Disposition"] == (
            f'attachment; filename="statement-{account}-2026-11-01-2026-11-30.pdf"'
        )
        assert await response.read() == pdf
    async with office.session.head(office.url + link) as response:
        assert (response.status, response.content_type) == (200, "application/pdf")


async def test_parts_have_every_row_once(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    account, key = await _account(office)
    for number in range(5):
        await office.call("grantBonus", accountId=account, amount="1.00", promotion=f"promotion-{number}")
    monkeypatch.setattr(statements, "PART_ROWS", 3)
    _, _, pdf = await _get(office, key, "/billing/statement.pdf", **NOVEMBER)
    text = _text(pdf)
    assert [text.count(f"promotion-{number}:") for number in range(5)] == [1] * 5
    assert [text.count(f"Page{number}") for number in range(1, 5)] == [1, 1, 1, 0]
    assert text.count("canstillchange") == 1
    empty = await _get(office, key, "/billing/statement.pdf", **{"from": "2026-01-01", "to": "2026-01-02"})
    assert "Openingbalance0.00Closingbalance0.00" in _text(empty[2])


async def test_a_pdf_is_in_the_language_of_its_reader(office: Office) -> None:
    account, key = await _account(office)
    await office.call("correctBalance", accountId=account, amount="1234567.25", description="Gutschrift")
    path = "/billing/statement.pdf"
    _, _, pdf = await _get(office, key, path, **NOVEMBER, lang="de")
    german = ("Kontoauszug", "1.Nov.2026bis30.Nov.2026(UTC)", "Korrekturen1.234.572,249999997", "Endsaldo", "Seite1")
    assert [one for one in german if one not in _text(pdf)] == []
    headers = {"Authorization": f"Bearer {key}", "Accept-Language": "fr, en;q=0.1, de-AT;q=0.8, ja;q=0"}
    async with office.session.head(office.url + path, params=NOVEMBER, headers=headers) as response:
        assert (response.headers["Content-Language"], response.headers["Vary"]) == ("de", "Accept-Language")

    _, _, pdf = await _get(office, key, path, **NOVEMBER, lang="ja")
    japanese = ("取引明細書", "2026年11月1日～2026年11月30日(UTC)", "訂正1,234,572.249999997", "期末残高", "1ページ")
    assert [one for one in japanese if one not in _text(pdf)] == []
    # The glyphs are those of a font that has them, and no boxes in their place.
    resources: Any = PdfReader(io.BytesIO(pdf)).pages[0]["/Resources"]
    used = [font.get_object()["/BaseFont"] for font in resources["/Font"].values()]
    names = {name.partition("+")[2].partition("-")[0] for name in used}
    assert names & {one.replace(" ", "") for one in JAPANESE}, names

    message = 'lang: unknown value "fr"; expected one of en, de, ja'
    assert await _refusal(office, key, **NOVEMBER, lang="fr") == (400, "BAD_USER_INPUT", message)
    status, _, body = await _get(office, key, "/billing/statement.csv", **NOVEMBER, lang="de")
    assert (status, b"unknown parameter" in body) == (400, True)


async def test_a_language_without_fonts_is_refused_unless_it_is_one_of_several(
    office: Office, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, key = await _account(office)
    program = tmp_path / "without_fonts.py"
    program.write_text("print('en de')\n")
    monkeypatch.setattr(typesetting, "_WORKER", program)
    status, code, message = await _refusal(office, key, **NOVEMBER, lang="ja")
    assert (status, code) == (503, "UNAVAILABLE")
    assert message.startswith("lang: this server has no fonts for ja")
    links, headers = f"{office.url}/billing/export-links", {"Authorization": f"Bearer {key}"}
    address = "/billing/statement.pdf?from=2026-11-01&to=2026-12-01&lang=ja"
    async with office.session.post(links, json={"address": address}, headers=headers) as response:
        assert response.status == 503
    headers["Accept-Language"] = "ja, de;q=0.1"
    async with office.session.head(f"{office.url}/billing/statement.pdf", params=NOVEMBER, headers=headers) as response:
        assert (response.status, response.headers["Content-Language"]) == (200, "de")
    assert fonts_for("ja", ["DejaVu Sans"]) == []
    assert fonts_for("ja", ["IPAGothic", "Noto Sans CJK JP"]) == ["Libertinus Serif", "Noto Sans CJK JP"]


async def _refusal(office: Office, key: str, **query: str) -> tuple[int, str, str]:
    status, _, body = await _get(office, key, "/billing/statement.pdf", **query)
    error = json.loads(body)["error"]
    return status, error["code"], error["message"]


async def test_invalid_statements_are_refused(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    account, key = await _account(office)
    assert await _refusal(office, key, to="2026-11-01") == (400, "BAD_USER_INPUT", "from is required")
    same = {"from": "2026-11-01", "to": "2026-11-01"}
    assert (await _refusal(office, key, **same))[2].startswith("the period is empty")
    assert (await _refusal(office, key, **NOVEMBER, account="acct_99"))[:2] == (404, "NOT_FOUND")
    monkeypatch.setattr(statements, "MAX_PDF_ROWS", 3)
    message = "the period has 4 rows, and a PDF at most 3: ask for a shorter period, or for CSV"
    assert await _refusal(office, key, **NOVEMBER) == (400, "QUERY_TOO_COMPLEX", message)
    assert account


@pytest.fixture
def slow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A typesetter that writes its process and its environment to a file, and works until it is ended."""
    program, told = tmp_path / "slow.py", tmp_path / "told"
    program.write_text(
        f"import os, time\nopen({str(told)!r}, 'w').write(f'{{os.getpid()}} {{sorted(os.environ)}}')\ntime.sleep(60)\n"
    )
    monkeypatch.setattr(typesetting, "_WORKER", program)
    return told


def _told(slow: Path) -> str:
    return slow.read_text() if slow.exists() else ""


def _is_running(slow: Path) -> bool:
    try:
        os.kill(int(_told(slow).split()[0]), 0)
    except ProcessLookupError:
        return False
    return True


def _forget(slow: Path) -> None:
    slow.unlink()


async def _until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110  another process brings it about
            await asyncio.sleep(0.01)


async def test_a_process_ends_with_its_time_and_its_client(
    sqlite_file_url: str, slow: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BILLING_SECRET", "secret")
    async with opened(sqlite_file_url, pdf_timeout_seconds=3, lock_timeout_seconds=0.2) as office:
        _, key = await _account(office)
        first = asyncio.create_task(_refusal(office, key, **NOVEMBER))
        await _until(lambda: _told(slow))
        # Another of the same account waits for its turn, and other requests do not wait.
        second = await _refusal(office, key, **NOVEMBER)
        assert second[:2] == (503, "UNAVAILABLE")
        assert (await _get(office, key, "/billing/statement", **NOVEMBER))[0] == 200
        message = "the PDF took longer than 3 seconds: ask for a shorter period, or for CSV"
        assert await first == (400, "QUERY_TOO_COMPLEX", message)
        assert not _is_running(slow)
        # Nothing of this process's secrets is told to it.
        names = _told(slow).partition(" ")[2]
        assert "PYTHONPATH" in names
        assert "BILLING" not in names

        _forget(slow)
        left = asyncio.create_task(_refusal(office, key, **NOVEMBER))
        await _until(lambda: _told(slow))
        left.cancel()
        await _until(lambda: not _is_running(slow))
        # The slot is given back when the process has ended.
        await _until(lambda: office.services.typesetter.slots.running == 0)


async def test_a_process_that_fails_is_an_internal_error(
    office: Office, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, key = await _account(office)
    program = tmp_path / "failing.py"
    program.write_text("import sys\nsys.exit('no fonts')\n")
    monkeypatch.setattr(typesetting, "_WORKER", program)
    assert (await _refusal(office, key, **NOVEMBER)) == (500, "INTERNAL", "internal error")
