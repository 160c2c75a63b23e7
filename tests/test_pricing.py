"""Dollars on fal, and the quota of a visitor on ZeroGPU."""

from dataclasses import replace

import pytest

from tests.support.jobs import a_request
from wan_core.estimator import Estimator
from wan_core.geometry import Size
from wan_core.pricing import dollars_on_fal, lent_card, quota_seconds, zero_gpu_seconds
from wan_core.profiles import Machine, profiles

ZERO_GPU = Machine(zero_gpu=True)
FP8 = replace(ZERO_GPU, fp8=True)


@pytest.mark.parametrize(
    "resolution, frames, dollars",
    [("480p", 81, 0.2025), ("580p", 17, 0.06375), ("720p", 121, 0.605)],
)
def test_fal_bills_sixteen_frames_as_a_second(resolution: str, frames: int, dollars: float) -> None:
    assert dollars_on_fal(a_request(resolution=resolution, num_frames=frames)) == pytest.approx(dollars)


def test_half_a_card_counts_once_for_half_as_long_again_and_a_whole_one_twice() -> None:
    """Of a free visitor's 300 seconds: 200 declared ones on `large`, 150 on `xlarge` (spaces 0.51.3, client.py)."""
    assert quota_seconds(200, "half") == quota_seconds(150, "whole") == 300


def test_what_is_declared_has_room_for_the_weights_and_a_margin() -> None:
    assert zero_gpu_seconds(0) == 18
    assert zero_gpu_seconds(100) == 138


def test_the_full_model_takes_a_whole_card_unless_it_may_be_quantized() -> None:
    assert lent_card(profiles()["a14b"], ZERO_GPU) == lent_card(profiles()["a14b-turbo"], ZERO_GPU) == "whole"
    assert lent_card(profiles()["a14b"], FP8) == "half"
    assert lent_card(profiles()["miniature"], ZERO_GPU) == "half"


@pytest.mark.parametrize("machine", [ZERO_GPU, FP8], ids=["bf16", "fp8"])
def test_four_steps_fit_a_free_visitors_zero_gpu_quota_and_twenty_seven_do_not(machine: Machine) -> None:
    estimator, few = Estimator(machine), {"num_inference_steps": 4, "guidance_scale": 1, "guidance_scale_2": 1}
    quick, full = a_request(num_frames=81, resolution="480p", **few), a_request(num_frames=81, resolution="720p")
    quick_s = estimator.estimate(quick, Size(832, 480), profiles()["a14b-turbo"]).zero_gpu_quota_s
    full_s = estimator.estimate(full, Size(1280, 720), profiles()["a14b"]).zero_gpu_quota_s
    assert quick_s is not None and full_s is not None and quick_s < 300 < full_s
