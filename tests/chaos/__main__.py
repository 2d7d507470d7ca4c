"""Mixed load on two gateways and two workers while one thing after the other breaks: `make chaos`.

CHAOS_MINUTES (30) is the time of both databases together, with one fault in each CHAOS_FAULT_SECONDS (60);
CHAOS_DATABASES and CHAOS_FAULTS choose some: CHAOS_DATABASES=postgresql CHAOS_FAULTS=disk_full,flood.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import aiohttp

from tests.chaos import scene as scenes
from tests.chaos import troubles
from tests.chaos.checker import RECOVERY_SECONDS, is_within, problems
from tests.chaos.history import Fault, History
from tests.chaos.load import ANSWER_SECONDS, Load
from tests.chaos.scene import Scene
from tests.chaos.troubles import Trouble
from tests.command_processes import forked

MINUTES: Final = float(os.environ.get("CHAOS_MINUTES", "30"))
FAULT_SECONDS: Final = float(os.environ.get("CHAOS_FAULT_SECONDS", "60"))
"""From the beginning of a fault to that of the next."""
LASTS_SECONDS: Final = 6.0
WARM_SECONDS: Final = 5.0
LAST_ROWS_SECONDS: Final = 60.0
DATABASES: Final = {
    "postgresql": (scenes.on_postgresql, troubles.OF_POSTGRESQL),
    "sqlite": (scenes.on_sqlite, troubles.OF_SQLITE),
}


async def _break(scene: Scene, load: Load, trouble: Trouble) -> None:
    began = load.now()
    async with trouble(scene):
        await asyncio.sleep(LASTS_SECONDS)
    ended = load.now()
    await asyncio.sleep(max(RECOVERY_SECONDS + 1, began + FAULT_SECONDS - load.now()))
    name = trouble.__name__.replace("_", " ")
    load.history.faults.append(Fault(name, began, ended, scene.memory_mib()))
    _write(_line(load.history, load.history.faults[-1]))


async def _last_rows(scene: Scene, history: History) -> None:
    """Waits until the streams have what is stored."""
    history.stored = await scene.stored()
    wanted = {account: sum(one.account == account for one in history.stored) for account in _accounts(history)}
    for _ in range(int(LAST_ROWS_SECONDS)):
        if all(len(stream.received) >= wanted[stream.account] for stream in history.streams.values()):
            break
        await asyncio.sleep(1)
    await asyncio.sleep(1)  # in which a row that comes twice would come


def _accounts(history: History) -> set[str]:
    return {stream.account for stream in history.streams.values()}


async def run(scene: Scene, faults: list[Trouble]) -> tuple[History, list[str]]:
    load = Load([gateway.address for gateway in scene.gateways], scene.service_key, scene.customers)
    timeout = aiohttp.ClientTimeout(total=ANSWER_SECONDS)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
        async with load.running(session):
            await asyncio.sleep(WARM_SECONDS)
            for trouble in faults:
                await _break(scene, load, trouble)
        await _last_rows(scene, load.history)
        await load.stop_streams()
    found = problems(load.history)
    if scene.ended_workers():
        found.append(f"{scene.ended_workers()} workers ended by themselves")
    found += [f"verify: {line}" for line in (await scene.verified()).splitlines()]
    return load.history, found


def _chosen(faults: Sequence[Trouble]) -> Sequence[Trouble]:
    names = os.environ.get("CHAOS_FAULTS", "").split(",")
    return [one for one in faults if one.__name__ in names] or faults


def _line(history: History, fault: Fault) -> str:
    answers = [answer for answer in history.answers if is_within(answer, fault)]
    errors = [answer for answer in answers if answer.error]
    after = max((answer.ended for answer in errors), default=fault.ended) - fault.ended
    codes = ", ".join(sorted({answer.error for answer in errors}))
    lasted = fault.ended - fault.began
    return (
        f"| {fault.name} | {lasted:.1f} | {len(answers) - len(errors)} | {len(errors)} | {max(after, 0):.1f} |"
        f" {fault.memory_mib:.0f} | {codes} |"
    )


def _write(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def _main() -> int:
    names = os.environ.get("CHAOS_DATABASES", ",".join(DATABASES)).split(",")
    count = max(1, int(MINUTES * 60 / FAULT_SECONDS / len(names)))
    failed = False
    for name in names:
        opened, all_faults = DATABASES[name]
        faults = list(itertools.islice(itertools.cycle(_chosen(all_faults)), count))
        _write(f"\n{name}: {len(faults)} faults\n")
        _write("| fault | seconds | answers | errors | last error, seconds after | MiB | errors |")
        _write("| --- | --- | --- | --- | --- | --- | --- |")
        with tempfile.TemporaryDirectory(prefix="billing-chaos-", ignore_cleanup_errors=True) as folder:
            async with opened(Path(folder)) as scene:
                history, found = await run(scene, faults)
        _write(f"\n{_counted(history)}")
        for line in found[:50] or ["no problem found"]:
            _write(line)
        failed = failed or bool(found)
    return int(failed)


def _counted(history: History) -> str:
    received = sum(len(stream.received) for stream in history.streams.values())
    return (
        f"{len(history.acknowledged)} calls acknowledged, {len(history.stored)} rows stored,"
        f" {len(history.reads)} balances read, {received} rows received by {len(history.streams)} streams"
    )


if __name__ == "__main__":
    with forked():
        status = asyncio.run(_main())
    sys.exit(status)
