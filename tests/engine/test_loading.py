"""Loading against diffusers' own `from_pretrained`: the same tensors, the same islands, the same frames."""

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLWan, WanImageToVideoPipeline

from tests.engine.conftest import MakeJob, plain_call
from wan_core.engine import loading
from wan_core.engine.loading import Card, Engine, load
from wan_core.engine.memory import GIB, Plan
from wan_core.engine.sampling import sample
from wan_core.errors import BackendError
from wan_core.events import Event, Log, Stage, Step
from wan_core.files import FileStore
from wan_core.profiles import EngineProfile, profiles
from wan_core.settings import Settings

WAN = EngineProfile("wan", "Wan", "", repo="somebody/wan", revision=None)


def never() -> bool:
    return False


def loaded(folder: Path, events: list[Event] | None = None) -> Engine:
    report = (events if events is not None else []).append
    return load(WAN, Settings(model=str(folder)), report)


def oracle(folder: Path) -> WanImageToVideoPipeline:
    """As the model card says: bf16, and the VAE in fp32."""
    vae = AutoencoderKLWan.from_pretrained(folder / "vae", dtype=torch.float32)
    return WanImageToVideoPipeline.from_pretrained(folder, vae=vae, dtype=torch.bfloat16)


@pytest.mark.parametrize("part", ["text_encoder", "transformer", "transformer_2", "vae"])
def test_every_tensor_is_the_one_diffusers_loads(saved: Path, part: str) -> None:
    ours = getattr(loaded(saved).pipe, part).state_dict()
    theirs = getattr(oracle(saved), part).state_dict()
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        assert ours[name].dtype == tensor.dtype, name
        assert torch.equal(ours[name], tensor), name


def test_the_islands_and_the_vae_stay_in_full_precision(saved: Path) -> None:
    pipe = loaded(saved).pipe
    kept = {name for name, tensor in pipe.transformer.state_dict().items() if tensor.dtype == torch.float32}
    assert "scale_shift_table" in kept and "condition_embedder.time_embedder.linear_1.weight" in kept
    assert "blocks.0.norm2.weight" in kept and "blocks.0.ffn.net.2.weight" not in kept
    assert {tensor.dtype for tensor in pipe.vae.state_dict().values()} == {torch.float32}
    assert pipe.config.boundary_ratio == 0.9


def test_its_frames_are_those_of_a_plain_bf16_pipeline(saved: Path, job: MakeJob, tmp_path: Path) -> None:
    asked = job()
    list(sample(loaded(saved), asked, asked.inputs.prompt, FileStore(tmp_path), never))
    assert np.array_equal(np.load(FileStore(tmp_path).frames("job")), plain_call(oracle(saved), asked, tmp_path))


def test_each_part_is_told(saved: Path) -> None:
    events: list[Event] = []
    loaded(saved, events)
    stages = [event.detail for event in events if isinstance(event, Stage)]
    assert stages[0] == "Loading Wan." and "Reading the low-noise expert." in stages
    assert [event.done for event in events if isinstance(event, Step)] == [1, 2, 3, 4]
    assert events[-1] == Log("Wan is loaded on cpu.")


def test_a_damaged_file_is_said_and_no_traceback(saved: Path) -> None:
    shard = next(saved.glob("transformer/*.safetensors"))
    shard.write_bytes(shard.read_bytes()[:100])
    with pytest.raises(BackendError) as error:
        loaded(saved)
    assert error.value.type == "engine_unavailable" and "damaged" in error.value.message


def test_too_little_main_memory_is_said_before_the_machine_stalls(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "available_bytes", lambda: 1000)
    with pytest.raises(BackendError) as error:
        loaded(saved)
    assert error.value.type == "out_of_memory" and "main memory" in error.value.message


def test_the_free_main_memory_of_this_machine_is_known() -> None:
    assert 10**8 < loading.available_bytes() < 10**14


def test_the_miniature_loads_without_any_file_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    threads: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    engine = load(profiles()["miniature"], Settings(model="/nowhere"), [].append)
    assert engine.plan is None and engine.pipe.transformer.dtype == torch.float32
    assert threads == [loading.cores()] and loading.cores() <= (os.cpu_count() or 1)


@pytest.fixture
def a14b(engine: Engine) -> Iterator[Engine]:
    engine.profile = profiles()["a14b"]
    yield engine


def test_the_same_weights_serve_turbo_and_other_weights_do_not_serve(a14b: Engine) -> None:
    turbo = a14b.for_profile(profiles()["a14b-turbo"])
    assert turbo is not None and turbo.pipe is a14b.pipe and turbo.profile.lora
    assert a14b.for_profile(profiles()["miniature"]) is None


def test_quantized_weights_take_no_loras_any_more(a14b: Engine) -> None:
    a14b.plan = Plan("fp8", "resident", False, 139)
    assert a14b.for_profile(profiles()["a14b-turbo"]) is None
    assert a14b.for_profile(profiles()["a14b"]) is not None


@pytest.mark.parametrize(
    "settings, torchao, free, expected",
    [
        ({}, True, 139, ("bf16", "resident", 139)),
        ({}, True, 44, ("fp8", "resident", 44)),
        ({"accelerate_fp8": False}, True, 44, ("bf16", "model_offload", 44)),
        ({}, False, 44, ("bf16", "model_offload", 44)),
        ({"SPACES_ZERO_GPU": True}, True, 94, ("fp8", "resident", 47)),
        ({"SPACES_ZERO_GPU": True}, False, 94, ("bf16", "resident", 94)),
    ],
    ids=["large card", "48 GB", "fp8 switched off", "no torchao", "ZeroGPU in half a card", "ZeroGPU in a whole one"],
)
def test_the_first_plan_follows_card_host_and_torchao(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, bool], torchao: bool, free: int, expected: tuple[str, str, int]
) -> None:
    monkeypatch.setattr(loading.quantizing, "is_available", lambda: torchao)
    host = Settings(**settings)
    card, plan = loading.first_plan(Card(torch.device("cuda"), 120, free * GIB, host.zero_gpu), host)
    assert plan is not None
    assert (plan.weights, plan.placement, card.free_bytes // GIB) == expected


def test_a_lent_card_that_holds_no_bf16_asks_for_torchao(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading.quantizing, "is_available", lambda: False)
    with pytest.raises(BackendError, match=r"70 GiB.*torchao"):
        loading.first_plan(Card(torch.device("cuda"), 90, 70 * GIB, lent=True), Settings())
