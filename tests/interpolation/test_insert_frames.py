"""Order, count, laziness and cuts, with interpolators that are two lines long."""

import gc
import weakref
from collections.abc import Callable, Iterable, Iterator
from itertools import count as numbers
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from wan_core.errors import Cancelled
from wan_core.interpolation import InterpolationPlan, insert_frames, iter_interpolated
from wan_core.interpolation._pairs import Pair, group_pairs

Frame = NDArray[np.uint8]
SIZE = (32, 48)


def level(value: int) -> Frame:
    """A frame that carries a number and looks like its neighbours."""
    frame = np.full((*SIZE, 3), 100, np.uint8)
    frame[0, 0] = value % 251
    return frame


def mark(pairs: Iterable[Pair], count: int) -> Iterator[list[Frame]]:
    """New frames are black but for their number."""
    for left, _ in pairs:
        yield [np.full_like(left, number) for number in range(1, count + 1)]


def hungry(pairs: Iterable[Pair], count: int) -> Iterator[list[Frame]]:
    """Looks four pairs ahead, as networks do."""
    for run in group_pairs(pairs, 4):
        for left in run[:-1]:
            yield [left + 1] * count


def shot(number: int) -> Frame:
    """Red squares, then green ones where the red ones were not, then red ones again …"""
    parts = np.random.default_rng(0).random((4, 6, 1)) < 0.5
    squares = np.kron(parts ^ bool(number % 2), np.ones((8, 8, 1)))
    return (squares * ((30, 220, 90) if number % 2 else (250, 40, 40))).astype(np.uint8)


@given(st.integers(0, 12), st.integers(0, 4), st.sampled_from([mark, hungry]))
def test_t_frames_become_t_plus_t_minus_one_times_count_with_the_originals_in_place(
    frames: int, count: int, interpolate: Callable[[Iterable[Pair], int], Iterator[list[Frame]]]
) -> None:
    film = [level(number) for number in range(frames)]
    result = list(insert_frames(film, count, interpolate))
    assert len(result) == frames + max(0, frames - 1) * count
    assert all(ours is theirs for ours, theirs in zip(result[:: count + 1], film, strict=True))


def test_the_new_frames_stand_in_their_order_between_their_pair() -> None:
    result = list(insert_frames([level(0), level(1), level(2)], 3, mark))
    assert [int(frame[5, 5, 0]) for frame in result] == [100, 1, 2, 3, 100, 1, 2, 3, 100]


def test_progress_is_told_after_each_pair_and_what_it_raises_stops_the_work() -> None:
    told: list[int] = []
    list(insert_frames([level(number) for number in range(6)], 2, hungry, told.append))
    assert told == [1, 2, 3, 4, 5]

    def stop(done: int) -> None:
        if done == 2:
            raise Cancelled()

    given_out: list[Frame] = []
    with pytest.raises(Cancelled):
        given_out.extend(insert_frames((level(number) for number in numbers()), 1, mark, stop))


def test_an_endless_clip_is_interpolated_as_it_comes() -> None:
    taken: list[int] = []

    def endless() -> Iterator[Frame]:
        for number in numbers():
            taken.append(number)
            yield level(number)

    film = insert_frames(endless(), 1, hungry)
    for _ in range(41):
        next(film)
    assert len(taken) <= 20 + 1 + 5
    film.close()  # type: ignore[attr-defined]


@pytest.mark.parametrize("frames", [64, 401])
def test_401_frames_hold_no_more_memory_than_64(frames: int) -> None:
    alive: weakref.WeakSet[NDArray[np.uint8]] = weakref.WeakSet()
    most = 0

    class Watched(np.ndarray):  # type: ignore[type-arg]
        __hash__ = object.__hash__

    def film() -> Iterator[Frame]:
        for number in range(frames):
            frame = level(number).view(Watched)
            alive.add(frame)
            yield frame

    for _ in insert_frames(film(), 4, hungry):
        gc.collect(0)
        most = max(most, len(alive))
    assert most <= 8


@pytest.mark.parametrize(("count", "nearest"), [(1, "l"), (2, "lr"), (3, "llr"), (4, "llrr")])
def test_at_a_cut_the_nearer_original_is_repeated(count: int, nearest: str) -> None:
    left, right = shot(0), shot(1)
    film = list(insert_frames([left, left, right, right], count, mark))
    middle = film[count + 2 : 2 * count + 2]
    assert "".join("l" if frame is left else "r" for frame in middle) == nearest
    assert [int(frame.max()) for frame in film[1 : count + 1]] == list(range(1, count + 1)), "no cut, so interpolated"
    assert [int(frame.max()) for frame in film[-count - 1 : -1]] == list(range(1, count + 1))


def test_a_clip_of_nothing_but_cuts_streams_too() -> None:
    shots = [shot(number) for number in range(9)]
    film = list(insert_frames(iter(shots), 1, mark))
    assert len(film) == 17
    assert all(frame is shots[number // 2] for number, frame in enumerate(film))


@given(st.lists(st.booleans(), max_size=20), st.integers(1, 5))
def test_runs_join_pairs_that_follow_each_other_and_lose_none(joined: list[bool], at_most: int) -> None:
    pairs: list[Pair] = []
    for number, follows in enumerate(joined):
        left = pairs[-1][1] if pairs and follows else level(number)
        pairs.append((left, level(number + 1)))
    found = list(group_pairs(pairs, at_most))
    assert all(2 <= len(run) <= at_most + 1 for run in found)
    again = [pair for run in found for pair in pairwise(run)]
    assert [(id(left), id(right)) for left, right in again] == [(id(left), id(right)) for left, right in pairs]


def test_no_interpolator_passes_the_frames_through() -> None:
    film = [level(number) for number in range(3)]
    assert all(a is b for a, b in zip(iter_interpolated(film, 0, InterpolationPlan("none")), film, strict=True))
