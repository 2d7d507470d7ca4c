from __future__ import annotations

import ctypes
import platform
import subprocess
import sys
from typing import Final

import pytest

from gateway import memory

FREES: Final = """
import re
from gateway.memory import FreedMemory

def rss_mib():
    return int(re.search(r"^Rss:\\s+(\\d+) kB", open("/proc/self/smaps_rollup").read(), re.M)[1]) // 1024

def bodies_and_pins():
    bodies = [(bytearray(100_000), bytearray(1_000)) for _ in range(1_000)]  # 95 MiB
    return bodies, [pin for _, pin in bodies]

freed = FreedMemory()
bodies, pins = bodies_and_pins()
held = rss_mib()
bodies = None
kept = rss_mib()
print(held - kept, freed.give_back(), held - rss_mib(), freed.give_back())
bodies, more = bodies_and_pins()
held, bodies = rss_mib(), None
print(freed.give_back(), held - rss_mib())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators keep little")
def test_freed_memory_between_blocks_in_use_goes_back_to_the_system() -> None:
    done = subprocess.run([sys.executable, "-c", FREES], capture_output=True, text=True, check=True)
    by_itself, first, at_all, second, again, at_all_again = done.stdout.split()
    assert (first, second, again) == ("True", "False", "True")
    assert int(by_itself) < 20
    assert min(int(at_all), int(at_all_again)) > 80


def test_without_glibc_nothing_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    assert memory.FreedMemory().give_back() is False
