"""Takes the pictures of docs/screenshots from the demo: `python console/screenshots.py`, run by `make screenshots`."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import Browser, Page, sync_playwright

ROOT: Final = Path(__file__).resolve().parent.parent
TARGET: Final = ROOT / "docs" / "screenshots"
CHROMIUM: Final = "/usr/bin/chromium"
QUALITY: Final = 0.75

TO_WEBP: Final = """async ([png, quality]) => {
    const picture = await createImageBitmap(await (await fetch(`data:image/png;base64,${png}`)).blob());
    const canvas = new OffscreenCanvas(picture.width, picture.height);
    canvas.getContext('2d').drawImage(picture, 0, 0);
    const blob = await canvas.convertToBlob({type: 'image/webp', quality});
    return btoa(Array.from(new Uint8Array(await blob.arrayBuffer()), byte => String.fromCharCode(byte)).join(''));
}"""

Action = Callable[[Page], Any]


def rows(page: Page) -> None:
    page.get_by_role("table").wait_for()


def charts(page: Page) -> None:
    page.get_by_role("table").first.wait_for()
    page.locator("canvas").last.wait_for()


def first_row(page: Page) -> None:
    page.get_by_role("button", name="Details of").first.click()
    page.locator(".explanation").wait_for()
    page.locator(".filters").evaluate("one => one.scrollIntoView()")


def charge(page: Page) -> None:
    page.get_by_role("button", name="Details of").first.click()
    page.locator(".charge").wait_for()
    page.get_by_role("tablist").evaluate("one => one.scrollIntoView()")


def type_menu(page: Page) -> None:
    rows(page)
    page.get_by_role("button", name="Type").click()


def model_menu(page: Page) -> None:
    charts(page)
    page.get_by_role("button", name="Model", exact=True).click()
    page.get_by_role("group", name="Model").get_by_role("checkbox").first.check()


def auto_recharge(page: Page) -> None:
    rows(page)
    page.get_by_role("button", name="Auto-recharge…").click()


def offline(page: Page) -> None:
    page.get_by_text("Live", exact=True).wait_for()
    page.context.set_offline(True)
    page.get_by_text("You are offline").wait_for()


def on_paper(page: Page) -> None:
    rows(page)
    page.emulate_media(media="print")


def down_to_tabs(inner: Action) -> Action:
    def act(page: Page) -> None:
        inner(page)
        page.get_by_role("tablist").evaluate("one => one.scrollIntoView()")

    return act


def search(page: Page) -> None:
    page.get_by_role("combobox").click()
    page.get_by_role("option").first.wait_for()


@dataclass(frozen=True, slots=True)
class Shot:
    name: str
    path: str
    act: Action
    key: str | None = "account"
    """Of the demo's; None for nobody."""
    dark: bool = False
    width: int = 1280
    height: int = 900


SHOTS: Final = (
    Shot("sign-in", "", lambda page: page.get_by_label("API key").wait_for(), key=None, height=560),
    Shot("transactions", "", rows),
    Shot("transactions-360", "", down_to_tabs(rows), width=360, height=780),
    Shot("first-360-dark", "", rows, width=360, height=780, dark=True),
    Shot("auto-recharge", "", auto_recharge, height=620),
    Shot("filters", "?types=refund,topup,auto_recharge", type_menu),
    Shot("details", "?account=acct_1&types=refund&ref_type=gpu_instance", first_row, key="operator"),
    Shot("details-360-dark", "?types=refund", first_row, width=360, height=780, dark=True),
    Shot("costs", "?tab=costs&range=90", down_to_tabs(charts)),
    Shot("costs-dark", "?tab=costs&by=resource&per=month&range=year", down_to_tabs(charts), dark=True),
    Shot("costs-360", "?tab=costs", down_to_tabs(charts), width=360, height=780),
    Shot("resources", "?tab=resources", charge),
    Shot("usage", "?tab=usage", charts),
    Shot("usage-models", "?tab=usage&range=7", model_menu),
    Shot("usage-dark", "?tab=usage&group=category", charts, dark=True),
    Shot("usage-360", "?tab=usage&group=model", down_to_tabs(charts), width=360, height=780),
    Shot("accounts", "", search, key="operator", height=480),
    Shot("offline", "", offline, dark=True),
    Shot("statement", "?types=refund,topup", on_paper, width=800, height=1100),
)


def take(browser: Browser, address: str, keys: dict[str, str], shot: Shot) -> bytes:
    context = browser.new_context(
        viewport={"width": shot.width, "height": shot.height},
        color_scheme="dark" if shot.dark else "light",
        reduced_motion="reduce",
    )
    page = context.new_page()
    if shot.key is not None:
        page.add_init_script(f"sessionStorage.setItem('billing.key', {json.dumps(keys[shot.key])})")
    page.goto(f"{address}/console/{shot.path}")
    shot.act(page)
    # What is still on its way: charts, the stream's answer.
    page.wait_for_timeout(600)
    picture = page.screenshot()
    context.close()
    return picture


def main() -> None:
    TARGET.mkdir(exist_ok=True)
    command = [sys.executable, "-m", "gateway.cli", "demo", "--json", "--port", "0", "--log-level", "error"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as demo, sync_playwright() as playwright:  # noqa: S603
        try:
            assert demo.stdout is not None
            started = json.loads(demo.stdout.readline())
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
            # A page of no site, whose policy would forbid what makes pictures smaller.
            smaller = browser.new_page()
            for shot in SHOTS:
                png = base64.b64encode(take(browser, started["url"], started["keys"], shot)).decode()
                webp = base64.b64decode(smaller.evaluate(TO_WEBP, [png, QUALITY]))
                (TARGET / f"{shot.name}.webp").write_bytes(webp)
                sys.stdout.write(f"{shot.name}.webp, {len(webp):,} bytes\n")
            browser.close()
        finally:
            demo.terminate()


if __name__ == "__main__":
    main()
