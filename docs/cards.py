"""Print the tables of cards from the plan and workload code: `python docs/cards.py --write` puts them into place.

The README has the short one; `docs/cards.md` has each plan with the memory it takes while loading and afterwards.

Nothing here is measured: plans are `engine.memory`'s arithmetic, seconds the estimator's priors with the engine loaded.
Moving parts on and off a card is not counted, so the times of smaller cards are a lower bound.
"""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PLANS = ROOT / "docs" / "cards.md"
sys.path.insert(0, str(ROOT))

from wan_core import geometry  # noqa: E402  (the path must be set first)
from wan_core.endpoints import IMAGE_TO_VIDEO  # noqa: E402
from wan_core.engine import loading, memory  # noqa: E402
from wan_core.estimator import Estimator  # noqa: E402
from wan_core.geometry import LANDSCAPE  # noqa: E402
from wan_core.presets import presets  # noqa: E402
from wan_core.profiles import GIB, Machine, profiles  # noqa: E402
from wan_core.schema import Resolution  # noqa: E402
from wan_core.ui.progress import duration  # noqa: E402

BEGIN, END = "<!-- cards: begin -->\n", "<!-- cards: end -->\n"
CARDS = (
    ("RTX 4090", "NVIDIA GeForce RTX 4090", 24, 89),
    ("RTX 5090", "NVIDIA GeForce RTX 5090", 32, 120),
    ("L40S", "NVIDIA L40S", 48, 89),
    ("A100 80 GB", "NVIDIA A100-SXM4-80GB", 80, 80),
    ("H100 80 GB", "NVIDIA H100 80GB HBM3", 80, 90),
    ("RTX PRO 6000", "NVIDIA RTX PRO 6000 Blackwell", 96, 120),
    ("H200", "NVIDIA H200", 141, 90),
)
"""Title, the driver's name, GiB, compute capability × 10."""
MORE_CARDS = (("RTX 3090", "NVIDIA GeForce RTX 3090", 24, 86), ("A40", "NVIDIA A40", 48, 86))
PLANNED: tuple[tuple[Resolution, int], ...] = (("480p", 81), ("720p", 81), ("720p", 121))
PLANS_HEAD = """# How Wan 2.2 A14B lies on a card

Computed by `python docs/cards.py --write` from the memory plan, for `regular` with a step cache; no card has run it
yet.

- *On the card* is the peak of a clip; loading stays below it, because each part arrives as it will lie. Bold: more than
  the card has, so the clip is tried and, if it fails, refused.
- *Main memory* is that of the weights, and a container's limit counts: where bf16 experts do not fit pinned, they pass
  through the card from 64 GiB unpinned.
- ZeroGPU lends the RTX PRO 6000 and takes bf16 alone.
"""
OWN_USE_GIB = 0.6  # what the driver and a desktop take before anything is loaded
KINDS = (
    ("turbo", "turbo", "a14b-turbo"),
    ("turbo motion", "turbo_motion", "a14b-turbo-motion"),
    ("27 steps", "fal_defaults", "a14b"),
)
RESOLUTIONS: tuple[Resolution, ...] = ("480p", "720p")


def table() -> str:
    """One row a card: how the model lies on it at 480p / 720p, and what 81 frames take by each of its engines."""
    head = [f"{kind} {resolution}" for kind, *_ in KINDS for resolution in RESOLUTIONS]
    rows = [f"| card | plan at 480p / 720p | {' | '.join(head)} |", f"|---|---|{'---|' * len(head)}"]
    return "\n".join([*rows, *(_row(*card) for card in CARDS)]) + "\n"


def plan_tables() -> str:
    """`docs/cards.md`: nine cards, three sizes, with and without torchao."""
    parts = [PLANS_HEAD]
    for title, fp8 in (("With torchao", True), ("Without torchao", False)):
        rows = [
            f"## {title}",
            "",
            "| card | size | plan | on the card | main memory, loading | afterwards |",
            "|---" * 6 + "|",
        ]
        rows += [_plan_row(*card, *clip, fp8) for card in (*CARDS, *MORE_CARDS) for clip in PLANNED]
        parts.append("\n".join(rows) + "\n")
    return "\n".join(parts)


def _plan_row(title: str, name: str, gib: int, sm: int, resolution: Resolution, frames: int, fp8: bool) -> str:
    """As the app does it: the weights are those of the plan for the smallest clip, and stay."""
    free = int((gib - OWN_USE_GIB) * GIB)
    loaded = memory.plans(free, loading.FIRST_CLIP, memory.weights_for(sm, fp8))[0]
    clip = memory.Clip(LANDSCAPE[resolution], frames, cached=True)
    plan = memory.plans(free, clip, [loaded.weights], loaded=True)[0]
    peak = memory.peak_of(plan, clip)
    fits = f"{peak:.1f} of {free / GIB:.1f} GiB" if peak * GIB <= free else f"**{peak:.1f} of {free / GIB:.1f} GiB**"
    main = loaded.main_memory, plan.main_memory
    return (
        f"| {title} | {resolution}, {frames} frames | {plan.words} | {fits} | {main[0].loading:.0f} GiB | "
        f"{main[1].steady:.0f} GiB |"
    )


def with_table(readme: str) -> str:
    """`readme` with the table between its two marks renewed."""
    before, rest = readme.split(BEGIN)
    _, after = rest.split(END)
    return before + BEGIN + table() + END + after


def _row(title: str, name: str, gib: int, sm: int) -> str:
    machine = Machine(name, gib * GIB)
    free = int((gib - OWN_USE_GIB) * GIB)
    loaded = memory.plans(free, loading.FIRST_CLIP, memory.weights_for(sm, fp8=True))[0]
    clips = [memory.Clip(LANDSCAPE[resolution], 81, cached=True) for resolution in RESOLUTIONS]
    words = [memory.plans(free, clip, [loaded.weights], loaded=True)[0].words for clip in clips]
    plans = words[0] if words[0] == words[1] else " / ".join(words)
    times = [_seconds(machine, preset, engine, resolution) for _, preset, engine in KINDS for resolution in RESOLUTIONS]
    return f"| {title} | {plans} | {' | '.join(map(duration, times))} |"


def _seconds(machine: Machine, preset: str, engine: str, resolution: Resolution) -> float:
    values = presets()[preset].complete | {"resolution": resolution, "aspect_ratio": "16:9", "num_frames": 81}
    inputs = IMAGE_TO_VIDEO.parse(values | {"image_url": "any", "prompt": "any"})
    size = geometry.frame_size(resolution, "16:9", LANDSCAPE[resolution])
    return Estimator(machine).estimate(inputs, size, profiles()[engine]).seconds


if __name__ == "__main__":
    readme = ROOT / "README.md"
    if "--write" in sys.argv:
        readme.write_text(with_table(readme.read_text("utf-8")), "utf-8")
        PLANS.write_text(plan_tables(), "utf-8")
    else:
        sys.stdout.write(table() + "\n" + plan_tables())
