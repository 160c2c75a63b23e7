"""Frame counts and frame rate."""

from dataclasses import dataclass

from wan_core.schema import ImageToVideoInput

TEMPORAL_STRIDE = 4  # Wan's VAE codes one frame, then four at a time


@dataclass(frozen=True)
class Timing:
    """`sampled` frames leave the model, the first `generated` are kept, `delivered` are in the file."""

    sampled: int
    generated: int
    delivered: int
    fps: int

    @property
    def seconds(self) -> float:
        return self.delivered / self.fps


def timing(request: ImageToVideoInput) -> Timing:
    """n + (n-1)·k frames at fps, or fps·(k+1) when adjusting."""
    between = frames_between(request)
    frames = request.num_frames
    fps = request.frames_per_second * (between + 1 if request.adjust_fps_for_interpolation else 1)
    return Timing(sampled_frames(frames), frames, frames + (frames - 1) * between, fps)


def sampled_frames(num_frames: int) -> int:
    """The next 4k+1."""
    return -(-(num_frames - 1) // TEMPORAL_STRIDE) * TEMPORAL_STRIDE + 1


def frames_between(request: ImageToVideoInput) -> int:
    return 0 if request.interpolator_model == "none" else request.num_interpolated_frames
