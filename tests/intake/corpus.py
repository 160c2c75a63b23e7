"""Small picture files of every kind that people send, each with what Chromium 156 shows of it.

All show six patches, 3×2, as a file of 240×160; `corpus()` makes them on the spot. The default suite holds the picture
gate against the values written here, the browser suite holds both against a real Chromium.
"""

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pillow_heif
from numpy.typing import NDArray
from PIL import Image

from tests.intake.pictures import chunk, encoded

Colour = tuple[int, int, int]
Six = tuple[Colour, Colour, Colour, Colour, Colour, Colour]
Pixels = NDArray[np.uint8] | NDArray[np.uint16]


@dataclass(frozen=True)
class Entry:
    """`seen` is None for a file that is refused; `in_chromium` is False where Chromium shows nothing or another thing.

    `seen` stands row by row as the picture is shown, `size` likewise.
    """

    name: str
    content: bytes
    seen: tuple[Colour, ...] | None
    size: tuple[int, int] = (240, 160)
    in_chromium: bool = True

    def __str__(self) -> str:
        return self.name


RED, GREEN, BLUE, YELLOW, GREY, DARK = (
    (200, 30, 30),
    (30, 160, 60),
    (40, 60, 200),
    (230, 200, 40),
    (128, 128, 128),
    (20, 20, 20),
)
PATCHES: Six = (RED, GREEN, BLUE, YELLOW, GREY, DARK)
GREY_WEIGHTS = (81, 110, 70, 191, 128, 20)  # the patches in ITU-R 601's greys
GREYS = (77, 153, 60, 200, 128, 20)
FLIPPED: Six = (YELLOW, GREY, DARK, RED, GREEN, BLUE)
WHITE: Colour = (255, 255, 255)

# What a file with the patches' numbers shows under another declaration.
AS_LINEAR: Six = ((229, 96, 96), (96, 208, 133), (110, 133, 229), (244, 229, 110), (188, 188, 188), (79, 79, 79))
AS_GAMMA_18: Six = ((210, 40, 40), (40, 176, 77), (53, 77, 210), (235, 210, 53), (146, 146, 146), (26, 26, 26))
AS_ADOBE_RGB: Six = ((233, 24, 24), (0, 161, 46), (21, 57, 205), (241, 201, 0), (129, 129, 129), (12, 12, 12))
AS_P3: Six = ((218, 0, 6), (0, 163, 41), (34, 61, 208), (236, 199, 0), (128, 128, 128), (20, 20, 20))
AS_BT2020: Six = ((246, 0, 0), (0, 164, 6), (0, 48, 207), (251, 193, 0), (121, 121, 121), (7, 7, 7))
AS_PQ: Six = ((255, 0, 0), (0, 226, 0), (0, 0, 255), (255, 139, 0), (132, 132, 132), (1, 1, 1))
AS_HLG: Six = ((229, 0, 0), (0, 138, 24), (0, 40, 177), (255, 167, 0), (99, 99, 99), (5, 5, 5))
# The patches in linear light and 8 bits, shown right.
FROM_LINEAR_8: Six = ((200, 28, 28), (28, 160, 61), (38, 61, 200), (230, 200, 38), (128, 128, 128), (22, 22, 22))
FROM_LINEAR_16: Six = ((200, 28, 28), (28, 159, 59), (38, 59, 200), (230, 200, 38), (128, 128, 128), (13, 13, 13))
FAINT: Six = ((227, 142, 142), (142, 207, 157), (147, 157, 227), (242, 227, 147), (191, 191, 191), (137, 137, 137))
GREYS_AS_LINEAR = tuple((level,) * 3 for level in (149, 203, 133, 229, 188, 79))

SRGB = (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)
ADOBE_RGB = (0.3127, 0.329, 0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
XMP_TURN = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    b'<rdf:Description rdf:about="" xmlns:tiff="http://ns.adobe.com/tiff/1.0/" tiff:Orientation="6"/>'
    b"</rdf:RDF></x:xmpmeta>"
)


def patches(colours: Sequence[int] | Sequence[Sequence[int]] = PATCHES) -> NDArray[np.uint8]:
    """(160, 240, channels): the six colours, 80×80 each."""
    six = np.array(colours, np.uint8).reshape(2, 3, -1)
    return six.repeat(80, 0).repeat(80, 1)


def faint() -> NDArray[np.uint8]:
    """(160, 240, 4): the patches, half transparent."""
    return np.dstack([patches(), np.full((160, 240, 1), 128, np.uint8)])


def turned_six(orientation: int) -> tuple[Colour, ...]:
    """The patches as they stand after the turn of an EXIF orientation."""
    grid = np.arange(6).reshape(2, 3)
    turns = {2: grid[:, ::-1], 3: grid[::-1, ::-1], 4: grid[::-1], 5: grid.T, 6: grid[::-1].T}
    turns |= {7: grid[::-1, ::-1].T, 8: grid[:, ::-1].T}
    return tuple(PATCHES[index] for index in turns.get(orientation, grid).ravel())


def png(pixels: Pixels, before: bytes = b"", after: bytes = b"", interlaced: bool = False) -> bytes:
    """A PNG written by hand: 8 or 16 bits, with chunks before and after the pixels."""
    height, width, channels = pixels.shape
    steps = ((0, 0, 1, 1),)
    if interlaced:
        steps = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))  # type: ignore[assignment]
    rows = pixels.astype(">u2") if pixels.dtype == np.uint16 else pixels
    raw = b"".join(b"\0" + row.tobytes() for x, y, dx, dy in steps for row in rows[y::dy, x::dx])
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    head = struct.pack(">IIBBBBB", width, height, 8 * pixels.itemsize, kind, 0, 0, interlaced)
    parts = [chunk(b"IHDR", head), before, chunk(b"IDAT", zlib.compress(raw)), after, chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def with_bad_checksum(piece: bytes) -> bytes:
    return piece[:-4] + bytes(value ^ 0xFF for value in piece[-4:])


def gama(exponent: float) -> bytes:
    return chunk(b"gAMA", struct.pack(">I", round(exponent * 100_000)))


def chrm(chromaticities: Sequence[float]) -> bytes:
    return chunk(b"cHRM", struct.pack(">8I", *(round(value * 100_000) for value in chromaticities)))


def cicp(primaries: int, transfer: int, full_range: int = 1) -> bytes:
    return chunk(b"cICP", bytes((primaries, transfer, 0, full_range)))


def iccp(profile: bytes) -> bytes:
    return chunk(b"iCCP", b"icc\0\0" + zlib.compress(profile))


def profile(gamma: float, chromaticities: Sequence[float] = SRGB, name: str = "test", grey: bool = False) -> bytes:
    """A version 2 ICC profile with a pure gamma; numpy's arithmetic, not the gate's."""
    white, *primaries = np.array([(x, y, 1 - x - y) for x, y in np.reshape(chromaticities, (4, 2))])
    columns = np.transpose(primaries)
    columns = columns * np.linalg.solve(columns, white / white[1])
    cones = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
    d50 = np.array([0.9642, 1, 0.8249])
    gain = (cones @ d50) / (cones @ (white / white[1]))
    columns = np.linalg.inv(cones) @ np.diag(gain) @ cones @ columns
    text = name.encode() + b"\0"
    curve = b"curv\0\0\0\0" + struct.pack(">IHxx", 1, round(gamma * 256))
    tags = {b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(78), b"wtpt": _xyz(d50)}
    if grey:
        tags |= {b"kTRC": curve}
    else:
        tags |= {kind: _xyz(columns[:, at]) for at, kind in enumerate((b"rXYZ", b"gXYZ", b"bXYZ"))}
        tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve)
    table, body, start = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for kind, tag in tags.items():
        table += kind + struct.pack(">II", start + len(body), len(tag))
        body += tag + bytes(-len(tag) % 4)
    head = struct.pack(">I4xI4s4s4s", start + len(body), 0x02400000, b"mntr", b"GRAY" if grey else b"RGB ", b"XYZ ")
    head += struct.pack(">6H4s28x", 2020, 1, 1, 0, 0, 0, b"acsp") + _xyz(d50)[8:]
    return head.ljust(128, b"\0") + table + body


def _xyz(values: NDArray[np.float64]) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(float(value) * 65_536) for value in values))


def exif(orientation: int, kind: int = 3) -> bytes:
    """An EXIF block with its six letters in front; `kind` 3 is the short integer that the standard asks for."""
    value = struct.pack(">HH", orientation, 0) if kind == 3 else struct.pack(">I", orientation)
    return b"Exif\0\0MM\0*" + struct.pack(">IHHHI", 8, 1, 0x0112, kind, 1) + value + bytes(4)


def segment(marker: int, body: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body


def jpeg(pixels: Pixels | None = None, **options: object) -> bytes:
    picture = Image.fromarray((patches() if pixels is None else pixels).squeeze())
    return encoded(picture, "JPEG", **{"quality": 97, "subsampling": 0} | options)


def with_segments(*segments: bytes) -> bytes:
    plain = jpeg()
    return plain[:2] + b"".join(segments) + plain[2:]


def without_marker(content: bytes, marker: int) -> bytes:
    """A JPEG without the segments of this marker in its head."""
    kept, at = content[:2], 2
    while content[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(content[at + 2 : at + 4])
        kept += content[at:end] if content[at + 1] != marker else b""
        at = end
    return kept + content[at:]


def linear(levels: int) -> Pixels:
    """The patches in linear light, 0 to `levels` (255 or 65535)."""
    value = patches() / 255
    light = np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
    return (light * levels).round().astype(np.uint8 if levels == 255 else np.uint16)


def heic(pixels: Pixels | None = None, **options: object) -> bytes:
    pillow_heif.register_heif_opener()
    return encoded(
        Image.fromarray(patches() if pixels is None else pixels), "HEIF", **{"quality": 95, "chroma": 444} | options
    )


def corpus() -> list[Entry]:
    """All of them."""
    return [*_png_colours(), *_png_modes(), *_png_metadata(), *_jpegs(), *_jpeg_damage(), *_webps(), *_others()]


def _png_colours() -> Iterator[Entry]:
    plain, grey = patches(), patches(GREYS)
    named, adobe = iccp(profile(1, name="GIMP built-in Linear sRGB")), iccp(profile(2.2, ADOBE_RGB))
    yield Entry("png plain", png(plain), PATCHES)
    yield Entry("png linear profile called sRGB", png(linear(255), named), FROM_LINEAR_8)
    yield Entry("png linear profile called sRGB, 16 bit", png(linear(65535), named), FROM_LINEAR_16)
    yield Entry("png gAMA 1", png(linear(255), gama(1)), FROM_LINEAR_8)
    yield Entry("png gAMA 1, 16 bit", png(linear(65535), gama(1)), FROM_LINEAR_16)
    yield Entry("png gAMA 1/1.8", png(plain, gama(1 / 1.8)), AS_GAMMA_18)
    yield Entry("png gAMA 1/2.2 means sRGB", png(plain, gama(0.45455)), PATCHES)
    yield Entry("png gAMA 0", png(plain, gama(0)), PATCHES)
    yield Entry("png gAMA 1 on grey", png(grey, gama(1)), GREYS_AS_LINEAR)
    yield Entry("png gAMA and cHRM", png(plain, chrm(ADOBE_RGB) + gama(1 / 2.2)), AS_ADOBE_RGB)
    yield Entry("png cHRM alone", png(plain, chrm(ADOBE_RGB)), PATCHES)
    yield Entry("png cHRM of zeros", png(plain, chrm([0] * 8) + gama(1)), PATCHES)
    yield Entry("png sRGB over gAMA", png(plain, gama(1) + chunk(b"sRGB", b"\0")), PATCHES)
    yield Entry("png broken sRGB", png(plain, chunk(b"sRGB", b"\7") + gama(1)), AS_LINEAR)
    yield Entry("png profile", png(plain, adobe), AS_ADOBE_RGB)
    yield Entry("png profile over sRGB and gAMA", png(plain, chunk(b"sRGB", b"\0") + adobe + gama(1)), AS_ADOBE_RGB)
    yield Entry("png broken profile, then gAMA", png(plain, iccp(b"nonsense" * 50) + gama(1)), AS_LINEAR)
    yield Entry("png profile with a wrong checksum", png(plain, with_bad_checksum(adobe)), PATCHES)
    yield Entry("png profile after the pixels", png(plain, after=adobe), PATCHES)
    yield Entry("png grey profile on colours", png(plain, iccp(profile(1, grey=True))), PATCHES)
    yield Entry("png grey profile on grey", png(grey, iccp(profile(1, grey=True))), GREYS_AS_LINEAR)
    yield Entry("png colour profile on grey", png(grey, iccp(profile(1))), GREYS_AS_LINEAR)
    large = np.random.default_rng(1).bytes(2_000_000)
    yield Entry("png profile with 2 MB behind it", png(plain, iccp(profile(2.2, ADOBE_RGB) + large)), AS_ADOBE_RGB)
    yield Entry("png cICP Display P3 over profile", png(plain, cicp(12, 13) + adobe), AS_P3)
    yield Entry("png cICP BT.2020", png(plain, cicp(9, 14)), AS_BT2020)
    yield Entry("png cICP linear", png(plain, cicp(1, 8)), AS_LINEAR)
    yield Entry("png cICP PQ", png(plain, cicp(9, 16)), AS_PQ)
    yield Entry("png cICP HLG", png(plain, cicp(9, 18)), AS_HLG)
    yield Entry("png cICP unspecified, then gAMA", png(plain, cicp(2, 2) + gama(1)), AS_LINEAR)
    yield Entry("png cICP of video range", png(plain, cicp(12, 13, 0)), PATCHES)


def _png_modes() -> Iterator[Entry]:
    plain, grey, wide = patches(), patches(GREYS), patches().astype(np.uint16) * 257
    greys = tuple((level,) * 3 for level in GREYS)
    clear = (greys[0], WHITE, *greys[2:])
    key16 = chunk(b"tRNS", struct.pack(">H", GREYS[1] * 257))
    colour = Image.fromarray(plain)
    yield Entry("png grey", png(grey), greys)
    yield Entry("png grey with a clear level", png(grey, chunk(b"tRNS", struct.pack(">H", GREYS[1]))), clear)
    yield Entry("png 16-bit grey with a clear level", png(grey.astype(np.uint16) * 257, key16), clear)
    near = grey.astype(np.uint16) * 257 + np.uint16(1)
    yield Entry("png 16-bit grey near a clear level", png(near, key16), greys)
    key = chunk(b"tRNS", struct.pack(">3H", *(257 * level for level in GREEN)))
    yield Entry("png 16-bit colour with a clear colour", png(wide, key), (RED, WHITE, *PATCHES[2:]))
    yield Entry("png 16-bit colour near a clear colour", png(wide + np.uint16(1), key), PATCHES)
    yield Entry("png half transparent", png(faint()), FAINT)
    yield Entry("png half transparent, 16 bit", png(faint().astype(np.uint16) * 257), FAINT)
    grey_faint = png(np.dstack([grey, np.full((160, 240, 1), 128, np.uint8)]))
    yield Entry(
        "png half transparent grey", grey_faint, tuple((round(level * 128 / 255 + 127),) * 3 for level in GREYS)
    )
    yield Entry("png interlaced", png(plain, interlaced=True), PATCHES)
    yield Entry("png interlaced, 16 bit", png(wide, interlaced=True), PATCHES)
    palette = colour.quantize(6)
    yield Entry("png palette", encoded(palette), PATCHES)
    index = palette.getpixel((120, 40))
    yield Entry("png palette with a clear colour", encoded(palette, transparency=index), (RED, WHITE, *PATCHES[2:]))
    bits = Image.fromarray(patches([0, 255, 0, 255, 0, 0]).squeeze()).convert("1", dither=Image.Dither.NONE)
    yield Entry("png 1 bit", encoded(bits), tuple((level,) * 3 for level in (0, 255, 0, 255, 0, 0)))
    later = [Image.fromarray(plain[::-1])]
    yield Entry("apng", encoded(colour, save_all=True, append_images=later, duration=5_000), PATCHES)
    hidden = encoded(colour, save_all=True, append_images=later * 2, default_image=True, duration=5_000)
    yield Entry("apng behind another picture", hidden, FLIPPED)


def _png_metadata() -> Iterator[Entry]:
    plain = patches()
    text = zlib.compress(b'{"nodes": [' + b"1234567, " * 170_000 + b"0]}")
    turn, upright = chunk(b"eXIf", exif(6)[6:]), (160, 240)
    yield Entry("png zTXt of 1.5 MB", png(plain, chunk(b"zTXt", b"workflow\0\0" + text)), PATCHES)
    yield Entry("png iTXt of 1.5 MB", png(plain, chunk(b"iTXt", b"workflow\0\1\0\0\0" + text)), PATCHES)
    yield Entry("png iTXt behind the pixels", png(plain, after=chunk(b"iTXt", b"w\0\1\0\0\0" + text)), PATCHES)
    yield Entry("png zTXt that is no zlib", png(plain, chunk(b"zTXt", b"workflow\0\0nonsense")), PATCHES)
    yield Entry("png text with a wrong checksum", png(plain, with_bad_checksum(chunk(b"tEXt", b"a\0b"))), PATCHES)
    yield Entry("png turned by EXIF", png(plain, turn), turned_six(6), upright)
    yield Entry("png EXIF after the pixels", png(plain, after=turn), PATCHES)
    yield Entry("png EXIF with a JPEG's head", png(plain, chunk(b"eXIf", exif(6))), PATCHES)
    yield Entry("png turned by XMP", png(plain, chunk(b"iTXt", b"XML:com.adobe.xmp" + bytes(5) + XMP_TURN)), PATCHES)
    whole = png(plain)
    yield Entry("png without its end", whole[:-12], PATCHES)
    yield Entry("png without its last checksum", whole[:-16], PATCHES)
    yield Entry("png half", png(_noise())[:57_000], None, in_chromium=False)
    yield Entry("png head with a wrong checksum", whole[:29] + b"nope" + whole[33:], None)


def _noise() -> NDArray[np.uint8]:
    return np.random.default_rng(3).integers(0, 256, (160, 240, 3), np.uint8)


def _jpegs() -> Iterator[Entry]:
    greys, adobe = tuple((level,) * 3 for level in GREYS), profile(2.2, ADOBE_RGB)
    yield Entry("jpeg plain", jpeg(), PATCHES)
    yield Entry("jpeg progressive", jpeg(progressive=True), PATCHES)
    yield Entry("jpeg grey", jpeg(patches(GREYS)), greys)
    yield Entry("jpeg stored as RGB", jpeg(keep_rgb=True), PATCHES)
    yield Entry("jpeg profile", jpeg(icc_profile=adobe), AS_ADOBE_RGB)
    yield Entry("jpeg linear profile called sRGB", jpeg(icc_profile=profile(1, name="Linear sRGB")), AS_LINEAR)
    yield Entry(
        "jpeg grey with a grey profile", jpeg(patches(GREYS), icc_profile=profile(1, grey=True)), GREYS_AS_LINEAR
    )
    yield Entry("jpeg colours with a grey profile", jpeg(icc_profile=profile(1, grey=True)), PATCHES)
    first = segment(0xE2, b"ICC_PROFILE\0\1\2" + adobe[:200])
    second = segment(0xE2, b"ICC_PROFILE\0\2\2" + adobe[200:])
    yield Entry("jpeg profile in two parts, the second first", with_segments(second, first), AS_ADOBE_RGB)
    yield Entry("jpeg profile with a part missing", with_segments(first), PATCHES)
    inks = [
        (0, 220, 200, 20),
        (200, 30, 170, 40),
        (220, 180, 20, 10),
        (0, 60, 230, 0),
        (0, 0, 0, 127),
        (90, 80, 70, 210),
    ]
    cmyk = encoded(Image.fromarray(patches(inks), "CMYK"), "JPEG", quality=97, subsampling=0)
    shown = ((235, 32, 50), (46, 189, 71), (33, 72, 225), (255, 195, 25), (128, 128, 128), (29, 31, 33))
    yield Entry("jpeg cmyk", cmyk, shown)
    yield Entry("jpeg cmyk without Adobe's mark", without_marker(cmyk, 0xEE), shown)
    for orientation in range(1, 9):
        size = (160, 240) if orientation > 4 else (240, 160)
        yield Entry(f"jpeg turned by EXIF {orientation}", jpeg(exif=exif(orientation)), turned_six(orientation), size)
    yield Entry("jpeg EXIF 9", jpeg(exif=exif(9)), PATCHES)
    yield Entry("jpeg EXIF 6 as a long integer", jpeg(exif=exif(6, kind=4)), PATCHES)
    yield Entry("jpeg turned by XMP", jpeg(xmp=XMP_TURN), PATCHES)
    yield Entry("jpeg turned by EXIF and by XMP", jpeg(exif=exif(3), xmp=XMP_TURN), turned_six(3))
    several = encoded(
        Image.fromarray(patches()), "MPO", save_all=True, append_images=[Image.new("RGB", (96, 64))], quality=97
    )
    yield Entry("jpeg of several pictures", several, PATCHES)
    junk = segment(0xED, b"Photoshop 3.0\0junk8BIM\0"), segment(0xE2, b"MPF\0junk"), segment(0xE1, b"Exif\0\0")
    stray = jpeg().replace(b"\xff\xdb", b"\0\0\0\xff\xdb", 1)
    yield Entry("jpeg with stray bytes between its segments", stray, PATCHES)
    yield Entry("jpeg with fill bytes", jpeg().replace(b"\xff\xdb", b"\xff\xff\xff\xdb", 1), PATCHES)
    yield Entry("jpeg with broken metadata", with_segments(*junk), PATCHES)


def _jpeg_damage() -> Iterator[Entry]:
    whole, noise = jpeg(), jpeg(_noise(), quality=90)
    progressive = jpeg(_noise(), quality=90, progressive=True)
    yield Entry("jpeg without its end marker", whole[:-2], PATCHES)
    yield Entry("jpeg without its last three bytes", whole[:-3], PATCHES)
    yield Entry("jpeg without its last six bytes", whole[:-6], PATCHES)
    yield Entry("jpeg progressive without its end marker", jpeg(progressive=True)[:-2], PATCHES)
    yield Entry("jpeg with something behind it", whole + b"PK\3\4" * 1_000, PATCHES)
    yield Entry("jpeg half", noise[: len(noise) // 2], None, in_chromium=False)
    yield Entry("jpeg progressive half", progressive[: len(progressive) // 2], None, in_chromium=False)


def _webps() -> Iterator[Entry]:
    picture = Image.fromarray(patches())
    yield Entry("webp lossless", encoded(picture, "WEBP", lossless=True), PATCHES)
    yield Entry("webp lossy", encoded(picture, "WEBP", quality=97), PATCHES)
    adobe = encoded(picture, "WEBP", lossless=True, icc_profile=profile(2.2, ADOBE_RGB))
    yield Entry("webp profile", adobe, AS_ADOBE_RGB)
    yield Entry("webp EXIF turns nothing", encoded(picture, "WEBP", lossless=True, exif=exif(6)), PATCHES)
    yield Entry("webp XMP turns nothing", encoded(picture, "WEBP", lossless=True, xmp=XMP_TURN), PATCHES)
    later = [Image.fromarray(patches()[::-1])]
    moving = encoded(picture, "WEBP", lossless=True, save_all=True, append_images=later, duration=5_000)
    yield Entry("webp animated", moving, PATCHES)
    clear = Image.fromarray(faint())
    yield Entry("webp half transparent", encoded(clear, "WEBP", lossless=True), FAINT)
    yield Entry("webp lossy half transparent", encoded(clear, "WEBP", quality=97), FAINT)
    yield Entry("webp half", encoded(picture, "WEBP", lossless=True)[:60], None, in_chromium=False)


def _others() -> Iterator[Entry]:
    picture = Image.fromarray(patches())
    avif = encoded(picture, "AVIF", quality=97, subsampling="4:4:4")
    yield Entry("avif", avif, PATCHES)
    turned = encoded(picture, "AVIF", quality=97, subsampling="4:4:4", exif=exif(6))
    yield Entry("avif turned", turned, turned_six(6), (160, 240))
    named = avif.index(b"colrnclx") + 8
    for name, primaries, transfer, seen in (("Display P3", 12, 13, AS_P3), ("PQ", 9, 16, AS_PQ)):
        changed = avif[:named] + struct.pack(">HH", primaries, transfer) + avif[named + 4 :]
        yield Entry(f"avif {name}", changed, seen)
    adobe = encoded(picture, "AVIF", quality=100, subsampling="4:4:4", icc_profile=profile(2.2, ADOBE_RGB))
    rounded = (*AS_ADOBE_RGB[:2], (17, 58, 204), *AS_ADOBE_RGB[3:])  # YUV has fewer blues
    yield Entry("avif profile", adobe, rounded)
    clear = encoded(Image.fromarray(faint()), "AVIF", quality=97, subsampling="4:4:4")
    yield Entry("avif half transparent", clear, FAINT)
    yield Entry("heic", heic(), PATCHES, in_chromium=False)
    yield Entry("heic half transparent", heic(faint()), FAINT, in_chromium=False)
    yield Entry("heic turned", heic(exif=exif(6)), turned_six(6), (160, 240), in_chromium=False)
    yield Entry("heic profile", heic(icc_profile=profile(2.2, ADOBE_RGB)), AS_ADOBE_RGB, in_chromium=False)
    yield Entry("gif", encoded(picture, "GIF"), PATCHES)
    later = [Image.fromarray(patches()[::-1])]
    yield Entry("gif animated", encoded(picture, "GIF", save_all=True, append_images=later, duration=5_000), PATCHES)
    palette = picture.quantize(6)
    index = palette.getpixel((120, 40))
    yield Entry("gif with a clear colour", encoded(palette, "GIF", transparency=index), (RED, WHITE, *PATCHES[2:]))
    yield Entry("bmp", encoded(picture, "BMP"), PATCHES)
    yield Entry("bmp 32 bit", encoded(Image.fromarray(faint()), "BMP"), PATCHES)
    yield Entry("bmp grey", encoded(picture.convert("L"), "BMP"), tuple((level,) * 3 for level in GREY_WEIGHTS))
    yield Entry("bmp palette", encoded(picture.quantize(6), "BMP"), PATCHES)
    yield Entry("tiff", encoded(picture, "TIFF"), None)
