"""Fill the README's table of a card: Wan 2.2 A14B in real shapes with random weights, in under ten minutes.

    python -m benchmarks.engine --write     the checks of a card, then all measurements; results and table are kept
    python -m benchmarks.engine --dry-run   the same code on the CPU with two layers: proves the script, no figures
    python -m benchmarks.engine --table     the kept results as Markdown

The parts go through the app's own planning and loading. Single forwards are timed at 480p and 720p with 81 frames, part
by part of `regular`, and a clip is composed of them: its steps, first frame, prompt, decoding, mp4. One turbo clip is
made whole beside its composed time. The step cache depends on what is drawn, so its row takes the miniature's skips at
the same thresholds (`benchmarks.quality`): *assumed*. The floor is a forward's operations at the rate of a large matrix
product of the same card. A second process then loads the model again, and finds the card empty.
"""

import argparse
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import WanTransformer3DModel
from PIL import Image

from benchmarks import random_model
from benchmarks.forwards import Figure, Way, measure, peak_gib, reset_peak, timed
from benchmarks.one_job import JOB_ID, make_job
from benchmarks.random_model import Layout
from wan_core import encoding
from wan_core.endpoints import IMAGE_TO_VIDEO
from wan_core.engine import acceleration, loading, memory, offload, quantizing
from wan_core.engine.acceleration import THRESHOLDS
from wan_core.engine.embedding_cache import cache_first_frames
from wan_core.engine.loading import Card, Engine
from wan_core.engine.memory import GIB, Clip
from wan_core.engine.preview import WAN
from wan_core.engine.sampling import sample
from wan_core.engine.step_cache import has_cache_dit
from wan_core.events import Event, Log, Note
from wan_core.files import FileStore
from wan_core.frames import read
from wan_core.geometry import LANDSCAPE, Size
from wan_core.presets import presets
from wan_core.profiles import TURBO, profiles
from wan_core.schedule import schedule_of
from wan_core.schema import ImageToVideoInput
from wan_core.settings import Settings
from wan_core.workload import Transformer, tokens

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results" / "engine.json"
QUALITY = Path(__file__).parent / "results" / "quality.json"
README = ROOT / "README.md"
BEGIN, END = "<!-- engine: begin -->\n", "<!-- engine: end -->\n"
BUDGET_S = 9 * 60  # of the session that measures; checks and the second loading take the rest of ten minutes
PROMPT = "The white dragon warrior stands still while the camera slowly circles around it."
REGULAR = ("attention", "compile", "guidance")
WAYS: dict[str, Way] = {
    "none": Way(),
    "attention": Way(("attention",)),
    "regular": Way(("attention", "compile")),
    "skipped": Way(("attention", "compile", "cache"), skipped_by="first-block"),
    "skipped by cache-dit": Way(("attention", "compile", "cache"), skipped_by="cache-dit"),
    "lightning": Way(("attention", "compile"), lightning="both experts"),
    "fp8": Way(("attention", "compile", "fp8")),
}
"""Forwards that are timed; the rows below are composed of them."""


@dataclass(frozen=True)
class Row:
    """A clip by `preset`. `forward`, `skipped` and `low_noise` (with Lightning's end) name the ways of its forwards."""

    title: str
    forward: str
    preset: str = "fal_defaults"
    acceleration: str = "regular"
    skipped: str = ""
    low_noise: str = ""


ROWS = (
    Row("none", "none", acceleration="none"),
    Row("none + attention", "attention", acceleration="none"),
    Row("none + attention, compiled", "regular", acceleration="none"),
    Row("regular without step cache", "regular"),
    Row("regular (assumed skips)", "regular", skipped="skipped"),
    Row("regular by cache-dit (the same skips)", "regular", skipped="skipped by cache-dit"),
    Row("regular in fp8, without step cache", "fp8"),
    Row("turbo", "lightning", "turbo"),
    Row("turbo motion", "regular", "turbo_motion", low_noise="lightning"),
)


@dataclass(frozen=True)
class Bench:
    """`until`: when to stop, in `time.monotonic`'s seconds."""

    dry: bool
    until: float = float("inf")

    @property
    def layout(self) -> Layout:
        return random_model.TINY if self.dry else random_model.A14B

    @property
    def sizes(self) -> dict[str, Size]:
        return (
            {"480p": Size(96, 64), "720p": Size(128, 96)} if self.dry else {s: LANDSCAPE[s] for s in ("480p", "720p")}
        )

    @property
    def frames(self) -> int:
        return 5 if self.dry else 81

    @property
    def transformer(self) -> Transformer:
        return Transformer(24, 2, 32) if self.dry else Transformer(5120, 40, 13824)

    def card(self) -> Card:
        """In a dry run the CPU stands for a card that holds everything."""
        real = loading.detect_card(Settings())
        return replace(real, sm=90, free_bytes=139 * GIB, main_bytes=math.inf) if self.dry else real

    def is_over(self) -> bool:
        return time.monotonic() > self.until


@dataclass
class Session:
    """What one process has measured. GiB and seconds; `sizes` by resolution."""

    card: str
    torch: str
    day: str
    free_gib: float = 0.0
    load_s: float = 0.0
    main_gib: float = 0.0
    load_peak_gib: float = 0.0
    plan: str = ""
    log: list[str] = field(default_factory=list)
    gemm_tflops: float = 0.0
    text_s: float = 0.0
    sizes: dict[str, dict[str, Any]] = field(default_factory=dict)
    offloaded: dict[str, dict[str, float]] = field(default_factory=dict)
    turbo_s: float = 0.0
    reload_s: float = 0.0
    reload_free_gib: float = 0.0
    left_out: list[str] = field(default_factory=list)


def load(bench: Bench, session: Session) -> Engine:
    """By the app's own plan for this card, LoRAs included."""
    card, profile, settings = bench.card(), profiles()[TURBO], Settings()
    session.free_gib = card.free_bytes / GIB
    plans = loading.first_plans(card, settings, profile.title, loras=True)
    loras = {name: _lora(bench) for name in ("transformer", "transformer_2")}
    reset_peak(card.device)
    began = time.monotonic()

    def report(event: Event) -> None:
        if isinstance(event, Log | Note):
            session.log.append(event.message)

    engine = loading.load_from(random_model.source(bench.layout), profile, card, plans, loras, settings, report)
    session.load_s, session.load_peak_gib = time.monotonic() - began, peak_gib(card.device)
    session.main_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    session.plan = engine.plan.words if engine.plan else ""
    if bench.dry:
        engine.acceleration.compiles = acceleration.compile_works(
            engine.pipe.transformer, "native", card.device, report
        )
    engine.pipe.set_progress_bar_config(disable=True)
    engine.colours = WAN
    cache_first_frames(engine.pipe.vae)
    return engine


def _lora(bench: Bench) -> Any:
    with torch.device("meta"):
        shapes = WanTransformer3DModel(**bench.layout.expert)
    return random_model.lora(bench.layout, shapes)


def run_session(bench: Bench) -> Session:
    name = "dry run on the CPU with two layers" if bench.dry else torch.cuda.get_device_name()
    session = Session(name, torch.__version__, date.today().isoformat())
    engine = load(bench, session)
    device = engine.card.device
    session.gemm_tflops = gemm_rate(device, bench.dry) / 1e12
    session.text_s = text_seconds(engine)
    for resolution, size in bench.sizes.items():
        session.sizes[resolution] = measure_size(engine, bench, size, resolution, session)
    session.turbo_s = make_turbo_clip(engine, bench)
    measure_offloading(engine, bench, session)
    return session


def measure_size(engine: Engine, bench: Bench, size: Size, resolution: str, session: Session) -> dict[str, Any]:
    """The plan of a clip of `size`, its forwards and the stages around them."""
    clip, request = Clip(size, bench.frames, cached=True, loras=True), a_request("fal_defaults", resolution, bench)
    moved = timed(lambda: offload.arrange_for(engine, clip, lambda event: None), engine.card.device)
    assert engine.plan is not None
    found: dict[str, Any] = {"plan": engine.plan.words, "moved_s": moved, "forwards": {}, "size": str(size)}
    found["video_tokens"] = tokens(size, bench.frames)
    for name, way in WAYS.items():
        if (name == "fp8" and not can_quantize(engine)) or (way.skipped_by == "cache-dit" and not has_cache_dit()):
            continue
        if bench.is_over():
            session.left_out.append(f"{name} at {resolution}")
        elif name != "fp8" or resolution == "720p":
            if name == "fp8":
                quantize(engine)
            found["forwards"][name] = asdict(measure(engine, request, clip, way))
    found |= stages(engine, bench, size)
    return found


def can_quantize(engine: Engine) -> bool:
    """Whether bf16 experts may be made fp8 at the end; where the plan is fp8 already, all rows are."""
    plan = engine.plan
    is_bf16 = plan is not None and (plan.weights, plan.placement) == ("bf16", "resident")
    return is_bf16 and engine.card.is_cuda and quantizing.is_available() and engine.card.sm >= memory.FP8_FROM_SM


def quantize(engine: Engine) -> None:
    for expert in (engine.pipe.transformer, engine.pipe.transformer_2):
        quantizing.quantize_expert(expert, engine.card.sm, engine.card.device, engine.card.device)


def stages(engine: Engine, bench: Bench, size: Size) -> dict[str, float]:
    """Seconds of the first frame's encoding, decoding and the mp4; GiB of the VAE."""
    pipe, device = engine.pipe, engine.card.device
    video = torch.zeros(1, 3, bench.frames, size.height, size.width)
    video[:, :, 0] = torch.rand(3, size.height, size.width)
    latents = torch.randn(1, 16, (bench.frames - 1) // 4 + 1, size.height // 8, size.width // 8)
    reset_peak(device)
    with torch.no_grad(), tempfile.TemporaryDirectory() as folder:
        encode_s = timed(lambda: pipe.vae.encode(video.to(device)), device)
        decode_s = timed(lambda: pipe.vae.decode(latents.to(device)), device)
        mp4_s = timed(lambda: write_mp4(bench, size, Path(folder)), device)
    return {"encode_s": encode_s, "decode_s": decode_s, "mp4_s": mp4_s, "vae_peak_gib": peak_gib(device)}


def write_mp4(bench: Bench, size: Size, folder: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (bench.frames, size.height // 8, size.width // 8, 3), np.uint8)
    large = (np.asarray(Image.fromarray(frame).resize((size.width, size.height))) for frame in frames)
    encoding.encode(large, folder / "clip.mp4", size=size, fps=16, quality="high", write_mode="balanced", comment="")


def make_turbo_clip(engine: Engine, bench: Bench) -> float:
    """Seconds of one whole turbo clip at 480p, by the call that makes every clip."""
    size, request = bench.sizes["480p"], a_request("turbo", "480p", bench)
    width = engine.pipe.transformer.config.text_dim
    for text in (PROMPT, ""):
        engine.prompts.get(text, lambda: torch.randn(1, 512, width, dtype=torch.bfloat16))
    engine.pipe.tokenizer = lambda text: argparse.Namespace(input_ids=[0])
    picture = np.random.default_rng(0).integers(0, 255, (size.height, size.width, 3), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        files = FileStore(Path(folder))
        job = make_job(files, Image.fromarray(picture), request, size, TURBO)
        began = time.monotonic()
        for _ in sample(engine, job, PROMPT, files, lambda: False):
            pass
        took = time.monotonic() - began
        assert sum(1 for _ in read(files.frames(JOB_ID))) == request.num_frames
    return took


def measure_offloading(engine: Engine, bench: Bench, session: Session) -> None:
    """A forward at 480p with each smaller placement: the weights as they are, the experts elsewhere."""
    if bench.dry or engine.plan is None:
        return  # offloading moves between a card and main memory
    clip, request = Clip(bench.sizes["480p"], bench.frames, loras=True), a_request("fal_defaults", "480p", bench)
    for placement in ("model_offload", "group_offload"):
        if bench.is_over():
            session.left_out.append(placement)
            continue
        wanted = replace(engine.plan, placement=placement, tiled=False, pinned=False, cached=False)
        moved = timed(partial(offload.move_to, engine, wanted), engine.card.device)
        found = measure(engine, request, clip, WAYS["none"])
        session.offloaded[wanted.words] = {"moved_s": moved, "forward_s": found.seconds, "peak_gib": found.peak_gib}


def a_request(preset: str, resolution: str, bench: Bench) -> ImageToVideoInput:
    asked = IMAGE_TO_VIDEO.parse(presets()[preset].complete | {"image_url": "any", "prompt": PROMPT, "seed": 1})
    return asked.model_copy(update={"resolution": resolution, "num_frames": bench.frames})


def compose(row: Row, found: dict[str, Any], text_s: float, bench: Bench) -> float | None:
    """Seconds of a clip from its measured parts; `None` if one of them is missing."""
    forwards = {name: figure["seconds"] for name, figure in found["forwards"].items()}
    if {row.forward, row.low_noise or row.forward, row.skipped or row.forward} - set(forwards):
        return None
    request = a_request(row.preset, "480p", bench).model_copy(update={"acceleration": row.acceleration})
    course = schedule_of(request, lightning_end=bool(row.low_noise))
    skipped = pattern(course.steps) if row.skipped else [False] * course.steps
    total = text_s + found["encode_s"] + found["decode_s"] + found["mp4_s"]
    for high, guided, skip in zip(course.high_noise, course.guided, skipped, strict=True):
        way = row.skipped if skip else row.forward if high or not row.low_noise else row.low_noise
        total += (1 + guided) * forwards[way]
    return float(total)


def pattern(steps: int) -> list[bool]:
    """What the miniature's cache mostly skipped at our thresholds; if not measured, the last of each three."""
    rows = json.loads(QUALITY.read_text())["rows"] if QUALITY.exists() else []
    measured: list[float] = next((row["skipped"] for row in rows if row["thresholds"] == list(THRESHOLDS)), [])
    return [share > 0.5 for share in measured] if len(measured) == steps else [step % 3 == 2 for step in range(steps)]


def gemm_rate(device: torch.device, dry: bool) -> float:
    """Operations a second of a large bf16 matrix product."""
    side = 256 if dry else 8192
    left, right = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    left @ right
    return 10 * 2 * side**3 / timed(lambda: [left @ right for _ in range(10)], device)


def text_seconds(engine: Engine) -> float:
    encoder = engine.pipe.text_encoder
    ids = torch.ones(1, 512, dtype=torch.long, device=engine.card.device)
    with torch.no_grad():
        encoder(ids)
        return timed(lambda: encoder(ids), engine.card.device)


def table(session: Session | None, bench: Bench) -> str:
    if session is None:
        return "No card has run it yet.\n"
    lines = [
        f"{session.card}, {session.day}, torch {session.torch}; random weights of the real shapes, which time and "
        "memory do not depend on.",
        "",
        f"- Loaded in {session.load_s:.0f} s ({session.plan}); at most {session.load_peak_gib:.1f} of "
        f"{session.free_gib:.1f} GiB on the card and {session.main_gib:.0f} GiB of main memory meanwhile.",
        f"- Loaded again in a fresh process: {session.reload_s:.0f} s, {session.reload_free_gib:.1f} GiB free before.",
        *(f"- {line}" for line in session.log if "probed" in line or "compiled" in line or "serve" in line),
        f"- One turbo clip at 480p, made whole: {session.turbo_s:.1f} s.",
        *(
            f"- {words}: {each['forward_s']:.2f} s a forward at 480p, {each['peak_gib']:.1f} GiB, "
            f"{each['moved_s']:.0f} s to move."
            for words, each in session.offloaded.items()
        ),
        *([f"- Time was up before: {', '.join(session.left_out)}."] if session.left_out else []),
        "",
        "| size | plan | acceleration | s a forward | × floor | peak GiB | a clip, composed |",
        "|---" * 7 + "|",
    ]
    for resolution, found in session.sizes.items():
        lines += [line for row in ROWS if (line := _line(resolution, found, row, session, bench))]
    return "\n".join(lines) + "\n"


def _line(resolution: str, found: dict[str, Any], row: Row, session: Session, bench: Bench) -> str:
    whole = compose(row, found, session.text_s, bench)
    if whole is None:
        return ""
    figure = Figure(**found["forwards"][row.forward])
    floor = bench.transformer.forward_flops(found["video_tokens"]) / (session.gemm_tflops * 1e12)
    peak = max(figure.peak_gib, found["vae_peak_gib"])
    return (
        f"| {resolution} | {found['plan']} | {row.title} | {figure.seconds:.3g} | {figure.seconds / floor:.2f} | "
        f"{peak:.1f} | {whole:.0f} s |"
    )


def with_table(readme: str, session: Session | None, bench: Bench) -> str:
    """`readme` with the table between its two marks renewed."""
    before, rest = readme.split(BEGIN)
    _, after = rest.split(END)
    return before + BEGIN + table(session, bench) + END + after


def kept() -> Session | None:
    return Session(**json.loads(RESULTS.read_text())) if RESULTS.exists() else None


def measure_all(dry: bool) -> Session:
    """The checks of a card, a process that measures and one that loads again."""
    checks = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "tests/engine", "tests/interpolation"]
    if not dry:
        subprocess.run(checks, cwd=ROOT, check=True)
    session = Session(**in_fresh_process("measure", dry))
    again = Session(**in_fresh_process("load", dry))
    session.reload_s, session.reload_free_gib = again.load_s, again.free_gib
    return session


def in_fresh_process(what: str, dry: bool) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.engine", "--session", what, *(["--dry-run"] if dry else [])]
    ran = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
    found: dict[str, Any] = json.loads(ran.stdout.splitlines()[-1])
    return found


def run_one(what: str, dry: bool) -> Session:
    bench = Bench(dry, time.monotonic() + BUDGET_S)
    with eager_compiler() if dry else real_compiler():
        if what == "measure":
            return run_session(bench)
        session = Session("", "", "")
        load(bench, session)
        return session


@contextmanager
def eager_compiler() -> Iterator[None]:
    """dynamo without a C++ compiler behind it."""
    original = acceleration.compile_blocks
    acceleration.compile_blocks = partial(original, backend="eager")
    try:
        yield
    finally:
        acceleration.compile_blocks = original


@contextmanager
def real_compiler() -> Iterator[None]:
    yield


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dry-run", action="store_true")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--session", choices=("measure", "load"))
    chosen = parser.parse_args()
    if chosen.session:
        print(json.dumps(asdict(run_one(chosen.session, chosen.dry_run))))
    elif chosen.table:
        print(table(kept(), Bench(dry=False)))
    elif chosen.dry_run:
        print(table(measure_all(dry=True), Bench(dry=True)))
    elif torch.cuda.is_available():
        session = measure_all(dry=False)
        RESULTS.write_text(json.dumps(asdict(session), indent=1), "utf-8")
        print(table(session, Bench(dry=False)))
        if chosen.write:
            README.write_text(with_table(README.read_text("utf-8"), session, Bench(dry=False)), "utf-8")
    else:
        print("This machine has no CUDA card: the table stays empty. Try --dry-run.")


if __name__ == "__main__":
    main()
