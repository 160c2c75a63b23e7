"""A profile → an engine that can sample: the pipeline with its weights, where it runs and what it remembers.

Knows repositories, folders and devices; nothing of requests.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch

from wan_core.engine.remembering import Recent, remember_first_frames
from wan_core.events import Event, Log, Stage
from wan_core.profiles import EngineProfile
from wan_core.settings import Settings


@dataclass
class Engine:
    """A loaded model. `pipe` is a diffusers `WanImageToVideoPipeline`; one clip at a time.

    `decode_s_per_pixel` is what the VAE last took for one pixel of one frame, for the time that is left.
    """

    profile: EngineProfile
    pipe: Any
    prompts: Recent = field(default_factory=Recent)
    decode_s_per_pixel: float | None = None


def load(profile: EngineProfile, settings: Settings, report: Callable[[Event], None]) -> Engine:
    """The engine of `profile`, ready to sample. Blocks; `report` hears what is going on."""
    report(Stage("loading", f"Loading {profile.title}."))
    engine = Engine(profile, _miniature())
    remember_first_frames(engine.pipe.vae)
    report(Log(f"{profile.title} is loaded on {engine.pipe.device}."))
    return engine


def _miniature() -> Any:
    from wan_core.engine.miniature import build

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    pipe = build()
    pipe.set_progress_bar_config(disable=True)
    return pipe
