"""Sizes are the endpoint's, multiples of 16, and nothing is stretched."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from wan_core.geometry import MULTIPLE, Size, crop_box, fit, frame_size, rendered_size
from wan_core.schema import AspectRatio, Resolution

LANDSCAPE: dict[Resolution, tuple[int, int]] = {"480p": (832, 480), "580p": (1024, 576), "720p": (1280, 720)}
SQUARE: dict[Resolution, int] = {"480p": 624, "580p": 768, "720p": 960}
sizes = st.builds(Size, st.integers(16, 10_000), st.integers(16, 10_000))
resolutions = st.sampled_from(list(LANDSCAPE))


@pytest.mark.parametrize("resolution", LANDSCAPE)
def test_named_ratios_have_the_endpoints_sizes(resolution: Resolution) -> None:
    portrait_photo = Size(600, 900)
    assert frame_size(resolution, "16:9", portrait_photo) == Size(*LANDSCAPE[resolution])
    assert frame_size(resolution, "9:16", portrait_photo) == Size(*LANDSCAPE[resolution][::-1])
    assert frame_size(resolution, "1:1", portrait_photo) == Size(SQUARE[resolution], SQUARE[resolution])


@pytest.mark.parametrize(
    ("picture", "ratio"),
    [((1920, 1080), "16:9"), ((1000, 549), "16:9"), ((1080, 1920), "9:16"), ((1000, 1029), "1:1"), ((500, 500), "1:1")],
)
@pytest.mark.parametrize("resolution", LANDSCAPE)
def test_auto_takes_a_named_ratio_that_is_within_three_percent(
    picture: tuple[int, int], ratio: AspectRatio, resolution: Resolution
) -> None:
    assert frame_size(resolution, "auto", Size(*picture)) == frame_size(resolution, ratio, Size(*picture))


def test_a_portrait_photo_with_aspect_auto_gives_a_portrait_video() -> None:
    assert frame_size("480p", "auto", Size(3000, 4000)) == Size(544, 736)


def test_auto_clamps_a_panorama_to_21_by_9() -> None:
    assert frame_size("480p", "auto", Size(8000, 1000)) == frame_size("480p", "auto", Size(2100, 900))


@given(resolutions, sizes)
def test_auto_keeps_the_resolutions_area_and_the_pictures_ratio(resolution: Resolution, picture: Size) -> None:
    size = frame_size(resolution, "auto", picture)
    area = LANDSCAPE[resolution][0] * LANDSCAPE[resolution][1]
    ratio = min(max(picture.width / picture.height, 9 / 21), 21 / 9)
    assert size.width % MULTIPLE == size.height % MULTIPLE == 0
    assert abs(size.pixels / area - 1) < 0.07
    assert abs(size.width / size.height / ratio - 1) < 0.08


@given(sizes, sizes)
def test_the_crop_is_central_as_large_as_possible_and_has_the_targets_ratio(picture: Size, target: Size) -> None:
    box = crop_box(picture, target)
    width, height = box.right - box.left, box.bottom - box.top
    assert width / height == pytest.approx(target.width / target.height)
    assert width == pytest.approx(picture.width) or height == pytest.approx(picture.height)
    assert box.left + box.right == pytest.approx(picture.width)
    assert box.top + box.bottom == pytest.approx(picture.height)


def test_a_circle_stays_a_circle_whatever_is_cropped() -> None:
    y, x = np.mgrid[:400, :900]
    disc = (np.hypot(x - 449.5, y - 199.5) < 100).astype(np.uint8)[..., None].repeat(3, 2) * 255
    seen = np.asarray(fit(Image.fromarray(disc), Size(480, 832)))[..., 0] > 127
    across, down = seen.any(0).sum(), seen.any(1).sum()
    assert abs(across - down) <= 2


@given(resolutions, sizes, st.sampled_from([1, 4]))
def test_a_rendering_is_at_least_a_fraction_of_the_size_in_multiples_of_16(
    resolution: Resolution, picture: Size, divisor: int
) -> None:
    target = frame_size(resolution, "auto", picture)
    small = rendered_size(target, divisor)
    for side, whole in ((small.width, target.width), (small.height, target.height)):
        assert side % MULTIPLE == 0 and whole / divisor <= side < whole / divisor + MULTIPLE


def test_the_miniature_renders_a_quarter_as_the_design_says() -> None:
    assert [rendered_size(Size(*size), 4) for size in ((832, 480), (1280, 720), (624, 624))] == [
        Size(208, 128),
        Size(320, 192),
        Size(160, 160),
    ]
