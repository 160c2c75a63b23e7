"""Files that are not what the gate takes, and the sentence that each of them gets."""

from collections.abc import Callable

import pytest

from tests.intake.pictures import encoded, photo, refusal, with_chunk
from wan_core.intake import SUPPORTED_FORMATS


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (lambda: encoded(photo(), "TIFF"), "TIFF"),
        (lambda: encoded(photo(), "ICO"), "icon"),
        (lambda: encoded(photo(), "EPS"), "PostScript"),
        (lambda: encoded(photo(), "PDF"), "PDF"),
        (lambda: encoded(photo(), "JPEG2000"), "JPEG 2000"),
        (lambda: b"\x00\x00\x00\x18ftypmp42\x00\x00\x00\x00isommp42", "video"),
        (lambda: b"8BPS\x00\x01" + bytes(100), "Photoshop"),
        (lambda: b"SIMPLE  =                    T" + bytes(100), "FITS"),
        (lambda: b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
    ],
)
def test_another_format_is_named_and_its_owner_told_what_to_do(content: Callable[[], bytes], name: str) -> None:
    refused = refusal(content())
    assert refused.type == "unsupported_image_format"
    assert refused.context == {"supported_formats": SUPPORTED_FORMATS}
    assert name in refused.message
    assert "Convert it to JPEG or PNG" in refused.message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (lambda: b"", "empty"),
        (lambda: b"x", "not a picture"),
        (lambda: b"\n<!DOCTYPE html><html><body>", "web page"),
        (lambda: bytes(1_000_000), "not a picture"),
        (lambda: b"\x89PNG\r\n\x1a\n", "damaged"),
        (lambda: b"\xff\xd8\xff", "damaged"),
        (lambda: b"\xff\xd8\xff" + b"\xff" * 100_000, "damaged"),
        (lambda: b"RIFF\x00\x00\x00\x00WEBP", "damaged"),
        (lambda: encoded(photo(480, 320), "JPEG")[:4000], "damaged"),
        (lambda: encoded(photo(480, 320), "WEBP")[:-1], "damaged"),
        (lambda: encoded(photo(480, 320), "JPEG", progressive=True)[:4000], "damaged"),
        (lambda: encoded(photo(480, 320), "PNG")[:4000], "damaged"),
        (lambda: encoded(photo(480, 320), "AVIF")[:-100], "damaged"),
        (lambda: encoded(photo(480, 320), "GIF")[:4000], "damaged"),
        (lambda: encoded(photo(480, 320), "BMP")[:40_000], "damaged"),
        (lambda: b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic", "damaged"),
        (lambda: b"BM is no bitmap but a text", "not a picture"),
        (lambda: with_chunk(encoded(photo()), b"CgBI", b"\x50\x00\x20\x06"), "damaged"),
    ],
)
def test_a_file_that_is_no_whole_picture_is_an_image_load_error(content: Callable[[], bytes], words: str) -> None:
    refused = refusal(content())
    assert refused.type == "image_load_error"
    assert words in refused.message
