"""New frames between the old ones. Importing this loads no torch; `interpolated` does when a network runs.

`choose` says before the first frame which interpolator will run and, if it is not the one asked for, why in one
sentence. `interpolated` runs it, lazily and frame by frame. film, rife and fallback are siblings: a module here with
`interpolator(weights, device) -> Interpolate` and, if it has weights, `network()` and a row in `_weights.PUBLISHED`.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from itertools import chain, pairwise
from pathlib import Path
from typing import Literal, cast

from wan_core.interpolation._cuts import is_cut
from wan_core.interpolation._pairs import Frame, Interpolate, Pair
from wan_core.interpolation._weights import PUBLISHED, Hub, Shelf, obtain
from wan_core.schema import InterpolatorModel
from wan_core.weights import Unavailable

__all__ = ["Frame", "Interpolate", "Interpolation", "choose", "insert_frames", "interpolated", "is_cut"]

Used = Literal["none", "film", "rife", "fallback"]


@dataclass(frozen=True)
class Interpolation:
    """What will run between the frames; where it is not what was asked, `note` is the sentence for page and result."""

    used: Used
    note: str = ""
    weights: Path | None = None

    @property
    def is_network(self) -> bool:
        """Whether it runs on the card; the fallback is the CPU's work, outside any GPU call."""
        return self.weights is not None


def _unheard(done: int) -> None:
    """Nobody wants to know."""


def choose(model: InterpolatorModel, count: int, folder: Path, shelf: Shelf | None = None) -> Interpolation:
    """What serves `model` with `count` new frames here and now; downloads weights that are missing (no torch).

    `folder` keeps failures and checksums. Weights that are there are used, on a CPU too; where they cannot be had the
    fallback delivers the clip. Without new frames nothing runs.
    """
    if model == "none" or count == 0:
        return Interpolation("none")
    try:
        return Interpolation(model, weights=obtain(model, folder, shelf or Hub()))
    except Unavailable as error:
        missing = f"{PUBLISHED[model].title}'s weights could not be downloaded ({error})"
        return Interpolation("fallback", f"{missing}: optical flow makes the frames between.")


def interpolated(
    frames: Iterable[Frame],
    count: int,
    interpolation: Interpolation,
    device: str | None = None,
    on_pair: Callable[[int], None] = _unheard,
) -> Iterator[Frame]:
    """`frames` with `count` new ones between each pair, by what `choose` chose; see `insert_frames`.

    `device` is torch's name; without one a network takes the CUDA card if there is one.
    """
    if interpolation.used == "none":
        return iter(frames)
    module = import_module(f"{__name__}.{interpolation.used}")
    interpolate = cast(Interpolate, module.interpolator(interpolation.weights, device))
    return insert_frames(frames, count, interpolate, on_pair)


def insert_frames(
    frames: Iterable[Frame], count: int, interpolate: Interpolate, on_pair: Callable[[int], None] = _unheard
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
    filled = _filled(pairwise(chain([first], source)), count, interpolate)
    for done, (new, right) in enumerate(filled, 1):
        yield from new
        yield right
        on_pair(done)


def _filled(pairs: Iterator[Pair], count: int, interpolate: Interpolate) -> Iterator[tuple[list[Frame], Frame]]:
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
