"""The memory planner for every card of the reference's table, and its plans on a real pipeline."""

import math

import pytest
import torch
from diffusers import WanImageToVideoPipeline, WanTransformer3DModel
from transformers import UMT5Config, UMT5EncoderModel

from wan_core.engine import memory
from wan_core.engine.memory import GIB, Clip, Plan, arrange, main_memory, peak, peak_of, plan, plans
from wan_core.geometry import Size

PLACES = ("resident", "model_offload", "group_offload")
P480, P580, P720 = Size(832, 480), Size(1024, 576), Size(1280, 720)
CARDS = {  # GiB free after the driver, compute capability
    "H200": (139, 90),
    "RTX PRO 6000": (94, 120),
    "H100": (79, 90),
    "A100": (79, 80),
    "half an RTX PRO 6000": (47, 120),
    "L40S": (44, 89),
    "A40": (44, 86),
    "RTX 5090": (31, 120),
    "RTX 4090": (23, 89),
}


def chosen(card: str, size: Size, frames: int = 81, regular: bool = True, fp8: bool = True) -> tuple[str, str, bool]:
    free, sm = CARDS[card]
    found = plan(free * GIB, sm, size, frames, "regular" if regular else "none", fp8)
    return found.weights, found.placement, found.tiled


@pytest.mark.parametrize(
    "card, size, frames, expected",
    [
        ("H200", P720, 81, ("bf16", "resident", False)),
        ("H200", P720, 161, ("bf16", "resident", False)),
        ("RTX PRO 6000", P720, 81, ("bf16", "resident", False)),
        ("H100", P480, 81, ("bf16", "resident", False)),
        ("H100", P720, 81, ("bf16", "resident", True)),
        ("H100", P720, 121, ("fp8", "resident", False)),
        ("A100", P720, 121, ("bf16", "model_offload", False)),
        ("half an RTX PRO 6000", P480, 81, ("fp8", "resident", False)),
        ("half an RTX PRO 6000", P720, 81, ("fp8", "model_offload", False)),
        ("L40S", P480, 81, ("fp8", "model_offload", False)),
        ("L40S", P720, 81, ("fp8", "model_offload", False)),
        ("A40", P480, 81, ("bf16", "model_offload", False)),
        ("RTX 5090", P480, 81, ("fp8", "model_offload", False)),
        ("RTX 4090", P480, 81, ("fp8", "group_offload", False)),
        ("RTX 4090", P720, 81, ("bf16", "group_offload", False)),
    ],
)
def test_each_card_gets_the_fastest_plan_that_fits(
    card: str, size: Size, frames: int, expected: tuple[str, str, bool]
) -> None:
    assert chosen(card, size, frames) == expected


@pytest.mark.parametrize("card", CARDS)
@pytest.mark.parametrize("size", [P480, P580, P720], ids=str)
def test_without_acceleration_or_without_torchao_nothing_is_quantized(card: str, size: Size) -> None:
    assert chosen(card, size, regular=False)[0] == "bf16"
    assert chosen(card, size, fp8=False)[0] == "bf16"


@pytest.mark.parametrize("card", CARDS)
def test_what_is_chosen_fits_and_each_further_plan_fits_too(card: str) -> None:
    free = CARDS[card][0]
    clip = Clip(P720, 121, cached=True)
    for candidate in plans(free * GIB, clip, ("bf16", "fp8")):
        assert peak_of(candidate, clip) <= free


def test_on_a_card_that_is_too_small_the_smallest_plan_is_tried() -> None:
    assert chosen_on(4) == ("bf16", "group_offload", True)


def chosen_on(free: int) -> tuple[str, str, bool]:
    found = plan(free * GIB, 89, P480, 81, "none")
    return found.weights, found.placement, found.tiled


@pytest.mark.parametrize(
    "size, published", [(P720, 83.4), (P480, 72)], ids=["SGLang on an H200 at 720p, 89.5 GB", "80 GB card at 480p"]
)
def test_the_peaks_agree_with_published_ones(size: Size, published: float) -> None:
    assert peak("bf16", "resident", False, Clip(size, 81)) == pytest.approx(published, rel=0.05)


def test_a_plan_is_said_in_one_line() -> None:
    assert plan(48 * GIB, 90, P720, 81, "regular").words == "fp8 experts, one part on the card at a time"
    assert plan(80 * GIB, 80, P720, 81, "none").sentence == "80 GiB free: bf16 experts, all on the card, tiled VAE."
    assert plan(139 * GIB, 90, P720, 81, "none").sentence == "139 GiB free: bf16 experts, all on the card."


def test_main_memory_is_counted_while_loading_and_afterwards() -> None:
    """Experts arrive one by one: only offloading keeps more than the one that is being read."""
    assert (main_memory("bf16", "resident").loading, main_memory("bf16", "resident").steady) == (26.6, 0)
    assert main_memory("fp8", "resident").loading == 26.6
    assert main_memory("bf16", "model_offload").loading == pytest.approx(64.3, abs=0.1)
    fp8 = main_memory("fp8", "model_offload")
    assert (fp8.loading, fp8.steady) == (pytest.approx(6.2 + 13.5 + 26.6 + 0.5), pytest.approx(33.7))
    pinned = main_memory("bf16", "group_offload", pinned=True)
    assert pinned.steady * GIB / 1e9 == pytest.approx(103, abs=1)  # 87 GB of them are the experts
    assert pinned.loading == pytest.approx(pinned.steady + 26.6)


def pinned_gib(weights: torch.nn.Module) -> float:
    """As PyTorch's caching allocator of pinned memory takes it: the next power of two for each tensor."""
    tensors = [*weights.parameters(), *weights.buffers()]
    return sum(2 ** math.ceil(math.log2(2 * tensor.numel())) for tensor in tensors) / GIB


def test_what_is_pinned_is_as_large_as_the_planner_thinks() -> None:
    with torch.device("meta"):
        expert = WanTransformer3DModel(in_channels=36, out_channels=16)
        text = UMT5EncoderModel(
            UMT5Config(d_model=4096, d_ff=10240, num_layers=24, num_heads=64, d_kv=64, vocab_size=256384)
        )
    assert pinned_gib(expert) == pytest.approx(memory.EXPERT_PINNED, abs=0.3)
    assert pinned_gib(text) == pytest.approx(memory.TEXT_ENCODER_PINNED, abs=0.3)


def test_a_machine_with_little_main_memory_gets_the_plan_that_fits_it() -> None:
    clip = Clip(P480, 81)
    found = {free: plans(23 * GIB, clip, ("bf16",), free * GIB)[0] for free in (200, 100)}
    assert all(plan.placement == "group_offload" for plan in found.values())
    assert found[200].pinned and not found[100].pinned
    assert plans(23 * GIB, clip, ("bf16",), 50 * GIB) == []


def test_a_step_cache_that_does_not_fit_is_left_out_before_nothing_is_made() -> None:
    found = plans(23 * GIB, Clip(P720, 81, cached=True), ("fp8",))[0]
    assert (found.placement, found.cached) == ("group_offload", False)
    assert found.words.endswith("block by block, no step cache")
    assert plans(79 * GIB, Clip(P720, 81, cached=True), ("bf16",))[0].cached


def test_loras_count_where_they_lie() -> None:
    """0.6 GiB each: both on a card that holds all, one where one part is on the card at a time."""
    plain, with_loras = Clip(P480, 81), Clip(P480, 81, loras=True)
    more = {place: peak("bf16", place, True, with_loras) - peak("bf16", place, True, plain) for place in PLACES}
    assert more == {"resident": pytest.approx(1.2), "model_offload": pytest.approx(0.6), "group_offload": 0}


def test_fp8_needs_less_main_memory_and_a_large_card_little() -> None:
    clip = Clip(P480, 81)
    assert plans(23 * GIB, clip, ("bf16", "fp8"), 50 * GIB)[0].weights == "fp8"
    assert plans(79 * GIB, clip, ("bf16",), 30 * GIB)[0].placement == "resident"


@pytest.mark.parametrize("pinned, low", [(True, False), (False, True)])
def test_blocks_that_do_not_fit_pinned_are_pinned_as_they_pass(
    pipe: WanImageToVideoPipeline, monkeypatch: pytest.MonkeyPatch, pinned: bool, low: bool
) -> None:
    asked: dict[str, object] = {}
    monkeypatch.setattr(pipe, "enable_group_offload", lambda **values: asked.update(values))
    monkeypatch.setattr(pipe.vae, "to", lambda device: None)
    arrange(pipe, Plan("bf16", "group_offload", False, 23, pinned), torch.device("cuda"))
    assert (asked["use_stream"], asked["low_cpu_mem_usage"]) == (True, low)
    arrange(pipe, Plan("fp8", "group_offload", False, 23), torch.device("cuda"))
    assert (asked["use_stream"], asked["low_cpu_mem_usage"]) == (False, False)


def test_tiling_is_switched_on_and_off_again(pipe: WanImageToVideoPipeline) -> None:
    for tiled in (True, False):
        arrange(pipe, Plan("bf16", "resident", tiled, 139), torch.device("cpu"))
        assert pipe.vae.use_tiling is tiled
