"""Frame interpolation; torch loads when a network runs.

Each interpolator is a module here, named by the request, that implements `Declaration` (see `rife.py`).
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from itertools import chain, pairwise
from pathlib import Path
from typing import Protocol, cast

from wan_core.frames import Frame
from wan_core.hub import Hub, Notes, Pin, Unavailable, fetch, find_cached
from wan_core.interpolation._cuts import is_cut
from wan_core.interpolation._pairs import Interpolator, Pair

__all__ = [
    "Declaration",
    "Frame",
    "InterpolationPlan",
    "Interpolator",
    "expected_interpolator",
    "find_declaration",
    "insert_frames",
    "is_cut",
    "iter_interpolated",
    "plan_interpolation",
    "seconds_per_pixel",
]


WITHOUT_CARD = {"film": "rife"}
"""For models that take seconds a frame on a CPU."""


class Declaration(Protocol):
    """Importing such a module loads no torch."""

    TITLE: str
    WEIGHTS: Pin | None
    """One file; None: runs on the CPU, outside of any GPU call."""
    SECONDS_PER_PIXEL: Mapping[str, float]
    """Per new frame, sides padded to 64; by "cpu" and "cuda" (optional without weights)."""

    def load(self, weights: Path | None, device: str | None) -> Interpolator:
        """`device`: torch's name; None: the card, if any."""
        ...


@dataclass(frozen=True)
class InterpolationPlan:
    """`used`: "none", "fallback" or a model. `note`: why it is not the requested one."""

    used: str
    note: str = ""
    weights: Path | None = None

    @property
    def is_network(self) -> bool:
        return self.weights is not None

    @property
    def is_cpu_work(self) -> bool:
        return self.used != "none" and not self.is_network


def _ignore(done: int) -> None:
    """Do nothing."""


def find_declaration(model: str) -> Declaration:
    return cast(Declaration, import_module(f"{__name__}.{model}"))


def seconds_per_pixel(model: str, device: str) -> float:
    """Of a new frame, sides padded to 64. `device`: "cpu" or "cuda"."""
    if model == "none":
        return 0.0
    seconds = find_declaration(model).SECONDS_PER_PIXEL
    return seconds.get(device, seconds["cpu"])


def expected_interpolator(model: str, *, has_card: bool, any_runs: bool, hub: Hub | None = None) -> str:
    """As `plan_interpolation`, without a download."""
    if model == "none" or has_card:
        return model
    used = model if any_runs else WITHOUT_CARD.get(model, model)
    pin = find_declaration(used).WEIGHTS
    return used if pin is None or find_cached(pin, hub) else "fallback"


def plan_interpolation(
    model: str, count: int, folder: Path, hub: Hub | None = None, *, any_runs: bool = True
) -> InterpolationPlan:
    """Downloads missing weights; without them the fallback runs. `any_runs`: slow models too. `folder` keeps failures
    and checksums.
    """
    if model == "none" or count == 0:
        return InterpolationPlan("none")
    used = model if any_runs else WITHOUT_CARD.get(model, model)
    found = find_declaration(used)
    if found.WEIGHTS is None:
        return InterpolationPlan(used)
    (file,) = found.WEIGHTS.files
    slow = f"{find_declaration(model).TITLE} takes seconds a frame without a CUDA card" if used != model else ""
    try:
        weights = fetch(found.WEIGHTS, notes=Notes(folder / used), hub=hub) / file
        return InterpolationPlan(used, f"{slow}: {found.TITLE} makes the frames between." if slow else "", weights)
    except Unavailable as error:
        missing = f"{found.TITLE}'s weights could not be downloaded ({error})"
        reason = f"{slow}, and {missing}" if slow else missing
        return InterpolationPlan("fallback", f"{reason}: optical flow makes the frames between.")


def iter_interpolated(
    frames: Iterable[Frame],
    count: int,
    interpolation: InterpolationPlan,
    device: str | None = None,
    on_pair: Callable[[int], None] = _ignore,
) -> Iterator[Frame]:
    """See `insert_frames` and `Declaration.load`."""
    if interpolation.used == "none":
        return iter(frames)
    interpolate = find_declaration(interpolation.used).load(interpolation.weights, device)
    return insert_frames(frames, count, interpolate, on_pair)


def insert_frames(
    frames: Iterable[Frame], count: int, interpolate: Interpolator, on_pair: Callable[[int], None] = _ignore
) -> Iterator[Frame]:
    """T frames, uint8 (H, W, 3) → T + (T - 1)·count, lazily; originals come out unchanged at k·(count + 1).

    At a cut the nearer original is repeated. `on_pair(done)` may raise.
    """
    source = iter(frames)
    if count == 0:
        yield from source
        return
    first = next(source, None)
    if first is None:
        return
    yield first
    filled = _iter_filled(pairwise(chain([first], source)), count, interpolate)
    for done, (new, right) in enumerate(filled, 1):
        yield from new
        yield right
        on_pair(done)


def _iter_filled(pairs: Iterator[Pair], count: int, interpolate: Interpolator) -> Iterator[tuple[list[Frame], Frame]]:
    """New frames and right frame of each pair; starts anew after a cut."""
    waiting: deque[Pair] = deque()
    cuts: list[Pair] = []

    def shot() -> Iterator[Pair]:
        for pair in pairs:
            if is_cut(*pair):
                cuts.append(pair)
                return
            waiting.append(pair)
            yield pair

    while True:
        for new in interpolate(shot(), count):
            yield new, waiting.popleft()[1]
        if not cuts:
            return
        left, right = cuts.pop()
        yield [right if 2 * number > count + 1 else left for number in range(1, count + 1)], right
