"""Measure processor time and memory of whole clips by the miniature, each in a process with the worker's variables.

    python -m benchmarks.whole_clip [--clips preset fal] [--resolutions 480p 720p]

preset: the page's, but 33 frames. fal: the endpoint's defaults; without RIFE's weights optical flow makes the frames
between. Time is the process's and its encoder's, without imports and loading, on all cores (`OMP_NUM_THREADS=1`: one).
"""

import argparse
import itertools
import resource
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image

from benchmarks.one_job import make_job
from wan_core import settings
from wan_core.clips import ClipWorker
from wan_core.events import Stage
from wan_core.files import FileStore
from wan_core.geometry import LANDSCAPE
from wan_core.presets import presets
from wan_core.schema import ImageToVideoInput

PICTURE = Path(__file__).parents[1] / "examples" / "lighthouse.jpg"


def request(clip: str, resolution: str) -> ImageToVideoInput:
    values: dict[str, Any] = {**presets()["miniature"].complete, "num_frames": 33} if clip == "preset" else {}
    values |= {"prompt": "pan left", "image_url": "data:", "seed": 7, "resolution": resolution}
    return ImageToVideoInput.model_validate(values | {"aspect_ratio": "16:9", "enable_safety_checker": False})


def cpu_seconds() -> float:
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


def measure(clip: str, resolution: str) -> None:
    inputs = request(clip, resolution)
    with TemporaryDirectory() as folder, Image.open(PICTURE) as picture:
        host = settings.load().model_copy(update={"data_dir": Path(folder)})
        job = make_job(FileStore(Path(folder)), picture, inputs, LANDSCAPE[inputs.resolution], "miniature")
        began = cpu_seconds()
        for event in ClipWorker(host).run(job, lambda: False):
            if isinstance(event, Stage) and event.name == "sampling":
                began = cpu_seconds()
    seconds, peak = cpu_seconds() - began, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{clip}, {resolution}, {inputs.num_frames} frames: {seconds:.1f} s of processors, peak {peak:.0f} MiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", nargs="+", default=["preset", "fal"], choices=["preset", "fal"])
    parser.add_argument("--resolutions", nargs="+", default=["480p"], choices=["480p", "580p", "720p"])
    parser.add_argument("--here", action="store_true", help="in this process, one clip")
    options = parser.parse_args()
    for clip, resolution in itertools.product(options.clips, options.resolutions):
        if options.here:
            measure(clip, resolution)
        else:
            command = [sys.executable, "-m", "benchmarks.whole_clip", "--here", "--clips", clip]
            variables = settings.with_variables({})
            subprocess.run([*command, "--resolutions", resolution], check=True, env=variables)


if __name__ == "__main__":
    main()
