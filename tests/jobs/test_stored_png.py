"""A stored picture is a PNG that every reader understands, pixel by pixel the same."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.intake.pictures import gate, photo, pixels
from wan_core.jobs import stored_png
from wan_core.jobs.stored_png import write_png


@pytest.mark.parametrize("size", [(48, 32), (40, 256), (40, 257), (640, 513), (33, 17)])
def test_what_is_read_is_what_was_written(tmp_path: Path, size: tuple[int, int]) -> None:
    path, picture = tmp_path / "a.png", photo(640, 640).resize(size)
    write_png(picture, path)
    with Image.open(path) as read:
        read.verify()
    assert np.array_equal(pixels(Image.open(path).convert("RGB")), pixels(picture))
    assert np.array_equal(pixels(gate(path.read_bytes())), pixels(picture))


def test_a_large_picture_is_compressed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture = photo(640, 640)
    write_png(picture, tmp_path / "small.png")
    monkeypatch.setattr(stored_png, "MOST_PIXELS", 640 * 639)
    write_png(picture, tmp_path / "large.png")
    assert (tmp_path / "large.png").stat().st_size < (tmp_path / "small.png").stat().st_size / 1.5
    assert np.array_equal(pixels(Image.open(tmp_path / "large.png")), pixels(picture))
