"""Size, quality and CPU of all twelve settings of the encoder, on three clips made on the spot.

    python -m benchmarks.encoding                     the table behind `wan_core/encoding.py`, some ten minutes
    python -m benchmarks.encoding --frames 17 --quality high

A zoom into a sharp photo, a soft clip like the miniature's, and the zoom under film grain. VMAF (where imageio's ffmpeg
has it) and SSIM are against the frames before encoding; CPU seconds are ffmpeg's. The last lines say whether each
promise of `video_quality` and `video_write_mode` holds.
"""

import argparse
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import get_args

import imageio_ffmpeg
import numpy as np
from PIL import Image

from wan_core.encoding import BT709, encode
from wan_core.frames import Frame
from wan_core.geometry import Size
from wan_core.schema import VideoQuality, VideoWriteMode

SIZE = Size(832, 480)
FPS = 16
TAGS = "setparams=range=tv:colorspace=bt709:color_primaries=bt709:color_trc=bt709"  # else ffmpeg converts the untagged
PHOTO = Path(__file__).parents[1] / "examples" / "lighthouse.jpg"
QUALITIES: tuple[VideoQuality, ...] = get_args(VideoQuality)
WRITE_MODES: tuple[VideoWriteMode, ...] = get_args(VideoWriteMode)


@dataclass(frozen=True)
class Result:
    """`ssim` and `vmaf` are means over the frames; `vmaf` is NaN without libvmaf."""

    bytes: int
    vmaf: float
    ssim: float
    cpu_s: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=49)
    parser.add_argument("--quality", choices=QUALITIES, help="one of the four only")
    options = parser.parse_args()
    qualities = (options.quality,) if options.quality else QUALITIES
    results: dict[tuple[str, VideoQuality, VideoWriteMode], Result] = {}
    print("clip    quality  mode          kB    VMAF    SSIM  CPU s")
    with tempfile.TemporaryDirectory() as folder:
        for clip, make in CLIPS.items():
            original = uncompressed(list(make(options.frames)), Path(folder, f"{clip}.y4m"))
            frames = list(make(options.frames))
            for quality in qualities:
                for write_mode in WRITE_MODES:
                    result = measure(frames, original, quality, write_mode)
                    results[clip, quality, write_mode] = result
                    print(
                        f"{clip:7} {quality:8} {write_mode:8} {result.bytes / 1000:8.0f} {result.vmaf:7.2f} "
                        f"{result.ssim:7.4f} {result.cpu_s:6.2f}",
                        flush=True,
                    )
    for promise, broken in promises(results, qualities).items():
        print(f"{promise}: {'holds' if not broken else 'BROKEN for ' + ', '.join(broken)}")


def measure(frames: list[Frame], original: Path, quality: VideoQuality, write_mode: VideoWriteMode) -> Result:
    target = original.with_suffix(".mp4")
    before = os.times()
    clip = encode(frames, target, size=SIZE, fps=FPS, quality=quality, write_mode=write_mode)
    after = os.times()
    cpu_s = after.children_user - before.children_user + after.children_system - before.children_system
    return Result(clip.bytes, *compared(target, original), cpu_s)


def compared(clip: Path, original: Path) -> tuple[float, float]:
    """VMAF (0 to 100) and SSIM (0 to 1) of the clip."""
    graph = f"[0:v]{TAGS}[a];[1:v]{TAGS}[b];[a][b]ssim"
    if has_vmaf():
        graph = f"[0:v]{TAGS},split[a][b];[1:v]{TAGS},split[c][d];[a][c]libvmaf=n_threads=2;[b][d]ssim"
    report = ffmpeg("-i", str(clip), "-i", str(original), "-lavfi", graph, "-f", "null", "-")
    vmaf = re.search(r"VMAF score: ([\d.]+)", report)
    ssim = re.search(r"All:([\d.]+)", report)
    assert ssim is not None, report
    return float(vmaf[1]) if vmaf else float("nan"), float(ssim[1])


def has_vmaf() -> bool:
    return "libvmaf" in ffmpeg("-filters")


def uncompressed(frames: list[Frame], target: Path) -> Path:
    """The frames as the encoder sees them, after its conversion of colours."""
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{SIZE.width}x{SIZE.height}", "-r", str(FPS), "-i", "-"]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", *raw, "-vf", BT709, "-pix_fmt", "yuv420p"]
    subprocess.run([*command, str(target)], input=b"".join(frame.tobytes() for frame in frames), check=True)
    return target


def ffmpeg(*arguments: str) -> str:
    """What ffmpeg says of its work, on both outputs."""
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout + done.stderr


def zoom(count: int, grain: float = 0.0) -> Iterator[Frame]:
    """The camera pushes in by a third; `grain` is the standard deviation of its noise in levels."""
    photo = Image.open(PHOTO).convert("RGB")
    noise = np.random.default_rng(5)
    for number in range(count):
        width = min(photo.width, photo.height * SIZE.width / SIZE.height) / (1 + 0.35 * number / max(count - 1, 1))
        height = width * SIZE.height / SIZE.width
        left, top = (photo.width - width) / 2, (photo.height - height) / 2
        box = (left, top, left + width, top + height)
        frame = np.asarray(photo.resize((SIZE.width, SIZE.height), Image.Resampling.BICUBIC, box=box))
        yield np.clip(frame + noise.normal(0, grain, frame.shape), 0, 255).astype(np.uint8)


def soft(count: int) -> Iterator[Frame]:
    """Blurred blobs drift over a picture of 208×120 that is enlarged, as the miniature's frames are."""
    chance = np.random.default_rng(6)
    start, drift = chance.uniform(0, 1, (12, 2)), chance.uniform(-0.3, 0.3, (12, 2))
    colours = chance.integers(0, 256, (12, 3))
    y, x = np.mgrid[:120, :208]
    photo = np.asarray(Image.open(PHOTO).convert("RGB").resize((208, 120))).astype(float)
    for number in range(count):
        frame = np.roll(photo, number // 3, axis=1) / 2 + 64
        for blob in range(12):
            at = (start[blob] + drift[blob] * number / count) * (208, 120)
            weight = np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / 648)[..., None]
            frame = frame * (1 - weight) + colours[blob] * weight
        small = Image.fromarray(np.clip(frame, 0, 255).astype(np.uint8))
        yield np.asarray(small.resize((SIZE.width, SIZE.height), Image.Resampling.LANCZOS))


def grain(count: int) -> Iterator[Frame]:
    return zoom(count, 6)


CLIPS: dict[str, Callable[[int], Iterator[Frame]]] = {"zoom": zoom, "soft": soft, "grain": grain}


def promises(
    results: dict[tuple[str, VideoQuality, VideoWriteMode], Result], qualities: tuple[VideoQuality, ...]
) -> dict[str, list[str]]:
    """Each promise of the schema, and the settings that break it."""
    sizes = {setting: result.bytes for setting, result in results.items()}
    cpu = {setting: result.cpu_s for setting, result in results.items()}
    broken: dict[str, list[str]] = {}
    for name, figures in (("small < balanced < fast in bytes", sizes), ("fast < balanced < small in CPU", cpu)):
        order = WRITE_MODES[::-1] if figures is sizes else WRITE_MODES
        broken[name] = [
            f"{clip} {quality}"
            for clip in CLIPS
            for quality in qualities
            if any(figures[clip, quality, one] >= figures[clip, quality, other] for one, other in pairwise(order))
        ]
    broken["low < medium < high < maximum in bytes, VMAF and SSIM"] = [
        f"{clip} {better} {write_mode}"
        for clip in CLIPS
        for write_mode in WRITE_MODES
        for worse, better in pairwise(qualities)
        if not _better(results[clip, worse, write_mode], results[clip, better, write_mode])
    ]
    return broken


def _better(worse: Result, better: Result) -> bool:
    return worse.bytes < better.bytes and worse.ssim < better.ssim and not worse.vmaf > better.vmaf


if __name__ == "__main__":
    main()
