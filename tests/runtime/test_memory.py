"""The daemon's process keeps what it frees from piling up, and its garbage collector short."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from config import PROJECT_ROOT

PROGRAM = """
import gc, json, re, sys, threading
from runtime.memory import give_memory_back, prepare_process, settle_memory

def resident_kb():
    return int(re.search(r"RssAnon:\\s+(\\d+)", open("/proc/self/status").read())[1])

def arenas():
    text = open("/proc/self/maps").read()
    starts = [int(line.split("-")[0], 16) for line in text.splitlines() if line.endswith(" 0 ")]
    return sum(start % (64 << 20) == 0 for start in starts)

def work(turn):
    for _ in range(20):
        held = [bytes(600 + turn % 7) for _ in range(2000)]

prepare_process()
settle_memory()
before = resident_kb()
large = [b'x' * 200_000 for _ in range(100)]
grown = resident_kb() - before
del large
kept = resident_kb() - before
held = [b'x' * 8_000 for _ in range(2_500)]
held = held[::50]
between = resident_kb() - before
give_memory_back()
given_back = between - (resident_kb() - before)
turns = threading.Barrier(16)
threads = [threading.Thread(target=lambda n=n: (turns.wait(), work(n))) for n in range(16)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(json.dumps({"arenas": arenas(), "grown": grown, "kept": kept,
    "given_back": given_back, "frozen": gc.get_freeze_count(), "switch": sys.getswitchinterval()}))
"""


def test_threads_share_few_arenas_and_what_was_freed_goes_back_to_the_system():
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    assert found["arenas"] <= 2, found
    assert found["grown"] > 15_000 > 1_000 > found["kept"], found
    assert found["given_back"] > 15_000, found  # of 20 MB, from between what is still in use
    assert found["frozen"] > 5_000, found
    assert found["switch"] == pytest.approx(0.001)


def test_the_daemon_keeps_its_pid_and_its_arguments_where_it_starts_without_thread_caches():
    """Only the environment of a program that starts can turn them off."""
    program = (
        "import os, sys; sys.path.insert(0, 'src')\n"
        "print(os.getpid(), flush=True)\n"
        "from runtime.bootstrap import keep_thread_caches_empty\n"
        "keep_thread_caches_empty()\n"
        "print(os.environ['GLIBC_TUNABLES'], sys.argv[1:])"
    )
    environment = os.environ | {"GLIBC_TUNABLES": "glibc.malloc.check=0"}
    done = subprocess.run(
        [sys.executable, "-c", program, "an argument"],
        cwd=PROJECT_ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    first, second, said = done.stdout.splitlines()
    assert first == second, "one process"
    assert said == "glibc.malloc.check=0:glibc.malloc.tcache_count=0 ['an argument']"
