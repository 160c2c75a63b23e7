"""New frames between the old ones. Importing this loads no torch; `iter_interpolated` does when a network runs.

`plan_interpolation` says before the first frame which interpolator will run and, if it is not the one asked for, why in
one sentence. `iter_interpolated` runs it, lazily and frame by frame. An interpolator is a module here that a request
names by its word and that declares what `Declaration` says; `rife.py` is an example. `fallback` has only `load`.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from itertools import chain, pairwise
from pathlib import Path
from typing import Protocol, cast

from wan_core.frames import Frame
from wan_core.hub import Hub, Notes, Pin, Unavailable, fetch
from wan_core.interpolation._cuts import is_cut
from wan_core.interpolation._pairs import Interpolator, Pair

__all__ = [
    "Declaration",
    "Frame",
    "InterpolationPlan",
    "Interpolator",
    "find_declaration",
    "insert_frames",
    "is_cut",
    "iter_interpolated",
    "plan_interpolation",
    "seconds_per_pixel",
]


class Declaration(Protocol):
    """What a module of this room declares at its top; importing it loads no torch."""

    TITLE: str
    WEIGHTS: Pin | None
    """One file; None: it runs without any, on the CPU and outside of any GPU call."""
    SECONDS_PER_PIXEL: Mapping[str, float]
    """Of each new frame, sides padded to 64; by "cpu" and "cuda", which may be left out where there are no weights."""

    def load(self, weights: Path | None, device: str | None) -> Interpolator:
        """Ready to run on `device` (torch's name; None: the CUDA card if there is one)."""
        ...


@dataclass(frozen=True)
class InterpolationPlan:
    """What will run between the frames: "none", "fallback" or the word that was asked for.

    Where it is not what was asked, `note` is the sentence for page and result.
    """

    used: str
    note: str = ""
    weights: Path | None = None

    @property
    def is_network(self) -> bool:
        """Whether it runs on the card, beside the model."""
        return self.weights is not None

    @property
    def is_cpu_work(self) -> bool:
        """Whether it runs on the CPU, after the model and outside of any GPU call."""
        return self.used != "none" and not self.is_network


def _ignore(done: int) -> None:
    """Nobody wants to know."""


def find_declaration(model: str) -> Declaration:
    """The module of this room that the request's word `model` names."""
    return cast(Declaration, import_module(f"{__name__}.{model}"))


def seconds_per_pixel(model: str, device: str) -> float:
    """Seconds for a pixel of each new frame, sides padded to 64; loading left out. `device`: "cpu" or "cuda"."""
    if model == "none":
        return 0.0
    seconds = find_declaration(model).SECONDS_PER_PIXEL
    return seconds.get(device, seconds["cpu"])


def plan_interpolation(model: str, count: int, folder: Path, hub: Hub | None = None) -> InterpolationPlan:
    """What serves `model` with `count` new frames here and now; downloads weights that are missing (no torch).

    `folder` keeps failures and checksums. Weights that are there are used, on a CPU too; where they cannot be had the
    fallback delivers the clip. Without new frames nothing runs.
    """
    if model == "none" or count == 0:
        return InterpolationPlan("none")
    found = find_declaration(model)
    if found.WEIGHTS is None:
        return InterpolationPlan(model)
    (file,) = found.WEIGHTS.files
    try:
        return InterpolationPlan(model, weights=fetch(found.WEIGHTS, notes=Notes(folder / model), hub=hub) / file)
    except Unavailable as error:
        missing = f"{found.TITLE}'s weights could not be downloaded ({error})"
        return InterpolationPlan("fallback", f"{missing}: optical flow makes the frames between.")


def iter_interpolated(
    frames: Iterable[Frame],
    count: int,
    interpolation: InterpolationPlan,
    device: str | None = None,
    on_pair: Callable[[int], None] = _ignore,
) -> Iterator[Frame]:
    """`frames` with `count` new ones between each pair, as planned; see `insert_frames`.

    `device` is torch's name; without one a network takes the CUDA card if there is one.
    """
    if interpolation.used == "none":
        return iter(frames)
    interpolate = find_declaration(interpolation.used).load(interpolation.weights, device)
    return insert_frames(frames, count, interpolate, on_pair)


def insert_frames(
    frames: Iterable[Frame], count: int, interpolate: Interpolator, on_pair: Callable[[int], None] = _ignore
) -> Iterator[Frame]:
    """T frames, uint8 (H, W, 3) → T + (T - 1)·count, one by one; the originals come out untouched at k·(count + 1).

    At a cut the nearer original is repeated instead. `on_pair(done)` hears of each finished pair; what it raises stops
    the work, as does closing the iterator. Only a few frames are held, whatever the clip's length.
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
    """For each pair what goes between, and its right frame. The interpolator is started once for each shot."""
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
