"""Main memory that this process may still take, and what it gives back. Knows no model."""

import ctypes
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

MACHINE = Path("/")

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3  # malloc.h
SMALL_BYTES, GLIBCS_LARGEST_BYTES = 2**18, 2**25


@contextmanager
def freed_memory_given_back() -> Iterator[None]:
    """Freed blocks of 256 KiB and more go back to the system at once: glibc would keep them, in gaps that later tensors
    do not fit. Costs the miniature's 720p 3 s of 60. Afterwards glibc's largest thresholds hold. Nothing without glibc.
    """
    libc = ctypes.CDLL(None) if os.name == "posix" else None
    if libc is None or not hasattr(libc, "malloc_trim"):
        yield
        return
    _keep_below(libc, SMALL_BYTES)
    try:
        yield
    finally:
        _keep_below(libc, GLIBCS_LARGEST_BYTES)


def _keep_below(libc: ctypes.CDLL, block_bytes: int) -> None:
    libc.malloc_trim(0)
    libc.mallopt(M_MMAP_THRESHOLD, block_bytes)
    libc.mallopt(M_TRIM_THRESHOLD, 4 * block_bytes)


def available_bytes(root: Path = MACHINE) -> int:
    """Main memory usable without swapping, at most what the container's limit leaves. `root` holds proc and sys."""
    return min([_free(root), *_left_by_container(root / "sys/fs/cgroup")])


def _free(root: Path) -> int:
    """MemAvailable; all memory where there is no /proc/meminfo."""
    kilobytes = _numbers(root / "proc/meminfo").get("MemAvailable:")
    return kilobytes * 1024 if kilobytes is not None else os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _left_by_container(cgroup: Path) -> list[int]:
    """What cgroup v2 or v1 allows beyond what is taken; files in the page cache are given back when needed."""
    places = (
        (cgroup / "memory.max", cgroup / "memory.current", cgroup / "memory.stat"),
        (
            cgroup / "memory/memory.limit_in_bytes",
            cgroup / "memory/memory.usage_in_bytes",
            cgroup / "memory/memory.stat",
        ),
    )
    return [
        max(0, limit - used + _cached(_numbers(statistics)))
        for limit, used, statistics in ((_number(top), _number(taken), details) for top, taken, details in places)
        if limit is not None and used is not None
    ]


def _cached(statistics: Mapping[str, int]) -> int:
    return statistics.get("active_file", 0) + statistics.get("inactive_file", 0)


def _number(file: Path) -> int | None:
    """The only number of `file`; `None` without one ("max": no limit)."""
    try:
        text = file.read_text("utf-8").strip()
    except OSError:
        return None
    return int(text) if text.isdecimal() else None


def _numbers(file: Path) -> dict[str, int]:
    """Lines of a word and a number."""
    try:
        lines = [line.split() for line in file.read_text("utf-8").splitlines()]
    except OSError:
        return {}
    return {words[0]: int(words[1]) for words in lines if len(words) > 1 and words[1].isdecimal()}
