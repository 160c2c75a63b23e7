"""Frames, pairs and runs: the words that every interpolator shares. No torch, no disk.

An interpolator takes an iterator of pairs and gives, in their order, a list of new frames for each. It may look a
bounded number of pairs ahead, never the whole clip. Neighbouring pairs hold the very same frame object in common, so
what was computed for it (features) can be used twice.
"""

from collections.abc import Callable, Iterable, Iterator

from wan_core.frames import Frame

Pair = tuple[Frame, Frame]

Interpolator = Callable[[Iterable[Pair], int], Iterator[list[Frame]]]
"""(pairs, count) → for each pair `count` frames at the times i/(count+1), each of the pair's shape."""


def group_pairs(pairs: Iterable[Pair], at_most: int) -> Iterator[list[Frame]]:
    """Pairs that follow each other as one list of frames: (a, b), (b, c), (d, e) → [a, b, c], [d, e].

    A run has at most `at_most` pairs, hence `at_most + 1` frames.
    """
    run: list[Frame] = []
    for left, right in pairs:
        if run and (run[-1] is not left or len(run) > at_most):
            yield run
            run = []
        run = [*run, right] if run else [left, right]
    if run:
        yield run
