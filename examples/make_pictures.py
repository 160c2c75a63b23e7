"""Paints the example pictures of the page: `python examples/make_pictures.py`. Our own work, from formulas and a seed.

Each picture is drawn at twice its size and reduced, then given a little film grain, so that edges and skies look
natural to a video model.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

HERE = Path(__file__).parent
SCALE = 2
Colour = tuple[int, int, int]
Array = NDArray[np.float64]


def gradient(size: tuple[int, int], stops: list[tuple[float, Colour]]) -> Image.Image:
    """A vertical blend through `stops`, each a height 0…1 and a colour."""
    heights = np.linspace(0, 1, size[1])
    places = [place for place, _ in stops]
    columns = [np.interp(heights, places, [colour[i] for _, colour in stops]) for i in range(3)]
    pixels = np.repeat(np.stack(columns, -1)[:, None], size[0], axis=1)
    return Image.fromarray(pixels.astype(np.uint8))


def noise(width: int, seed: int, roughness: float, octaves: int = 8) -> Array:
    """A fractal line of `width` values around 0."""
    random, line = np.random.default_rng(seed), np.zeros(width)
    for octave in range(octaves):
        points = 2 ** (octave + 1) + 2
        values = random.normal(size=points) * roughness**octave
        line += np.interp(np.linspace(0, points - 1, width), np.arange(points), values)
    return line


def clouds(size: tuple[int, int], seed: int) -> Array:
    """Fractal cloud cover 0…1, wider than high."""
    random, cover = np.random.default_rng(seed), np.zeros((size[1], size[0]))
    for octave in range(2, 8):
        cells = (max(2, 2**octave // 2), 2**octave)
        layer = Image.fromarray(random.random((cells[1], cells[0])).astype(np.float32))
        cover += np.asarray(layer.resize(size, Image.Resampling.BICUBIC)) / 2**octave
    cover -= cover.min()
    return cover / cover.max()


def over(picture: Image.Image, colour: Colour, cover: Array) -> Image.Image:
    """`colour` laid over `picture` where `cover` (0…1) says."""
    mask = Image.fromarray((255 * np.clip(cover, 0, 1)).astype(np.uint8))
    return Image.composite(Image.new("RGB", picture.size, colour), picture, mask)


def glow(
    picture: Image.Image, centre: tuple[float, float], radius: float, colour: Colour, strength: float
) -> Image.Image:
    """A soft light around `centre` (shares of width and height)."""
    width, height = picture.size
    y, x = np.mgrid[0:height, 0:width]
    away = np.hypot(x - centre[0] * width, y - centre[1] * height) / (radius * width)
    return over(picture, colour, strength * np.exp(-(away**2)))


def ridge(
    picture: Image.Image, base: float, swing: float, seed: int, colour: Colour, roughness: float = 0.55
) -> Image.Image:
    """A mountain or coast line filled down to the lower edge; `base` and `swing` are shares of the height."""
    width, height = picture.size
    line = (base + swing * noise(width, seed, roughness) / 3) * height
    points = [(x, float(line[x])) for x in range(0, width, 2)]
    painted = picture.copy()
    ImageDraw.Draw(painted).polygon([(0, height), *points, (width, height)], fill=colour)
    return painted


def ripples(picture: Image.Image, top: float, seed: int) -> Image.Image:
    """The part above `top` mirrored below it, shaken sideways like water and darkened."""
    pixels = np.asarray(picture).astype(np.float64)
    height = len(pixels)
    shore = int(top * height)
    random = np.random.default_rng(seed)
    for row in range(shore, height):
        depth = (row - shore) / (height - shore)
        source = max(0, shore - int((row - shore) * shore / (height - shore) * 0.9) - 1)
        shift = int((2 + 26 * depth) * np.sin(row / (3 + 14 * depth)) + random.normal() * 4 * depth)
        pixels[row] = np.roll(pixels[source], shift, axis=0) * (0.86 - 0.3 * depth) + np.array([4, 10, 18]) * depth
    return Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))


def lighthouse(size: tuple[int, int]) -> Image.Image:
    """Dusk over the sea; a white and red tower on a rock, its lamp lit."""
    width, height = size
    sky = [
        (0, (34, 46, 92)),
        (0.35, (124, 96, 142)),
        (0.56, (238, 152, 116)),
        (0.62, (252, 206, 148)),
        (1, (252, 206, 148)),
    ]
    picture = gradient(size, sky)
    cover = clouds(size, 5)
    picture = over(picture, (255, 190, 160), np.clip(cover * 2.4 - 1.25, 0, 0.75))
    picture = glow(picture, (0.24, 0.6), 0.16, (255, 236, 190), 0.9)
    picture = ripples(picture, 0.62, 3)
    picture = ridge(picture, 0.93, 0.05, 21, (52, 46, 62))
    draw = ImageDraw.Draw(picture)
    rock = noise(width, 9, 0.6)
    left, right = int(0.46 * width), int(1.04 * width)
    outline = [
        (
            x,
            (0.9 - 0.24 * np.sin(np.pi * (x - left) / (right - left)) ** 0.8 + 0.012 * rock[min(x, width - 1)])
            * height,
        )
        for x in range(left, right, 3)
    ]
    draw.polygon([(left, height), *outline, (right, height)], fill=(44, 38, 50))
    foot, top, middle = 0.685 * height, 0.24 * height, 0.73 * width
    for band in range(7):
        upper, lower = (top + (foot - top) * (band + end) / 7 for end in (0, 1))
        half = [0.022 * width + 0.014 * width * (edge - top) / (foot - top) for edge in (upper, lower)]
        colour = (214, 74, 66) if band % 2 else (240, 232, 224)
        draw.polygon(
            [
                (middle - half[0], upper),
                (middle + half[0], upper),
                (middle + half[1], lower),
                (middle - half[1], lower),
            ],
            fill=colour,
        )
    draw.rectangle([middle - 0.03 * width, top - 0.012 * height, middle + 0.03 * width, top], fill=(50, 44, 60))
    draw.rectangle(
        [middle - 0.016 * width, top - 0.075 * height, middle + 0.016 * width, top - 0.012 * height],
        fill=(255, 240, 180),
    )
    draw.polygon(
        [
            (middle - 0.022 * width, top - 0.075 * height),
            (middle, top - 0.125 * height),
            (middle + 0.022 * width, top - 0.075 * height),
        ],
        fill=(170, 56, 54),
    )
    draw.rectangle([0.79 * width, 0.6 * height, 0.87 * width, 0.69 * height], fill=(226, 214, 202))
    draw.polygon(
        [(0.78 * width, 0.6 * height), (0.83 * width, 0.54 * height), (0.88 * width, 0.6 * height)], fill=(150, 58, 54)
    )
    draw.rectangle([0.805 * width, 0.625 * height, 0.82 * width, 0.655 * height], fill=(255, 214, 130))
    return glow(picture, (0.73, 0.21), 0.09, (255, 244, 190), 0.75)


def lake(size: tuple[int, int]) -> Image.Image:
    """Morning: four ranges of mountains, haze between them, mirrored in a lake; firs at the shore."""
    picture = gradient(
        size, [(0, (92, 148, 206)), (0.4, (178, 208, 230)), (0.6, (250, 228, 206)), (1, (250, 228, 206))]
    )
    picture = over(picture, (255, 255, 255), np.clip(clouds(size, 12) * 2.2 - 1.1, 0, 0.8))
    picture = glow(picture, (0.68, 0.42), 0.12, (255, 246, 214), 0.95)
    haze = np.linspace(0, 1, size[1])[:, None] * np.ones(size[0])
    for base, swing, seed, colour in (
        (0.40, 0.17, 31, (150, 168, 196)),
        (0.46, 0.13, 44, (112, 136, 170)),
        (0.52, 0.10, 57, (72, 104, 128)),
        (0.575, 0.05, 63, (38, 72, 78)),
    ):
        picture = ridge(picture, base, swing, seed, colour, 0.5)
        picture = over(picture, (240, 226, 214), np.clip((haze - 0.42) * 1.5, 0, 0.28))
    picture = firs(picture, 0.615, 71, 150, (20, 50, 48))
    picture = ripples(picture, 0.62, 8)
    picture = ridge(picture, 0.985, 0.03, 80, (24, 44, 34))
    return firs(picture, 1.02, 90, 26, (14, 34, 28), 0.3)


def firs(
    picture: Image.Image, foot: float, seed: int, count: int, colour: Colour, tallest: float = 0.075
) -> Image.Image:
    """`count` firs standing at `foot`, up to `tallest` of the height."""
    width, height = picture.size
    random, painted = np.random.default_rng(seed), picture.copy()
    draw = ImageDraw.Draw(painted)
    for place in random.random(count):
        if tallest > 0.2 and 0.2 < place < 0.83:
            continue
        tall, x = height * tallest * random.uniform(0.45, 1), place * width
        tone = tuple(int(channel * random.uniform(0.8, 1.25)) for channel in colour)
        for tier in range(6):
            top = foot * height - tall * (1 - tier / 7)
            half = tall * 0.045 * (tier + 1.2)
            draw.polygon(
                [(x, top - tall * 0.05), (x - half, top + tall * 0.21), (x + half, top + tall * 0.21)], fill=tone
            )
    return painted


def lantern(size: tuple[int, int]) -> Image.Image:
    """Upright: paper lanterns rising over roofs at night, one near, many far."""
    width, height = size
    picture = gradient(size, [(0, (12, 16, 44)), (0.6, (44, 38, 92)), (0.85, (126, 72, 110)), (1, (190, 104, 96))])
    random = np.random.default_rng(4)
    draw = ImageDraw.Draw(picture)
    for x, y, bright in random.random((260, 3)):
        radius = 1 + 2 * bright
        tone = int(110 + 130 * bright)
        draw.ellipse(
            [x * width, y * 0.6 * height, x * width + radius, y * 0.6 * height + radius], fill=(tone, tone, 255)
        )
    for x, y, scale in sorted(
        ((*random.random(2), random.uniform(0.015, 0.06)) for _ in range(26)), key=lambda flying: flying[2]
    ):
        picture = one_lantern(picture, (x, 0.06 + 0.66 * y), scale)
    picture = one_lantern(picture, (0.46, 0.4), 0.26)
    picture = roofs(picture)
    return picture


def one_lantern(picture: Image.Image, centre: tuple[float, float], scale: float) -> Image.Image:
    """A paper lantern `scale` of the width wide, lit from inside, with its glow."""
    width, height = picture.size
    half, tall = scale * width / 2, scale * width * 0.66
    x, y = centre[0] * width, centre[1] * height
    picture = glow(picture, centre, scale * 1.05, (255, 150, 70), 0.55)
    body = Image.new("L", picture.size)
    draw = ImageDraw.Draw(body)
    draw.polygon(
        [
            (x - half * 0.75, y + tall),
            (x + half * 0.75, y + tall),
            (x + half, y - tall * 0.55),
            (x - half, y - tall * 0.55),
        ],
        fill=255,
    )
    draw.ellipse([x - half, y - tall * 1.0, x + half, y - tall * 0.1], fill=255)
    body = body.filter(ImageFilter.GaussianBlur(max(1.0, scale * 18)))
    rows = np.clip((np.mgrid[0:height, 0:width][0] - (y - tall)) / (2 * tall), 0, 1)[..., None]
    paper = np.array([214, 74, 40]) * (1 - rows) + np.array([255, 226, 150]) * rows
    ribs = 1 - 0.1 * (np.sin((np.mgrid[0:height, 0:width][1] - x) / max(1.0, half) * 9) > 0.85)[..., None]
    return Image.composite(Image.fromarray(np.clip(paper * ribs, 0, 255).astype(np.uint8)), picture, body)


def roofs(picture: Image.Image) -> Image.Image:
    """A dark row of curved roofs with lit windows along the lower edge."""
    width, height = picture.size
    draw, random = ImageDraw.Draw(picture), np.random.default_rng(15)
    x = -0.05
    while x < 1.05:
        wide, top = random.uniform(0.16, 0.3), random.uniform(0.83, 0.91)
        curve = [
            ((x + wide * t) * width, (top + 0.045 * abs(2 * t - 1) ** 0.6 - 0.012 * (abs(2 * t - 1) > 0.9)) * height)
            for t in np.linspace(-0.08, 1.08, 40)
        ]
        draw.polygon([*curve, ((x + wide) * width, height), (x * width, height)], fill=(18, 14, 34))
        for window in np.linspace(0.2, 0.8, 3):
            if random.random() < 0.75:
                left, upper = (x + wide * window) * width, (top + 0.072) * height
                draw.rectangle([left, upper, left + 0.016 * width, upper + 0.022 * height], fill=(255, 196, 110))
        x += wide * 0.92
    return picture


def finished(picture: Image.Image, seed: int) -> Image.Image:
    """Reduced to its real size, with a little grain."""
    small = picture.resize((picture.width // SCALE, picture.height // SCALE), Image.Resampling.LANCZOS)
    grain = np.random.default_rng(seed).normal(scale=3.2, size=(small.height, small.width, 1))
    return Image.fromarray(np.clip(np.asarray(small) + grain, 0, 255).astype(np.uint8))


PICTURES: dict[str, tuple[Callable[[tuple[int, int]], Image.Image], tuple[int, int]]] = {
    "lighthouse": (lighthouse, (1280, 720)),
    "lake": (lake, (1280, 800)),
    "lantern": (lantern, (800, 1200)),
}


def main() -> None:
    (HERE / "thumbnails").mkdir(exist_ok=True)
    for seed, (name, (paint, (width, height))) in enumerate(PICTURES.items()):
        picture = finished(paint((width * SCALE, height * SCALE)), seed)
        picture.save(HERE / f"{name}.jpg", quality=90)
        picture.thumbnail((320, 320))
        picture.save(HERE / "thumbnails" / f"{name}.jpg", quality=82)


if __name__ == "__main__":
    main()
