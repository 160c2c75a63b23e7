"""Measure the error of the estimate before and after three finished clips taught it.

    python -m benchmarks.estimate              the miniature on this machine: sampling and decoding of seven clips

Three clips of different length and size teach, four others judge. Wall time is what a visitor sees; processor time,
which other load hardly touches, shows how good the model is.
"""

import os
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.one_job import make_job
from wan_core.engine import loading, sampling
from wan_core.estimator import Estimator
from wan_core.events import Stage
from wan_core.files import FileStore
from wan_core.geometry import LANDSCAPE, SQUARE
from wan_core.profiles import Machine, profiles
from wan_core.schema import ImageToVideoInput
from wan_core.settings import Settings

PROFILE = profiles()["miniature"]
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


Seconds = dict[str, float]
CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "processor": time.process_time}


def clip(engine: loading.Engine, request: ImageToVideoInput, folder: Path) -> dict[str, Seconds]:
    """Seconds of each stage of a clip, by each clock."""
    files = FileStore(folder)
    job = make_job(files, picture(), request, LANDSCAPE[request.resolution], PROFILE.name)
    marks = [("", now())]
    for event in sampling.sample(engine, job, request.prompt, files, lambda: False):
        if isinstance(event, Stage):
            marks.append((event.name, now()))
    marks.append(("", now()))
    return {
        clock: {name: later[clock] - began[clock] for (name, began), (_, later) in pairwise(marks)} for clock in CLOCKS
    }


def now() -> Seconds:
    return {name: clock() for name, clock in CLOCKS.items()}


def picture() -> Image.Image:
    """New noise each time: a cached first frame would flatter the clip."""
    size = SQUARE["720p"]
    noise = np.random.default_rng(int(time.time())).integers(0, 255, (size.height, size.width, 3), np.uint8)
    return Image.fromarray(noise)


def main() -> None:
    engine = loading.load(PROFILE, Settings(), lambda event: None)
    estimators = {clock: Estimator(Machine()) for clock in CLOCKS}
    off: dict[str, list[float]] = {clock: [] for clock in CLOCKS}
    with tempfile.TemporaryDirectory() as folder:
        for role, values in [*(("teaches", v) for v in TEACHERS), *(("judges", v) for v in JUDGES)]:
            request = ImageToVideoInput.model_validate(SAME | values)
            size, took = LANDSCAPE[request.resolution], clip(engine, request, Path(folder))
            print(f"{role}: {values}", flush=True)
            for clock, estimator in estimators.items():
                parts = estimator.estimate(request, size, PROFILE).stages
                said, real = (sum(stages[name] for name in ("sampling", "decoding")) for stages in (parts, took[clock]))
                print(f"    {clock}: said {said:.1f} s, took {real:.1f} s, {said / real - 1:+.0%}", flush=True)
                if role == "teaches":
                    estimator.learn(request, size, PROFILE, took[clock])
                else:
                    off[clock].append(abs(said / real - 1))
    load = os.getloadavg()[2]
    print(f"Load of the last quarter of an hour: {load:.1f} on {os.cpu_count()} cores, this work included.")
    for clock, errors in off.items():
        print(f"After three clips, by the {clock} clock: off by {np.mean(errors):.0%}, at most {max(errors):.0%}.")


if __name__ == "__main__":
    main()
