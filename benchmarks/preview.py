"""Fit the preview's map from the miniature's latents to colours; print its accuracy and the previews' cost.

    python -m benchmarks.preview            fits the map, prints it and its accuracy, times it and the previews
    python -m benchmarks.preview --frames 17 --steps 16

Accuracy is PSNR on held-out photographs against their mean colours under each latent pixel. The cost is that of a whole
clip: fal's 27 steps, previews as the page asks.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks.miniature import db, photographs
from benchmarks.one_job import make_job
from training.moving_pictures import HELD_OUT, to_tensor
from wan_core.engine import loading, preview, sampling
from wan_core.engine.preview import Colours, Previews
from wan_core.events import Preview
from wan_core.files import FileStore
from wan_core.geometry import LANDSCAPE
from wan_core.profiles import profiles
from wan_core.schema import ImageToVideoInput
from wan_core.settings import Settings


class Timed(Previews):
    """Adds up the seconds of previews, refused offers included."""

    seconds = 0.0

    def offer(self, step: int, latents: torch.Tensor, seconds_left: float) -> bool:
        began = time.perf_counter()
        try:
            return super().offer(step, latents, seconds_left)
        finally:
            Timed.seconds += time.perf_counter() - began


@contextmanager
def timed() -> Iterator[None]:
    setattr(sampling, "Previews", Timed)  # noqa: B010  (a name of that module, to mypy)
    try:
        yield
    finally:
        setattr(sampling, "Previews", Previews)  # noqa: B010


def truth(engine: loading.Engine, colours: Colours) -> dict[str, float]:
    """PSNR in dB of each held-out photograph as a still clip."""
    vae, found = engine.pipe.vae, {}
    for name, picture in photographs(list(HELD_OUT)):
        still = to_tensor(picture)[None, :, None].expand(-1, -1, 5, -1, -1)
        with torch.no_grad():
            latents = preview.normalize(vae, vae.encode(still).latent_dist.mode())
        means = F.adaptive_avg_pool2d(still[0, :, 0], (latents.shape[-2], latents.shape[-1])).permute(1, 2, 0).numpy()
        found[name] = db(colours.pictures(latents)[-1] / 255, (means + 1) / 2)
    return found


def clip_seconds(engine: loading.Engine, options: argparse.Namespace, folder: Path) -> tuple[float, int]:
    """Seconds of sampling and decoding a clip, and its number of previews."""
    picture = next(photographs(["cat"]))[1]
    values = {"image_url": "data:", "prompt": "pan left", "seed": 1, "num_frames": options.frames}
    request = ImageToVideoInput.model_validate(values | {"num_inference_steps": options.steps})
    files = FileStore(folder)
    job = make_job(files, picture, request, LANDSCAPE["480p"], "miniature")
    began = time.perf_counter()
    events = list(sampling.sample(engine, job, request.prompt, files, lambda: False))
    return time.perf_counter() - began, sum(isinstance(event, Preview) for event in events)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--frames", type=int, default=81)
    parser.add_argument("--steps", type=int, default=27)
    options = parser.parse_args()
    began = time.perf_counter()
    engine = loading.load(profiles()["miniature"], Settings(), lambda event: None)
    loaded = time.perf_counter() - began
    began = time.perf_counter()
    colours = preview.fit_colours(engine.pipe.vae)
    fit = time.perf_counter() - began
    np.set_printoptions(precision=4, suppress=True)
    print(f"factors\n{colours.factors.numpy()}\nbias {colours.bias.numpy()}")
    print("true to", ", ".join(f"{name} {value:.1f} dB" for name, value in truth(engine, colours).items()))
    with tempfile.TemporaryDirectory() as folder, timed():
        whole, count = clip_seconds(engine, options, Path(folder))
    print(f"The fit takes {fit:.2f} s of the {loaded:.1f} s that loading takes, once a start.")
    print(f"{count} previews take {Timed.seconds:.3f} s of a clip's {whole:.1f} s: {Timed.seconds / whole:.2%}.")


if __name__ == "__main__":
    main()
