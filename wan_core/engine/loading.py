"""Load a profile into an engine that can sample.

Tensors are those of diffusers' `from_pretrained` (bf16 with fp32 islands, the VAE fp32) unless the card only holds
quantized experts. Knows files, devices and memory, nothing of requests.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan, WanImageToVideoPipeline, WanTransformer3DModel
from safetensors import SafetensorError
from transformers import UMT5EncoderModel

from wan_core.engine import acceleration, memory, preview, quantizing, turbo
from wan_core.engine.acceleration import Acceleration
from wan_core.engine.embedding_cache import Recent, cache_first_frames
from wan_core.engine.memory import GIB, Plan
from wan_core.engine.model_folder import find_model
from wan_core.engine.preview import Colours
from wan_core.errors import BackendError
from wan_core.events import Event, Log, Stage, Step
from wan_core.geometry import Size
from wan_core.profiles import EngineProfile, Loader
from wan_core.settings import Settings

Report = Callable[[Event], None]
HALF_LENT_CARD = 47 * GIB  # ZeroGPU's `large`
ONLY_QUANTIZED = (
    "The card lent here has {free:.0f} GiB, and Wan fits it in fp8 only: add torchao to requirements.txt and leave "
    "WAN_ACCELERATE_FP8 on."
)
FIRST_CLIP = (Size(832, 480), 81)  # the weights must suit the smallest resolution; larger ones may move parts off


@dataclass(frozen=True)
class Card:
    """`sm` is the compute capability (H200: 90), 0 without CUDA.

    A `lent` card (ZeroGPU) exists only during a call: nothing runs on it while loading, nothing can be moved off.
    """

    device: torch.device
    sm: int = 0
    free_bytes: int = 0
    lent: bool = False

    @property
    def is_cuda(self) -> bool:
        return self.device.type == "cuda"


@dataclass
class Engine:
    """A loaded model; makes one clip at a time. `pipe` is a `WanImageToVideoPipeline`.

    `plan`: `None` on a CPU. `decode_s_per_pixel`: the VAE's last seconds per pixel of a frame.
    """

    profile: EngineProfile
    pipe: Any
    card: Card = field(default_factory=lambda: Card(torch.device("cpu")))
    plan: Plan | None = None
    acceleration: Acceleration = field(default_factory=lambda: Acceleration(Settings()))
    colours: Colours = preview.WAN
    prompts: Recent = field(default_factory=Recent)
    decode_s_per_pixel: float | None = None

    def for_profile(self, profile: EngineProfile) -> "Engine | None":
        """Return this engine for `profile` if its weights serve it, else `None`: load anew.

        Turbo only adds LoRAs, but quantized weights no longer take them.
        """
        if not profile.has_weights_of(self.profile):
            return None
        if profile.lora and self.plan and self.plan.weights == "fp8" and not turbo.is_loaded(self.pipe):
            return None
        return replace(self, profile=profile)


def load(profile: EngineProfile, settings: Settings, report: Report) -> Engine:
    """Return the engine of `profile`, ready to sample. Blocks.

    `report` is also called from other threads and may raise to stop loading.

    Raises:
        BackendError: `engine_unavailable`, `storage_full` or `out_of_memory`.
    """
    report(Stage("loading", f"Loading {profile.title}."))
    engine = LOADERS[profile.loader](profile, settings, report)
    engine.pipe.set_progress_bar_config(disable=True)
    cache_first_frames(engine.pipe.vae)
    report(Log(f"{profile.title} is loaded on {engine.card.device}."))
    return engine


def _load_miniature(profile: EngineProfile, settings: Settings, report: Report) -> Engine:
    """No step cache: three blocks leave little to skip (measured in `benchmarks.quality`)."""
    from wan_core.engine.miniature import fast_vae
    from wan_core.engine.miniature.build import build_pipeline

    torch.set_num_threads(cores())
    pipe = build_pipeline()
    fast_vae.speed_up(pipe.vae)
    colours = preview.fit_colours(pipe.vae)
    return Engine(profile, pipe, acceleration=Acceleration(settings, caches=False), colours=colours)


def cores() -> int:
    """Processors this process may use; on macOS, all."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _load_folder(profile: EngineProfile, settings: Settings, report: Report) -> Engine:
    folder = find_model(profile, settings, report)
    card, plan = first_plan(detect_card(settings), settings)
    _check_host_memory(folder, plan, profile.title)
    try:
        pipe = assemble(folder, card.device if _goes_straight_to(plan) else torch.device("cpu"), report)
    except (OSError, SafetensorError) as error:
        raise _damaged_error(profile.title) from error
    if profile.lora:
        turbo.load(pipe, settings, report)
    if plan and plan.weights == "fp8":
        quantizing.quantize(pipe, torch.device("cpu") if card.lent else card.device, card.sm)
    if plan:
        memory.arrange(pipe, plan, card.device)
        report(Log(plan.sentence))
    whole_blocks = plan is not None and plan.placement != "group_offload"
    detect_acceleration = acceleration.detect_acceleration(pipe, settings, card.device, card.sm, whole_blocks, report)
    return Engine(profile, pipe, card, plan, detect_acceleration)


LOADERS: dict[Loader, Callable[[EngineProfile, Settings, Report], Engine]] = {
    "diffusers folder": _load_folder,
    "miniature": _load_miniature,
}


def detect_card(settings: Settings) -> Card:
    if not torch.cuda.is_available():
        return Card(torch.device("cpu"))
    major, minor = torch.cuda.get_device_capability()
    return Card(torch.device("cuda"), 10 * major + minor, torch.cuda.mem_get_info()[0], settings.zero_gpu)


def first_plan(card: Card, settings: Settings) -> tuple[Card, Plan | None]:
    """Choose the first arrangement. On ZeroGPU half a card, if it fits, costs half the quota.

    Raises:
        BackendError: `engine_unavailable` if a lent card cannot hold everything.
    """
    if not card.is_cuda:
        return card, None
    fp8 = settings.accelerate_fp8 and quantizing.is_available()
    half = replace(card, free_bytes=min(card.free_bytes, HALF_LENT_CARD))
    for detect_acceleration in (half, card) if card.lent else (card,):
        plan = memory.plan(detect_acceleration.free_bytes, detect_acceleration.sm, *FIRST_CLIP, "regular", fp8)
        if plan.placement == "resident" or not card.lent:
            return detect_acceleration, plan
    raise BackendError("engine_unavailable", ONLY_QUANTIZED.format(free=card.free_bytes / GIB))


def _goes_straight_to(plan: Plan | None) -> bool:
    """If parts move to the card as they are read, main memory holds one at a time."""
    return plan is not None and plan.placement == "resident" and plan.weights == "bf16"


def assemble(folder: Path, device: torch.device, report: Report) -> Any:
    """Return the pipeline on `device`: experts and text encoder bf16 with fp32 islands, the VAE fp32."""
    readers: dict[str, tuple[str, Callable[[], Any]]] = {
        "text_encoder": (
            "text encoder",
            lambda: UMT5EncoderModel.from_pretrained(
                folder / "text_encoder", dtype=torch.bfloat16, use_safetensors=True
            ),
        ),
        "transformer": ("high-noise expert", lambda: _expert(folder / "transformer")),
        "transformer_2": ("low-noise expert", lambda: _expert(folder / "transformer_2")),
        "vae": (
            "picture encoder and decoder",
            lambda: AutoencoderKLWan.from_pretrained(folder / "vae", dtype=torch.float32, use_safetensors=True),
        ),
    }
    parts = {}
    for done, (name, (title, read)) in enumerate(readers.items()):
        report(Stage("loading", f"Reading the {title}."))
        parts[name] = read().requires_grad_(False).eval().to(device)
        report(Step("loading", done + 1, len(readers)))
    return WanImageToVideoPipeline.from_pretrained(folder, **parts)


def _expert(folder: Path) -> Any:
    return WanTransformer3DModel.from_pretrained(folder, dtype=torch.bfloat16, use_safetensors=True)


def _check_host_memory(folder: Path, plan: Plan | None, title: str) -> None:
    """Refuse before the OOM killer does: the largest part must fit while read, or all that stays here."""
    largest = max(sum(file.stat().st_size for file in part.glob("*.safetensors")) for part in folder.glob("*/"))
    needed = max(largest // 2, plan.host_bytes if plan else 0)  # files of the experts are fp32, memory bf16
    free = available_bytes()
    if needed > free:
        raise BackendError(
            "out_of_memory",
            f"{title} needs {needed / GIB:.0f} GiB of main memory on this machine and {free / GIB:.0f} GiB are free.",
        )


def available_bytes() -> int:
    """Main memory usable without swapping; all of it without /proc/meminfo."""
    lines = Path("/proc/meminfo").read_text("utf-8").splitlines() if Path("/proc/meminfo").exists() else []
    kilobytes = next((int(line.split()[1]) for line in lines if line.startswith("MemAvailable")), None)
    return kilobytes * 1024 if kilobytes is not None else os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def _damaged_error(title: str) -> BackendError:
    sentence = f"The weights of {title} on this machine are damaged or incomplete. Delete them and load again."
    return BackendError("engine_unavailable", sentence)
