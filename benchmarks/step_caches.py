"""Compare the two step caches: how near a clip stays to the one without, and how many passes are skipped for it.

    python -m benchmarks.step_caches            prints the table; --write puts it into docs/step-caches.md
    python -m benchmarks.step_caches --models "two random layers"

The miniature has three blocks, the random pipeline two: both caches skip there as they do on A14B, but what a skipped
pass still computes is counted at A14B's forty blocks.
"""

import argparse
import platform
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from skimage.metrics import structural_similarity

from benchmarks import quality, random_model
from benchmarks.miniature import HEIGHT, WIDTH, db, photographs
from benchmarks.quality import IDENTICAL_DB, Studio
from training import prompts
from wan_core.engine import loading
from wan_core.engine.acceleration import THRESHOLDS, Acceleration
from wan_core.engine.embedding_cache import cache_first_frames
from wan_core.engine.loading import Card, Engine
from wan_core.engine.step_cache import CacheDit, FirstBlockCache, StepCache
from wan_core.geometry import Size
from wan_core.profiles import profiles
from wan_core.settings import Settings

PAGE = Path(__file__).parents[1] / "docs" / "step-caches.md"
BLOCKS = 40  # A14B's
STRICT = (THRESHOLDS[0] / 10, THRESHOLDS[1] / 10)
CACHES: dict[str, tuple[StepCache, int]] = {
    "first-block, as shipped (0.04 and 0.10)": (FirstBlockCache(THRESHOLDS), 1),
    "first-block, a tenth of that": (FirstBlockCache(STRICT), 1),
    "cache-dit, as shipped (0.08, eight blocks decide)": (CacheDit(), CacheDit.first_blocks),
    "cache-dit, one block decides": (CacheDit(first_blocks=1), 1),
    "cache-dit, one block, half the limit": (CacheDit(threshold=0.04, first_blocks=1), 1),
}
"""Each with the number of A14B's blocks that a skipped pass still computes."""
OTHER_SEED = "another seed, without a cache"
HEAD = """# The step caches beside each other

Made by `python -m benchmarks.step_caches --write` on {day}, {machine}:
{frames} frames, {steps} steps, guidance 3.5, `regular`. Each clip is compared with the same without a step cache;
*another seed* shows how far apart clips may be. *Work left*: what the passes would compute on A14B's forty blocks,
100 % without a cache.

cache-dit computes some steps of each expert before it skips one, so it skips a little less and stays nearer. No card
has run either: `python -m benchmarks.engine` times both there, and until then the first-block cache stays the default.
"""
COLUMNS = "| model | step cache | passes skipped | work left | PSNR | SSIM |\n|---|---|---|---|---|---|\n"


@dataclass
class WithCache(Acceleration):
    cache: StepCache | None = None

    def _new_cache(self) -> StepCache:
        assert self.cache is not None
        return self.cache


@dataclass(frozen=True)
class Found:
    """One clip beside the one without a cache."""

    psnr: float
    ssim: float
    skipped: float
    passes: int


def two_random_layers() -> Engine:
    """Both experts of two layers and everything else in A14B's layout; words mean nothing to it."""
    source, card = random_model.source(random_model.TINY), Card(torch.device("cpu"))
    engine = loading.load_from(source, profiles()["a14b"], card, [], {}, Settings(), lambda event: None)
    engine.pipe.set_progress_bar_config(disable=True)
    cache_first_frames(engine.pipe.vae)
    engine.pipe.tokenizer = lambda text: argparse.Namespace(input_ids=[0])
    width, generator = engine.pipe.transformer.config.text_dim, torch.Generator().manual_seed(0)
    for prompt in ("", *(prompts.wordings(move)[1] for move in prompts.MOVES)):
        words = torch.randn(1, 512, width, generator=generator).to(torch.bfloat16)
        engine.prompts.get(prompt, words.clone)
    return engine


MODELS: dict[str, tuple[Callable[[], Engine], Size]] = {
    "miniature": (quality.miniature, Size(WIDTH, HEIGHT)),
    "two random layers": (two_random_layers, Size(96, 64)),
}


def measure(studio: Studio, pictures: list[Image.Image], moves: list[str]) -> dict[str, list[Found]]:
    found: dict[str, list[Found]] = {name: [] for name in (*CACHES, OTHER_SEED)}
    for picture in pictures:
        for prompt in (prompts.wordings(move)[1] for move in moves):
            plain = made_with(studio, None, picture, prompt)
            for name, (cache, _) in CACHES.items():
                clip = made_with(studio, cache, picture, prompt)
                found[name].append(compared(plain, clip, studio))
            studio.options.seed += 1
            found[OTHER_SEED].append(compared(plain, made_with(studio, None, picture, prompt), studio))
            studio.options.seed -= 1
    return found


def made_with(studio: Studio, cache: StepCache | None, picture: Image.Image, prompt: str) -> np.ndarray:
    studio.engine.acceleration = WithCache(Settings(), caches=cache is not None, cache=cache)
    return studio.clip(picture, prompt, "regular")


def compared(plain: np.ndarray, clip: np.ndarray, studio: Studio) -> Found:
    psnr = IDENTICAL_DB if np.array_equal(plain, clip) else db(plain, clip)
    ssim = [structural_similarity(*pair, channel_axis=-1, data_range=1.0) for pair in zip(plain, clip, strict=True)]
    schedule = studio.schedule()
    skipped = sum(share * (1 + guided) for share, guided in zip(studio.skipped(), schedule.guided, strict=True))
    return Found(psnr, float(np.mean(ssim)), skipped, schedule.forwards)


def rows(model: str, found: dict[str, list[Found]]) -> str:
    return "".join(_row(model, name, clips) for name, clips in found.items())


def _row(model: str, name: str, clips: list[Found]) -> str:
    psnr, ssim, skipped, passes = np.mean([(c.psnr, c.ssim, c.skipped, c.passes) for c in clips], axis=0)
    computed = CACHES[name][1] if name in CACHES else 0
    left = 1 - skipped / passes * (1 - computed / BLOCKS)
    shown = "identical" if psnr == IDENTICAL_DB else f"{psnr:.1f} dB"
    return f"| {model} | {name} | {skipped:.1f} of {passes:.0f} | {left:.0%} | {shown} | {ssim:.4f} |\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--photographs", nargs="+", default=["cat", "flower"])
    parser.add_argument("--moves", nargs="+", default=["pan left", "push in"], choices=list(prompts.MOVES))
    parser.add_argument("--frames", type=int, default=17)
    parser.add_argument("--steps", type=int, default=27)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    options.guidance, options.seed = 3.5, 0
    pictures = [picture for _, picture in photographs(options.photographs)]
    table = COLUMNS
    for model in options.models:
        load, size = MODELS[model]
        with tempfile.TemporaryDirectory() as folder:
            studio = Studio(load(), size, options, Path(folder))
            fitting = [picture.resize((size.width, size.height)) for picture in pictures]
            table += rows(model, measure(studio, fitting, options.moves))
    print(table)
    if options.write:
        machine = f"{platform.machine()} CPU, torch {torch.__version__}"
        head = HEAD.format(day=date.today(), machine=machine, frames=options.frames, steps=options.steps)
        PAGE.write_text(f"{head}\n{table}", "utf-8")


if __name__ == "__main__":
    main()
