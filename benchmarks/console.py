"""How long until the Billing page is full?

    python -m benchmarks.console [--rounds N] [--slowdown N] [--write-docs]

Chromium opens the page of the demo's largest account (100,000 rows) with an empty cache, its CPU slowed down. The
browser's own trace says when the navigation began and when the first 50 rows had been painted, with balance, cards
and months. The gateway runs beside it at full speed.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final

import psutil
from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks import report
from benchmarks.operations import ROOT

CHROMIUM: Final = "/usr/bin/chromium"
ROWS: Final = 50
FULL: Final = "the page is full"
GOAL_MS: Final = 1_000
SETTLED_MS: Final = 500

# After the frame that the rows are in: the second of two callbacks is called when the first's frame is done.
_MARK: Final = f"""
new MutationObserver((_, observer) => {{
    if (document.querySelectorAll('tr.row').length < {ROWS}) return;
    observer.disconnect();
    requestAnimationFrame(() => requestAnimationFrame(() => {{
        performance.mark({json.dumps(FULL)});
        console.debug({json.dumps(FULL)});
    }}));
}}).observe(document, {{childList: true, subtree: true}});
"""


@dataclass(frozen=True, slots=True)
class Options:
    rounds: int
    slowdown: int
    write_docs: bool


@dataclass(frozen=True, slots=True)
class StoredState:
    """Milliseconds from the start of the navigation."""

    first_paint_ms: float
    full_ms: float
    busy_ms: float
    """CPU time of the page's main thread until the page was full, which other programs hardly change."""
    transferred_bytes: int


@contextmanager
def _demo() -> Iterator[dict[str, Any]]:
    command = [sys.executable, "-m", "gateway.cli", "demo", "--json", "--port", "0", "--log-level", "error"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())
        finally:
            process.terminate()


def _of_page(events: Sequence[dict[str, Any]], url: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The navigation to the page, and what its thread did. Raises LookupError where tracing began too late."""
    navigations = [
        event
        for event in events
        if event["name"] == "navigationStart" and event["args"].get("data", {}).get("documentLoaderURL") == url
    ]
    if len(navigations) != 1:
        raise LookupError("the trace has no beginning")
    [navigation] = navigations
    thread = (navigation["pid"], navigation["tid"])
    return navigation, [event for event in events if (event["pid"], event["tid"]) == thread]


def _read(trace: bytes, url: str, transferred_bytes: int) -> StoredState:
    navigation, events = _of_page(json.loads(trace)["traceEvents"], url)
    start = navigation["ts"]

    def moment(name: str) -> dict[str, Any]:
        return next(event for event in events if event["name"] == name and event["ts"] >= start)

    def milliseconds(name: str) -> float:
        return float(moment(name)["ts"] - start) / 1000

    full = moment(FULL)
    tasks = (one for one in events if one["name"] == "RunTask" and one["ph"] == "X" and start <= one["ts"] < full["ts"])
    # Tasks of a microsecond may come without; of the one that the mark is in, what was before it.
    busy = sum(min(event.get("tdur", 0), full["tts"] - event.get("tts", 0)) for event in tasks)
    return StoredState(
        first_paint_ms=milliseconds("firstContentfulPaint"),
        full_ms=milliseconds(FULL),
        busy_ms=busy / 1000,
        transferred_bytes=transferred_bytes,
    )


def _open(browser: Browser, demo: dict[str, Any], slowdown: int) -> StoredState:
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    page: Page = context.new_page()
    session = context.new_cdp_session(page)
    session.send("Emulation.setCPUThrottlingRate", {"rate": slowdown})
    session.send("Network.enable")
    sizes: list[int] = []
    session.on("Network.loadingFinished", lambda event: sizes.append(int(event["encodedDataLength"])))
    page.add_init_script(f"sessionStorage.setItem('billing.key', {json.dumps(demo['keys']['operator'])});{_MARK}")
    url = f"{demo['url']}/console/?account={demo['accounts'][2]}"
    categories = ["blink.user_timing", "loading", "toplevel", "disabled-by-default-devtools.timeline"]
    browser.start_tracing(page=page, categories=categories)
    # Told by the page: to look for the rows from here, Playwright would have it run a script larger than its own.
    with page.expect_console_message(lambda message: message.text == FULL):
        page.goto(url)
    page.wait_for_timeout(SETTLED_MS)
    trace = browser.stop_tracing()
    context.close()
    return _read(trace, url, sum(sizes))


def _openings(browser: Browser, demo: dict[str, Any], slowdown: int) -> Iterator[StoredState]:
    while True:
        with suppress(LookupError):
            yield _open(browser, demo, slowdown)


def _measured(options: Options) -> Iterator[str]:
    waiting = os.getloadavg()[0]
    with _demo() as demo, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        version = browser.version
        # The first reads what the file system does not hold yet.
        found = list(islice(_openings(browser, demo, options.slowdown), options.rounds + 1))[1:]
        browser.close()
    yield (
        f"{datetime.now(UTC):%Y-%m-%d}, {psutil.cpu_count()} cores shared by the browser and the gateway on SQLite."
        f" Chromium {version}, its CPU slowed down {options.slowdown} times; {options.rounds} openings, cache empty."
        f" {waiting:.1f} programs wanted the cores when it began: above 0 they took turns with the browser."
    )
    yield ""
    yield report.row("from the navigation's start", "median", "least", "most")
    yield report.row("---", "---:", "---:", "---:")
    named = {
        "first paint, ms": [one.first_paint_ms for one in found],
        f"balance, cards, months and {ROWS} rows painted, ms": [one.full_ms for one in found],
        "CPU of the page's thread till then, ms": [one.busy_ms for one in found],
        "bytes over the wire": [float(one.transferred_bytes) for one in found],
    }
    for name, values in named.items():
        yield report.row(name, *(f"{of(values):,.0f}" for of in (statistics.median, min, max)))
    yield ""
    median = statistics.median(one.full_ms for one in found)
    yield f"Goal: under {GOAL_MS:,} ms. It is {'met' if median < GOAL_MS else 'missed'}."


def _options() -> Options:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.console", description="The Billing page's first view")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--slowdown", type=int, default=4)
    parser.add_argument("--write-docs", action="store_true")
    given = parser.parse_args()
    return Options(given.rounds, given.slowdown, given.write_docs)


def main() -> None:
    options = _options()
    lines = list(_measured(options))
    print("\n".join(lines))
    if options.write_docs:
        report.write_docs("console", lines)


if __name__ == "__main__":
    main()
