"""What holds for every interpolator: this file finds each public module of the room by itself."""

from collections.abc import Callable, Iterator
from importlib import import_module
from itertools import count as numbers
from itertools import pairwise
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

import wan_core.interpolation as room
from wan_core.interpolation import Interpolator, find_declaration, insert_frames, seconds_per_pixel
from wan_core.schema import InterpolatorModel

pytestmark = pytest.mark.usefixtures("one_thread")

Frame = NDArray[np.uint8]
NAMES = sorted(path.stem for path in Path(room.__path__[0]).glob("[!_]*.py"))


@pytest.fixture(scope="module")
def interpolators(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Interpolator]:
    """Every module's interpolator, with random weights where it needs any."""

    def of(name: str) -> Interpolator:
        module = import_module(f"wan_core.interpolation.{name}")
        if getattr(module, "WEIGHTS", None) is None:
            return module.load(None, "cpu")  # type: ignore[no-any-return]
        weights = tmp_path_factory.getbasetemp() / f"{name}.safetensors"
        if not weights.exists():
            torch.manual_seed(0)
            save_file(import_module(f"wan_core.interpolation._{name}_network").network().state_dict(), weights)
        return module.load(weights, "cpu")  # type: ignore[no-any-return]

    return of


@pytest.fixture(params=[pytest.param(name, marks=pytest.mark.slow) if name == "film" else name for name in NAMES])
def interpolate(request: pytest.FixtureRequest, interpolators: Callable[[str], Interpolator]) -> Interpolator:
    return interpolators(request.param)


def test_the_room_has_its_three_interpolators() -> None:
    assert {"film", "rife", "fallback"} <= set(NAMES)


def test_every_word_of_the_schema_is_declared() -> None:
    for word in set(get_args(InterpolatorModel)) - {"none"}:
        declared = find_declaration(word)
        assert declared.TITLE and all(seconds > 0 for seconds in declared.SECONDS_PER_PIXEL.values())
        assert seconds_per_pixel(word, "cpu") == declared.SECONDS_PER_PIXEL["cpu"]


def test_what_is_downloaded_is_one_safetensors_file_at_a_commit() -> None:
    for pin in [find_declaration(name).WEIGHTS for name in NAMES if name != "fallback"]:
        if pin is not None:
            (file,) = pin.files
            assert len(pin.revision or "") == 40 and file.endswith(".safetensors"), "no pickle"
            assert pin.bytes[file] > 0 and len(pin.sha256[file] or "0" * 64) == 64


def test_no_new_frames_take_no_time() -> None:
    assert seconds_per_pixel("none", "cpu") == seconds_per_pixel("none", "cuda") == 0


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4])
def test_count_order_and_originals(
    interpolate: Interpolator, count: int, random_frames: Callable[..., list[Frame]]
) -> None:
    frames = random_frames(2)
    film = list(insert_frames(frames, count, interpolate))
    assert len(film) == 2 + count
    assert film[0] is frames[0] and film[-1] is frames[1]
    for frame in film:
        assert (frame.dtype, frame.shape) == (np.uint8, frames[0].shape)


@pytest.mark.parametrize("size", [(37, 51), (64, 33), (20, 24)])
def test_any_size_comes_out_as_it_went_in_and_the_same_twice(
    interpolate: Interpolator, size: tuple[int, int], random_frames: Callable[..., list[Frame]]
) -> None:
    frames = random_frames(2, size)
    (first,), (second,) = (list(interpolate(pairwise(frames), 1)) for _ in range(2))
    assert first[0].shape == (*size, 3)
    assert (first[0] == second[0]).all()


def test_it_looks_a_few_pairs_ahead_and_never_at_the_whole_clip(
    interpolate: Interpolator, random_frames: Callable[..., list[Frame]]
) -> None:
    taken: list[int] = []
    still = random_frames(1)[0]

    def endless() -> Iterator[tuple[Frame, Frame]]:
        for number in numbers():
            taken.append(number)
            yield still, still

    next(iter(interpolate(endless(), 1)))
    assert len(taken) <= 10


def test_no_pairs_give_no_frames(interpolate: Interpolator) -> None:
    assert list(interpolate([], 3)) == []


def test_it_takes_read_only_frames_of_a_mapped_file(
    interpolate: Interpolator, tmp_path: Path, random_frames: Callable[..., list[Frame]]
) -> None:
    np.save(tmp_path / "frames.npy", np.stack(random_frames(2)))
    mapped = iter(np.load(tmp_path / "frames.npy", mmap_mode="r"))
    assert len(list(insert_frames(mapped, 1, interpolate))) == 3
