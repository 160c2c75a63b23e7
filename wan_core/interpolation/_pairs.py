"""Types that all interpolators share. No torch, no disk.

Neighbouring pairs share a frame object, so that its features can be reused.
"""

from collections.abc import Callable, Iterable, Iterator

from wan_core.frames import Frame

Pair = tuple[Frame, Frame]

Interpolator = Callable[[Iterable[Pair], int], Iterator[list[Frame]]]
"""(pairs, count) → per pair `count` frames at times i/(count+1). Looks a bounded number of pairs ahead."""


def group_pairs(pairs: Iterable[Pair], at_most: int) -> Iterator[list[Frame]]:
    """(a, b), (b, c), (d, e) → [a, b, c], [d, e]; at most `at_most` pairs each."""
    run: list[Frame] = []
    for left, right in pairs:
        if run and (run[-1] is not left or len(run) > at_most):
            yield run
            run = []
        run = [*run, right] if run else [left, right]
    if run:
        yield run
