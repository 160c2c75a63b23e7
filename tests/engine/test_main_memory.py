"""Main memory of machines and containers, from files as their kernels write them."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

from wan_core.engine.main_memory import available_bytes

ROOT = Path(__file__).parents[2]
GIB = 2**30
V2 = ("memory.max", "memory.current", "memory.stat")
V1 = ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes", "memory/memory.stat")


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """120 GiB available, no container."""
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text(f"MemTotal: 999999999 kB\nMemAvailable: {120 * 2**20} kB\n")
    return tmp_path


def limit(machine: Path, names: tuple[str, str, str], top: str, taken: int, cached: int = 0) -> None:
    cgroup = machine / "sys/fs/cgroup"
    for name, text in zip(names, (top, str(taken), f"anon 5\ninactive_file {cached}\n"), strict=True):
        (cgroup / name).parent.mkdir(parents=True, exist_ok=True)
        (cgroup / name).write_text(text + "\n")


def test_without_a_container_it_is_what_the_machine_has(machine: Path) -> None:
    assert available_bytes(machine) == 120 * GIB


@pytest.mark.parametrize("names", [V2, V1], ids=["cgroup v2", "cgroup v1"])
def test_a_container_may_take_what_its_limit_leaves(machine: Path, names: tuple[str, str, str]) -> None:
    limit(machine, names, str(32 * GIB), 10 * GIB)
    assert available_bytes(machine) == 22 * GIB


def test_files_in_the_page_cache_are_no_memory_that_is_taken(machine: Path) -> None:
    limit(machine, V2, str(32 * GIB), 30 * GIB, cached=25 * GIB)
    assert available_bytes(machine) == 27 * GIB


def test_a_container_without_limit_has_the_machines_memory(machine: Path) -> None:
    limit(machine, V2, "max", 10 * GIB)
    assert available_bytes(machine) == 120 * GIB
    limit(machine, V1, str(2**63 - 4096), 10 * GIB)
    assert available_bytes(machine) == 120 * GIB


def test_this_machine_has_some() -> None:
    assert 10**8 < available_bytes() < 10**14


HALF_IS_FREED = """
import os
from contextlib import nullcontext
from wan_core.engine.main_memory import freed_memory_given_back

def resident_bytes():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

with {context}():
    blocks = [b"1" * 2**21 for _ in range(32)]
    before = resident_bytes()
    del blocks[::2]
    print((before - resident_bytes()) / 2**25)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
@pytest.mark.parametrize(("context", "share"), [("nullcontext", 0), ("freed_memory_given_back", 1)])
def test_memory_between_large_blocks_goes_back(context: str, share: int) -> None:
    """In a process whose memory has no gaps yet and whose glibc has learnt to keep blocks of this size."""
    code, variables = HALF_IS_FREED.format(context=context), {"MALLOC_MMAP_THRESHOLD_": str(2**25)}
    command = [sys.executable, "-c", code]
    run = subprocess.run(command, cwd=ROOT, env=os.environ | variables, check=True, capture_output=True)
    assert float(run.stdout) == pytest.approx(share, abs=0.1)
