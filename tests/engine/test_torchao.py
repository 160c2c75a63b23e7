"""torchao itself, on a CPU: what it leaves of each part, and the clips of a small model whose experts lie in fp8."""

import copy
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import random_model
from tests.engine.conftest import MakeJob, text_encoder
from wan_core.engine import loading, offload, quantizing
from wan_core.engine.loading import Card, Engine
from wan_core.engine.memory import Placement, Plan
from wan_core.engine.sampling import sample
from wan_core.files import FileStore
from wan_core.profiles import profiles
from wan_core.settings import Settings

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

torchao = pytest.importorskip("torchao.quantization", reason="pip install -r tests/requirements.txt")
CPU = torch.device("cpu")
LAYOUT = replace(random_model.TINY, expert=random_model.TINY.expert | {"attention_head_dim": 16})
"""Layers in multiples of 16, which fp8 products want."""
PLACEMENTS: tuple[Placement, ...] = ("resident", "model_offload", "group_offload")


@pytest.fixture(autouse=True)
def no_card_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """fp8 products run on a CPU too."""
    monkeypatch.setattr(torchao.quant_api, "_check_hardware_support", lambda *_: None)


def off_by(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    return ((ours.float() - theirs.float()).abs().mean() / theirs.float().abs().mean()).item()


@pytest.mark.parametrize("sm", [89, 90, 120])
def test_an_experts_blocks_become_fp8_the_rest_stays_and_so_does_what_it_says(sm: int) -> None:
    whole = random_model.expert(LAYOUT).requires_grad_(False).eval()
    small = copy.deepcopy(whole)
    quantizing.quantize_part("transformer", small, sm, CPU, CPU)
    for name, layer in small.named_modules():
        if isinstance(layer, torch.nn.Linear):
            assert isinstance(layer.weight, torchao.Float8Tensor) is name.startswith("blocks."), name
    for name, weight in small.named_parameters():
        assert weight.dtype == whole.get_parameter(name).dtype, name
    latents, text = torch.randn(1, 36, 3, 8, 8).bfloat16(), torch.randn(1, 16, 32).bfloat16()
    calls = [each(latents, torch.full((1,), 500), text, return_dict=False)[0] for each in (small, whole)]
    assert 0 < off_by(*calls) < 0.05


def test_the_text_encoder_becomes_int8_and_reads_as_before() -> None:
    whole = text_encoder().to(torch.bfloat16).requires_grad_(False)
    small = copy.deepcopy(whole)
    quantizing.quantize_part("text_encoder", small, 89, CPU, CPU)
    assert isinstance(small.encoder.block[0].layer[0].SelfAttention.q.weight, torchao.Int8Tensor)
    words = torch.tensor([[3, 4, 5, 6, 1]])
    assert 0 < off_by(small(words).last_hidden_state, whole(words).last_hidden_state) < 0.05


@pytest.fixture
def loaded() -> Iterator[Any]:
    """`loaded(plan)` goes the way of every machine, with both LoRAs."""

    def load(plan: Plan) -> Engine:
        torch.manual_seed(0)
        loras = {name: random_model.lora(LAYOUT, random_model.expert(LAYOUT)) for name in loras_of}
        source, card = random_model.source(LAYOUT), Card(CPU, sm=89)
        engine = loading.load_from(source, profiles()["a14b"], card, [plan], loras, Settings(), [].append)
        engine.pipe.set_progress_bar_config(disable=True)
        for words in ("a cat turns left", ""):
            engine.prompts.get(words, lambda: torch.zeros(1, 512, 32, dtype=torch.bfloat16))
        engine.pipe.tokenizer = lambda text: type("Tokens", (), {"input_ids": [0]})
        return engine

    loras_of = ("transformer", "transformer_2")
    yield load


def clip(engine: Engine, job: Any, folder: Path) -> np.ndarray:
    list(sample(engine, job, "a cat turns left", FileStore(folder), lambda: False))
    return np.load(FileStore(folder).frames("job")).astype(int)


def test_fp8_experts_make_the_same_clip_wherever_they_lie(loaded: Any, job: MakeJob, tmp_path: Path) -> None:
    """Also after they moved; near the one of bf16, and with both kinds of Lightning."""
    wanted = clip(loaded(Plan("bf16", "resident", False, 100)), job(), tmp_path)
    engine = loaded(Plan("fp8", PLACEMENTS[0], False, 100))
    first = clip(engine, job(), tmp_path)
    assert 0 < abs(first - wanted).mean() < 2
    for placement in (*PLACEMENTS[1:], *PLACEMENTS):
        offload.move_to(engine, plan := Plan("fp8", placement, False, 100))
        engine.plan = plan
        assert np.array_equal(clip(engine, job(), tmp_path), first)
    for name in ("a14b-turbo", "a14b-turbo-motion"):
        fast = engine.for_profile(profiles()[name])
        assert fast is not None and not np.array_equal(clip(fast, job(), tmp_path), first)
    assert np.array_equal(clip(engine, job(), tmp_path), first)


@pytest.mark.parametrize("placement", PLACEMENTS)
def test_fp8_experts_are_loaded_into_each_placement(
    loaded: Any, job: MakeJob, tmp_path: Path, placement: Placement
) -> None:
    assert len(clip(loaded(Plan("fp8", placement, False, 100)), job(acceleration="regular"), tmp_path)) == 9
