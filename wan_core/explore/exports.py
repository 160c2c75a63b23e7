"""A grid of clips as one labelled mp4, and as a contact sheet."""

import subprocess
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import imageio_ffmpeg
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from wan_core import encoding
from wan_core.frames import Frame
from wan_core.geometry import Size

LARGEST = Size(1920, 1080)
LABEL_HEIGHT = 34
ROW_LABEL_WIDTH = 150
GAP = 4
MOMENTS = 4
MOST_FPS = 60
BACKGROUND, INK = (17, 24, 39), (243, 244, 246)


@dataclass(frozen=True)
class Exported:
    """A clip at its (column, row, page)."""

    place: tuple[int, int, int]
    clip: Path
    size: Size
    fps: int
    frames: int


@dataclass(frozen=True)
class Sheet:
    """Where the cells of a page lie. All sides are even."""

    columns: int
    rows: int
    cell: Size
    left: int
    top: int

    @property
    def size(self) -> Size:
        width = self.left + self.columns * (self.cell.width + GAP)
        height = self.top + self.rows * (self.cell.height + GAP)
        return Size(width + width % 2, height + height % 2)

    def corner(self, column: int, row: int) -> tuple[int, int]:
        return self.left + column * (self.cell.width + GAP), self.top + row * (self.cell.height + GAP)


def grid_video(cells: Sequence[Exported], titles: Sequence[str], labels: Sequence[Sequence[str]], target: Path) -> None:
    """Cells in step, page after page, at most 1920×1080; a shorter clip holds its last frame.

    `titles`, `labels`: of columns, rows, pages. Raises as `encoding.encode` does.
    """
    fps = min(max(cell.fps for cell in cells), MOST_FPS)
    sheet = _sheet(cells, labels, moments=1)
    pages = sorted({cell.place[2] for cell in cells})
    frames = (frame for page in pages for frame in _page(cells, titles, labels, sheet, page, fps))
    encoding.encode(frames, target, size=sheet.size, fps=fps, quality="high", write_mode="fast")


def contact_sheet(
    cells: Sequence[Exported], titles: Sequence[str], labels: Sequence[Sequence[str]], target: Path
) -> None:
    """A PNG with MOMENTS frames of each clip beside each other, the pages below each other."""
    sheet = _sheet(cells, labels, moments=MOMENTS)
    small = Size(sheet.cell.width // MOMENTS, sheet.cell.height)
    drawn = []
    for page in sorted({cell.place[2] for cell in cells}):
        canvas = _labelled(sheet, titles, labels, page)
        for cell in (cell for cell in cells if cell.place[2] == page):
            moments = {round(each) for each in np.linspace(0, cell.frames - 1, MOMENTS)}
            left, top = sheet.corner(*cell.place[:2])
            shown = [frame for number, frame in enumerate(frames_of_clip(cell.clip, small)) if number in moments]
            for place, frame in enumerate(shown):
                canvas.paste(Image.fromarray(frame), (left + place * small.width, top))
        drawn.append(canvas)
    whole = Image.new("RGB", (sheet.size.width, sheet.size.height * len(drawn)), BACKGROUND)
    for number, canvas in enumerate(drawn):
        whole.paste(canvas, (0, number * sheet.size.height))
    with target.open("wb") as file:
        whole.save(file, "PNG")


def frames_of_clip(clip: Path, size: Size) -> Iterator[Frame]:
    scale, raw = f"scale={size.width}:{size.height}:flags=area", ["-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    command = [str(imageio_ffmpeg.get_ffmpeg_exe()), "-v", "error", "-i", str(clip), "-vf", scale, *raw]
    nowhere = subprocess.DEVNULL
    with subprocess.Popen(command, stdin=nowhere, stdout=subprocess.PIPE, stderr=nowhere) as process:
        assert process.stdout is not None
        count = size.pixels * 3
        try:
            while len(picture := process.stdout.read(count)) == count:
                yield np.frombuffer(picture, np.uint8).reshape(size.height, size.width, 3)
        finally:
            process.kill()


def _page(
    cells: Sequence[Exported],
    titles: Sequence[str],
    labels: Sequence[Sequence[str]],
    sheet: Sheet,
    page: int,
    fps: int,
) -> Iterator[Frame]:
    here = [cell for cell in cells if cell.place[2] == page]
    canvas = np.asarray(_labelled(sheet, titles, labels, page)).copy()
    clips = [_Held(cell, sheet.cell) for cell in here]
    try:
        for number in range(round(max(cell.frames / cell.fps for cell in here) * fps)):
            for cell, clip in zip(here, clips, strict=True):
                left, top = sheet.corner(*cell.place[:2])
                canvas[top : top + sheet.cell.height, left : left + sheet.cell.width] = clip.at(number / fps)
            yield canvas
    finally:
        for clip in clips:
            clip.close()


class _Held:
    """A clip read forward in time; after its end, its last frame."""

    def __init__(self, cell: Exported, size: Size) -> None:
        self._frames = frames_of_clip(cell.clip, size)
        self._fps = cell.fps
        self._number = 0
        self._frame = next(self._frames)

    def at(self, seconds: float) -> Frame:
        with suppress(StopIteration):
            while self._number < int(seconds * self._fps + 1e-6):
                self._frame = next(self._frames)
                self._number += 1
        return self._frame

    def close(self) -> None:
        getattr(self._frames, "close", lambda: None)()


def _sheet(cells: Sequence[Exported], labels: Sequence[Sequence[str]], moments: int) -> Sheet:
    columns = max(1, len(labels[0]) if labels else 1)
    rows = max(1, len(labels[1]) if len(labels) > 1 else 1)
    left, top = (ROW_LABEL_WIDTH if rows > 1 else GAP), 2 * LABEL_HEIGHT
    widest = max((cell.size for cell in cells), key=lambda size: size.width / size.height)
    ratio = moments * widest.width / widest.height
    width = min((LARGEST.width - left) / columns - GAP, ratio * ((LARGEST.height - top) / rows - GAP))
    width = min(width, moments * widest.width)
    cell = Size(max(2 * moments, int(width) // (2 * moments) * 2 * moments), max(2, int(width / ratio) // 2 * 2))
    return Sheet(columns, rows, cell, left, top)


def _labelled(sheet: Sheet, titles: Sequence[str], labels: Sequence[Sequence[str]], page: int) -> Image.Image:
    canvas = Image.new("RGB", (sheet.size.width, sheet.size.height), BACKGROUND)
    draw = ImageDraw.Draw(canvas)
    roles = zip(("Columns", "Rows"), titles, strict=False)
    names = [f"{title}: {labels[2][page]}" for title in titles[2:3]]
    heading = ", ".join([*(f"{role}: {title}" for role, title in roles), *names])
    _write(draw, heading, GAP, 0, sheet.size.width - 2 * GAP)
    for column, label in enumerate(labels[0] if labels else ()):
        _write(draw, label, sheet.corner(column, 0)[0] + GAP, LABEL_HEIGHT, sheet.cell.width - GAP)
    for row, label in enumerate(labels[1] if len(labels) > 1 else ()):
        top = sheet.corner(0, row)[1] + (sheet.cell.height - LABEL_HEIGHT) // 2
        _write(draw, label, GAP, top, ROW_LABEL_WIDTH - 2 * GAP)
    return canvas


def _write(draw: ImageDraw.ImageDraw, text: str, left: int, top: int, width: int) -> None:
    """One line, cut to `width`."""
    text, font = " ".join(text.split()), _font()
    while text and draw.textlength(text, font=font) > width:
        text = text[:-2].rstrip("…") + "…" if len(text) > 2 else ""
    draw.text((left, top + (LABEL_HEIGHT - 22) // 2), text, INK, font=font)


@cache
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(20)
