"""Main memory of machines and containers, from files as their kernels write them."""

import os
import platform
from pathlib import Path

import pytest
import torch

from wan_core.engine.main_memory import available_bytes, freed_memory_given_back

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


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def kept_of_freed_tensors() -> int:
    """Bytes that stay when every second of 32 tensors of 2 MiB is freed."""
    tensors = [torch.ones(2**19) for _ in range(32)]
    before = resident_bytes()
    del tensors[::2]
    return 16 * 2**21 - (before - resident_bytes())


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="needs glibc")
def test_memory_between_tensors_goes_back() -> None:
    with freed_memory_given_back():
        pass  # glibc's largest thresholds hold from here on
    assert kept_of_freed_tensors() > 24 * 2**20
    with freed_memory_given_back():
        assert kept_of_freed_tensors() < 16 * 2**20
