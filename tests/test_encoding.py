"""Encoding against oracles: the file is decoded again, its atoms are read, its encoder is killed."""

import contextlib
import os
import re
import resource
import signal
import struct
import subprocess
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import get_args

import imageio_ffmpeg
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from benchmarks.encoding import CLIPS
from tests.support.mp4 import comment_in, decoded
from wan_core.encoding import CRF, PRESET, EncodedClip, encode, enlarged, level, probe
from wan_core.errors import BackendError, Cancelled
from wan_core.frames import Frame
from wan_core.geometry import Size, rendered_size
from wan_core.schema import VideoQuality, VideoWriteMode

SMALL = Size(64, 48)


def flat(colour: tuple[int, int, int], size: Size = SMALL) -> Frame:
    return np.broadcast_to(np.array(colour, np.uint8), (size.height, size.width, 3))


def noise(count: int, size: Size = SMALL) -> Iterator[Frame]:
    random = np.random.default_rng(0)
    for _ in range(count):
        yield random.integers(0, 256, (size.height, size.width, 3), np.uint8)


def written(frames: Iterator[Frame] | list[Frame], target: Path, **changes: object) -> EncodedClip:
    options: dict[str, object] = {"size": SMALL, "fps": 16, "quality": "high", "write_mode": "fast"} | changes
    return encode(frames, target, **options)  # type: ignore[arg-type]


def banner(path: Path) -> str:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-i", str(path)]
    return subprocess.run(command, capture_output=True, check=False).stderr.decode()


def atoms(path: Path) -> list[str]:
    data, position, names = path.read_bytes(), 0, []
    while position < len(data):
        names.append(data[position + 4 : position + 8].decode())
        position += int.from_bytes(data[position : position + 4])
    return names


def planes(path: Path, size: Size) -> tuple[NDArray[np.float64], ...]:
    """Y, Cb, Cr of the first frame as they lie in the file, no colour conversion by ffmpeg."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", str(path), "-frames:v", "1"]
    raw = subprocess.run([*command, "-f", "rawvideo", "-"], capture_output=True, check=True).stdout
    luma, chroma = size.pixels, size.pixels // 4
    flat_planes = np.frombuffer(raw, np.uint8).astype(float)
    return flat_planes[:luma], flat_planes[luma : luma + chroma], flat_planes[luma + chroma :]


def bt709_rgb(y: float, cb: float, cr: float) -> NDArray[np.float64]:
    """ITU-R BT.709-6 §3, limited range → RGB 0…255."""
    luma, blue, red = (y - 16) / 219, (cb - 128) / 224, (cr - 128) / 224
    r, b = luma + 1.5748 * red, luma + 1.8556 * blue
    return 255 * np.array([r, (luma - 0.2126 * r - 0.0722 * b) / 0.7152, b])


def children() -> set[int]:
    """Processes started by this one that nobody has waited for."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) == os.getpid():
                found.add(int(stat.parent.name))
    return found


def struck(deed: Callable[[int], object], after: int) -> Iterator[Frame]:
    """Many frames; after some of them `deed` is done to the encoder, which did not run when this was called."""
    before = children()

    def frames() -> Iterator[Frame]:
        for number, frame in enumerate(noise(1_000)):
            if number == after:
                for encoder in children() - before:
                    deed(encoder)
            yield frame

    return frames()


@pytest.mark.parametrize(
    "colour", [(200, 30, 30), (20, 180, 60), (30, 40, 210), (0, 0, 0), (255, 255, 255), (90, 120, 30)]
)
def test_a_flat_colour_comes_back_within_two_levels_under_the_bt709_matrix(
    tmp_path: Path, colour: tuple[int, int, int]
) -> None:
    written([flat(colour)] * 3, tmp_path / "clip.mp4", quality="maximum")
    by_hand = bt709_rgb(*(plane.mean() for plane in planes(tmp_path / "clip.mp4", SMALL)))
    by_tags = next(decoded(tmp_path / "clip.mp4")).reshape(-1, 3).mean(0)
    assert np.abs(by_hand - colour).max() <= 2
    assert np.abs(by_tags - colour).max() <= 2


def test_the_file_says_h264_high_yuv420p_limited_range_bt709(tmp_path: Path) -> None:
    written(noise(3), tmp_path / "clip.mp4", write_mode="balanced")
    assert re.search(r"h264 \(High\).*yuv420p\(tv, bt709, progressive\)", banner(tmp_path / "clip.mp4"))


@pytest.mark.parametrize(("fps", "count"), [(4, 1), (16, 2), (16, 81), (60, 33), (300, 41)])
def test_frame_count_and_rate_are_exact(tmp_path: Path, fps: int, count: int) -> None:
    clip = written(noise(count), tmp_path / "clip.mp4", fps=fps)
    assert (clip.frames, clip.fps, clip.size) == (count, Fraction(fps), SMALL)
    assert clip.seconds == pytest.approx(count / fps)
    assert clip.bytes == clip.path.stat().st_size
    assert sum(1 for _ in decoded(clip.path)) == count
    assert f" {fps} fps" in banner(clip.path)


@pytest.mark.parametrize(
    "clip", [pytest.param(name, marks=[] if name == "soft" else pytest.mark.slow) for name in CLIPS]
)
def test_small_is_the_smallest_and_fast_the_largest_on_a_zoom_a_soft_clip_and_grain(tmp_path: Path, clip: str) -> None:
    frames = [np.asarray(Image.fromarray(frame).resize((208, 120))) for frame in CLIPS[clip](17)]
    size = Size(208, 120)
    sizes = {
        mode: written(frames, tmp_path / f"{mode}.mp4", size=size, quality="medium", write_mode=mode).bytes
        for mode in PRESET
    }
    assert sizes["small"] < sizes["balanced"] < sizes["fast"]


EVERY_RATE = sorted({*range(4, 61, 3), 23, 29, *range(60, 301, 15)})


@pytest.mark.parametrize("rates", [[4, 16, 23, 29, 60, 300], pytest.param(EVERY_RATE, marks=pytest.mark.slow)])
def test_the_duration_is_exact_at_every_rate_to_the_film_to_the_track_and_to_its_edit_list(
    tmp_path: Path, rates: list[int]
) -> None:
    for fps in rates:
        data = written(noise(7), tmp_path / "clip.mp4", fps=fps, write_mode="balanced").path.read_bytes()
        (film_scale, film), (track_scale, track) = (
            struct.unpack_from(">II", data, data.index(kind) + 16) for kind in (b"mvhd", b"mdhd")
        )
        _, edits, edit, start = struct.unpack_from(">IIIi", data, data.index(b"elst") + 4)
        assert Fraction(film, film_scale) == Fraction(track, track_scale) == Fraction(7, fps), fps
        assert (edits, Fraction(edit, film_scale)) == (1, Fraction(7, fps)), fps
        assert Fraction(start * fps, track_scale).denominator == 1, "the edit starts on a frame"


@pytest.mark.parametrize("write_mode", [pytest.param("fast", marks=pytest.mark.slow), "balanced", "small"])
@pytest.mark.parametrize(
    ("size", "fps", "level"),
    [(Size(832, 480), 16, 31), (Size(1280, 720), 16, 31), (Size(1280, 720), 30, 31), (Size(960, 960), 16, 31),
     (Size(1280, 720), 31, 40), (Size(720, 1280), 60, 40), (Size(832, 480), 60, 31), (Size(1280, 720), 300, 52)],
)  # fmt: skip
def test_a_clip_asks_no_more_of_a_player_than_its_size_and_rate_need(
    tmp_path: Path, size: Size, fps: int, level: int, write_mode: VideoWriteMode
) -> None:
    frames = [flat((90, 120, 30), size)] * 2
    data = written(frames, tmp_path / "clip.mp4", size=size, fps=fps, write_mode=write_mode).path.read_bytes()
    profile, found = data[data.index(b"avcC") + 5], data[data.index(b"avcC") + 7]
    references = int(re.search(rb" ref=(\d+) ", data)[1])  # type: ignore[index]
    assert (profile, found) == (100, level)
    assert references <= 4


def test_a_rate_beyond_every_player_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="players"):
        level(Size(4096, 4096), 300)


def test_the_frames_come_back_in_their_order(tmp_path: Path) -> None:
    levels = [20, 200, 90, 250, 5, 140]
    clip = written([flat((level,) * 3) for level in levels], tmp_path / "clip.mp4")
    assert np.abs([frame.mean() for frame in decoded(clip.path)] - np.array(levels)).max() <= 2


def test_every_quality_and_write_mode_reaches_x264(tmp_path: Path) -> None:
    subme = {"fast": 1, "balanced": 7, "small": 10}  # x264's own table of presets
    assert (set(CRF), set(PRESET)) == (set(get_args(VideoQuality)), set(get_args(VideoWriteMode)))
    for quality, crf in CRF.items():
        for write_mode in PRESET:
            clip = written(noise(1), tmp_path / "clip.mp4", quality=quality, write_mode=write_mode)
            options = clip.path.read_bytes()
            assert f"crf={crf + (0.5 if write_mode == 'small' else 0):.1f} ".encode() in options
            assert f"subme={subme[write_mode]} ".encode() in options


def test_better_quality_is_closer_to_the_frames_and_larger(tmp_path: Path) -> None:
    picture = np.asarray(Image.fromarray(next(noise(1, Size(8, 6)))).resize((64, 48)))
    clips = [written([picture] * 4, tmp_path / f"{quality}.mp4", quality=quality) for quality in CRF]
    errors = [float(np.square(next(decoded(clip.path)) - picture.astype(float)).mean()) for clip in clips]
    assert errors == sorted(errors, reverse=True)
    assert [clip.bytes for clip in clips] == sorted(clip.bytes for clip in clips)


def test_the_index_stands_before_the_pictures(tmp_path: Path) -> None:
    clip = written(noise(5), tmp_path / "clip.mp4", comment="recipe")
    assert [name for name in atoms(clip.path) if name in ("ftyp", "moov", "mdat")] == ["ftyp", "moov", "mdat"]


@pytest.mark.parametrize(
    "comment",
    [
        "",
        '{"prompt": "Ein \\"Drache\\" — 龍 🐉", "seed": 7}',
        "a=b; c#d \\ e\nsecond line\n\ncomment=not this\r\ttab",
        "; starts like a remark",
        '{"prompt": "' + "long " * 4_000 + '"}',
        "x" * 300_000,
    ],
)
def test_the_comment_comes_back_letter_for_letter(tmp_path: Path, comment: str) -> None:
    written(noise(1), tmp_path / "clip.mp4", comment=comment)
    assert comment_in(tmp_path / "clip.mp4") == comment


@settings(max_examples=15, deadline=None)
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=200))
def test_any_text_without_nul_survives_as_comment(tmp_path_factory: pytest.TempPathFactory, comment: str) -> None:
    target = tmp_path_factory.mktemp("comment") / "clip.mp4"
    written(noise(1), target, comment=comment)
    assert comment_in(target) == comment


@pytest.mark.parametrize("size", [Size(832, 480), Size(624, 624), Size(480, 832), Size(656, 608)])
def test_a_smaller_rendering_is_cropped_centrally_and_enlarged_without_stretching(size: Size) -> None:
    rendered = rendered_size(size, 4)
    y, x = np.mgrid[: rendered.height, : rendered.width]
    radius = rendered.height / 4
    disc = ((x - rendered.width / 2 + 0.5) ** 2 + (y - rendered.height / 2 + 0.5) ** 2 < radius**2) * np.uint8(255)
    picture = enlarged(np.repeat(disc[..., None], 3, axis=2), size)
    lit = picture[..., 0] > 127
    assert picture.shape == (size.height, size.width, 3)
    assert abs(lit.any(0).sum() - lit.any(1).sum()) <= 2, "a circle stays a circle"
    assert np.abs(np.array(np.nonzero(lit)).mean(1) - [(size.height - 1) / 2, (size.width - 1) / 2]).max() < 0.5


def test_a_frame_of_the_right_size_is_not_touched() -> None:
    frame = next(noise(1))
    assert enlarged(frame, SMALL) is frame


def test_a_small_rendering_is_delivered_at_the_promised_size(tmp_path: Path) -> None:
    clip = written(noise(3, Size(32, 32)), tmp_path / "clip.mp4", size=Size(96, 64))
    assert (clip.size, clip.frames) == (Size(96, 64), 3)


@pytest.mark.parametrize("size", [Size(63, 48), Size(64, 47)])
def test_an_odd_size_is_refused_and_never_rescaled(tmp_path: Path, size: Size) -> None:
    with pytest.raises(BackendError, match="even"):
        written(noise(2, size), tmp_path / "clip.mp4", size=size)


def test_a_frame_larger_than_the_clip_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="does not fit"):
        written(noise(2, Size(128, 48)), tmp_path / "clip.mp4")


@pytest.mark.parametrize(
    "odd_one", [np.zeros((48, 62, 3), np.uint8), np.zeros((48, 64, 4), np.uint8), np.zeros((48, 64, 3), np.float32)]
)
def test_a_frame_that_differs_from_the_others_leaves_no_file(tmp_path: Path, odd_one: Frame) -> None:
    with pytest.raises(BackendError, match="uint8"):
        written([*noise(3), odd_one], tmp_path / "clip.mp4")
    assert list(tmp_path.iterdir()) == []


def test_no_frames_are_an_error_and_no_file(tmp_path: Path) -> None:
    with pytest.raises(BackendError):
        written([], tmp_path / "clip.mp4")
    assert list(tmp_path.iterdir()) == []


def test_a_killed_encoder_is_an_error_and_leaves_neither_file_nor_process(tmp_path: Path) -> None:
    before = children()
    with pytest.raises(BackendError, match="status -9") as caught:
        written(struck(lambda encoder: os.kill(encoder, signal.SIGKILL), after=5), tmp_path / "clip.mp4")
    assert caught.value.type == "internal_server_error"
    assert list(tmp_path.iterdir()) == []
    assert children() <= before


def test_a_disk_that_takes_no_more_bytes_is_named_and_leaves_no_file(tmp_path: Path) -> None:
    def fill(encoder: int) -> None:
        resource.prlimit(encoder, resource.RLIMIT_FSIZE, (1_000, 1_000))

    with pytest.raises(BackendError, match="disk is full") as caught:
        written(struck(fill, after=0), tmp_path / "clip.mp4")
    assert caught.value.type == "storage_full"
    assert list(tmp_path.iterdir()) == []


def test_a_cancel_in_the_middle_stops_at_once_and_leaves_neither_file_nor_process(tmp_path: Path) -> None:
    before, asked = children(), iter([False] * 5)
    taken: list[Frame] = []
    with pytest.raises(Cancelled):
        written(
            (taken.append(frame) or frame for frame in noise(100)),  # type: ignore[func-returns-value]
            tmp_path / "clip.mp4",
            cancelled=lambda: next(asked, True),
        )
    assert len(taken) == 6
    assert list(tmp_path.iterdir()) == []
    assert children() <= before


def test_a_cancel_while_the_encoder_finishes_is_heard(tmp_path: Path) -> None:
    fed = iter([False] * 40)
    with pytest.raises(Cancelled):
        written(noise(40, Size(640, 480)), tmp_path / "clip.mp4", size=Size(640, 480), write_mode="small",
                cancelled=lambda: next(fed, True))  # fmt: skip
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "error", [Cancelled(), OSError("the frames' own disk"), BrokenPipeError("not ours"), KeyError("x")]
)
def test_what_the_frames_raise_comes_through_and_leaves_no_file(tmp_path: Path, error: Exception) -> None:
    def failing() -> Iterator[Frame]:
        yield from noise(3)
        raise error

    with pytest.raises(type(error)) as caught:
        written(failing(), tmp_path / "clip.mp4")
    assert caught.value is error
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_the_clip_that_was_there(tmp_path: Path) -> None:
    clip = written(noise(2), tmp_path / "clip.mp4")
    with pytest.raises(BackendError):
        written([], clip.path)
    assert probe(clip.path).frames == 2


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BackendError):
        written(noise(2), tmp_path / "nowhere" / "clip.mp4")


def test_a_file_that_is_no_clip_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "clip.mp4").write_bytes(b"no mp4")
    with pytest.raises(BackendError, match="cannot be read"):
        probe(tmp_path / "clip.mp4")
