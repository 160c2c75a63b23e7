"""Measure Wan 2.2 A14B on this card, by variant: seconds a step, distance to the physical floor, memory.

    python -m benchmarks.engine              all variants that are not in the results yet, each in a fresh process
    python -m benchmarks.engine --dry-run    the same code on the CPU with the miniature: proves the script, no figures
    python -m benchmarks.engine --table      the results as a Markdown table
    python -m benchmarks.engine --one regular 480p    one variant, printed as JSON

The architecture is full, the weights random: time does not depend on them. A clip of 27 steps is composed of the median
of each kind of step (expert, guided, cached), of at least three where a short run has so many. Turbo's row leaves out
its LoRAs' small extra products. The step cache depends on the numbers, so its row forces the trained miniature's skips
at the same thresholds (from `benchmarks.quality`, else one step in three): *assumed pattern*. The floor is a step's
operations over the rate of a large matrix product measured in the same process.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import date
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanImageToVideoPipeline, WanTransformer3DModel
from diffusers.hooks.first_block_cache import FBCHeadBlockHook
from PIL import Image

from benchmarks.one_job import make_job
from wan_core import encoding
from wan_core.engine import loading, quantizing
from wan_core.engine.acceleration import THRESHOLDS, detect_acceleration
from wan_core.engine.embedding_cache import cache_first_frames
from wan_core.engine.loading import Engine
from wan_core.engine.memory import plan
from wan_core.engine.preview import WAN
from wan_core.engine.sampling import prepare_scheduler, sample
from wan_core.events import Job, Stage, Step
from wan_core.files import FileStore
from wan_core.frames import read
from wan_core.geometry import LANDSCAPE, Size
from wan_core.profiles import profiles
from wan_core.schedule import UNGUIDED_END, StepSchedule, truncated
from wan_core.schema import ImageToVideoInput
from wan_core.settings import Settings
from wan_core.workload import tokens

RESULTS = Path(__file__).parent / "results" / "engine.json"
QUALITY = Path(__file__).parent / "results" / "quality.json"
STEPS, FULL_STEPS, FRAMES = 11, 27, 81
LIMIT_S = 9 * 60
PROMPT = "The white dragon warrior stands still while the camera slowly circles around it."
OFF: dict[str, Any] = {f"accelerate_{part}": False for part in ("attention", "compile", "fp8", "cache", "guidance")}
VARIANTS: dict[str, dict[str, Any] | None] = {
    "plain diffusers": None,
    "none": {},
    "+attention": OFF | {"accelerate_attention": True},
    "+compile": OFF | {"accelerate_attention": True, "accelerate_compile": True},
    "+fp8": OFF | {"accelerate_attention": True, "accelerate_compile": True, "accelerate_fp8": True},
    "+guidance truncation": OFF
    | {"accelerate_attention": True, "accelerate_compile": True, "accelerate_guidance": True},
    "regular": {"accelerate_cache": False, "accelerate_fp8": False},
    "regular with step cache (assumed pattern)": {"accelerate_fp8": False},
    "turbo": {"accelerate_cache": False, "accelerate_fp8": False},
}
DRY = ("plain diffusers", "none", "+guidance truncation", "regular with step cache (assumed pattern)", "turbo")

Kind = tuple[bool, bool, bool]
"""On the high-noise expert, guided, skipped by the cache."""


@dataclass(frozen=True)
class Bench:
    dry: bool
    size: Size

    @property
    def device(self) -> torch.device:
        return torch.device("cpu" if self.dry else "cuda")

    @property
    def frames(self) -> int:
        return 17 if self.dry else FRAMES

    def job(self, folder: Path, steps: int, acceleration: str, guidance: float) -> Job:
        noise = np.random.default_rng(0).integers(0, 255, (self.size.height, self.size.width, 3), np.uint8)
        values = {"image_url": "data:", "prompt": PROMPT, "seed": 1, "num_frames": self.frames, "shift": 5}
        values |= {"num_inference_steps": steps, "acceleration": acceleration}
        request = ImageToVideoInput.model_validate(values | {"guidance_scale": guidance, "guidance_scale_2": guidance})
        return make_job(FileStore(folder), Image.fromarray(noise), request, self.size, "a14b")


def build(bench: Bench, settings: Settings) -> Engine:
    """Random weights, made on the device; each part as loading would leave it."""
    if bench.dry:
        engine = loading.load(profiles()["miniature"], settings, lambda event: None)
        engine.profile = replace(engine.profile, render_divisor=1)
        return engine
    card = loading.detect_card(settings)
    parts = {"transformer": random_expert(bench.device), "transformer_2": random_expert(bench.device)}
    scheduler = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=5.0)
    vae = AutoencoderKLWan().to(bench.device).requires_grad_(False).eval()
    nothing = dict.fromkeys(("tokenizer", "text_encoder", "image_encoder", "image_processor"))
    pipe = WanImageToVideoPipeline(**nothing, **parts, vae=vae, scheduler=scheduler, boundary_ratio=0.9)
    pipe.set_progress_bar_config(disable=True)
    cache_first_frames(vae)
    wanted = plan(card.free_bytes, card.sm, bench.size, bench.frames, "none")
    return Engine(profiles()["a14b"], pipe, card, wanted, colours=WAN)


def random_expert(device: torch.device) -> Any:
    """In the dtypes of `from_pretrained`: bf16 with fp32 islands."""
    torch.set_default_dtype(torch.bfloat16)
    with torch.device(device):
        expert = WanTransformer3DModel(in_channels=36, out_channels=16)
    torch.set_default_dtype(torch.float32)
    islands = WanTransformer3DModel._keep_in_fp32_modules
    for name, parameter in expert.named_parameters():
        if any(island in name for island in islands):
            parameter.data = parameter.data.float()
    return expert.requires_grad_(False).eval()


def measure(name: str, bench: Bench) -> dict[str, Any]:
    switches = VARIANTS[name]
    settings = Settings(**(switches or {}))
    engine = build(bench, settings)
    fill_prompts(engine, bench)
    if settings.accelerate_fp8 and name == "+fp8":
        for expert in (engine.pipe.transformer, engine.pipe.transformer_2):
            quantizing.quantize_expert(expert, engine.card.sm, bench.device, bench.device)
    if name not in ("plain diffusers", "none"):
        card = engine.card
        engine.acceleration = detect_acceleration(engine.pipe, settings, card.device, card.sm, True, lambda event: None)
    if not bench.dry:
        torch.cuda.reset_peak_memory_stats()
    with tempfile.TemporaryDirectory() as folder:
        figures = plain(engine, bench, Path(folder)) if switches is None else ours(name, engine, bench, Path(folder))
    figures |= {"peak_gib": 0.0 if bench.dry else torch.cuda.max_memory_allocated() / 2**30}
    figures |= {"gemm_tflops": gemm_rate(bench) / 1e12, "text_s": 0.0 if bench.dry else text_seconds(bench)}
    return summary(name, bench, figures)


def fill_prompts(engine: Engine, bench: Bench) -> None:
    """Random embeddings; `text_seconds` measures reading."""
    width = engine.pipe.transformer.config.text_dim
    for text in (PROMPT, ""):
        engine.prompts.get(text, lambda: torch.randn(1, 512, width, dtype=engine.pipe.transformer.dtype))


def plain(engine: Engine, bench: Bench, folder: Path) -> dict[str, Any]:
    """Measure diffusers alone, as its documentation shows it."""
    asked = bench.job(folder, STEPS, "none", 3.5)
    schedule, stamps = prepare_scheduler(engine.pipe, asked.inputs), [time.perf_counter()]

    def stamp(pipe: Any, step: int, timestep: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        wait(bench)
        stamps.append(time.perf_counter())
        return {}

    embeds = {key: engine.prompts.get(text, torch.zeros).to(bench.device) for key, text in EMBEDS.items()}
    size = {"width": bench.size.width, "height": bench.size.height, "num_frames": bench.frames}
    scales = {"guidance_scale": 3.5, "guidance_scale_2": 3.5, "num_inference_steps": STEPS}
    began = time.perf_counter()
    with Image.open(FileStore(folder).picture(asked.picture)) as image:
        engine.pipe(image=image, **size, **scales, **embeds, callback_on_step_end=stamp)
    wait(bench)
    seconds = [later - earlier for earlier, later in pairwise(stamps)]
    return {"steps": kinds(schedule, [False] * STEPS, seconds), "decode_s": time.perf_counter() - stamps[-1]} | {
        "first_frame_s": encode_seconds(engine, bench),
        "encode_mp4_s": 0.0,
        "wall_s": time.perf_counter() - began,
    }


EMBEDS = {"prompt_embeds": PROMPT, "negative_prompt_embeds": ""}


def ours(name: str, engine: Engine, bench: Bench, folder: Path) -> dict[str, Any]:
    """Measure our engine by the call that makes every clip."""
    turbo = name == "turbo"
    word = "none" if name == "none" else "regular"
    steps = 16 if "cache" in name else STEPS
    asked = bench.job(folder, steps, word, 1.0 if turbo else 3.5)
    schedule = prepare_scheduler(engine.pipe, asked.inputs)
    if word == "regular" and engine.acceleration.settings.accelerate_guidance:
        schedule = truncated(schedule, UNGUIDED_END)
    skipped = [step % 3 == 2 for step in range(steps)] if "cache" in name else [False] * steps
    stamps: list[float] = []
    decoding: list[float] = []
    files, began = FileStore(folder), time.perf_counter()
    with forced(skipped, schedule) if any(skipped) else nothing_forced():
        for event in sample(engine, asked, PROMPT, files, lambda: False):
            if isinstance(event, Step) and event.stage == "sampling":
                stamps.append(time.perf_counter())
            if isinstance(event, Stage) and event.name == "decoding":
                decoding.append(time.perf_counter())
    wall = time.perf_counter() - began
    seconds = [float("nan"), *(later - earlier for earlier, later in pairwise(stamps))]
    return {
        "steps": kinds(schedule, skipped, seconds),
        "decode_s": began + wall - decoding[-1],
        "first_frame_s": encode_seconds(engine, bench),
        "encode_mp4_s": mp4_seconds(files.frames(asked.id), bench, folder),
        "wall_s": wall,
    }


def kinds(schedule: StepSchedule, skipped: list[bool], seconds: list[float]) -> dict[str, float]:
    """Median of each kind of step, without each expert's first, which warms up."""
    found: dict[Kind, list[float]] = {}
    for step, taken in enumerate(seconds):
        if step > 0 and schedule.high_noise[step] == schedule.high_noise[step - 1]:
            found.setdefault((schedule.high_noise[step], schedule.guided[step], skipped[step]), []).append(taken)
    return {key(kind): median(times) for kind, times in found.items()}


def key(kind: Kind) -> str:
    high, guided, skipped = kind
    return f"{'high' if high else 'low'} {'guided' if guided else 'unguided'}{' skipped' if skipped else ''}"


@contextmanager
def forced(skipped: list[bool], schedule: StepSchedule) -> Iterator[None]:
    """Make FirstBlockCache skip exactly these steps, both passes."""
    calls = iter([skip for step, skip in enumerate(skipped) for _ in range(1 + schedule.guided[step])])
    original = FBCHeadBlockHook._should_compute_remaining_blocks
    FBCHeadBlockHook._should_compute_remaining_blocks = lambda self, residual: (
        original(self, residual),  # its cost belongs to the step
        not next(calls) or self.state_manager.get_state().tail_block_residuals is None,
    )[1]
    try:
        yield
    finally:
        FBCHeadBlockHook._should_compute_remaining_blocks = original


@contextmanager
def nothing_forced() -> Iterator[None]:
    yield


def summary(name: str, bench: Bench, figures: dict[str, Any]) -> dict[str, Any]:
    low_noise = profiles()["miniature" if bench.dry else "a14b"].experts.low_noise
    floor = 2 * low_noise.forward_flops(tokens(bench.size, bench.frames)) / (figures["gemm_tflops"] * 1e12)
    guided = [seconds for kind, seconds in figures["steps"].items() if kind == "low guided"]
    card = "dry run on the CPU with the miniature" if bench.dry else torch.cuda.get_device_name()
    figures |= {"variant": name, "size": str(bench.size), "card": card, "date": date.today().isoformat()}
    figures |= {"torch": torch.__version__, "over_floor": median(guided) / floor if guided else None}
    assumed = pattern() if "cache" in name else Pattern([False] * FULL_STEPS, "none")
    figures["end_to_end_s"] = compose(name, figures, assumed.skipped)
    figures["pattern"] = f"{assumed.source}, {sum(assumed.skipped)} of {FULL_STEPS} steps skipped"
    return figures


def compose(name: str, figures: dict[str, Any], skipped: list[bool]) -> float:
    """Seconds of a clip of 27 steps (turbo: 4) from the measured parts."""
    steps = 4 if name == "turbo" else FULL_STEPS
    scheduler = UniPCMultistepScheduler(prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=5.0)
    scheduler.set_timesteps(steps)
    high = tuple(timestep >= 900 for timestep in scheduler.timesteps.tolist())
    schedule = StepSchedule(high, (name != "turbo",) * steps)
    if name in ("+guidance truncation", "regular") or "cache" in name:
        schedule = truncated(schedule, UNGUIDED_END)
    times: dict[str, float] = figures["steps"]
    total = sum(
        nearest(times, (schedule.high_noise[step], schedule.guided[step], skipped[step])) for step in range(steps)
    )
    return total + sum(float(figures[part]) for part in ("decode_s", "first_frame_s", "encode_mp4_s", "text_s"))


def nearest(times: dict[str, float], kind: Kind) -> float:
    """The measured time of this kind, else the other expert's: A14B's are of one size."""
    high, guided, skipped = kind
    return times.get(key(kind)) or times[key((not high, guided, skipped))]


@dataclass(frozen=True)
class Pattern:
    """Which of 27 steps the cache skips, and where that comes from."""

    skipped: list[bool]
    source: str


def pattern() -> Pattern:
    """What the miniature's cache mostly skipped at our thresholds; if not measured, one in three."""
    rows = json.loads(QUALITY.read_text())["rows"] if QUALITY.exists() else []
    measured: list[float] = next((row["skipped"] for row in rows if row["thresholds"] == list(THRESHOLDS)), [])
    if len(measured) == FULL_STEPS:
        return Pattern([share > 0.5 for share in measured], "the miniature's")
    return Pattern([step % 3 == 2 for step in range(FULL_STEPS)], "evenly spread")


def gemm_rate(bench: Bench, side: int = 8192) -> float:
    """Operations a second of a large bf16 matrix product (fp32 on the CPU)."""
    side, dtype = (1024, torch.float32) if bench.dry else (side, torch.bfloat16)
    left, right = (torch.randn(side, side, device=bench.device, dtype=dtype) for _ in range(2))
    return 2 * side**3 / timed(lambda: left @ right, bench)


def encode_seconds(engine: Engine, bench: Bench) -> float:
    video = torch.rand(1, 3, bench.frames, bench.size.height, bench.size.width, device=bench.device)
    with torch.no_grad():
        began = time.perf_counter()
        engine.pipe.vae.encode(video)
        wait(bench)
    return time.perf_counter() - began


def text_seconds(bench: Bench) -> float:
    """UMT5-XXL with random weights reading 512 tokens."""
    from transformers import UMT5Config, UMT5EncoderModel

    torch.set_default_dtype(torch.bfloat16)
    with bench.device:
        config = UMT5Config(vocab_size=256384, d_model=4096, d_ff=10240, num_layers=24, num_heads=64, d_kv=64)
        encoder = UMT5EncoderModel(config).eval()
    torch.set_default_dtype(torch.float32)
    ids = torch.ones(1, 512, dtype=torch.long, device=bench.device)
    with torch.no_grad():
        return timed(lambda: encoder(ids), bench, runs=3)


def mp4_seconds(frames: Path, bench: Bench, folder: Path) -> float:
    began = time.perf_counter()
    encoding.encode(
        read(frames), folder / "clip.mp4", size=bench.size, fps=16, quality="high", write_mode="balanced", comment=""
    )
    return time.perf_counter() - began


def timed(work: Callable[[], object], bench: Bench, runs: int = 10) -> float:
    work()
    wait(bench)
    began = time.perf_counter()
    for _ in range(runs):
        work()
    wait(bench)
    return (time.perf_counter() - began) / runs


def wait(bench: Bench) -> None:
    if not bench.dry:
        torch.cuda.synchronize()


def run_all(results: Path, dry: bool) -> None:
    """Each missing variant in its own process; one that fails is reported and tried again next time."""
    done: list[dict[str, Any]] = json.loads(results.read_text()) if results.exists() else []
    have = {(row["variant"], row["size"]) for row in done}
    for resolution in ("480p",) if dry else ("480p", "720p"):
        for name in DRY if dry else VARIANTS:
            if (name, str(bench_of(resolution, dry).size)) not in have and (row := fresh(name, resolution, dry)):
                done.append(row)
                results.parent.mkdir(exist_ok=True)
                results.write_text(json.dumps(done, indent=1))
    print(table(done))


def fresh(name: str, resolution: str, dry: bool) -> dict[str, Any] | None:
    command = [sys.executable, "-m", "benchmarks.engine", "--one", name, resolution, *(["--dry-run"] if dry else [])]
    try:
        ran = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=True)
    except subprocess.SubprocessError as error:
        print(f"{name} at {resolution}: {error}\n{getattr(error, 'stderr', '')}", file=sys.stderr)
        return None
    row: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    print(f"{name} at {resolution}: {row['end_to_end_s']:.1f} s", file=sys.stderr)
    return row


def bench_of(resolution: str, dry: bool) -> Bench:
    return Bench(dry, Size(208, 128) if dry else LANDSCAPE[resolution])  # type: ignore[index]


def table(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return "No figures yet: no CUDA card has been measured."
    head = (
        "| size | variant | s a step, high / low | × floor | peak GiB | first frame, text, decode, mp4 s | end to end |"
    )
    lines = [f"Measured on {rows[0]['card']}, {rows[0]['date']}, torch {rows[0]['torch']}.", "", head, "|---" * 7 + "|"]
    for row in rows:
        steps = row["steps"]
        high, low = (next((t for k, t in steps.items() if k.startswith(word)), 0.0) for word in ("high", "low"))
        floor = f"{row['over_floor']:.2f}" if row["over_floor"] else "–"
        parts = ", ".join(f"{row[part]:.1f}" for part in ("first_frame_s", "text_s", "decode_s", "encode_mp4_s"))
        measured = f"{high:.2f} / {low:.2f} | {floor} | {row['peak_gib']:.0f} | {parts}"
        variant = f"{row['variant']}: {row['pattern']}" if "cache" in row["variant"] else row["variant"]
        lines.append(f"| {row['size']} | {variant} | {measured} | {row['end_to_end_s']:.0f} s, composed |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--one", nargs=2, metavar=("VARIANT", "RESOLUTION"))
    chosen = parser.parse_args()
    if chosen.one:
        name, resolution = chosen.one
        print(json.dumps(measure(name, bench_of(resolution, chosen.dry_run))))
    elif chosen.table:
        print(table(json.loads(RESULTS.read_text()) if RESULTS.exists() else []))
    elif chosen.dry_run:
        with tempfile.TemporaryDirectory() as folder:
            run_all(Path(folder) / "dry.json", dry=True)
    elif torch.cuda.is_available():
        run_all(RESULTS, dry=False)
    else:
        print("This machine has no CUDA card: the table stays empty. Try --dry-run.")


if __name__ == "__main__":
    main()
