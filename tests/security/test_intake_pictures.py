"""The picture gate in bulk: many damaged files, and what hostile ones may cost the web process."""

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from tests.intake.mutations import damaged_pictures
from tests.intake.pictures import encoded, flat_png, itself, on_disk, photo
from wan_core.intake import PictureLimits, decoding
from wan_core.intake.images import decode_now
from wan_core.intake.refusals import Refused

pytestmark = pytest.mark.security

LIMITS = PictureLimits()


def outcome(content: bytes) -> tuple[Image.Image | Refused, float]:
    """What the gate says to `content`, and after how many seconds."""
    start = time.monotonic()
    with on_disk(content) as file:
        try:
            return decode_now(file, itself, LIMITS), time.monotonic() - start
        except Refused as refused:
            return refused, time.monotonic() - start


def children(process: str = "self") -> set[str]:
    """The processes that this one and its children have started and not yet buried; idle decoders are kept."""
    tasks = Path(f"/proc/{process}/task").iterdir()
    found = {child for task in tasks for child in (task / "children").read_text().split()}
    return found.union(*map(children, found)) - {str(idle._process.pid) for idle in decoding._idle}


def peak_growth_mb(work: Callable[[], object]) -> float:
    """By how much the memory of this process rose at most while `work` ran."""
    Path("/proc/self/clear_refs").write_text("5")
    before = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    work()
    status = Path("/proc/self/status").read_text()
    return (int(status.split("VmHWM:")[1].split()[0]) * 1024 - before) / 1e6


def test_five_hundred_damaged_pictures_are_read_or_refused_within_a_second_each() -> None:
    before = children()
    with ThreadPoolExecutor(max_workers=2) as pool:
        results = list(pool.map(outcome, damaged_pictures(500, seed=2)))
    assert {type(result) for result, _ in results} == {Image.Image, Refused}
    assert all(result.mode == "RGB" for result, _ in results if isinstance(result, Image.Image))
    seconds = sorted(seconds for _, seconds in results)
    assert seconds[int(0.99 * len(seconds))] <= 1.0
    assert children() == before


@pytest.mark.parametrize("size", [(8000, 5000), (8200, 5000), (13_000, 13_000), (14_000, 14_000)])
def test_no_picture_accepted_or_refused_costs_the_web_process_fifty_megabytes(size: tuple[int, int]) -> None:
    content = flat_png(*size)
    assert peak_growth_mb(lambda: outcome(content)) <= 50


def test_a_large_upload_is_not_taken_into_memory() -> None:
    content = encoded(photo()) + bytes(24_000_000)
    assert peak_growth_mb(lambda: outcome(content)) <= 10
