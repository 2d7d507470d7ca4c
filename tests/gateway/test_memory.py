from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from gateway import memory

COLLAPSES: Final = """
import mmap, re, sys
from gateway.memory import use_huge_pages

MIB = 1 << 20
def of(name):
    return int(re.search(rf"^{name}:\\s+(\\d+) kB", open("/proc/self/smaps_rollup").read(), re.M)[1]) * 1024

heap = [bytes(200) for _ in range(300_000)]  # 70 MiB
unused = mmap.mmap(-1, 64 * MIB, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
before = of("Rss")
first, second = use_huge_pages(), use_huge_pages()
print(first, second, of("AnonHugePages") // (2 * MIB), (of("Rss") - before) // MIB)
assert all(one == bytes(200) for one in heap) and unused[:] == bytes(64 * MIB)
"""


def _has_them() -> bool:
    version = tuple(int(part) for part in platform.release().split(".")[:2])
    return memory._HUGE_BYTES.exists() and version >= (6, 1)


@pytest.mark.skipif(not _has_them(), reason="the system has no transparent huge pages that one can ask for")
def test_the_heap_is_moved_and_what_is_unused_is_left_alone() -> None:
    done = subprocess.run([sys.executable, "-c", COLLAPSES], capture_output=True, text=True, check=True)
    first, second, huge, grown_mib = map(int, done.stdout.split())
    assert huge >= first >= 5  # of 35: as many as the system has at hand
    assert second >= first
    assert grown_mib < 40


@pytest.mark.parametrize(("name", "value"), [("_HUGE_BYTES", "absent"), ("_SELF", "absent"), ("_HUGE_BYTES", "text")])
def test_without_them_nothing_happens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, value: str) -> None:
    (tmp_path / "text").write_text("none")
    monkeypatch.setattr(memory, name, tmp_path / value)
    assert memory.use_huge_pages() == 0
