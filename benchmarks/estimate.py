"""How far the estimate before the click is off, before and after three finished clips taught it.

    python -m benchmarks.estimate              the miniature on this machine: sampling and decoding of seven clips

Three clips of different length and size teach, four others are the judges. Interpolation and encoding are left out:
they are calibrated in the same way, stage by stage.
"""

import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from wan_core.engine import loading, sampling
from wan_core.estimate import Calibration, estimate, learn
from wan_core.events import Job, Stage
from wan_core.geometry import LANDSCAPE, SQUARE
from wan_core.profiles import Machine, profiles
from wan_core.schema import ImageToVideoInput
from wan_core.settings import Settings

PROFILE = profiles()["miniature"]
HERE = Machine()
TEACHERS = (
    {"resolution": "480p", "num_frames": 49, "num_inference_steps": 8},
    {"resolution": "480p", "num_frames": 81, "num_inference_steps": 12},
    {"resolution": "720p", "num_frames": 33, "num_inference_steps": 8},
)
JUDGES = (
    {"resolution": "480p", "num_frames": 81, "num_inference_steps": 27},
    {"resolution": "480p", "num_frames": 17, "num_inference_steps": 20},
    {"resolution": "580p", "num_frames": 49, "num_inference_steps": 12, "guidance_scale": 1, "guidance_scale_2": 1},
    {"resolution": "720p", "num_frames": 49, "num_inference_steps": 8, "acceleration": "none"},
)
SAME = {"image_url": "data:", "prompt": "pan left", "seed": 1, "interpolator_model": "none", "aspect_ratio": "16:9"}


def clip(engine: loading.Engine, request: ImageToVideoInput, folder: Path) -> dict[str, float]:
    """Seconds of each stage of a clip that is really made."""
    job = Job("benchmark", request, picture(folder), LANDSCAPE[request.resolution], PROFILE.name)
    stages: dict[str, float] = {}
    name, began = "", time.perf_counter()
    for event in sampling.sample(engine, job, request.prompt, folder / "frames.npy", lambda: False):
        if isinstance(event, Stage):
            stages[name] = time.perf_counter() - began
            name, began = event.name, time.perf_counter()
    return stages | {name: time.perf_counter() - began}


def picture(folder: Path) -> Path:
    path, size = folder / "picture.png", SQUARE["720p"]
    noise = np.random.default_rng(int(time.time())).integers(0, 255, (size.height, size.width, 3), np.uint8)
    Image.fromarray(noise).save(path)  # a new one each time: a remembered first frame would flatter the clip
    return path


def main() -> None:
    engine, calibration = loading.load(PROFILE, Settings(), lambda event: None), Calibration()
    off: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        for role, values in [*(("teaches", v) for v in TEACHERS), *(("judges", v) for v in JUDGES)]:
            request = ImageToVideoInput.model_validate(SAME | values)
            size = LANDSCAPE[request.resolution]
            parts = estimate(request, size, PROFILE, HERE, calibration).stages
            said, took = parts["sampling"] + parts["decoding"], clip(engine, request, Path(folder))
            real = took["sampling"] + took["decoding"]
            print(f"{role}: {values}: said {said:.1f} s, took {real:.1f} s, {said / real - 1:+.0%}", flush=True)
            if role == "teaches":
                learn(calibration, request, size, PROFILE, HERE, took)
            else:
                off.append(abs(said / real - 1))
    print(f"After three clips the estimate is off by {np.mean(off):.0%} on average, {max(off):.0%} at most.")


if __name__ == "__main__":
    main()
