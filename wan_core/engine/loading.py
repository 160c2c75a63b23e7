"""Load a profile into an engine that can sample.

Tensors are those of diffusers' `from_pretrained` (bf16 with fp32 islands, the VAE fp32) unless the card only holds
quantized experts. Knows files, devices and memory, nothing of requests.
"""

import gc
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from diffusers import AutoencoderKLWan, WanImageToVideoPipeline, WanTransformer3DModel
from safetensors import SafetensorError
from transformers import UMT5EncoderModel

from wan_core.engine import acceleration, memory, preview, quantizing, turbo
from wan_core.engine.acceleration import Acceleration
from wan_core.engine.cards.group import CardGroup
from wan_core.engine.cards.rank import Split
from wan_core.engine.embedding_cache import Recent, cache_first_frames
from wan_core.engine.main_memory import available_bytes
from wan_core.engine.memory import GIB, Plan
from wan_core.engine.model_folder import find_model
from wan_core.engine.preview import Colours
from wan_core.errors import BackendError
from wan_core.events import Event, Log, Note, Stage, Step
from wan_core.geometry import Size
from wan_core.profiles import EngineProfile, Loader, cores
from wan_core.settings import Settings

log = logging.getLogger(__name__)

Report = Callable[[Event], None]
TOO_SMALL_TO_LEND = (
    "The card lent here has {free:.0f} GiB, and Wan needs a whole RTX PRO 6000 (96 GB): nothing can be moved off a "
    "card that is lent, and fp8 weights cannot be packed for it."
)
LOADED_SMALLER = "Memory ran out while the model was loaded; it now runs with a smaller plan: {plan}."
LOADED_WHOLE = "The weights could not be made fp8 on this machine; the model now runs with another plan: {plan}."
TOO_SMALL_TO_SHARE = (
    "WAN_CARDS_PER_CLIP={cards} wants the whole model on each card, about 70 GiB, and the fullest has {free:.0f} GiB "
    "free. Unset it: then one card makes a clip in the way that fits it."
)
NEVER_LOADED = "Memory ran out while the model was loaded. Close what else uses this machine's card and memory."
FIRST_CLIP = memory.Clip(Size(832, 480), 81, cached=True)
"""The weights must suit the smallest resolution; larger ones may move parts off."""


@dataclass(frozen=True)
class Card:
    """`sm` is the compute capability (H200: 90), 0 without CUDA.

    A `lent` card (ZeroGPU) exists only during a call: nothing runs on it while loading, nothing can be moved off.
    `main_bytes`: main memory that was free before loading. `cards`: that make a clip together; `free_bytes` is the
    least of them.
    """

    device: torch.device
    sm: int = 0
    free_bytes: int = 0
    lent: bool = False
    main_bytes: float = math.inf
    cards: int = 1

    @property
    def is_fixed(self) -> bool:
        """Nothing can be moved off."""
        return self.lent or self.cards > 1

    @property
    def is_cuda(self) -> bool:
        return self.device.type == "cuda"


@dataclass
class Engine:
    """A loaded model; makes one clip at a time. `pipe` is a `WanImageToVideoPipeline`.

    `plan`: `None` on a CPU. `decode_s_per_pixel`: the VAE's last seconds per pixel of a frame. `group`: the cards that
    run each forward together.
    """

    profile: EngineProfile
    pipe: Any
    card: Card = field(default_factory=lambda: Card(torch.device("cpu")))
    plan: Plan | None = None
    acceleration: Acceleration = field(default_factory=lambda: Acceleration(Settings()))
    colours: Colours = preview.WAN
    prompts: Recent = field(default_factory=Recent)
    decode_s_per_pixel: float | None = None
    group: CardGroup | None = None

    @property
    def is_lost(self) -> bool:
        """It makes no more clips; nor does its process."""
        return self.group is not None and self.group.is_lost

    def for_profile(self, profile: EngineProfile) -> "Engine | None":
        """Return this engine for `profile` if its weights serve it, else `None`: load anew.

        Turbo only adds LoRAs, but quantized weights no longer take them.
        """
        if not profile.has_weights_of(self.profile):
            return None
        if profile.lightning and self.plan and self.plan.weights == "fp8" and not turbo.is_loaded(self.pipe):
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
    from wan_core.engine.miniature import fast_experts, fast_vae
    from wan_core.engine.miniature.build import build_pipeline

    torch.set_num_threads(settings.threads or cores())
    pipe = build_pipeline()
    fast_vae.speed_up(pipe.vae)
    for expert in (pipe.transformer, pipe.transformer_2):
        fast_experts.speed_up(expert)
    colours = preview.fit_colours(pipe.vae)
    return Engine(profile, pipe, acceleration=Acceleration(settings, caches=False), colours=colours)


@dataclass(frozen=True)
class Source:
    """Where a pipeline's parts come from: `readers` by the pipeline's name, each with a title; `build(**parts)`."""

    readers: Mapping[str, tuple[str, Callable[[], Any]]]
    build: Callable[..., Any]


def _load_folder(profile: EngineProfile, settings: Settings, report: Report) -> Engine:
    folder, card = find_model(profile, settings, report), detect_card(settings)
    if settings.cards_per_clip > 1:
        return _load_on_cards(folder, card, profile, settings, report)
    loras = turbo.read(settings, report) if profile.lightning else {}
    plans = first_plans(card, settings, profile.title, loras=bool(loras)) if card.is_cuda else []
    if not plans:
        _check_main_memory(folder, card, profile.title)
    try:
        return load_from(_folder_source(folder), profile, card, plans, loras, settings, report)
    except (OSError, SafetensorError) as error:
        raise _damaged_error(profile.title) from error


def _load_on_cards(folder: Path, card: Card, profile: EngineProfile, settings: Settings, report: Report) -> Engine:
    """Whole and plain on each card. A step cache would decide on each card by the card's own tokens; compiled blocks
    were never tried around the exchanges; fp8 and LoRAs come after the weights are shared, the former not at all.
    """
    left_out = dict.fromkeys(("accelerate_compile", "accelerate_cache", "accelerate_fp8"), False)
    settings = settings.model_copy(update=left_out)
    split = Split(settings.cards_per_clip, settings.clip_split)
    report(Stage("loading", f"Starting the processes of {split.cards} cards."))
    group = CardGroup(split, card.device)
    try:
        least = min(card.free_bytes, group.join())
        card = replace(card, free_bytes=least, cards=split.cards)
        plans = _whole_plans(card, settings, profile.title, split) if card.is_cuda else []
        engine = load_from(_folder_source(folder), profile, card, plans, {}, settings, report)
        report(Stage("loading", "Giving the experts to the other cards."))
        group.share(engine.pipe)
    except (OSError, SafetensorError) as error:
        group.close()
        raise _damaged_error(profile.title) from error
    except BaseException:
        group.close()
        raise
    report(Log(split.words))
    return replace(engine, group=group)


def _whole_plans(card: Card, settings: Settings, title: str, split: Split) -> list[Plan]:
    """Raises BackendError `engine_unavailable` if a card cannot hold everything."""
    plans = first_plans(card, settings, title, split=split.degree)
    whole = [plan for plan in plans if plan.placement == "resident"]
    if not whole:
        sentence = TOO_SMALL_TO_SHARE.format(cards=split.cards, free=card.free_bytes / GIB)
        raise BackendError("engine_unavailable", sentence)
    return whole


def load_from(
    source: Source,
    profile: EngineProfile,
    card: Card,
    plans: Sequence[Plan],
    loras: turbo.Loras,
    settings: Settings,
    report: Report,
) -> Engine:
    """Return the engine by the first of `plans` for which memory suffices; without any, all parts stay as read."""
    plan, pipe = _assemble_as_planned(source, next(iter(plans), None), plans[1:], card, loras, report)
    whole_blocks = plan is not None and plan.placement != "group_offload"
    accelerated = acceleration.detect_acceleration(pipe, settings, card.device, card.sm, whole_blocks, report)
    return Engine(profile, pipe, card, plan, accelerated)


def _assemble_as_planned(
    source: Source, plan: Plan | None, smaller: Sequence[Plan], card: Card, loras: turbo.Loras, report: Report
) -> tuple[Plan | None, Any]:
    """Return the plan and its pipeline; where memory runs out, those of the next plan, with a note."""
    ran_out = True
    try:
        return plan, _assemble_by(source, plan, card, loras, report)
    except quantizing.CannotQuantize as error:
        log.warning("fp8 does not serve here", exc_info=True)
        report(Log(f"fp8 does not serve here ({type(error.__cause__).__name__}).", "WARN"))
        ran_out, smaller = False, [each for each in smaller if each.weights == "bf16"]
    except (MemoryError, RuntimeError) as error:
        if not memory.says_out_of_memory(error):
            raise
    note = LOADED_SMALLER if ran_out else LOADED_WHOLE
    if not smaller:
        raise BackendError("out_of_memory", NEVER_LOADED)
    release_memory(card)
    report(Note(note.format(plan=smaller[0].words)))
    return _assemble_as_planned(source, smaller[0], smaller[1:], card, loras, report)


def _assemble_by(source: Source, plan: Plan | None, card: Card, loras: turbo.Loras, report: Report) -> Any:
    def finish(name: str, part: Any) -> Any:
        """Leave a part as it will lie, before the next is read."""
        if name in loras:
            turbo.add(part, loras[name])
        if plan is None:
            return part
        home = card.device if plan.placement == "resident" else torch.device("cpu")
        if plan.weights == "fp8":
            quantizing.quantize_part(name, part, card.sm, card.device, home)
        return part.to(home)

    pipe = assemble(source, finish, report)
    if plan:
        memory.arrange(pipe, plan, card.device)
        report(Log(plan.sentence))
    return pipe


def release_memory(card: Card) -> None:
    """Give back what nobody holds any more."""
    gc.collect()
    if card.is_cuda:
        torch.cuda.empty_cache()


LOADERS: dict[Loader, Callable[[EngineProfile, Settings, Report], Engine]] = {
    "diffusers folder": _load_folder,
    "miniature": _load_miniature,
}


def detect_card(settings: Settings) -> Card:
    if not torch.cuda.is_available():
        return Card(torch.device("cpu"), main_bytes=available_bytes())
    major, minor = torch.cuda.get_device_capability()
    free = torch.cuda.mem_get_info()[0]
    return Card(torch.device("cuda"), 10 * major + minor, free, settings.zero_gpu, available_bytes())


def first_plans(card: Card, settings: Settings, title: str, *, loras: bool = False, split: int = 1) -> list[Plan]:
    """Arrangements to load, fastest first. A lent card holds everything or nothing, and takes no fp8.

    ZeroGPU packs weights in pinned memory, which torchao's tensors have not (spaces 0.51, torchao 0.18).

    Raises:
        BackendError: `engine_unavailable` if a lent card cannot hold everything, `out_of_memory` without the main
            memory that any of them needs.
    """
    fp8 = settings.accelerate_fp8 and quantizing.is_available() and not card.lent
    weights = memory.weights_for(card.sm, fp8)
    clip = replace(FIRST_CLIP, loras=loras, cached=settings.accelerate_cache, split=split)
    plans = memory.plans(card.free_bytes, clip, weights, math.inf if card.lent else card.main_bytes)
    if card.lent and plans[0].placement != "resident":
        raise BackendError("engine_unavailable", TOO_SMALL_TO_LEND.format(free=card.free_bytes / GIB))
    if not plans:
        least = min(plan.main_memory.loading for plan in memory.plans(card.free_bytes, clip, weights))
        raise _main_memory_error(title, least * GIB, card.main_bytes)
    return plans[:1] if card.lent else plans


def assemble(source: Source, finish: Callable[[str, Any], Any], report: Report) -> Any:
    """Return the pipeline.

    `finish(name, part)` is called with each part before the next is read, and returns what the pipeline gets.
    """
    parts = {}
    for done, (name, (title, read)) in enumerate(source.readers.items()):
        report(Stage("loading", f"Reading the {title}."))
        parts[name] = finish(name, read().requires_grad_(False).eval())
        report(Step("loading", done + 1, len(source.readers)))
    return source.build(**parts)


def _folder_source(folder: Path) -> Source:
    """Experts and text encoder bf16 with fp32 islands, the VAE fp32."""
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
    return Source(readers, lambda **parts: WanImageToVideoPipeline.from_pretrained(folder, **parts))


def _expert(folder: Path) -> Any:
    return WanTransformer3DModel.from_pretrained(folder, dtype=torch.bfloat16, use_safetensors=True)


def _check_main_memory(folder: Path, card: Card, title: str) -> None:
    """Refuse before the OOM killer does: without a card all parts stay here. The experts' files are fp32."""
    sizes = {part.name: sum(file.stat().st_size for file in part.glob("*.safetensors")) for part in folder.glob("*/")}
    needed = sum(size // 2 if part.startswith("transformer") else size for part, size in sizes.items())
    if needed > card.main_bytes:
        raise _main_memory_error(title, needed, card.main_bytes)


def _main_memory_error(title: str, needed: float, free: float) -> BackendError:
    return BackendError(
        "out_of_memory",
        f"{title} needs {needed / GIB:.0f} GiB of main memory to load on this machine and {free / GIB:.0f} GiB are "
        "free.",
    )


def _damaged_error(title: str) -> BackendError:
    sentence = f"The weights of {title} on this machine are damaged or incomplete. Delete them and load again."
    return BackendError("engine_unavailable", sentence)
