"""Time single forwards of an expert, as a clip of a size would run them: seconds, card memory."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from diffusers.hooks.first_block_cache import FBCHeadBlockHook

from wan_core.engine import turbo
from wan_core.engine.acceleration import NATIVE
from wan_core.engine.loading import Engine
from wan_core.engine.memory import GIB, Clip
from wan_core.engine.sampling import prepare_scheduler
from wan_core.profiles import Lightning
from wan_core.schema import ImageToVideoInput
from wan_core.settings import Settings, StepCacheName
from wan_core.workload import TEXT_TOKENS

SLOW_S = 8.0  # a forward that takes longer is timed once
RUNS = 2
WARM_UPS = 2  # of cache-dit for the low-noise expert; it then skips two of the same numbers
PARTS = ("attention", "compile", "fp8", "cache", "guidance")


@dataclass(frozen=True)
class Way:
    """How a forward runs: which parts of `regular` are on, which step cache skips it, whether a LoRA is on."""

    parts: tuple[str, ...] = ()
    skipped_by: StepCacheName | None = None
    lightning: Lightning | None = None


@dataclass(frozen=True)
class Figure:
    """Of one forward."""

    seconds: float
    peak_gib: float


def measure(engine: Engine, request: ImageToVideoInput, clip: Clip, way: Way) -> Figure:
    """The low-noise expert's forward; A14B's experts are of one size. The first run, which warms up, is left out."""
    unguided = {"guidance_scale": 1.0, "guidance_scale_2": 1.0, "acceleration": "regular" if way.parts else "none"}
    wanted = request.model_copy(update=unguided)
    detected = engine.acceleration
    switches: dict[str, Any] = {f"accelerate_{part}": part in way.parts for part in PARTS}
    engine.acceleration = replace(
        detected,
        settings=Settings(**switches, step_cache=way.skipped_by or "first-block"),
        attention=detected.attention if "attention" in way.parts else NATIVE,
        compiles=detected.compiles and "compile" in way.parts,
    )
    turbo.switch(engine.pipe, way.lightning)
    engine.acceleration.prepare(engine.pipe, wanted, prepare_scheduler(engine.pipe, wanted), clip.cached)
    engine.acceleration = detected
    expert, device = engine.pipe.transformer_2, engine.card.device
    run = _forward(expert, clip, device)
    for _ in range(WARM_UPS):
        run()
    reset_peak(device)
    with skipping() if way.skipped_by else computing():
        first = timed(run, device)
        rest = [timed(run, device) for _ in range(0 if first > SLOW_S else RUNS - 1)]
    return Figure(min([first, *rest]), peak_gib(device))


def _forward(expert: Any, clip: Clip, device: torch.device) -> Callable[[], None]:
    latent_frames = (clip.frames - 1) // 4 + 1
    shape = (1, expert.config.in_channels, latent_frames, clip.size.height // 8, clip.size.width // 8)
    latents = torch.randn(shape, dtype=torch.bfloat16).to(device)
    text = torch.randn(1, TEXT_TOKENS, expert.config.text_dim, dtype=torch.bfloat16).to(device)
    timestep = torch.full((1,), 500, device=device)

    @torch.no_grad()
    def run() -> None:
        with expert.cache_context("cond"):
            expert(hidden_states=latents, timestep=timestep, encoder_hidden_states=text, return_dict=False)

    return run


@contextmanager
def skipping() -> Iterator[None]:
    """Let FirstBlockCache reuse what the forward before has left."""
    original = FBCHeadBlockHook._should_compute_remaining_blocks
    FBCHeadBlockHook._should_compute_remaining_blocks = lambda self, residual: (
        original(self, residual),  # its cost belongs to the step
        self.state_manager.get_state().tail_block_residuals is None,
    )[1]
    try:
        yield
    finally:
        FBCHeadBlockHook._should_compute_remaining_blocks = original


@contextmanager
def computing() -> Iterator[None]:
    """Let FirstBlockCache skip nothing: the same numbers again would."""
    original = FBCHeadBlockHook._should_compute_remaining_blocks
    FBCHeadBlockHook._should_compute_remaining_blocks = lambda self, residual: (original(self, residual), True)[1]
    try:
        yield
    finally:
        FBCHeadBlockHook._should_compute_remaining_blocks = original


def timed(work: Callable[[], object], device: torch.device) -> float:
    wait(device)
    began = time.perf_counter()
    work()
    wait(device)
    return time.perf_counter() - began


def wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def reset_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()


def peak_gib(device: torch.device) -> float:
    return torch.cuda.max_memory_allocated() / GIB if device.type == "cuda" else 0.0
