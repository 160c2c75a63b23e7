"""What a sweep takes, in one line, and what would fit where it is too much."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from wan_core import geometry, pricing
from wan_core.estimator import Estimate, Estimator, quota_of
from wan_core.events import Where
from wan_core.explore.cells import Plan
from wan_core.explore.definition import AxisText, Definition
from wan_core.explore.values import write
from wan_core.geometry import Size
from wan_core.profiles import pool_of, profiles
from wan_core.settings import Settings

FAL_CELLS = 9
LOOPBACK_CELLS = 36
OPEN_CELLS = 9


@dataclass(frozen=True)
class Cost:
    """Of the cells that are made. `sampled`: those that need the model; the others reuse frames."""

    cells: int
    sampled: int
    seconds: float
    dollars: float
    quota_s: float | None = None

    @property
    def is_on_fal(self) -> bool:
        return self.dollars > 0


def most_cells(settings: Settings, where: Where, engine: str) -> int:
    """`WAN_SWEEP_CELLS`, at most nine on fal."""
    own = settings.sweep_cells or (LOOPBACK_CELLS if settings.listens_on_loopback else OPEN_CELLS)
    return min(own, FAL_CELLS) if pool_of(where, engine) == "fal" else own


def cost(plan: Plan, picture: Size, estimator: Estimator, where: Where, at_once: int = 1) -> Cost:
    """`picture`: for clips that follow its ratio. `at_once`: how many cells are made at the same time."""
    seconds = longest = dollars = 0.0
    sampled = 0
    on_the_card: list[Estimate] = []
    for cell in plan.made:
        assert cell.inputs is not None
        if pool_of(where, cell.engine) == "fal":
            dollars, sampled = dollars + pricing.dollars_on_fal(cell.inputs), sampled + 1
            continue
        size = geometry.frame_size(cell.inputs.resolution, cell.inputs.aspect_ratio, picture)
        expected = estimator.estimate(cell.inputs, size, profiles()[cell.engine])
        finishing = expected.stages["interpolating"] + expected.stages["encoding"]
        own = expected.seconds if cell.reuses is None else finishing
        seconds, longest = seconds + own, max(longest, own)
        if cell.reuses is None:
            sampled += 1
            on_the_card.append(expected)
    return Cost(len(plan.made), sampled, max(longest, seconds / at_once), dollars, quota_of(on_the_card))


def line(plan: Plan, spent: Cost, duration: Callable[[float], str], say: Callable[..., str] = str.format) -> str:
    """`4 × 3 = 12 clips · about 50 s here`. `say` fills in the places of a sentence."""
    lengths = [length for length in plan.shape.lengths if length > 1] or [1]
    product = " × ".join(map(str, lengths))
    clips = say("1 clip") if spent.cells == 1 else say("{n} clips", n=spent.cells)
    words = [clips]
    if plan.shape.cells != spent.cells:
        words = [say("{product} = {n} cells, {clips} to make", product=product, n=plan.shape.cells, clips=clips)]
    elif len(lengths) > 1:
        words = [f"{product} = {clips}"]
    if spent.dollars:
        each = spent.dollars / max(1, spent.cells)
        prices = {"each": f"{each:.2f}", "sum": f"{spent.dollars:.2f}"}
        words.append(say("{n} × ${each} = ${sum} on fal", n=spent.cells, **prices))
    if spent.seconds:
        words.append(say("about {time} here", time=duration(spent.seconds)))
    if spent.quota_s is not None:
        words.append(say("about {seconds} s of your ZeroGPU quota", seconds=f"{spent.quota_s:.0f}"))
    if spent.sampled == 0 and spent.cells:
        words.append(say("no sampling"))
    elif spent.sampled < spent.cells:
        words.append(say("{n} of them without sampling", n=spent.cells - spent.sampled))
    return " · ".join(words)


def fewer_cells(definition: Definition, plan: Plan, most: int) -> Definition:
    """Thins the longest axes until `most` cells are left; their ends stay."""
    values = [list(axis.values) for axis in plan.axes]
    while _product(values) > most:
        longest = max(values, key=len)
        if len(longest) == 1:
            break
        del longest[len(longest) // 2 if len(longest) > 2 else 1]
    texts = [
        AxisText(axis.knob.name, write([value.typed for value in kept], lines=axis.knob.kind == "lines"))
        for axis, kept in zip(plan.axes, values, strict=True)
    ]
    return replace(definition, axes=tuple(texts))


def _product(values: Sequence[Sequence[object]]) -> int:
    result = 1
    for each in values:
        result *= len(each)
    return result
