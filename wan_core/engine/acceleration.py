"""Apply `acceleration`: `none` is plain diffusers to the last bit (the miniature's VAE within one grey level, see
`miniature/fast_vae.py`), `regular` all that is near-lossless here.

Each part is probed at loading and set for each request. Order matters: attention backend (process-wide in diffusers, so
always set), compiled blocks, cache hooks around them, fresh cache state. fp8 is set at loading and cannot be undone.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import torch
from diffusers import FirstBlockCacheConfig
from diffusers.models.attention_dispatch import dispatch_attention_fn

from wan_core.events import Event, Log
from wan_core.schedule import CACHE_FROM_STEPS, UNGUIDED_END, StepSchedule, truncated
from wan_core.schema import ImageToVideoInput
from wan_core.settings import Settings
from wan_core.workload import TEXT_TOKENS

NATIVE = "native"
THRESHOLDS = (0.04, 0.10)
"""FirstBlockCache's limits for the change of the first block's residual: high-noise expert, low-noise expert.

The former decides motion and layout, so it is stricter, as in cache-dit's limits for Wan 2.2.
"""
CACHE_LASTS = 3  # steps: one is computed, at most two reuse it
PROBE_SHAPE = (1, 8192, 40, 128)  # batch, tokens, heads, channels: Wan's heads, a quarter of a 480p clip
PROBE_TOLERANCE = 0.02  # bf16 attention of unit normals differs by at most this between exact kernels
PROBE_RUNS = 3
COMPILE_TOLERANCE = 0.02  # mean difference over mean size: fused bf16 operations round differently


@dataclass
class Acceleration:
    """What this machine offers.

    `attention`: that of `regular` (`None`: not probed yet). `caches`: whether a step cache suits the model.
    """

    settings: Settings
    attention: str | None = NATIVE
    compiles: bool = False
    caches: bool = True
    thresholds: tuple[float, float] = THRESHOLDS

    def try_attention(self, sm: int, device: torch.device, report: Callable[[Event], None]) -> None:
        """Probe attention at the first clip: ZeroGPU has no card while loading."""
        if self.attention is None:
            self.attention = best_attention(sm, device, report) if self.settings.accelerate_attention else NATIVE

    def prepare(self, pipe: Any, request: ImageToVideoInput, schedule: StepSchedule) -> tuple[StepSchedule, str]:
        """Set `pipe` up; return the schedule to use and a sentence for the log."""
        regular = request.acceleration == "regular"
        caches = regular and self.caches and self.settings.accelerate_cache and schedule.steps >= CACHE_FROM_STEPS
        for expert, threshold in zip((pipe.transformer, pipe.transformer_2), self.thresholds, strict=True):
            disable_cache(expert)
            set_attention(expert, self.attention if regular and self.attention else NATIVE)
            compile_blocks(expert, on=regular and self.compiles)
            if caches and len(expert.blocks) > 1:  # the first block decides whether the others run
                expert.enable_cache(FirstBlockCacheConfig(threshold=threshold))
            expert._reset_stateful_cache()  # an interrupted run leaves residuals behind
        if regular and self.settings.accelerate_guidance:
            schedule = truncated(schedule, UNGUIDED_END)
        return schedule, self._sentence(regular, caches, schedule)

    def after_step(self, pipe: Any, step: int) -> None:
        """Reset the cache every `CACHE_LASTS` steps, so that few in a row are skipped."""
        if (step + 1) % CACHE_LASTS == 0:
            for expert in (pipe.transformer, pipe.transformer_2):
                expert._reset_stateful_cache()

    def _sentence(self, regular: bool, caches: bool, schedule: StepSchedule) -> str:
        if not regular:
            return "Acceleration none: plain diffusers."
        parts = [f"{self.attention} attention"]
        parts += ["compiled blocks"] if self.compiles else []
        high_noise, low_noise = self.thresholds
        parts += [f"step cache ({high_noise:g} and {low_noise:g})"] if caches else []
        parts += ["no guidance in the last quarter of the steps"] if self.settings.accelerate_guidance else []
        return f"Acceleration regular: {', '.join(parts)}."


def detect_acceleration(
    pipe: Any, settings: Settings, device: torch.device, sm: int, may_compile: bool, report: Callable[[Event], None]
) -> Acceleration:
    """Probe what this machine offers. ZeroGPU's workers are too short-lived to compile."""
    if device.type != "cuda":
        return Acceleration(settings)
    torch.backends.cudnn.allow_tf32 = True  # PyTorch's default for convolutions, said aloud: the VAE is 4 × as fast
    if settings.zero_gpu:
        return Acceleration(settings, attention=None)
    attention = best_attention(sm, device, report) if settings.accelerate_attention else NATIVE
    wanted = may_compile and settings.accelerate_compile
    return Acceleration(settings, attention, wanted and compile_works(pipe.transformer, device, report))


def best_attention(sm: int, device: torch.device, report: Callable[[Event], None]) -> str:
    """Return the fastest full-precision attention that agrees with the native one."""
    seconds = {}
    for name in attention_candidates(sm):
        try:
            seconds[name] = probe(name, device)
        except (RuntimeError, ValueError, ImportError, ArithmeticError) as error:
            report(Log(f"{name} attention does not serve here ({type(error).__name__}).", "WARN"))
    fastest = min(seconds, key=lambda name: seconds[name], default=NATIVE)
    times = ", ".join(f"{name} {1000 * taken:.1f} ms" for name, taken in seconds.items())
    report(Log(f"Attention probed: {times}; {fastest} it is."))
    return fastest


def attention_candidates(sm: int) -> list[str]:
    """Full-precision backends. FlashAttention 3 is for Hopper: on Blackwell it aborts the process."""
    flash_3 = ["_flash_3_hub"] if sm == 90 and find_spec("kernels") else []
    return [NATIVE, "_native_cudnn", *flash_3]


def probe(name: str, device: torch.device, shape: tuple[int, ...] = PROBE_SHAPE) -> float:
    """Return seconds of one attention of `shape`.

    Raises:
        ArithmeticError: its result is not the native one.
    """
    generator = torch.Generator("cpu").manual_seed(0)
    query, key, value = (torch.randn(shape, generator=generator).to(device, torch.bfloat16) for _ in range(3))
    ours = dispatch_attention_fn(query, key, value, backend=name)
    difference = (ours - dispatch_attention_fn(query, key, value, backend=NATIVE)).abs().max().item()
    if not difference <= PROBE_TOLERANCE:  # also when it is NaN
        raise ArithmeticError(f"{name} attention is off by {difference}")
    _wait_for(device)
    began = time.perf_counter()
    for _ in range(PROBE_RUNS):
        dispatch_attention_fn(query, key, value, backend=name)
    _wait_for(device)
    return (time.perf_counter() - began) / PROBE_RUNS


def compile_works(expert: Any, device: torch.device, report: Callable[[Event], None]) -> bool:
    """Return whether compiled and eager blocks agree. Also the first, slow compilation."""
    channels, text_dim = expert.config.in_channels, expert.config.text_dim
    generator = torch.Generator("cpu").manual_seed(0)
    latents, text = (
        torch.randn(shape, generator=generator).to(device, expert.dtype)
        for shape in ((1, channels, 3, 16, 16), (1, TEXT_TOKENS, text_dim))
    )
    timestep = torch.full((1,), 500, device=device)

    def run() -> torch.Tensor:
        with torch.no_grad():
            return torch.as_tensor(expert(latents, timestep, text, return_dict=False)[0])

    began = time.monotonic()
    try:
        oracle = run()
        compile_blocks(expert, on=True)
        difference = ((run() - oracle).abs().mean() / oracle.abs().mean()).item()
    except (RuntimeError, ImportError, AssertionError) as error:
        report(Log(f"Compiling does not serve here ({type(error).__name__}).", "WARN"))
        return False
    finally:
        compile_blocks(expert, on=False)
    report(Log(f"Blocks compiled in {time.monotonic() - began:.0f} s; they differ by {difference:.1%} on noise."))
    return difference <= COMPILE_TOLERANCE


def compile_blocks(expert: Any, on: bool, backend: str = "inductor") -> None:
    """Switch between compiled blocks (one graph for all blocks, experts and sizes) and eager ones.

    Call before putting on cache hooks: they then wrap the compiled forward, whose graph stays whole.
    """
    for block in expert.blocks:
        if on and not hasattr(block, "compiled_forward"):
            block.compiled_forward = torch.compile(block.forward, fullgraph=True, dynamic=True, backend=backend)
            block.eager_forward = block.forward
        if on != getattr(block, "runs_compiled", False):
            block.forward = block.compiled_forward if on else block.eager_forward
            block.runs_compiled = on


def set_attention(expert: Any, backend: str) -> None:
    """Only if it changes: diffusers warns at every call."""
    present = expert.blocks[0].attn1.processor._attention_backend
    if present is None or present.value != backend:
        expert.set_attention_backend(backend)


def disable_cache(expert: Any) -> None:
    if expert.is_cache_enabled:
        expert.disable_cache()


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()
