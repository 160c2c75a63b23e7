"""Engines as data: what each is, what it needs, and which one this machine runs. No torch here."""

import json
import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from wan_core.events import Where
from wan_core.settings import Settings

GIB = 2**30
MINIATURE = "miniature"
MINIATURE_FOLDER = Path(__file__).parent / "engine" / "miniature"


@dataclass(frozen=True)
class EngineProfile:
    """An engine. `render_divisor`: it samples at this fraction of each side and the encoder enlarges."""

    name: str
    title: str
    description: str
    repo: str | None
    revision: str | None
    min_vram_bytes: int = 0
    render_divisor: int = 1
    turbo: bool = False

    @property
    def needs_cuda(self) -> bool:
        return self.min_vram_bytes > 0


@dataclass(frozen=True)
class Machine:
    """What runs here. `vram_bytes` is 0 without a CUDA card."""

    card: str = ""
    vram_bytes: int = 0
    zero_gpu: bool = False

    @property
    def title(self) -> str:
        if self.zero_gpu:
            return "ZeroGPU"
        return f"{self.card}, {self.vram_bytes / GIB:.0f} GiB" if self.card else "no CUDA card"


@dataclass(frozen=True)
class Choice:
    """The engine of this machine and one sentence on why."""

    profile: EngineProfile
    reason: str


A14B_REPO = "Wan-AI/Wan2.2-I2V-A14B-Diffusers"
A14B_REVISION = "596658fd9ca6b7b71d5057529bbf319ecbc61d74"


def _miniature_description() -> str:
    return str(miniature_card()["sentence"])


@cache
def miniature_card() -> dict[str, object]:
    """`trained` (bool), `sentence` (what it can do) and `moves` (the words it knows) of the miniature's weights."""
    card: dict[str, object] = json.loads((MINIATURE_FOLDER / "card.json").read_text("utf-8"))
    return card


@cache
def profiles() -> dict[str, EngineProfile]:
    """All engines by name."""
    known = (
        EngineProfile(
            "a14b",
            "Wan 2.2 A14B",
            "The full model: two experts of 14 billion parameters each.",
            A14B_REPO,
            A14B_REVISION,
            min_vram_bytes=22 * GIB,
        ),
        EngineProfile(
            "a14b-turbo",
            "Wan 2.2 A14B turbo",
            "The full model with the Lightning LoRAs: 4 steps without guidance. Fast, with calmer motion.",
            A14B_REPO,
            A14B_REVISION,
            min_vram_bytes=22 * GIB,
            turbo=True,
        ),
        EngineProfile(MINIATURE, "Miniature", _miniature_description(), repo=None, revision=None, render_divisor=4),
    )
    return {profile.name: profile for profile in known}


def why_not(profile: EngineProfile, machine: Machine) -> str | None:
    """Why this machine cannot run `profile`, in a sentence; `None` if it can."""
    if not profile.needs_cuda or machine.zero_gpu or machine.vram_bytes >= profile.min_vram_bytes:
        return None
    need = f"{profile.title} needs a CUDA card with at least {profile.min_vram_bytes / GIB:.0f} GiB"
    return f"{need}; this machine has {machine.title}."


def pool_of(where: Where, engine: str) -> Literal["local", "fal"]:
    """Where a job is begun: with `fal_when_needed` it goes to fal at once if only the miniature would run it here."""
    at_once = where == "fal" or (where == "fal_when_needed" and engine == MINIATURE)
    return "fal" if at_once else "local"


def choose(settings: Settings, machine: Machine) -> Choice:
    """The engine for requests that name none: `WAN_ENGINE`, else the full model where it can run, else the miniature.

    Raises:
        SystemExit: `WAN_ENGINE` names no engine.
    """
    known = profiles()
    if settings.engine:
        if settings.engine not in known:
            raise SystemExit(f"WAN_ENGINE must be one of {', '.join(known)}; it is {settings.engine!r}.")
        return Choice(known[settings.engine], "It is set by WAN_ENGINE.")
    refusal = why_not(known["a14b"], machine)
    if refusal is None:
        return Choice(known["a14b"], f"This machine can run the full model ({machine.title}).")
    return Choice(known[MINIATURE], refusal)


def detect(settings: Settings) -> Machine:
    """What this machine offers, asked of the driver's own tool so that torch stays unloaded."""
    if settings.zero_gpu:
        return Machine(zero_gpu=True)
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return Machine()
    question = [tool, "--query-gpu=name,memory.total", "--format=csv,noheader,nounits", "--id=0"]
    try:
        answer = subprocess.run(question, capture_output=True, text=True, timeout=20, check=True).stdout
        name, mebibytes = answer.strip().rsplit(",", 1)
        return Machine(name.strip(), int(mebibytes) * 2**20)
    except (OSError, ValueError, subprocess.SubprocessError):
        return Machine()
