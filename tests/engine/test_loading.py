"""Loading against diffusers' own `from_pretrained`: the same tensors, the same islands, the same frames."""

import gc
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKLWan, WanImageToVideoPipeline

from tests.engine.conftest import MakeJob, plain_call
from wan_core.engine import loading, quantizing
from wan_core.engine.acceleration import Acceleration
from wan_core.engine.loading import Card, Engine, load
from wan_core.engine.memory import GIB, Plan
from wan_core.engine.miniature import build
from wan_core.engine.sampling import sample
from wan_core.errors import BackendError
from wan_core.events import Event, Log, Note, Stage, Step
from wan_core.files import FileStore
from wan_core.profiles import EngineProfile, cores, profiles
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
    monkeypatch.setattr(loading, "available_bytes", lambda: 100_000)
    with pytest.raises(BackendError) as error:
        loaded(saved)
    assert error.value.type == "out_of_memory" and "main memory" in error.value.message


def test_the_miniature_loads_without_any_file_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "set_num_threads", lambda count: None)
    engine = load(profiles()["miniature"], Settings(model="/nowhere"), [].append)
    assert engine.plan is None and engine.pipe.transformer.dtype == torch.float32


@pytest.mark.parametrize(("asked", "threads"), [("3", 3), ("", cores()), ("0", cores()), ("all", cores())])
def test_the_miniature_takes_the_cores_that_its_process_is_given_else_all(
    monkeypatch: pytest.MonkeyPatch, asked: str, threads: int
) -> None:
    """Several processes of one machine share them."""
    monkeypatch.setenv("OMP_NUM_THREADS", asked)
    given: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", given.append)
    monkeypatch.setattr(build, "build_pipeline", lambda: 1 / 0)  # the rest takes seconds
    with pytest.raises(ZeroDivisionError):
        load(profiles()["miniature"], Settings(), [].append)
    assert given == [threads]


@pytest.fixture
def a14b(engine: Engine) -> Iterator[Engine]:
    engine.profile = profiles()["a14b"]
    yield engine


def test_the_same_weights_serve_turbo_and_other_weights_do_not_serve(a14b: Engine) -> None:
    turbo = a14b.for_profile(profiles()["a14b-turbo"])
    assert turbo is not None and turbo.pipe is a14b.pipe and turbo.profile.lightning
    assert a14b.for_profile(profiles()["miniature"]) is None


def test_quantized_weights_take_no_loras_any_more(a14b: Engine) -> None:
    a14b.plan = Plan("fp8", "resident", False, 139)
    assert a14b.for_profile(profiles()["a14b-turbo"]) is None
    assert a14b.for_profile(profiles()["a14b"]) is not None


@pytest.mark.parametrize(
    "settings, torchao, free, expected",
    [
        ({}, True, 139, ("bf16", "resident")),
        ({}, True, 48, ("fp8", "resident")),
        ({"accelerate_fp8": False}, True, 44, ("bf16", "model_offload")),
        ({}, False, 44, ("bf16", "model_offload")),
        ({"SPACES_ZERO_GPU": True}, True, 94, ("bf16", "resident")),
        ({"SPACES_ZERO_GPU": True}, False, 94, ("bf16", "resident")),
    ],
    ids=["large card", "48 GB", "fp8 switched off", "no torchao", "ZeroGPU with torchao", "ZeroGPU"],
)
def test_the_first_plan_follows_card_host_and_torchao(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, bool], torchao: bool, free: int, expected: tuple[str, str]
) -> None:
    monkeypatch.setattr(loading.quantizing, "is_available", lambda: torchao)
    host = Settings(**settings)
    card = Card(torch.device("cuda"), 120, free * GIB, host.zero_gpu, 200 * GIB)
    plan = loading.first_plans(card, host, "Wan")[0]
    assert (plan.weights, plan.placement) == expected


@pytest.mark.parametrize("torchao", [True, False])
def test_a_lent_card_that_cannot_hold_everything_is_refused_and_fp8_not_offered(
    monkeypatch: pytest.MonkeyPatch, torchao: bool
) -> None:
    monkeypatch.setattr(loading.quantizing, "is_available", lambda: torchao)
    with pytest.raises(BackendError, match=r"47 GiB.*whole RTX PRO 6000") as error:
        loading.first_plans(Card(torch.device("cuda"), 120, 47 * GIB, lent=True), Settings(), "Wan")
    assert "torchao" not in error.value.message


def test_a_machine_whose_main_memory_holds_no_plan_says_what_it_needs() -> None:
    card = Card(torch.device("cuda"), 86, 23 * GIB, main_bytes=40 * GIB)
    with pytest.raises(BackendError, match="needs 64 GiB of main memory to load on this machine and 40 GiB"):
        loading.first_plans(card, Settings(), "Wan")


class Ledger:
    """GiB of A14B's parts, by where they lie, and the peaks."""

    def __init__(self, card_gib: float = 1000) -> None:
        self.card_gib = card_gib
        self.parts: list[weakref.ref[Part]] = []
        self.peaks = {"cuda": 0.0, "cpu": 0.0}

    def weigh(self) -> None:
        alive = [part for part in (each() for each in self.parts) if part is not None]
        now = {where: sum(part.gib[where] for part in alive) for where in self.peaks}
        if now["cuda"] > self.card_gib:
            raise torch.OutOfMemoryError
        self.peaks = {where: max(self.peaks[where], gib) for where, gib in now.items()}


class Part:
    """A stub of a model that only has weight: `bf16` GiB when read, `quantized` once it is quantized."""

    def __init__(self, ledger: Ledger, bf16: float, quantized: float) -> None:
        self.ledger, self.bf16, self.quantized = ledger, bf16, quantized
        self.gib = {"cpu": bf16, "cuda": 0.0}
        ledger.parts.append(weakref.ref(self))
        ledger.weigh()

    def requires_grad_(self, wanted: bool) -> "Part":
        return self

    def eval(self) -> "Part":
        return self

    def to(self, device: torch.device) -> "Part":
        """The whole of it is copied before the original is released."""
        other = "cpu" if device.type == "cuda" else "cuda"
        size, self.gib[device.type] = self.gib[other], sum(self.gib.values())
        self.gib[other] = size
        self.ledger.weigh()
        self.gib[other] = 0.0
        return self

    def quantize(self, device: torch.device, home: torch.device) -> None:
        """Layer by layer, of forty."""
        for layer in range(1, 41):
            self.gib = {"cpu": 0.0, "cuda": 0.0}
            self.gib["cpu"] += self.bf16 * (1 - layer / 40)
            self.gib[home.type] += self.quantized * layer / 40
            self.gib[device.type] += self.bf16 / 40
            self.ledger.weigh()
        self.gib[device.type] -= self.bf16 / 40


@pytest.fixture
def weighed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[Ledger, Engine | None, list[Event]]]:
    """`weighed(card_gib, free_gib)` loads A14B's weights as stubs on a card that has the one and says the other."""

    def run(
        card_gib: float, free_gib: float, sm: int = 89, quantize: Any = None
    ) -> tuple[Ledger, Engine | None, list[Event]]:
        ledger, told = Ledger(card_gib), []
        card = Card(torch.device("cuda"), sm, int(free_gib * GIB), main_bytes=200 * GIB)
        reader = lambda bf16, quantized: lambda *_, **__: Part(ledger, bf16, quantized)  # noqa: E731
        monkeypatch.setattr(loading, "find_model", lambda *_: Path("nowhere"))
        monkeypatch.setattr(loading, "detect_card", lambda host: card)
        monkeypatch.setattr(loading, "release_memory", lambda card: gc.collect())
        monkeypatch.setattr(loading.quantizing, "is_available", lambda: True)
        monkeypatch.setattr(loading.UMT5EncoderModel, "from_pretrained", reader(10.6, 6.2))
        monkeypatch.setattr(loading.WanTransformer3DModel, "from_pretrained", reader(26.6, 13.5))
        monkeypatch.setattr(loading.AutoencoderKLWan, "from_pretrained", reader(0.5, 0.5))
        monkeypatch.setattr(
            loading.WanImageToVideoPipeline, "from_pretrained", lambda folder, **parts: SimpleNamespace(**parts)
        )
        monkeypatch.setattr(
            loading.quantizing,
            "quantize_part",
            quantize or (lambda name, part, sm, device, home: part.quantize(device, home) if name != "vae" else None),
        )
        monkeypatch.setattr(loading.memory, "arrange", lambda *_: None)
        monkeypatch.setattr(loading.acceleration, "detect_acceleration", lambda *_: Acceleration(Settings()))
        engine = loading._load_folder(WAN, Settings(), told.append)
        return ledger, engine, told

    return run


Weighed = Callable[[float, float], tuple[Ledger, Engine, list[Event]]]


@pytest.mark.parametrize("card", [23.5, 31.5, 44.5], ids=["24 GB", "32 GB", "48 GB"])
def test_fp8_loads_on_the_cards_that_it_is_for(weighed: Weighed, card: float) -> None:
    """The card never holds a bf16 expert, main memory one at a time beside what is quantized."""
    ledger, engine, _ = weighed(card, card)
    assert engine.plan is not None and engine.plan.weights == "fp8"
    assert ledger.peaks["cuda"] <= (34.5 if engine.plan.placement == "resident" else 1)
    assert ledger.peaks["cpu"] <= engine.plan.main_memory.loading + 0.1


@pytest.mark.parametrize("card, sm", [(139.0, 90), (79.0, 80), (44.0, 86), (23.0, 86)])
def test_loading_takes_the_main_memory_that_was_counted(weighed: Any, card: float, sm: int) -> None:
    ledger, engine, _ = weighed(card, card, sm)
    assert ledger.peaks["cpu"] <= engine.plan.main_memory.loading + 0.1
    assert ledger.peaks["cuda"] <= card


def test_memory_that_runs_out_while_loading_takes_the_next_plan_and_says_so(weighed: Weighed) -> None:
    _, engine, told = weighed(40.0, 78.5)  # somebody else took half the card since it was asked
    assert engine.plan is not None and engine.plan.weights == "fp8"
    notes = [event.message for event in told if isinstance(event, Note)]
    assert notes and notes[-1] == loading.LOADED_SMALLER.format(plan=engine.plan.words)


def test_a_torchao_that_fails_in_any_way_leaves_bf16_and_is_said(
    weighed: Weighed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise ImportError("undefined symbol")

    real = quantizing.quantize_part
    monkeypatch.setattr(quantizing, "quantize_expert", refuse)
    _, engine, told = weighed(23.5, 23.5, quantize=lambda name, *rest: name == "text_encoder" or real(name, *rest))
    assert engine.plan is not None and engine.plan.weights == "bf16"
    logged = [event.message for event in told if isinstance(event, Log) and event.level == "WARN"]
    assert logged == ["fp8 does not serve here (ImportError)."]
    assert loading.LOADED_WHOLE.format(plan=engine.plan.words) in [e.message for e in told if isinstance(e, Note)]


@pytest.mark.slow
def test_a_machine_where_every_plan_runs_out_of_memory_is_said_in_a_sentence(
    weighed: Weighed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def exhausted(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(loading, "_assemble_by", exhausted)
    with pytest.raises(BackendError) as error:
        weighed(44.5, 44.5)
    assert error.value.type == "out_of_memory"
