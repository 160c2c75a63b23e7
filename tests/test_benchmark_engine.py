"""The one command that measures a card: its dry run on the CPU goes the whole way, and its table says what it found."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import engine as bench
from benchmarks.engine import ROWS, Bench, Row, Session, compose, table, with_table
from wan_core.engine.step_cache import has_cache_dit

README = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
DRY = Bench(dry=True)


def test_the_readme_holds_what_was_measured() -> None:
    assert with_table(README, bench.kept(), Bench(dry=False)) == README, "run: python -m benchmarks.engine --write"


def measured(**seconds: float) -> dict[str, Any]:
    """What a size's measurement holds, with these forwards."""
    forwards = {name: {"seconds": taken, "peak_gib": 70.0} for name, taken in seconds.items()}
    return {"plan": "all on the card", "forwards": forwards, "video_tokens": 32760, "vae_peak_gib": 72.5} | {
        "encode_s": 1.0,
        "decode_s": 2.0,
        "mp4_s": 3.0,
    }


@pytest.mark.parametrize(
    ("row", "forwards"),
    [
        (Row("none", "none", acceleration="none"), 54),
        (Row("regular", "none"), 47),
        (Row("turbo", "none", "turbo"), 4),
        (Row("turbo motion", "none", "turbo_motion", low_noise="none"), 22),
    ],
    ids=lambda each: str(getattr(each, "title", each)),
)
def test_a_clip_is_composed_of_the_forwards_that_it_takes(row: Row, forwards: int) -> None:
    assert compose(row, measured(none=10.0), 4.0, DRY) == pytest.approx(forwards * 10 + 4 + 1 + 2 + 3)


def test_steps_that_the_cache_skips_cost_what_a_skipped_forward_costs() -> None:
    found = measured(none=10.0, skipped=1.0)
    row = Row("cached", "none", skipped="skipped")
    skipped = sum(1 + (step < 20) for step, skip in enumerate(bench.pattern(27)) if skip)
    assert compose(row, found, 0.0, DRY) == pytest.approx(47 * 10 - 9 * skipped + 6)


def test_what_was_not_measured_has_no_row_and_is_named() -> None:
    session = Session("NVIDIA H200", "2.13.0", "2026-12-01", left_out=["fp8 at 720p"], gemm_tflops=700.0)
    session.sizes = {"480p": measured(none=4.0)}
    lines = table(session, Bench(dry=False)).splitlines()
    assert [line.split(" | ")[2] for line in lines if line.startswith("| 480p")] == ["none"]
    assert "| 1.67 | 72.5 | 222 s |" in next(line for line in lines if "| none |" in line)
    assert any("Time was up before: fp8 at 720p." in line for line in lines)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch's own, while it traces
@pytest.mark.usefixtures("one_thread")
@pytest.mark.timeout(900)
def test_the_dry_run_loads_plans_compiles_measures_every_row_and_makes_a_clip() -> None:
    torch.compiler.reset()
    try:
        session = bench.run_one("measure", dry=True)
        again = bench.run_one("load", dry=True)
    finally:
        torch.compiler.reset()
    kept = Session(**json.loads(json.dumps(asdict(session))))
    kept.reload_s = again.load_s
    said = table(kept, DRY)
    for resolution in ("480p", "720p"):
        rows = [line.split(" | ")[2] for line in said.splitlines() if line.startswith(f"| {resolution}")]
        missing = {"fp8"} if has_cache_dit() else {"fp8", "skipped by cache-dit"}
        assert rows == [row.title for row in ROWS if not {row.forward, row.skipped} & missing]
        found = session.sizes[resolution]["forwards"]
        assert all(figure["seconds"] > 0 for figure in found.values())
    assert session.plan == "bf16 experts, all on the card" and not session.left_out
    assert session.turbo_s > 0 and "Blocks compiled" in said and "Loaded again" in said
