"""The Lightning LoRAs, with small ones of random numbers in the published key format: on, off, and honest."""

import hashlib
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import WanImageToVideoPipeline
from safetensors.torch import save_file

from tests.engine.conftest import MakeJob, plain_call
from tests.engine.loras import LAYERS, RANK, lora, publish
from wan_core.engine import turbo
from wan_core.engine.loading import Engine, load
from wan_core.engine.sampling import sample
from wan_core.errors import BackendError
from wan_core.events import Event, Job, Log, Note
from wan_core.files import FileStore
from wan_core.profiles import EngineProfile
from wan_core.settings import Settings

PLAIN = EngineProfile("plain", "Plain", "", repo="somebody/wan", revision=None)
TURBO = EngineProfile("turbo", "Turbo", "", repo="somebody/wan", revision=None, lightning="both experts")


@pytest.fixture
def loras(tmp_path: Path) -> Path:
    return publish(tmp_path / "loras")


@pytest.fixture
def engine(saved: Path, loras: Path) -> Engine:
    return load(PLAIN, Settings(model=str(saved), lightning=str(loras)), [].append)


def run(engine: Engine, job: Job, folder: Path) -> np.ndarray:
    list(sample(engine, job, job.inputs.prompt, FileStore(folder), lambda: False))
    return np.load(FileStore(folder).frames("job"))


def test_turbo_changes_the_clip_and_plain_is_plain_again_to_the_last_bit(
    engine: Engine, job: MakeJob, tmp_path: Path
) -> None:
    asked = job(guidance_scale=1, guidance_scale_2=1)
    before = run(engine, asked, tmp_path)
    fast = engine.for_profile(TURBO)
    assert fast is not None
    turbo_frames = run(fast, asked, tmp_path)
    assert not np.array_equal(turbo_frames, before)
    assert np.array_equal(run(engine, asked, tmp_path), before)
    assert np.array_equal(run(fast, asked, tmp_path), turbo_frames)


@pytest.mark.slow
def test_both_experts_have_their_own_lora(
    engine: Engine, loras: Path, saved: Path, job: MakeJob, tmp_path: Path
) -> None:
    """The oracle is diffusers with each file loaded into its expert by hand."""
    asked = job(guidance_scale=1, guidance_scale_2=1)
    fast = engine.for_profile(TURBO)
    assert fast is not None
    ours = run(fast, asked, tmp_path)
    oracle: WanImageToVideoPipeline = load(PLAIN, Settings(model=str(saved)), [].append).pipe
    oracle.load_lora_weights(str(loras), weight_name=turbo.HIGH_NOISE, adapter_name="a")
    oracle.load_lora_weights(str(loras), weight_name=turbo.LOW_NOISE, adapter_name="b", load_into_transformer_2=True)
    assert np.array_equal(ours, plain_call(oracle, asked, tmp_path))
    oracle.transformer_2.disable_lora()
    assert not np.array_equal(ours, plain_call(oracle, asked, tmp_path))


def test_a_turbo_profile_loads_them_at_once(saved: Path, loras: Path) -> None:
    settings = Settings(model=str(saved), lightning=str(loras))
    assert turbo.is_loaded(load(TURBO, settings, [].append).pipe)
    assert not turbo.is_loaded(load(PLAIN, settings, [].append).pipe)


def test_a_folder_without_them_is_said(saved: Path, tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="WAN_LIGHTNING"):
        load(TURBO, Settings(model=str(saved), lightning=str(tmp_path)), [].append)


@pytest.mark.parametrize(
    "tensors, part",
    [
        (lora({"self_attn.q": (48, 48)}), "attn1.to_q has another shape"),
        (lora({"ffn.1": (24, 32)}), "cannot be read"),
        (lora({"self_attn.q": (24, 24)}, blocks=3), "no layer blocks.2"),
        (lora({"self_attn.q": (24, 24)}, blocks=1), "1 of 2 blocks"),
        ({"transformer.blocks.0.attn1.to_q.lora_A.weight": torch.ones(RANK, 24)}, "has another shape"),
        ({"blocks.0.attn1.to_q.weight": torch.ones(24, 24)}, "no layer"),
    ],
)
def test_a_file_that_is_no_lora_of_this_model_is_refused_in_a_sentence_and_changes_nothing(
    saved: Path, loras: Path, tensors: dict[str, torch.Tensor], part: str
) -> None:
    pipe = load(PLAIN, Settings(model=str(saved)), [].append).pipe
    save_file(tensors, loras / turbo.LOW_NOISE)
    with pytest.raises(BackendError, match=part):
        turbo.load(pipe, Settings(lightning=str(loras)), [].append)
    assert not turbo.is_loaded(pipe) and not hasattr(pipe.transformer, "peft_config")


DIFFERENCES = {
    "head.diff_m": ("scale_shift_table", (1, 2, 24)),
    "blocks.1.diff_m": ("blocks.1.scale_shift_table", (1, 6, 24)),
    "blocks.0.self_attn.norm_k.diff": ("blocks.0.attn1.norm_k.weight", (24,)),
    "blocks.0.norm3.diff_b": ("blocks.0.norm2.bias", (24,)),
    "patch_embedding.diff": ("patch_embedding.weight", (24, 36, 1, 2, 2)),
    "patch_embedding.diff_b": ("patch_embedding.bias", (24,)),
}
"""Wan's names of weights beside the low-rank parts, diffusers' names, and shapes."""


def with_differences(folder: Path, file: str) -> dict[str, torch.Tensor]:
    """Publish `file` anew with every kind of difference; return them by diffusers' names."""
    generator = torch.Generator().manual_seed(2)
    drawn = {name: torch.randn(shape, generator=generator) for name, (_, shape) in DIFFERENCES.items()}
    save_file(lora(LAYERS) | {f"diffusion_model.{name}": tensor for name, tensor in drawn.items()}, folder / file)
    return {DIFFERENCES[name][0]: tensor for name, tensor in drawn.items()}


@pytest.mark.slow
def test_weights_that_a_file_changes_beside_its_low_rank_parts_are_changed_and_come_back_to_the_last_bit(
    saved: Path, loras: Path, job: MakeJob, tmp_path: Path
) -> None:
    """The oracle is diffusers with these weights added by hand."""
    asked = job(guidance_scale=1, guidance_scale_2=1)
    differences = with_differences(loras, turbo.HIGH_NOISE)
    engine = load(TURBO, Settings(model=str(saved), lightning=str(loras)), [].append)
    ours = run(engine, asked, tmp_path)
    oracle: WanImageToVideoPipeline = load(PLAIN, Settings(model=str(saved)), [].append).pipe
    before = plain_call(oracle, asked, tmp_path)
    for name, difference in differences.items():
        weight = oracle.transformer.get_parameter(name)
        weight.data = (weight.data.float() + difference).to(weight.dtype)
    oracle.load_lora_weights(str(loras), weight_name=turbo.HIGH_NOISE, adapter_name="a")
    oracle.load_lora_weights(str(loras), weight_name=turbo.LOW_NOISE, adapter_name="b", load_into_transformer_2=True)
    assert np.array_equal(ours, plain_call(oracle, asked, tmp_path))
    plain = engine.for_profile(PLAIN)
    assert plain is not None
    assert np.array_equal(run(plain, asked, tmp_path), before)


def test_a_difference_of_another_shape_is_refused_in_a_sentence(saved: Path, loras: Path) -> None:
    wrong = {"diffusion_model.blocks.0.diff_m": torch.ones(1, 6, 12)}
    save_file(lora(LAYERS) | wrong, loras / turbo.HIGH_NOISE)
    with pytest.raises(BackendError, match=r"blocks\.0\.scale_shift_table has another shape"):
        load(TURBO, Settings(model=str(saved), lightning=str(loras)), [].append)
    save_file(lora(LAYERS) | {"diffusion_model.blocks.2.diff_m": torch.ones(1, 6, 24)}, loras / turbo.HIGH_NOISE)
    with pytest.raises(BackendError, match=r"no blocks\.2\.scale_shift_table"):
        load(TURBO, Settings(model=str(saved), lightning=str(loras)), [].append)


def test_parts_that_nobody_reads_are_named_in_the_log(saved: Path, loras: Path) -> None:
    """What is zero changes nothing and is not worth a word."""
    told: list[Event] = []
    load(TURBO, Settings(model=str(saved), lightning=str(loras)), told.append)
    with_differences(loras, turbo.LOW_NOISE)
    load(TURBO, Settings(model=str(saved), lightning=str(loras)), told.append)
    assert not any(isinstance(event, Log) and event.level == "WARN" for event in told)
    strange = {f"diffusion_model.camera.{number}.diff": torch.ones(24) for number in range(4)}
    save_file(lora(LAYERS) | strange, loras / turbo.HIGH_NOISE)
    load(TURBO, Settings(model=str(saved), lightning=str(loras)), told.append)
    (warning,) = [event.message for event in told if isinstance(event, Log) and event.level == "WARN"]
    assert turbo.HIGH_NOISE in warning and "camera.0.diff" in warning and "and 1 more" in warning


def test_a_pickle_by_the_name_of_safetensors_is_refused(saved: Path, loras: Path) -> None:
    torch.save({"weight": torch.ones(1)}, loras / turbo.HIGH_NOISE)
    with pytest.raises(BackendError, match="cannot be read"):
        load(TURBO, Settings(model=str(saved), lightning=str(loras)), [].append)


def test_the_published_files_are_asked_for_at_one_revision_and_known_to_the_last_bit(
    saved: Path, loras: Path, empty_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert len(turbo.REVISION) == 40
    cached = empty_cache / "models--lightx2v--Wan2.2-Distill-Loras" / "snapshots" / turbo.REVISION
    shutil.copytree(loras, cached)
    with pytest.raises(BackendError, match="not the published one"):
        load(TURBO, Settings(model=str(saved)), [].append)
    shutil.copytree(loras, cached, dirs_exist_ok=True)
    digests = {name: hashlib.sha256((loras / name).read_bytes()).hexdigest() for name in turbo.SHA256}
    monkeypatch.setattr(turbo, "SHA256", digests)
    assert turbo.is_loaded(load(TURBO, Settings(model=str(saved)), [].append).pipe)


def test_the_hosts_own_source_is_asked_for_as_it_is_named(
    saved: Path, loras: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []
    monkeypatch.setattr(turbo, "fetch", lambda pin, *_: asked.append((pin.repo, pin.revision, pin.sha256)) or loras)
    load(TURBO, Settings(model=str(saved), lightning="me/loras"), [].append)
    load(TURBO, Settings(model=str(saved), lightning_revision="main"), [].append)
    assert asked == [("me/loras", None, {}), ("lightx2v/Wan2.2-Distill-Loras", "main", {})]


@pytest.mark.parametrize(
    "values, part",
    [
        ({}, "without guidance"),
        pytest.param(
            {"guidance_scale": 1, "guidance_scale_2": 1, "num_inference_steps": 27}, "4 steps", marks=pytest.mark.slow
        ),
    ],
)
def test_a_request_they_are_not_made_for_runs_as_asked_and_says_so(
    engine: Engine, job: MakeJob, tmp_path: Path, values: dict[str, float], part: str
) -> None:
    fast = engine.for_profile(TURBO)
    assert fast is not None
    events: list[Event] = list(sample(fast, job(**values), "a cat", FileStore(tmp_path), lambda: False))
    assert [part in event.message for event in events if isinstance(event, Note)] == [True]


def test_four_steps_without_guidance_say_nothing_and_more_steps_do(job: MakeJob) -> None:
    four, many = (job(guidance_scale=1, guidance_scale_2=1, num_inference_steps=steps).inputs for steps in (4, 27))
    assert turbo.lora_misfit(four, "both experts") is None
    assert "4 steps" in (turbo.lora_misfit(many, "both experts") or "")
