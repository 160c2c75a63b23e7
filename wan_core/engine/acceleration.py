"""Apply `acceleration`: `none` is plain diffusers to the last bit (the miniature's frames within one grey level, see
`miniature/fast_vae.py` and `fast_experts.py`), `regular` all that is near-lossless here.

Each part is probed at loading and set for each request. Order matters: attention backend (process-wide in diffusers, so
always set), compiled blocks, cache hooks around them, fresh cache state. fp8 is set at loading and cannot be undone.
"""

import copy
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import torch
from diffusers.models.attention_dispatch import AttentionBackendName, attention_backend, dispatch_attention_fn
from torch._dynamo import config as dynamo_config
from torch._dynamo.utils import counters
from torch.utils._python_dispatch import is_traceable_wrapper_subclass
from torch.utils._pytree import tree_map

from wan_core.engine import step_cache
from wan_core.engine.step_cache import CacheDit, FirstBlockCache, StepCache
from wan_core.events import Event, Log
from wan_core.schedule import CACHE_FROM_STEPS, UNGUIDED_END, StepSchedule, truncated
from wan_core.schema import ImageToVideoInput
from wan_core.settings import Settings
from wan_core.workload import TEXT_TOKENS

log = logging.getLogger(__name__)

NATIVE = "native"
THRESHOLDS = (0.04, 0.10)
"""FirstBlockCache's limits for the change of the first block's residual: high-noise expert, low-noise expert.

The former decides motion and layout, so it is stricter, as in cache-dit's limits for Wan 2.2.
"""
PROBE_SHAPE = (1, 8192, 40, 128)  # batch, tokens, heads, channels: Wan's heads, a quarter of a 480p clip
PROBE_RUNS = 3
NOISE_FACTOR = 1.5  # how much farther from the fp32 result than the plain bf16 one a fast one may be
MAX_VARIANTS = 32
"""Graphs of a block before dynamo gives up: sizes, LoRAs on and off, and attentions make 7 or 8, its own limit is 8."""
QUANTIZED_TOLERANCE = 0.05  # mean difference over mean size, of attention that quantizes; bf16's own is about 0.003
QUANTIZED_ATTENTION = ("sage_hub", "sage_blackwell_hub")
"""SageAttention: int8 (2) and fp4 (3) products. Published as near-lossless; the probe's difference is in the log."""


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
    _cache: StepCache | None = field(default=None, init=False)

    def try_attention(self, sm: int, device: torch.device, report: Callable[[Event], None]) -> None:
        """Probe attention at the first clip: ZeroGPU has no card while loading."""
        if self.attention is None:
            names = attention_candidates(sm)
            self.attention = best_attention(names, device, report) if self.settings.accelerate_attention else NATIVE

    def prepare(
        self,
        pipe: Any,
        request: ImageToVideoInput,
        schedule: StepSchedule,
        may_cache: bool = True,
        *,
        lightning_end: bool = False,
    ) -> tuple[StepSchedule, str]:
        """Set `pipe` up; return the schedule to use and a sentence for the log.

        `may_cache`: memory has room for a step cache. `lightning_end`: the low-noise expert takes few steps, too far
        from each other to reuse anything.
        """
        regular = request.acceleration == "regular"
        truncates = regular and self.settings.accelerate_guidance
        schedule = truncated(schedule, UNGUIDED_END) if truncates else schedule
        self._cache = self._new_cache() if may_cache and self.uses_cache(request) else None
        for expert, high_noise in ((pipe.transformer, True), (pipe.transformer_2, False)):
            step_cache.take_off(expert)
            set_attention(expert, self.attention if regular and self.attention else NATIVE)
            compile_blocks(expert, on=regular and self.compiles)
            has_few_steps = lightning_end and not high_noise
            if self._cache and not has_few_steps and len(expert.blocks) > 1:  # the first block decides on the others
                guided = schedule.guided_of(high_noise=high_noise)
                self._cache.put_on(expert, high_noise=high_noise, guided=guided)
            expert._reset_stateful_cache()  # an interrupted run leaves residuals behind
        return schedule, self._sentence(regular, lightning_end)

    def _new_cache(self) -> StepCache:
        return CacheDit() if self.settings.step_cache == "cache-dit" else FirstBlockCache(self.thresholds)

    def uses_cache(self, request: ImageToVideoInput) -> bool:
        wanted = request.acceleration == "regular" and self.settings.accelerate_cache
        return wanted and self.caches and request.num_inference_steps >= CACHE_FROM_STEPS

    def after_step(self, pipe: Any, schedule: StepSchedule, step: int) -> None:
        if self._cache:
            self._cache.after_step(pipe, schedule, step)

    def fall_back(self, error: Exception | None) -> str | None:
        """Switch off what may have failed with `error` (`None`: invalid numbers); return its name, or `None`.

        A compiler's own error leaves attention as it is.
        """
        attention, compiled = self.attention not in (None, NATIVE), self.compiles
        if not attention and not compiled:
            return None
        self.compiles = False
        if compiled and error is not None and "dynamo" in type(error).__module__:
            return "compiled model"
        self.attention = NATIVE
        return {(True, False): "fast attention", (False, True): "compiled model"}.get(
            (attention, compiled), "fast attention or the compiled model"
        )

    def _sentence(self, regular: bool, lightning_end: bool) -> str:
        if not regular:
            return "Acceleration none: plain diffusers."
        parts = [f"{self.attention} attention"]
        parts += ["compiled blocks"] if self.compiles else []
        where = " for the high-noise expert" if lightning_end else ""
        parts += [self._cache.words + where] if self._cache else []
        parts += ["no guidance in the last quarter of the steps"] if self.settings.accelerate_guidance else []
        return f"Acceleration regular: {', '.join(parts)}."


def detect_acceleration(
    pipe: Any, settings: Settings, device: torch.device, sm: int, may_compile: bool, report: Callable[[Event], None]
) -> Acceleration:
    """Probe what this machine offers. ZeroGPU's workers are too short-lived to compile."""
    settings = settings.model_copy(update={"step_cache": step_cache.available(settings.step_cache, report)})
    if device.type != "cuda":
        return Acceleration(settings)
    torch.backends.cudnn.allow_tf32 = True  # PyTorch's default for convolutions, said aloud: the VAE is 4 × as fast
    if settings.zero_gpu:
        return Acceleration(settings, attention=None)
    names = attention_candidates(sm, settings.cards_per_clip)
    attention = best_attention(names, device, report) if settings.accelerate_attention else NATIVE
    wanted = may_compile and settings.accelerate_compile
    return Acceleration(settings, attention, wanted and compile_works(pipe.transformer, attention, device, report))


@dataclass(frozen=True)
class Probed:
    """Seconds of one attention, and its mean difference from fp32 over the mean size."""

    seconds: float
    difference: float


def best_attention(candidates: Sequence[str], device: torch.device, report: Callable[[Event], None]) -> str:
    """Return the fastest attention whose result is near enough to that of fp32."""
    found: dict[str, Probed] = {}
    for name in candidates:
        try:
            found[name] = probe(name, device)
        except Exception as error:  # a kernel may raise anything: then it is not for this machine
            log.warning("%s attention does not serve here", name, exc_info=True)
            report(Log(f"{name} attention does not serve here ({type(error).__name__}).", "WARN"))
    plain = found[NATIVE].difference if NATIVE in found else 0.0
    near = [name for name, probed in found.items() if probed.difference <= tolerance(name, plain)]
    fastest = min(near, key=lambda name: found[name].seconds, default=NATIVE)
    report(Log(f"Attention probed: {', '.join(_probed(*row) for row in found.items())}; {fastest} it is."))
    return fastest


def tolerance(attention: str, plain: float) -> float:
    """`plain`: the difference of the native attention."""
    return QUANTIZED_TOLERANCE if attention in QUANTIZED_ATTENTION else max(NOISE_FACTOR * plain, 1e-6)


def _probed(name: str, probed: Probed) -> str:
    return f"{name} {1000 * probed.seconds:.1f} ms, off by {probed.difference:.1%}"


def attention_candidates(sm: int, cards: int = 1) -> list[str]:
    """Those of the `kernels` package are fetched from the Hub. FlashAttention 3 aborts the process on Blackwell.

    diffusers lets several `cards` share the heads of all but SageAttention 3.
    """
    candidates = [NATIVE, "_native_cudnn"]
    if find_spec("kernels"):
        candidates += ["_flash_3_hub"] if sm == 90 else []
        candidates += ["sage_hub"] if sm >= 80 else []
        candidates += ["sage_blackwell_hub"] if sm == 120 and cards == 1 else []
    return candidates


def probe(name: str, device: torch.device, shape: tuple[int, ...] = PROBE_SHAPE) -> Probed:
    """Fetch the kernel, compare its result with fp32, and time it."""
    generator = torch.Generator("cpu").manual_seed(0)
    exact = [torch.randn(shape, generator=generator).to(device, torch.bfloat16).float() for _ in range(3)]
    wanted = dispatch_attention_fn(*exact, backend=NATIVE)
    query, key, value = (tensor.to(torch.bfloat16) for tensor in exact)
    with attention_backend(name):
        difference = relative_difference(dispatch_attention_fn(query, key, value), wanted)
        if difference != difference:
            raise ArithmeticError(f"{name} attention gives NaN")
        _wait_for(device)
        began = time.perf_counter()
        for _ in range(PROBE_RUNS):
            dispatch_attention_fn(query, key, value)
        _wait_for(device)
    return Probed((time.perf_counter() - began) / PROBE_RUNS, difference)


def relative_difference(ours: torch.Tensor, wanted: torch.Tensor) -> float:
    """Mean difference over mean size."""
    return ((ours.float() - wanted.float()).abs().mean() / wanted.float().abs().mean()).item()


def compile_works(expert: Any, attention: str, device: torch.device, report: Callable[[Event], None]) -> bool:
    """Return whether a compiled block is as near to fp32 as the eager one. Also the first, slow compilation.

    `attention`: that of the clips to come; the graph contains it.
    """
    began = time.monotonic()
    try:
        set_attention(expert, attention)
        eager, compiled = _block_noise(expert, device)
    except Exception as error:  # compilers raise anything: then blocks stay eager
        log.warning("compiling does not serve here", exc_info=True)
        report(Log(f"Compiling does not serve here ({type(error).__name__}).", "WARN"))
        return False
    finally:
        compile_blocks(expert, on=False)
    took = time.monotonic() - began
    report(Log(f"Blocks compiled in {took:.0f} s; off by {compiled:.2%} from fp32, eager ones by {eager:.2%}."))
    return compiled <= max(NOISE_FACTOR * eager, 1e-4)


@torch.no_grad()
def _block_noise(expert: Any, device: torch.device) -> tuple[float, float]:
    """Mean differences of the first block's result from that in fp32: eager, compiled."""
    block, calls = expert.blocks[0], []
    watcher = block.register_forward_pre_hook(lambda _, args, kwargs: calls.append((args, kwargs)), with_kwargs=True)
    _run_on_noise(expert, device)
    watcher.remove()
    args, kwargs = calls[0]
    exact = _in_fp32(block)(*_floats(args), **_floats(kwargs))
    eager = relative_difference(block(*args, **kwargs), exact)
    compile_blocks(expert, on=True)
    compiled = relative_difference(block(*args, **kwargs), exact)
    _run_on_noise(expert, device)  # the same graph, through all blocks
    return eager, compiled


def _run_on_noise(expert: Any, device: torch.device) -> None:
    channels, text_dim = expert.config.in_channels, expert.config.text_dim
    generator = torch.Generator("cpu").manual_seed(0)
    latents, text = (
        torch.randn(shape, generator=generator).to(device, expert.dtype)
        for shape in ((1, channels, 3, 16, 16), (1, TEXT_TOKENS, text_dim))
    )
    expert(latents, torch.full((1,), 500, device=device), text, return_dict=False)


def _in_fp32(block: Any) -> Any:
    """A copy in fp32, quantized weights included, with native attention: others take no fp32."""
    exact = copy.deepcopy(block)
    for module in exact.modules():
        weight = getattr(module, "weight", None)
        if isinstance(weight, torch.Tensor) and is_traceable_wrapper_subclass(weight):
            module.weight = torch.nn.Parameter(weight.dequantize(), requires_grad=False)
        if hasattr(module, "processor"):
            module.processor._attention_backend = AttentionBackendName.NATIVE
    return exact.float()


def _floats(values: Any) -> Any:
    return tree_map(lambda value: value.float() if isinstance(value, torch.Tensor) else value, values)


def compile_blocks(expert: Any, on: bool, backend: str = "inductor") -> None:
    """Switch between compiled blocks (one graph for all blocks, experts and sizes) and eager ones.

    Call before putting on cache hooks: they then wrap the compiled forward, whose graph stays whole.
    """
    if on:
        dynamo_config.recompile_limit = max(dynamo_config.recompile_limit, MAX_VARIANTS)
    for block in expert.blocks:
        if on and not hasattr(block, "compiled_forward"):
            block.compiled_forward = torch.compile(block.forward, fullgraph=True, dynamic=True, backend=backend)
            block.eager_forward = block.forward
        if on != getattr(block, "runs_compiled", False):
            block.forward = block.compiled_forward if on else block.eager_forward
            block.runs_compiled = on


def compiled_variants() -> int:
    """Graphs compiled in this process, of at most `MAX_VARIANTS` a block."""
    return int(counters["stats"]["unique_graphs"])


def set_attention(expert: Any, backend: str) -> None:
    """Only if it changes: diffusers warns at every call."""
    present = expert.blocks[0].attn1.processor._attention_backend
    if present is None or present.value != backend:
        expert.set_attention_backend(backend)


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()
