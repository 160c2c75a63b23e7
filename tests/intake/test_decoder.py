"""What a picture looks like once it is through the gate, and which sizes come through."""

import zlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from tests.intake.corpus import exif
from tests.intake.pictures import (
    encoded,
    flat_png,
    gate,
    on_disk,
    photo,
    pixels,
    refusal,
    resized_header,
    swapped_profile,
    turned,
    with_chunk,
)
from wan_core.intake.decoder import PICTURE_LIMITS


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_comes_out_upright_whatever_its_exif_says(orientation: int) -> None:
    content = turned(photo(), orientation)
    with on_disk(content) as file:
        oracle = ImageOps.exif_transpose(Image.open(file))
    assert np.array_equal(pixels(gate(content)), pixels(oracle))


def test_what_comes_out_is_plain_rgb_without_metadata() -> None:
    content = turned(photo(), 6, "JPEG")
    picture = gate(content)
    assert (picture.mode, picture.size, picture.info) == ("RGB", (32, 48), {})
    assert not picture.getexif()


def test_a_damaged_exif_block_costs_the_turn_and_not_the_picture() -> None:
    content = turned(photo(), 6, "JPEG").replace(b"MM\x00*", b"MM\xff\xff").replace(b"II*\x00", b"II\xff\xff")
    assert gate(content).size == (48, 32)


@pytest.mark.parametrize(("format", "options"), [("PNG", {}), ("WEBP", {"lossless": True})])
def test_a_lossless_picture_keeps_every_pixel(format: str, options: dict[str, object]) -> None:
    assert np.array_equal(pixels(gate(encoded(photo(), format, **options))), pixels(photo()))


@pytest.mark.parametrize(("format", "options"), [("PNG", {}), ("WEBP", {"lossless": True, "exact": True})])
def test_transparent_parts_become_white(format: str, options: dict[str, object]) -> None:
    rgba = photo(channels=4)
    colour, alpha = pixels(rgba)[..., :3], pixels(rgba)[..., 3:] / 255
    oracle = colour * alpha + 255 * (1 - alpha)
    assert np.abs(pixels(gate(encoded(rgba, format, **options))) - oracle).max() <= 1


def test_a_palette_with_a_transparent_colour_becomes_white_there() -> None:
    palette = Image.new("P", (16, 16), 1)
    palette.putpalette([255, 0, 0, 0, 0, 255])
    palette.paste(0, (0, 0, 8, 16))
    picture = gate(encoded(palette, transparency=0))
    assert (picture.getpixel((0, 0)), picture.getpixel((15, 0))) == ((255, 255, 255), (0, 0, 255))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "PA"])
def test_every_plain_mode_shows_the_colours_it_showed(mode: str) -> None:
    picture = photo().convert(mode.removesuffix("A") if mode == "PA" else mode)
    assert np.array_equal(pixels(gate(encoded(picture))), pixels(picture.convert("RGB")))


def test_sixteen_bit_grey_keeps_its_upper_eight_bits() -> None:
    ramp = np.linspace(0, 65535, 32 * 32).astype(np.uint16).reshape(32, 32)
    picture = pixels(gate(encoded(Image.fromarray(ramp))))
    assert np.array_equal(picture, np.repeat(ramp[..., None] >> 8, 3, axis=2))


def test_a_cmyk_jpeg_shows_its_colours() -> None:
    cmyk = Image.new("CMYK", (32, 32), (0, 255, 255, 0))
    assert np.abs(pixels(gate(encoded(cmyk, "JPEG"))) - (255, 0, 0)).max() <= 8


def test_a_colour_profile_is_applied() -> None:
    red = Image.new("RGB", (16, 16), (255, 0, 0))
    assert np.abs(pixels(gate(encoded(red, icc_profile=swapped_profile()))) - (0, 0, 255)).max() <= 4


@pytest.mark.parametrize("profile", [b"", b"nonsense", swapped_profile()[:200]])
def test_a_damaged_colour_profile_is_ignored(profile: bytes) -> None:
    assert np.array_equal(pixels(gate(encoded(photo(), icc_profile=profile))), pixels(photo()))


@pytest.mark.parametrize("format", ["PNG", "WEBP"])
def test_of_an_animation_the_first_frame_is_taken(format: str) -> None:
    first, second = Image.new("RGB", (32, 32), (255, 0, 0)), Image.new("RGB", (32, 32), (0, 0, 255))
    content = encoded(first, format, save_all=True, append_images=[second], lossless=True)
    assert gate(content).getpixel((0, 0)) == (255, 0, 0)


def test_a_phones_jpeg_of_several_pictures_is_a_jpeg() -> None:
    content = encoded(photo(), "MPO", save_all=True, append_images=[photo(24, 16)])
    assert gate(content).size == (48, 32)


def test_what_hangs_behind_a_picture_is_left_behind() -> None:
    assert np.array_equal(pixels(gate(encoded(photo()) + b"PK\x03\x04" + b"<script>" * 10_000)), pixels(photo()))


@pytest.mark.parametrize("size", [(16, 16), (128, 16), (16, 128)])
def test_the_smallest_and_the_narrowest_allowed_are_accepted(size: tuple[int, int]) -> None:
    assert gate(encoded(Image.new("RGB", size))).size == size


def test_a_picture_of_forty_megapixels_is_accepted_and_handed_on_at_ten() -> None:
    picture = gate(flat_png(8000, 5000))
    assert (picture.mode, picture.size) == ("RGB", (4000, 2500))


@pytest.mark.parametrize("size", [(8064, 6048), (9248, 6936), (12_000, 9_000), (16_384, 12_288)])
def test_a_phones_jpeg_of_up_to_two_hundred_megapixels_is_accepted_and_made_smaller(size: tuple[int, int]) -> None:
    sensor = Image.new("L", size, 200)
    sensor.paste(50, (0, 0, size[0] // 2, size[1]))
    picture = gate(encoded(sensor, "JPEG", exif=exif(6)))
    assert picture.size == (2738, 3651)
    assert (picture.getpixel((1000, 100)), picture.getpixel((1000, 3600))) == ((50,) * 3, (200,) * 3)


def test_a_large_progressive_jpeg_is_accepted() -> None:
    assert gate(encoded(Image.new("L", (12_000, 9_000)), "JPEG", progressive=True)).size == (3651, 2738)


def test_a_progressive_jpeg_that_libjpeg_could_not_hold_is_refused_with_advice() -> None:
    refused = refusal(resized_header(encoded(photo(), "JPEG", progressive=True, subsampling=0), 16_000, 12_000))
    assert refused.type == "image_too_large"
    assert "progressive" in refused.message and "16000×12000" in refused.message


@pytest.mark.parametrize("size", [(16_385, 12_000), (16_384, 12_400)])
def test_a_jpeg_beyond_any_phone_is_refused_with_the_bound(size: tuple[int, int]) -> None:
    refused = refusal(resized_header(encoded(photo(), "JPEG"), *size))
    assert refused.type == "image_too_large"
    assert refused.context["max_width"] == 16_384


@pytest.mark.parametrize("bits", [2, 4])
def test_a_clear_level_of_a_shallow_grey_is_clear(bits: int) -> None:
    steps = 255 // ((1 << bits) - 1)
    grey = Image.linear_gradient("L").point([level // steps * steps for level in range(256)])
    palette = grey.quantize(1 << bits)  # Pillow writes shallow greys as palettes only: rewrite the header
    content = bytearray(encoded(palette, bits=bits))
    assert content[25] == 3
    content[25] = 0
    content = bytearray(content[:29] + zlib.crc32(content[12:29]).to_bytes(4) + content[33:])
    shown = pixels(gate(with_chunk(bytes(content), b"tRNS", b"\0\1")))
    without = pixels(gate(bytes(content)))
    clear = without == steps
    assert clear.any() and (shown[clear] == 255).all() and np.array_equal(shown[~clear], without[~clear])


def test_a_cut_jpeg_is_taken_up_to_an_eighth_of_its_rows() -> None:
    content = encoded(photo(640, 480), "JPEG", quality=95, subsampling=0)
    whole, lost = pixels(gate(content)), len(content) // 20
    cut = pixels(gate(content[:-lost]))
    same = (cut == whole).all(axis=(1, 2))
    assert same[: 480 * 7 // 8 - 16].all() and not same[-8:].any()
    assert "incomplete" in refusal(content[: len(content) // 2]).message


def test_a_picture_that_is_srgb_already_keeps_every_pixel() -> None:
    content = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert np.array_equal(pixels(gate(encoded(photo(), icc_profile=content))), pixels(photo()))


def test_shrinking_keeps_the_content_in_its_place() -> None:
    picture = gate(encoded(photo(480, 320)), replace(PICTURE_LIMITS, kept_pixels=240 * 160))
    oracle = photo(480, 320).resize((240, 160), Image.Resampling.BOX)
    assert picture.size == (240, 160)
    assert np.abs(pixels(picture) - pixels(oracle)).max() <= 1


@pytest.mark.parametrize(
    ("size", "type", "context"),
    [
        ((1, 1), "image_too_small", {"min_width": 16, "min_height": 16}),
        ((15, 16), "image_too_small", {"min_width": 16, "min_height": 16}),
        ((129, 16), "image_too_small", {"min_width": 16, "min_height": 17}),
        ((16, 129), "image_too_small", {"min_width": 17, "min_height": 16}),
        ((10_000, 16), "image_too_small", {"min_width": 16, "min_height": 1250}),
        ((16, 10_000), "image_too_small", {"min_width": 1250, "min_height": 16}),
        ((10_001, 2_000), "image_too_large", {"max_width": 10_000, "max_height": 10_000}),
    ],
)
def test_a_size_out_of_bounds_is_refused_with_the_bound(
    size: tuple[int, int], type: str, context: dict[str, int]
) -> None:
    refused = refusal(flat_png(*size))
    assert (refused.type, refused.context) == (type, context)
    assert f"{size[0]}×{size[1]}" in refused.message


@pytest.mark.parametrize("size", [(8200, 5000), (13_000, 13_000), (14_000, 14_000)])
def test_a_bomb_is_refused_by_its_header(size: tuple[int, int]) -> None:
    refused = refusal(flat_png(*size))
    assert refused.type == "image_too_large"
    assert "40 megapixels" in refused.message
