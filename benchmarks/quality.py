"""Measure what `acceleration: regular` costs in quality: clips of the miniature against the same with `none`.

    python -m benchmarks.quality            27 steps, fal's guidance, 81 frames; writes benchmarks/results/quality.json
    python -m benchmarks.quality --frames 17 --photographs cat --moves "pan left" --results /tmp/short.json

PSNR and SSIM compare frame by frame. Motion is registered as in `benchmarks.miniature`: how far the last frame's
content is off `none`, and how many moves are right (in brackets: with `none`). The miniature ships without a step
cache; other rows force one, at A14B's thresholds and fractions of them, since its first block changes far less a step.
The pattern has a letter a step, high-noise expert first: # computed in all clips, - skipped in most passes, + in some.
"""

import argparse
import itertools
import json
import tempfile
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from skimage.metrics import structural_similarity

from benchmarks.miniature import HEIGHT, WIDTH, db, is_right, photographs, register
from benchmarks.one_job import make_job
from training import moving_pictures, prompts
from wan_core.engine import loading
from wan_core.engine.acceleration import THRESHOLDS, Acceleration
from wan_core.engine.loading import Engine
from wan_core.engine.sampling import prepare_scheduler, sample
from wan_core.files import FileStore
from wan_core.geometry import Size
from wan_core.profiles import profiles
from wan_core.schedule import UNGUIDED_END, StepSchedule, truncated
from wan_core.schema import ImageToVideoInput
from wan_core.settings import Settings

RESULTS = Path(__file__).parent / "results" / "quality.json"
SHIPPED = "regular as shipped"
CACHES = tuple((part * THRESHOLDS[0], part * THRESHOLDS[1]) for part in (1, 0.1, 0.01, 0.002))
IDENTICAL_DB = 99.0
VARIANTS = {SHIPPED: Acceleration(Settings(), caches=False)} | {
    f"regular with step cache {high:g}/{low:g}": Acceleration(Settings(), thresholds=(high, low))
    for high, low in CACHES
}


@dataclass(frozen=True)
class Agreement:
    """One clip against the same with `none`; identical ones have 99 dB.

    `shift`, `growth`: how far the last frame's content is off, in pixels and in scale. `skipped`: the share of each
    step's passes that the cache skipped.
    """

    psnr: float
    ssim: float
    right: bool
    right_with_none: bool
    shift: float
    growth: float
    skipped: tuple[float, ...]


class Studio:
    """An engine at one size; records which passes run all blocks."""

    def __init__(self, engine: Engine, size: Size, options: argparse.Namespace, folder: Path) -> None:
        self.engine, self.size, self.options, self.files = engine, size, options, FileStore(folder)
        self.passes: list[bool] = []
        for expert in (self.engine.pipe.transformer, self.engine.pipe.transformer_2):
            expert.register_forward_pre_hook(lambda *_: self.passes.append(False))
            expert.blocks[-1].ffn.register_forward_pre_hook(self._ran_whole)

    def _ran_whole(self, *_: object) -> None:
        self.passes[-1] = True

    def clip(self, picture: Image.Image, prompt: str, acceleration: str) -> np.ndarray:
        """(T, H, W, 3) in [0, 1]."""
        job = make_job(self.files, picture, self.request(prompt, acceleration), self.size, self.engine.profile.name)
        self.passes.clear()
        list(sample(self.engine, job, prompt, self.files, lambda: False))
        frames: np.ndarray = np.load(self.files.frames(job.id)) / 255
        return frames

    def request(self, prompt: str, acceleration: str) -> ImageToVideoInput:
        values = {"image_url": "data:", "prompt": prompt, "seed": self.options.seed, "num_frames": self.options.frames}
        values |= {"num_inference_steps": self.options.steps, "acceleration": acceleration}
        scales = dict.fromkeys(("guidance_scale", "guidance_scale_2"), self.options.guidance)
        return ImageToVideoInput.model_validate(values | scales)

    def schedule(self) -> StepSchedule:
        return truncated(prepare_scheduler(self.engine.pipe, self.request("any", "regular")), UNGUIDED_END)

    def skipped(self) -> tuple[float, ...]:
        """Each step's share of skipped passes in the last clip, which must be a `regular` one."""
        runs = iter(self.passes)
        passes = [list(itertools.islice(runs, 1 + guided)) for guided in self.schedule().guided]
        return tuple(1 - sum(whole) / len(whole) for whole in passes)


def miniature() -> Engine:
    """At its own size."""
    engine = loading.load(profiles()["miniature"], Settings(), lambda event: None)
    engine.profile = replace(engine.profile, render_divisor=1)
    return engine


def measure(studio: Studio) -> dict[str, list[Agreement]]:
    found: dict[str, list[Agreement]] = {name: [] for name in VARIANTS}
    options = studio.options
    for (name, picture), move in itertools.product(photographs(options.photographs), options.moves):
        prompt = prompts.wordings(move)[1]
        plain = studio.clip(picture, prompt, "none")
        for variant, acceleration in VARIANTS.items():
            studio.engine.acceleration = acceleration
            found[variant].append(compared(move, plain, studio.clip(picture, prompt, "regular"), studio.skipped()))
            print(f"{name} {move}, {variant}: {described(found[variant][-1:])}", flush=True)
    return found


def compared(move: str, plain: np.ndarray, fast: np.ndarray, skipped: tuple[float, ...]) -> Agreement:
    wanted, went = (register(clip[0], clip[-1]) for clip in (plain, fast))
    ssim = [structural_similarity(*pair, channel_axis=-1, data_range=1.0) for pair in zip(plain, fast, strict=True)]
    shift, growth = np.hypot(went.dx - wanted.dx, went.dy - wanted.dy), abs(went.scale / wanted.scale - 1)
    psnr = IDENTICAL_DB if np.array_equal(plain, fast) else db(plain, fast)
    right = bool(is_right(move, went)), bool(is_right(move, wanted))
    return Agreement(psnr, float(np.mean(ssim)), *right, float(shift), float(growth), skipped)


def described(clips: list[Agreement]) -> str:
    mean = {name: np.mean([getattr(clip, name) for clip in clips]) for name in ("psnr", "ssim", "shift", "growth")}
    right, before = sum(clip.right for clip in clips), sum(clip.right_with_none for clip in clips)
    motion = f"{mean['shift']:.1f} px and {mean['growth']:.1%} off, {right} of {len(clips)} moves right ({before})"
    return f"{mean['psnr']:.1f} dB, SSIM {mean['ssim']:.3f}, {motion}"


def pattern(skipped: list[float], schedule: StepSchedule) -> str:
    letters = ["-" if share > 0.5 else "+" if share > 0 else "#" for share in skipped]
    high = schedule.high_noise_steps
    return f"{''.join(letters[:high])} {''.join(letters[high:])}"


def report(found: dict[str, list[Agreement]], studio: Studio) -> dict[str, Any]:
    rows = []
    for variant, clips in found.items():
        skipped = np.mean([clip.skipped for clip in clips], axis=0).tolist()
        print(f"{variant}: {described(clips)}; {pattern(skipped, studio.schedule())}")
        thresholds = VARIANTS[variant].thresholds if VARIANTS[variant].caches else None
        rows.append({"variant": variant, "thresholds": thresholds, "skipped": skipped})
        rows[-1] |= {"pattern": pattern(skipped, studio.schedule()), "clips": [asdict(clip) for clip in clips]}
    options = {name: value for name, value in vars(studio.options).items() if name != "results"}
    return {"date": date.today().isoformat(), **options, "rows": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--photographs", nargs="+", default=["cat", "flower"], choices=list(moving_pictures.HELD_OUT))
    parser.add_argument(
        "--moves", nargs="+", default=["pan left", "tilt up", "push in", "static"], choices=list(prompts.MOVES)
    )
    parser.add_argument("--frames", type=int, default=81)
    parser.add_argument("--steps", type=int, default=27)
    parser.add_argument("--guidance", type=float, default=3.5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        studio = Studio(miniature(), Size(WIDTH, HEIGHT), options, Path(folder))
        results = report(measure(studio), studio)
    options.results.parent.mkdir(exist_ok=True)
    options.results.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
