"""The Lightning LoRAs, with small ones of random numbers in the published key format: on, off, and honest."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import WanImageToVideoPipeline
from safetensors.torch import save_file

from tests.engine.conftest import MakeJob, plain_call
from wan_core.engine import turbo
from wan_core.engine.loading import Engine, load
from wan_core.engine.sampling import sample
from wan_core.errors import BackendError
from wan_core.events import Event, Job, Note
from wan_core.profiles import EngineProfile
from wan_core.settings import Settings

PLAIN = EngineProfile("plain", "Plain", "", repo="somebody/wan", revision=None)
TURBO = EngineProfile("turbo", "Turbo", "", repo="somebody/wan", revision=None, turbo=True)
RANK = 2
LAYERS = {
    "self_attn.q": (24, 24),
    "self_attn.o": (24, 24),
    "cross_attn.k": (24, 24),
    "ffn.0": (24, 32),
    "ffn.2": (32, 24),
}


@pytest.fixture
def loras(tmp_path: Path) -> Path:
    """Two files as they are published: Wan's own names of layers, `lora_down` and `lora_up`."""
    folder = tmp_path / "loras"
    folder.mkdir()
    for seed, name in enumerate((turbo.HIGH_NOISE, turbo.LOW_NOISE)):
        generator = torch.Generator().manual_seed(seed)
        tensors = {}
        for block in range(2):
            for layer, (inputs, outputs) in LAYERS.items():
                key = f"diffusion_model.blocks.{block}.{layer}"
                tensors[f"{key}.lora_down.weight"] = torch.randn(RANK, inputs, generator=generator)
                tensors[f"{key}.lora_up.weight"] = torch.randn(outputs, RANK, generator=generator)
        save_file(tensors, folder / name)
    return folder


@pytest.fixture
def engine(saved: Path, loras: Path) -> Engine:
    return load(PLAIN, Settings(model=str(saved), lightning=str(loras)), [].append)


def run(engine: Engine, job: Job, folder: Path) -> np.ndarray:
    list(sample(engine, job, job.request.prompt, folder / "frames.npy", lambda: False))
    return np.load(folder / "frames.npy")


def test_turbo_changes_the_clip_and_plain_is_plain_again_to_the_last_bit(
    engine: Engine, job: MakeJob, tmp_path: Path
) -> None:
    asked = job(guidance_scale=1, guidance_scale_2=1)
    before = run(engine, asked, tmp_path)
    fast = engine.serving(TURBO)
    assert fast is not None
    turbo_frames = run(fast, asked, tmp_path)
    assert not np.array_equal(turbo_frames, before)
    assert np.array_equal(run(engine, asked, tmp_path), before)
    assert np.array_equal(run(fast, asked, tmp_path), turbo_frames)


def test_both_experts_have_their_own_lora(
    engine: Engine, loras: Path, saved: Path, job: MakeJob, tmp_path: Path
) -> None:
    """The oracle is diffusers with each file loaded into its expert by hand."""
    asked = job(guidance_scale=1, guidance_scale_2=1)
    fast = engine.serving(TURBO)
    assert fast is not None
    ours = run(fast, asked, tmp_path)
    oracle: WanImageToVideoPipeline = load(PLAIN, Settings(model=str(saved)), [].append).pipe
    oracle.load_lora_weights(str(loras), weight_name=turbo.HIGH_NOISE, adapter_name="a")
    oracle.load_lora_weights(str(loras), weight_name=turbo.LOW_NOISE, adapter_name="b", load_into_transformer_2=True)
    assert np.array_equal(ours, plain_call(oracle, asked))
    oracle.transformer_2.disable_lora()
    assert not np.array_equal(ours, plain_call(oracle, asked))


def test_a_turbo_profile_loads_them_at_once(saved: Path, loras: Path) -> None:
    settings = Settings(model=str(saved), lightning=str(loras))
    assert turbo.is_loaded(load(TURBO, settings, [].append).pipe)
    assert not turbo.is_loaded(load(PLAIN, settings, [].append).pipe)


def test_a_folder_without_them_is_said(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="WAN_LIGHTNING"):
        load(TURBO, Settings(model=str(saved), lightning=str(tmp_path)), [].append)


@pytest.mark.parametrize(
    "values, part",
    [({}, "without guidance"), ({"guidance_scale": 1, "guidance_scale_2": 1, "num_inference_steps": 27}, "4 steps")],
)
def test_a_request_they_are_not_made_for_runs_as_asked_and_says_so(
    engine: Engine, job: MakeJob, tmp_path: Path, values: dict[str, float], part: str
) -> None:
    fast = engine.serving(TURBO)
    assert fast is not None
    events: list[Event] = list(sample(fast, job(**values), "a cat", tmp_path / "frames.npy", lambda: False))
    assert [part in event.message for event in events if isinstance(event, Note)] == [True]


def test_four_steps_without_guidance_say_nothing(job: MakeJob) -> None:
    assert turbo.misfits(job(guidance_scale=1, guidance_scale_2=1).request) is None
