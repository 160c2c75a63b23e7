"""Engines as data, and the one this machine runs. No torch here."""

import json
import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

from wan_core.engine.miniature import architecture
from wan_core.events import Where
from wan_core.rates import A14B_RATES, MINIATURE_RATES, RTX_PRO_6000, Rates
from wan_core.settings import ClipSplit, Settings
from wan_core.workload import A14B, Experts, Transformer

GIB = 2**30
FULL_MODEL = "a14b"  # what fal's endpoint runs too
TURBO = "a14b-turbo"
TURBO_MOTION = "a14b-turbo-motion"
MINIATURE = "miniature"
MINIATURE_FOLDER = Path(__file__).parent / "engine" / "miniature"

WHOLE_MODEL_BYTES = 70 * GIB
"""Both experts and the text encoder in bf16, a tiled VAE and a clip at 480p (`engine/memory.py`)."""

Loader = Literal["diffusers folder", "miniature"]
Lightning = Literal["both experts", "low-noise expert"]


@dataclass(frozen=True)
class EngineProfile:
    """An engine; the defaults are Wan 2.2 A14B's.

    `lightning`: experts with their Lightning LoRA. `weights_bytes`: all parts in bf16. `render_divisor`: divides each
    sampled side; the encoder enlarges. `vocabulary`: camera and motion words it knows, `None` for all.
    `takes_end_picture`: else the clip does not end on it, and says so. `knob_help`: a folder with `knobs.md` and
    `knobs.jpg`.
    """

    name: str
    title: str
    description: str
    repo: str | None
    revision: str | None
    loader: Loader = "diffusers folder"
    lightning: Lightning | None = None
    min_vram_bytes: int = 0
    weights_bytes: int = 69_000_000_000
    experts: Experts = A14B
    rates: Rates = A14B_RATES
    render_divisor: int = 1
    is_full_model: bool = True
    vocabulary: tuple[str, ...] | None = None
    takes_end_picture: bool = True
    notice: str = ""
    opening_preset: str = "fal_defaults"
    knob_help: Path | None = None

    @property
    def can_share_cards(self) -> bool:
        return self.loader == "diffusers folder"

    @property
    def lightning_end(self) -> bool:
        """The low-noise expert takes Lightning's steps in place of those asked for."""
        return self.lightning == "low-noise expert"

    def has_weights_of(self, other: "EngineProfile") -> bool:
        """LoRAs may differ."""
        return (self.loader, self.repo, self.revision) == (other.loader, other.repo, other.revision)


def cores() -> int:
    """Processors this process may use; on macOS, all."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def share_of_cores(processes: int) -> dict[str, str]:
    """The variables of one of several processes that share the cores."""
    share = str(max(1, cores() // processes))
    return {"OMP_NUM_THREADS": share, "MKL_NUM_THREADS": share}


@dataclass(frozen=True)
class Machine:
    """`card` and `vram_bytes` (0 without one): of the smallest CUDA card. `cards`: UUIDs. `workers`: processes for
    clips; each has `cards_per_clip` of the cards, which share a clip by `clip_split`.
    """

    card: str = ""
    vram_bytes: int = 0
    cards: tuple[str, ...] = ()
    workers: int = 1
    zero_gpu: bool = False
    cards_per_clip: int = 1
    clip_split: ClipSplit = "ulysses"

    @property
    def title(self) -> str:
        if self.zero_gpu:
            return "ZeroGPU"
        if not self.card:
            return "no CUDA card"
        count = f"{len(self.cards)} × " if len(self.cards) > 1 else ""
        together = f", {self.cards_per_clip} a clip ({self.clip_split})" if self.cards_per_clip > 1 else ""
        return f"{count}{self.card}, {self.vram_bytes / GIB:.0f} GiB{together}"

    @property
    def device(self) -> Literal["cpu", "cuda"]:
        return "cuda" if self.zero_gpu or self.vram_bytes else "cpu"

    def worker_environments(self) -> list[dict[str, str]]:
        """Its cards, or its share of the cores."""
        if self.cards:
            firsts = range(0, len(self.cards), self.cards_per_clip)
            groups = [self.cards[first : first + self.cards_per_clip] for first in firsts]
            return [{"CUDA_VISIBLE_DEVICES": ",".join(group)} for group in groups]
        if self.workers == 1:
            return [{}]
        return [share_of_cores(self.workers)] * self.workers

    @property
    def rated_card(self) -> str:
        """ZeroGPU lends RTX PRO 6000s (November 2026)."""
        return RTX_PRO_6000 if self.zero_gpu else self.card


@dataclass(frozen=True)
class Choice:
    profile: EngineProfile
    reason: str


A14B_REPO = "Wan-AI/Wan2.2-I2V-A14B-Diffusers"
A14B_REVISION = "596658fd9ca6b7b71d5057529bbf319ecbc61d74"


@cache
def miniature_card() -> dict[str, Any]:
    """`trained` (bool), `sentence` (what it can do), `moves` (words it knows)."""
    card: dict[str, Any] = json.loads((MINIATURE_FOLDER / "card.json").read_text("utf-8"))
    return card


@cache
def profiles() -> dict[str, EngineProfile]:
    full = EngineProfile(
        FULL_MODEL,
        "Wan 2.2 A14B",
        "The full model: two experts of 14 billion parameters each.",
        A14B_REPO,
        A14B_REVISION,
        min_vram_bytes=22 * GIB,
    )
    turbo = replace(
        full,
        name=TURBO,
        title="Wan 2.2 A14B turbo",
        description="The full model with the Lightning LoRAs: 4 steps without guidance. Fast, with calmer motion.",
        lightning="both experts",
        opening_preset="turbo",
    )
    turbo_motion = replace(
        full,
        name=TURBO_MOTION,
        title="Wan 2.2 A14B turbo motion",
        description="The full model's high-noise steps with guidance, which decide the motion, then a few Lightning "
        "steps (two with shift 5) in place of all low-noise ones.",
        lightning="low-noise expert",
        opening_preset="turbo_motion",
    )
    return {profile.name: profile for profile in (full, turbo, turbo_motion, _miniature())}


def _miniature() -> EngineProfile:
    card = miniature_card()
    return EngineProfile(
        MINIATURE,
        "Miniature",
        card["sentence"],
        repo=None,
        revision=None,
        loader="miniature",
        weights_bytes=sum(file.stat().st_size for file in MINIATURE_FOLDER.glob("*.safetensors")),
        experts=Experts(_transformer(architecture.HIGH_NOISE), _transformer(architecture.LOW_NOISE)),
        rates=MINIATURE_RATES,
        render_divisor=4,
        is_full_model=False,
        vocabulary=tuple(card["moves"]),
        takes_end_picture=False,
        notice=card["sentence"],
        opening_preset="miniature",
        knob_help=MINIATURE_FOLDER,
    )


def _transformer(sizes: Mapping[str, Any]) -> Transformer:
    """`sizes`: arguments of diffusers' `WanTransformer3DModel`."""
    width = sizes["num_attention_heads"] * sizes["attention_head_dim"]
    return Transformer(width, sizes["num_layers"], sizes["ffn_dim"])


def why_not(profile: EngineProfile, machine: Machine) -> str | None:
    """A sentence, if `machine` cannot run `profile`."""
    if machine.zero_gpu or machine.vram_bytes >= profile.min_vram_bytes:
        return None
    need = f"{profile.title} needs a CUDA card with at least {profile.min_vram_bytes / GIB:.0f} GiB"
    return f"{need}; this machine has {machine.title}."


def pool_of(where: Where, engine: str) -> Literal["local", "fal"]:
    """`fal_when_needed` goes straight to fal if a smaller model would run here."""
    at_once = where == "fal" or (where == "fal_when_needed" and not profiles()[engine].is_full_model)
    return "fal" if at_once else "local"


def draws_small(profile: EngineProfile, where: Where) -> bool:
    return profile.render_divisor > 1 and pool_of(where, profile.name) == "local"


def choose(settings: Settings, machine: Machine) -> Choice:
    """`WAN_ENGINE`, else the full model if it can run, else the miniature.

    Raises:
        SystemExit: `WAN_ENGINE` names no engine.
    """
    known = profiles()
    if settings.engine:
        if settings.engine not in known:
            raise SystemExit(f"WAN_ENGINE must be one of {', '.join(known)}; it is {settings.engine!r}.")
        return Choice(known[settings.engine], "It is set by WAN_ENGINE.")
    refusal = why_not(known[FULL_MODEL], machine)
    if refusal is None:
        return Choice(known[FULL_MODEL], f"This machine can run the full model ({machine.title}).")
    return Choice(known[MINIATURE], refusal)


def why_not_together(settings: Settings, machine: Machine, profile: EngineProfile) -> str | None:
    """A sentence, if `WAN_CARDS_PER_CLIP` cannot be followed here."""
    together, asked = settings.cards_per_clip, f"WAN_CARDS_PER_CLIP={settings.cards_per_clip}"
    if together == 1:
        return None
    if settings.zero_gpu or settings.ray_address:
        where = (
            "ZeroGPU lends one card" if settings.zero_gpu else "over Ray (WAN_RAY_ADDRESS) each card makes its own clip"
        )
        return f"{asked} cannot be followed: {where}. Unset it."
    if not machine.cards or len(machine.cards) % together:
        found = f"{len(machine.cards)} cards" if machine.cards else "no CUDA card"
        return (
            f"{asked} needs cards in groups of {together}, and this machine shows {found}. Unset it, or set a divisor."
        )
    if not profile.can_share_cards:
        return f"{asked} is for the full model; {profile.title.lower()} (WAN_ENGINE) runs on one. Unset one of them."
    if machine.vram_bytes < WHOLE_MODEL_BYTES:
        need = f"{WHOLE_MODEL_BYTES / GIB:.0f} GiB: each holds the whole model"
        return f"{asked} needs cards of {need}. This machine has {machine.title}. Unset it."
    return None


def detect(settings: Settings) -> Machine:
    """By nvidia-smi, so that torch stays unloaded."""
    if settings.zero_gpu:
        return Machine(zero_gpu=True)
    together, cards = settings.cards_per_clip, _cards(settings.visible_cards)
    if settings.workers:
        cards = cards[: settings.workers * together]
    if not cards:
        return Machine(workers=settings.workers or 1)
    smallest = min(cards, key=lambda card: card.vram_bytes)
    return Machine(
        smallest.name,
        smallest.vram_bytes,
        tuple(card.id for card in cards),
        workers=len(cards) // together,
        cards_per_clip=together,
        clip_split=settings.clip_split,
    )


def machine_for(settings: Settings) -> Machine:
    """One that runs `WAN_ENGINE`: for a cluster whose machines have not answered yet."""
    least = profiles()[settings.engine].min_vram_bytes if settings.engine in profiles() else 0
    return Machine("a card of the cluster" if least else "", least)


@dataclass(frozen=True)
class _Card:
    id: str
    name: str
    vram_bytes: int


def _cards(visible: str | None) -> list[_Card]:
    """Of `CUDA_VISIBLE_DEVICES`, if it is set."""
    tool = shutil.which("nvidia-smi")
    if tool is None or visible == "":
        return []
    question = [tool, "--query-gpu=uuid,name,memory.total", "--format=csv,noheader,nounits"]
    question += [f"--id={visible}"] if visible else []
    try:
        answer = subprocess.run(question, capture_output=True, text=True, timeout=20, check=True).stdout
        rows = [[word.strip() for word in line.split(",")] for line in answer.strip().splitlines()]
        return [_Card(id, name, int(mebibytes) * 2**20) for id, name, mebibytes in rows]
    except (OSError, ValueError, subprocess.SubprocessError):
        return []
