"""Frames → mp4, and facts read from one. Knows nothing of jobs or torch.

Runs imageio-ffmpeg's binary: the package ignores ffmpeg's exit status. `target` appears whole or not at all.
"""

import errno
import logging
import signal
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

import imageio_ffmpeg
import numpy as np
from PIL import Image

from wan_core import geometry
from wan_core.errors import BackendError, Cancelled
from wan_core.files import atomic_write
from wan_core.frames import Frame
from wan_core.geometry import Size
from wan_core.schema import VideoQuality, VideoWriteMode

log = logging.getLogger(__name__)

CRF: dict[VideoQuality, int] = {"low": 28, "medium": 23, "high": 18, "maximum": 12}
"""x264's CRF. 12 is visually lossless (46 dB); 0 would not play everywhere."""

PRESET: dict[VideoWriteMode, str] = {"fast": "superfast", "balanced": "medium", "small": "veryslow"}
"""Keeps the endpoint's order of sizes: veryfast writes smaller files than medium."""

REFERENCES: dict[VideoWriteMode, int] = {"fast": 1, "balanced": 3, "small": 4}
"""veryslow's own 16 gain 0.1 % and need more memory than phones have."""

SMALLER: dict[VideoWriteMode, float] = {"fast": 0, "balanced": 0, "small": 0.5}
"""Added to the CRF: else veryslow spends its savings on grain (`python -m benchmarks.encoding`)."""

LEVELS = {"3.1": (3_600, 108_000), "4.0": (8_192, 245_760), "4.2": (8_704, 522_240), "5.1": (36_864, 983_040),
          "5.2": (36_864, 2_073_600), "6.2": (139_264, 16_711_680)}  # fmt: skip
"""Macroblocks per frame and per second (ITU-T H.264, table A-1)."""

BT709 = (
    "scale=out_color_matrix=bt709:out_range=tv,"
    "setparams=range=tv:colorspace=bt709:color_primaries=bt709:color_trc=bt709"
)
"""Converts and tags. `-colorspace` alone tags bt709 over bt601 pixels in ffmpeg 5 (errors up to 25/255)."""

DISK_FULL = ("No space left on device", "Disk quota exceeded", "File too large")
POLL_S = 0.1
TICKS_PER_FRAME = 100


@dataclass(frozen=True)
class EncodedClip:
    path: Path
    size: Size
    frames: int
    fps: Fraction
    bytes: int

    @property
    def seconds(self) -> float:
        return float(self.frames / self.fps)


def _never() -> bool:
    return False


def encode(
    frames: Iterable[Frame],
    target: Path,
    *,
    size: Size,
    fps: int,
    quality: VideoQuality,
    write_mode: VideoWriteMode,
    comment: str = "",
    cancelled: Callable[[], bool] = _never,
) -> EncodedClip:
    """x264, yuv420p, bt709, faststart, with a `comment` tag.

    `frames`: uint8 (H, W, 3) RGB of one shape, enlarged to `size`. Also raises what `frames` raises.

    Raises:
        BackendError: `storage_full` or `internal_server_error`.
        Cancelled: `cancelled()` became true.
    """
    _require_even(size)
    with _full_disk_named(), atomic_write(target, durable=True) as part:
        with TemporaryDirectory(prefix="wan-encoding-") as folder:
            command = _command(_notes(Path(folder), comment), part, size, fps, quality, write_mode)
            count = _run_encoder(command, Path(folder, "log.txt"), frames, size, cancelled)
        return _checked(part, target, size, fps, count)


def enlarged(frame: Frame, size: Size) -> Frame:
    """Crop centrally to the ratio of `size` and enlarge (Lanczos). Raises BackendError if `frame` is larger."""
    height, width = frame.shape[:2]
    if (width, height) == (size.width, size.height):
        return frame
    if width > size.width or height > size.height:
        raise _fault(f"A frame of {Size(width, height)} does not fit the clip's {size}.")
    return np.asarray(geometry.fit(Image.fromarray(frame), size))


def probe(path: Path) -> EncodedClip:
    """Read from packets, without decoding. Raises BackendError."""
    report = _output("-i", str(path), "-map", "0:v:0", "-c", "copy", "-f", "framecrc", "-").decode()
    facts = dict(line[1:].split(" 0: ") for line in report.splitlines() if line.startswith("#") and " 0: " in line)
    packets = [line.split(",") for line in report.splitlines() if not line.startswith("#")]
    if not packets:
        raise _fault("The clip holds no frames.")
    width, height = map(int, facts["dimensions"].split("x"))
    ticks = sum(int(packet[3]) for packet in packets)
    return EncodedClip(
        path, Size(width, height), len(packets), len(packets) / (Fraction(facts["tb"]) * ticks), path.stat().st_size
    )


def _binary() -> str:
    return str(imageio_ffmpeg.get_ffmpeg_exe())


def _command(
    notes: Path, part: Path, size: Size, fps: int, quality: VideoQuality, write_mode: VideoWriteMode
) -> list[str]:
    raw = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{size.width}x{size.height}", "-r", str(fps), "-i", "pipe:0"]
    x264 = ["-c:v", "libx264", "-preset", PRESET[write_mode], "-crf", str(CRF[quality] + SMALLER[write_mode])]
    x264 += ["-refs", str(REFERENCES[write_mode]), "-level", level(size, fps), "-pix_fmt", "yuv420p"]
    tags = ["-f", "ffmetadata", "-i", str(notes), "-map", "0:v", "-map_metadata", "1"]  # a file: argv has a limit
    ticks = str(fps * TICKS_PER_FRAME)  # of the film as of its track: its own thousandths would round the duration
    times = ["-video_track_timescale", ticks, "-movie_timescale", ticks]
    mp4 = ["-vf", BT709, *times, "-movflags", "+faststart", "-f", "mp4", str(part)]
    return [_binary(), "-v", "error", "-y", *raw, *tags, *x264, *mp4]


def level(size: Size, fps: int) -> str:
    """Lowest that allows this size and rate."""
    across, down = -(-size.width // 16), -(-size.height // 16)
    for name, (frame, second) in LEVELS.items():
        if across * down <= frame and max(across, down) ** 2 <= 8 * frame and across * down * fps <= second:
            return name
    raise _fault(f"A clip of {size} at {fps} frames a second is beyond what players know.")


def _run_encoder(
    command: list[str], logfile: Path, frames: Iterable[Frame], size: Size, cancelled: Callable[[], bool]
) -> int:
    with logfile.open("wb") as sink, _running(command, sink) as process:
        count = _feed(process, _of_one_shape(frames), size, cancelled)
        status = _finish(process, cancelled)
    if status != 0:
        raise _encoder_error(status, logfile.read_text(errors="replace"))
    if count == 0:
        raise _fault("There were no frames to encode.")
    return count


@contextmanager
def _running(command: list[str], sink: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=sink, bufsize=0)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        if process.stdin is not None:
            process.stdin.close()


def _feed(process: subprocess.Popen[bytes], frames: Iterable[Frame], size: Size, cancelled: Callable[[], bool]) -> int:
    count = 0
    for frame in frames:
        if cancelled():
            raise Cancelled()
        if not _write(process, enlarged(frame, size)):
            break
        count += 1
    return count


def _write(process: subprocess.Popen[bytes], frame: Frame) -> bool:
    """False if the encoder is gone."""
    assert process.stdin is not None
    rest = memoryview(frame.tobytes())
    try:
        while rest:
            rest = rest[process.stdin.write(rest) :]
    except BrokenPipeError:
        return False
    return True


def _finish(process: subprocess.Popen[bytes], cancelled: Callable[[], bool]) -> int:
    """Cancellable: `small` takes seconds to finish."""
    assert process.stdin is not None
    process.stdin.close()
    while True:
        try:
            return process.wait(POLL_S)
        except subprocess.TimeoutExpired:
            if cancelled():
                raise Cancelled() from None


def _of_one_shape(frames: Iterable[Frame]) -> Iterator[Frame]:
    shape: tuple[int, ...] | None = None
    for frame in frames:
        shape = shape or frame.shape
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or frame.shape != shape:
            raise _fault(f"A frame is {frame.dtype} {frame.shape}; all must be uint8 (H, W, 3) of one size.")
        yield frame


def _checked(part: Path, target: Path, size: Size, fps: int, count: int) -> EncodedClip:
    found = probe(part)
    if (found.size, found.frames, found.fps) != (size, count, Fraction(fps)):
        log.error("%s should hold %s frames of %s at %s/s", found, count, size, fps)
        raise _fault("The encoded clip does not hold what was put into it.")
    return EncodedClip(target, found.size, found.frames, found.fps, found.bytes)


@contextmanager
def _full_disk_named() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise _storage_full() from error
        raise


def _require_even(size: Size) -> None:
    if size.width % 2 or size.height % 2:
        raise _fault(f"A clip of {size} cannot be encoded: both sides must be even.")


def _encoder_error(status: int, report: str) -> BackendError:
    log.error("ffmpeg ended with status %s: %s", status, report.strip())
    if status == -signal.SIGXFSZ or any(sign in report for sign in DISK_FULL):
        return _storage_full()
    return _fault(f"The video encoder stopped before its end (status {status}).")


def _storage_full() -> BackendError:
    return BackendError("storage_full", "The clip could not be written: the disk is full.")


def _fault(message: str) -> BackendError:
    return BackendError("internal_server_error", message)


def _output(*arguments: str) -> bytes:
    command = [_binary(), "-v", "error", *arguments]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode != 0:
        log.error("ffmpeg ended with status %s: %s", done.returncode, done.stderr.decode(errors="replace").strip())
        raise BackendError("internal_server_error", "The clip cannot be read.")
    return done.stdout


def _notes(folder: Path, comment: str) -> Path:
    notes = folder / "notes.txt"
    with _full_disk_named():
        notes.write_text(_ffmetadata(comment), encoding="utf-8", newline="\n")
    return notes


def _ffmetadata(comment: str) -> str:
    """Escape `=`, `;`, `#`, `\\` and line ends (ffmpeg-formats, "Metadata")."""
    escaped = "".join(f"\\{letter}" if letter in "=;#\\\n\r" else letter for letter in comment)
    return f";FFMETADATA1\ncomment={escaped}"  # no line end: behind a backslash ffmpeg reads it as text
