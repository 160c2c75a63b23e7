"""Grids as files: real small clips of one colour each, found again at their places."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from wan_core import encoding
from wan_core.explore.exports import LARGEST, MOMENTS, Exported, contact_sheet, frames_of_clip, grid_video
from wan_core.geometry import Size

SIZE = Size(96, 64)
TITLES, LABELS = ["Shift", "Seed"], [["2", "5"], ["1", "2"]]
COLOURS = {(0, 0): (200, 30, 30), (1, 0): (30, 200, 30), (0, 1): (30, 30, 200), (1, 1): (200, 200, 30)}


def clip(folder: Path, place: tuple[int, int], frames: int, fps: int) -> Exported:
    """The last frame is white."""
    path = folder / f"{place[0]}{place[1]}.mp4"
    drawn = np.full((frames, SIZE.height, SIZE.width, 3), COLOURS[place], np.uint8)
    drawn[-1] = 255
    encoding.encode(drawn, path, size=SIZE, fps=fps, quality="maximum", write_mode="fast")
    return Exported((*place, 0), path, SIZE, fps, frames)


@pytest.fixture(scope="module")
def cells(tmp_path_factory: pytest.TempPathFactory) -> list[Exported]:
    """The first lasts half a second, the others one; the last has the double rate."""
    lengths = {(0, 0): (8, 16), (1, 0): (16, 16), (0, 1): (16, 16), (1, 1): (32, 32)}
    folder = tmp_path_factory.mktemp("cells")
    return [clip(folder, place, *length) for place, length in lengths.items()]


def test_the_grid_video_has_every_clip_at_its_place_in_step(cells: list[Exported], tmp_path: Path) -> None:
    target = tmp_path / "grid.mp4"
    grid_video(cells, TITLES, LABELS, target)
    found = encoding.probe(target)
    assert (found.frames, found.fps) == (32, 32)
    assert found.size.width <= LARGEST.width and found.size.height <= LARGEST.height
    frames = list(frames_of_clip(target, found.size))

    def colour(number: int, place: tuple[int, int]) -> tuple[int, ...]:
        width, height = SIZE.width + 4, SIZE.height + 4
        left, top = found.size.width - 2 * width, found.size.height - 2 * height
        x, y = left + place[0] * width + SIZE.width // 2, top + place[1] * height + SIZE.height // 2
        return tuple(int(value) for value in frames[number][y, x])

    for place, expected in COLOURS.items():
        assert np.allclose(colour(4, place), expected, atol=12), place
    assert np.allclose(colour(20, (0, 0)), 255, atol=12), "the shorter clip holds its last frame"
    assert np.allclose(colour(20, (1, 1)), COLOURS[1, 1], atol=12)


def test_labels_are_drawn(cells: list[Exported], tmp_path: Path) -> None:
    bare, labelled = tmp_path / "bare.png", tmp_path / "labelled.png"
    contact_sheet(cells, ["", ""], [["", ""], ["", ""]], bare)
    contact_sheet(cells, TITLES, LABELS, labelled)
    with Image.open(bare) as one, Image.open(labelled) as other:
        assert one.size == other.size and (np.asarray(one) != np.asarray(other)).any()


def test_the_contact_sheet_shows_moments_of_each_clip(cells: list[Exported], tmp_path: Path) -> None:
    target = tmp_path / "sheet.png"
    contact_sheet(cells[:1], ["Shift"], [["2"]], target)
    with Image.open(target) as sheet:
        row = np.asarray(sheet.convert("RGB"))[sheet.height - 20, 8:]
    white = (row > 240).all(axis=1).mean()
    assert abs(white - 1 / MOMENTS) < 0.1, "only the last moment is white"


@pytest.mark.parametrize("shape", [(6, 6), (1, 9), (12, 1)])
def test_any_grid_fits_a_screen(shape: tuple[int, int], cells: list[Exported], tmp_path: Path) -> None:
    ends = sorted({(0, 0, 0), (shape[0] - 1, shape[1] - 1, 0)})
    spread = [Exported(place, cells[0].clip, Size(1280, 720), 16, 8) for place in ends]
    target = tmp_path / "grid.mp4"
    labels = [[str(number) for number in range(length)] for length in shape]
    grid_video(spread, TITLES, labels, target)
    size = encoding.probe(target).size
    assert size.width <= LARGEST.width and size.height <= LARGEST.height
