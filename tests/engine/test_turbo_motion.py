"""Lightning on the low-noise expert alone: the full model's high-noise steps, then two of Lightning's own."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import UniPCMultistepScheduler

from tests.engine.conftest import MakeJob, plain_call
from tests.engine.loras import publish
from tests.engine.test_acceleration import blocks_that_run
from wan_core.engine import turbo
from wan_core.engine.loading import Engine, load
from wan_core.engine.sampling import prepare_scheduler, sample
from wan_core.events import Event, Job, Note, Step
from wan_core.files import FileStore
from wan_core.profiles import EngineProfile
from wan_core.schedule import schedule_of
from wan_core.settings import Settings

pytestmark = pytest.mark.slow

PLAIN = EngineProfile("plain", "Plain", "", repo="somebody/wan", revision=None)
MOTION = replace(PLAIN, name="motion", lightning="low-noise expert")
TURBO = replace(PLAIN, name="turbo", lightning="both experts")
SCALES = {"guidance_scale": 3.5, "guidance_scale_2": 1.0, "shift": 5.0}


@pytest.fixture
def sources(saved: Path, tmp_path: Path) -> Settings:
    return Settings(model=str(saved), lightning=str(publish(tmp_path / "loras")))


@pytest.fixture
def motion(sources: Settings) -> Engine:
    return load(MOTION, sources, [].append)


def run(engine: Engine, job: Job, folder: Path) -> tuple[np.ndarray, list[Event]]:
    events = list(sample(engine, job, job.inputs.prompt, FileStore(folder), lambda: False))
    return np.load(FileStore(folder).frames("job")), events


def inputs_of(expert: Any) -> list[tuple[int, torch.Tensor]]:
    """A list that grows by timestep and latents whenever `expert` runs."""
    seen: list[tuple[int, torch.Tensor]] = []

    def look(_: object, __: object, named: dict[str, Any]) -> None:
        seen.append((int(named["timestep"].flatten()[0]), named["hidden_states"].clone()))

    expert.register_forward_pre_hook(look, with_kwargs=True)
    return seen


@pytest.mark.parametrize("word", ["none", "regular"])
def test_the_high_noise_steps_are_those_of_the_full_model_to_the_last_bit(
    motion: Engine, job: MakeJob, tmp_path: Path, word: str
) -> None:
    full = motion.for_profile(PLAIN)
    assert full is not None
    asked = job(num_inference_steps=27, num_frames=5, acceleration=word, **SCALES)
    high, low = inputs_of(motion.pipe.transformer), inputs_of(motion.pipe.transformer_2)
    run(full, asked, tmp_path)
    whole, slow = [*high], len(low)
    high.clear(), low.clear()
    run(motion, asked, tmp_path)
    assert [timestep for timestep, _ in high] == [timestep for timestep, _ in whole] and len(high) == 20
    assert all(torch.equal(ours, theirs) for (_, ours), (_, theirs) in zip(high, whole, strict=True))
    assert slow == 17 and [timestep for timestep, _ in low] == [833, 625]


def test_its_frames_are_those_of_diffusers_with_the_same_sigmas_and_the_low_noise_lora_loaded_by_hand(
    motion: Engine, sources: Settings, job: MakeJob, tmp_path: Path
) -> None:
    """diffusers runs the unguided steps twice and mixes them with weight 1: the same but for rounding."""
    asked = job(num_inference_steps=8, num_frames=5, **SCALES)
    ours, _ = run(motion, asked, tmp_path)
    oracle = load(PLAIN, sources, [].append).pipe
    oracle.load_lora_weights(
        sources.lightning, weight_name=turbo.LOW_NOISE, adapter_name="low", load_into_transformer_2=True
    )
    theirs = plain_call(oracle, asked, tmp_path, Given)
    assert abs(ours.astype(int) - theirs).max() <= 1


class Given(UniPCMultistepScheduler):
    """Three high-noise steps of eight (999, 972, 937), the low-noise steps of four (833, 625)."""

    def set_timesteps(self, steps: int, device: Any = None) -> None:
        super().set_timesteps(device=device, sigmas=np.array([1, 1 - 0.999 / 8, 1 - 2 * 0.999 / 8, 0.5005, 0.25075]))


def test_the_low_noise_lora_makes_the_difference_and_the_high_noise_one_none(
    motion: Engine, job: MakeJob, tmp_path: Path
) -> None:
    asked = job(num_frames=5, **SCALES)
    before, _ = run(motion, asked, tmp_path)
    for expert, changes in ((motion.pipe.transformer, False), (motion.pipe.transformer_2, True)):
        for name, weight in expert.named_parameters():
            if "lora_B" in name:
                weight.data += 1
        assert np.array_equal(run(motion, asked, tmp_path)[0], before) is not changes


def test_the_three_engines_share_one_model_and_each_is_itself_again(
    motion: Engine, sources: Settings, job: MakeJob, tmp_path: Path
) -> None:
    """Also from a model that had no LoRAs yet."""
    asked = job(num_frames=5, guidance_scale=1, guidance_scale_2=1)
    plain = load(PLAIN, sources, [].append)
    clips = {}
    for profile in (PLAIN, TURBO, MOTION):
        engine, other = plain.for_profile(profile), motion.for_profile(profile)
        assert engine is not None and other is not None
        clips[profile.name] = run(engine, asked, tmp_path)[0]
        assert np.array_equal(run(other, asked, tmp_path)[0], clips[profile.name])
    again = plain.for_profile(PLAIN)
    assert again is not None and np.array_equal(run(again, asked, tmp_path)[0], clips["plain"])
    assert len({clip.tobytes() for clip in clips.values()}) == 3


def test_only_guidance_of_the_low_noise_expert_is_said_to_misfit(motion: Engine, job: MakeJob, tmp_path: Path) -> None:
    def notes(**values: Any) -> list[str]:
        events = run(motion, job(num_frames=5, **SCALES | values), tmp_path)[1]
        return [event.message for event in events if isinstance(event, Note)]

    assert notes() == notes(num_inference_steps=27) == []
    assert ["second scale 1" in note for note in notes(guidance_scale_2=3.5)] == [True]


def test_the_steps_that_are_told_are_those_that_run(motion: Engine, job: MakeJob, tmp_path: Path) -> None:
    _, events = run(motion, job(num_inference_steps=27, num_frames=5, **SCALES), tmp_path)
    steps = [event for event in events if isinstance(event, Step) and event.stage == "sampling"]
    assert [(step.done, step.total) for step in steps] == [(number, 12) for number in range(1, 13)]


def test_the_step_cache_leaves_the_low_noise_steps_alone(motion: Engine, job: MakeJob, tmp_path: Path) -> None:
    motion.acceleration.thresholds = (1e9, 1e9)
    ran = {name: blocks_that_run(getattr(motion.pipe, name)) for name in ("transformer", "transformer_2")}
    run(motion, job(num_inference_steps=27, num_frames=5, acceleration="regular", **SCALES), tmp_path)
    assert len(ran["transformer"]) == 2 * (10 + 4)  # both blocks of steps 0, 3, 6, 9, the first block of the others
    assert len(ran["transformer_2"]) == 2 * 2


@pytest.mark.parametrize("shift", [1.0, 5.0, 10.0])
@pytest.mark.parametrize("steps", [2, 4, 27, 40])
def test_the_estimate_counts_the_steps_that_the_scheduler_takes(
    motion: Engine, job: MakeJob, steps: int, shift: float
) -> None:
    request = job(**SCALES | {"num_inference_steps": steps, "shift": shift}).inputs
    assert prepare_scheduler(motion.pipe, request, lightning_end=True) == schedule_of(request, lightning_end=True)
