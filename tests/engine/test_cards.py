"""One clip on several cards, here processes on a CPU: the clip of one process, and an honest end when one is lost."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.models.attention_dispatch import AttentionBackendName, _AttentionBackendRegistry

from tests.engine.conftest import MakeJob
from tests.engine.loras import publish
from wan_core.engine import acceleration, loading, memory, offload
from wan_core.engine.cards import rank
from wan_core.engine.cards.rank import Split
from wan_core.engine.loading import Card, Engine, load
from wan_core.engine.memory import GIB
from wan_core.engine.sampling import sample
from wan_core.errors import BackendError
from wan_core.events import Job
from wan_core.files import FileStore
from wan_core.geometry import Size
from wan_core.profiles import WHOLE_MODEL_BYTES, EngineProfile
from wan_core.settings import ClipSplit, Settings

WAN = EngineProfile("wan", "Wan", "", repo="somebody/wan", revision=None)
TURBO = replace(WAN, name="turbo", lightning="both experts")
EVEN, ODD = Size(32, 48), Size(48, 48)  # 18 and 27 tokens for two ranks
TOLERANCE = 2
"""Grey levels. Numbers are bf16, and half of the rows of a product may be summed in another order than all of them."""


@pytest.fixture(scope="module")
def folder(saved_once: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Settings for this process and its helpers."""
    loras = publish(tmp_path_factory.mktemp("cards") / "loras")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("WAN_LIGHTNING", str(loras))
        yield saved_once


def settings_for(folder: Path, cards: int = 1, split: ClipSplit = "ulysses") -> Settings:
    return Settings(model=str(folder), cards_per_clip=cards, clip_split=split)


@pytest.fixture(scope="module")
def alone(folder: Path) -> Engine:
    return load(WAN, settings_for(folder), [].append)


@pytest.fixture(scope="module", params=["ulysses", "guidance"])
def together(request: pytest.FixtureRequest, folder: Path) -> Iterator[Engine]:
    """Two processes with the official way of loading; they start in ten seconds."""
    engine = load(WAN, settings_for(folder, 2, request.param), [].append)
    assert engine.group is not None
    yield engine
    engine.group.close()


def run(engine: Engine, job: Job, folder: Path, profile: EngineProfile = WAN) -> np.ndarray:
    chosen = engine.for_profile(profile)
    assert chosen is not None
    list(sample(chosen, job, job.inputs.prompt, FileStore(folder), lambda: False))
    return np.load(FileStore(folder).frames("job")).astype(int)


def difference(ours: np.ndarray, theirs: np.ndarray) -> int:
    assert ours.shape == theirs.shape
    return int(abs(ours - theirs).max())


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("scales", [(8, 8), (1, 1), (8, 1), (1, 8)], ids=str)
@pytest.mark.parametrize("size", [EVEN, ODD], ids=str)
def test_two_processes_make_the_clip_of_one(
    alone: Engine, together: Engine, job: MakeJob, tmp_path: Path, size: Size, scales: tuple[float, float]
) -> None:
    """With guidance, without, and with it for one expert alone; also where the tokens cannot be halved."""
    asked = job(size=size, guidance_scale=scales[0], guidance_scale_2=scales[1], negative_prompt="blurry")
    wanted, made = run(alone, asked, tmp_path), run(together, asked, tmp_path)
    assert difference(made, wanted) <= TOLERANCE


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_processes_make_the_turbo_clip_of_one_and_the_plain_one_after_it(
    alone: Engine, together: Engine, job: MakeJob, tmp_path: Path
) -> None:
    asked = job(guidance_scale=1, guidance_scale_2=1)
    plain, turbo = run(alone, asked, tmp_path), run(alone, asked, tmp_path, TURBO)
    assert difference(plain, turbo) > 5 * TOLERANCE
    assert difference(run(together, asked, tmp_path, TURBO), turbo) <= TOLERANCE
    assert difference(run(together, asked, tmp_path), plain) <= TOLERANCE


def test_every_attention_that_is_tried_on_several_cards_is_one_that_diffusers_shares() -> None:
    able = _AttentionBackendRegistry._supports_context_parallel
    tried = {name for sm in (80, 90, 120) for name in acceleration.attention_candidates(sm, cards=2)}
    assert tried <= {AttentionBackendName(name).value for name in able} and "native" in tried


def test_each_rank_holds_the_whole_model_and_its_part_of_the_tokens() -> None:
    """At 480p on 80 GB; 48 GB are refused, and the message says what to do."""
    two, large = Split(2, "ulysses"), Card(torch.device("cuda"), 90, 79 * GIB, cards=2)
    plans = loading._whole_plans(large, Settings(accelerate_cache=False, accelerate_fp8=False), "Wan", two)
    assert {(plan.weights, plan.placement) for plan in plans} == {("bf16", "resident")}
    with pytest.raises(BackendError, match=r"WAN_CARDS_PER_CLIP=2 .* 44 GiB free. Unset it"):
        loading._whole_plans(replace(large, free_bytes=44 * GIB), Settings(accelerate_fp8=False), "Wan", two)
    whole, half = (memory.transformer_activations(memory.Clip(Size(1280, 720), 81, split=n), "bf16") for n in (1, 2))
    assert half == pytest.approx(whole / 2)


def test_the_least_card_that_the_app_starts_on_holds_the_smallest_clip() -> None:
    clip = memory.Clip(Size(832, 480), 81, split=2)
    assert memory.peak("bf16", "resident", True, clip) * GIB <= WHOLE_MODEL_BYTES


def test_cards_that_share_a_clip_keep_the_whole_model_whatever_the_clip(engine: Engine) -> None:
    engine.card = Card(torch.device("cpu"), free_bytes=60 * GIB, cards=2)
    engine.plan = memory.Plan("bf16", "resident", False, 60)
    need = memory.Clip(Size(1280, 720), 161, split=2)
    assert offload._next_plan(engine, engine.plan, need).placement == "resident"
    assert not offload.fits(engine, need)


def test_what_the_cards_do_is_said_in_words() -> None:
    said = [Split(cards, kind).words for cards, kind in ((4, "ulysses"), (2, "guidance"), (8, "guidance"))]
    assert said == [
        "4 cards make each clip: 4 share the tokens of a pass (Ulysses).",
        "2 cards make each clip: each half takes one pass of a guided step.",
        "8 cards make each clip: each half takes one pass of a guided step and 4 share the tokens of a pass (Ulysses).",
    ]


def test_a_helpers_expert_is_described_to_the_last_dtype_and_takes_no_more_room_on_its_way(
    saved_once: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two experts in fp32 would not fit any card."""
    expert = load(WAN, settings_for(saved_once), [].append).pipe.transformer
    made: list[torch.Tensor] = []
    empty_like = torch.empty_like
    monkeypatch.setattr(torch, "empty_like", lambda *a, **k: made.append(empty_like(*a, **k)) or made[-1])
    copy = rank.bare(json.loads(json.dumps(rank.describe(expert))), torch.device("cpu"))
    tensors = [dict(each.named_parameters()) | dict(each.named_buffers()) for each in (expert, copy)]
    wanted, found = ({name: (part.shape, part.dtype) for name, part in each.items()} for each in tensors)
    assert found == wanted and {dtype for _, dtype in wanted.values()} >= {torch.bfloat16, torch.float32}
    assert sum(part.nbytes for part in made) == sum(part.nbytes for part in tensors[0].values())
