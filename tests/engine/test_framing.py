"""The picture as the engine sees it, against the crop promised on the page."""

import numpy as np
import pytest
from PIL import Image

from wan_core import geometry
from wan_core.engine.framing import frame_picture
from wan_core.geometry import Size


def gradient(size: Size) -> Image.Image:
    """Red grows to the right and green downwards, so a pixel's colour tells where it came from."""
    across = np.linspace(0, 255, size.width)[None, :].repeat(size.height, 0)
    down = np.linspace(0, 255, size.height)[:, None].repeat(size.width, 1)
    return Image.fromarray(np.stack([across, down, np.zeros_like(across)], -1).round().astype(np.uint8))


@pytest.mark.parametrize("picture", [Size(800, 600), Size(300, 900), Size(832, 480)], ids=str)
def test_at_full_size_it_is_the_plain_resize_and_crop(picture: Size) -> None:
    size = Size(832, 480)
    assert np.array_equal(
        np.asarray(frame_picture(gradient(picture), size, size)), np.asarray(geometry.fit(gradient(picture), size))
    )


@pytest.mark.parametrize("promised", [Size(832, 480), Size(1280, 720), Size(624, 624), Size(480, 832)], ids=str)
@pytest.mark.parametrize("picture", [Size(1600, 900), Size(900, 1600), Size(1000, 1000)], ids=str)
def test_rendered_smaller_its_central_crop_is_the_promised_one(picture: Size, promised: Size) -> None:
    rendered = geometry.rendered_size(promised, 4)
    seen = frame_picture(gradient(picture), promised, rendered)
    kept = geometry.crop_box(rendered, promised)
    inner = seen.crop((round(kept.left), round(kept.top), round(kept.right), round(kept.bottom)))
    oracle = geometry.fit(gradient(picture), promised).resize(inner.size, Image.Resampling.LANCZOS)
    assert seen.size == (rendered.width, rendered.height)
    assert abs(np.asarray(inner).astype(int) - np.asarray(oracle)).max() <= 4


def test_the_excess_shows_the_picture_where_there_is_more_of_it_and_its_edge_where_not() -> None:
    landscape = gradient(Size(832, 480))
    seen = np.asarray(frame_picture(landscape, Size(832, 480), Size(208, 128))).astype(int)
    assert np.array_equal(seen[0], seen[2])
    tall = gradient(Size(832, 1600))
    seen = np.asarray(frame_picture(tall, Size(832, 480), Size(208, 128))).astype(int)
    assert (seen[0, :, 1] < seen[3, :, 1]).all()
