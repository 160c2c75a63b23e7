"""The line before the click: exactly what will come out, and what of the picture will be left."""

import re
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import SecretStr

from tests.support.jobs import a_request
from wan_core.estimator import Estimator
from wan_core.geometry import Size
from wan_core.jobs.budget import FalBudget
from wan_core.profiles import GIB, Machine, profiles
from wan_core.settings import Settings
from wan_core.ui.outcome import budget_line, outcome, queue_line, trouble_line

CARD = Machine("NVIDIA H200", 140 * GIB)
HOST = Estimator(CARD)
ZERO_GPU = Machine(zero_gpu=True)
A14B, TURBO, MINIATURE = profiles()["a14b"], profiles()["a14b-turbo"], profiles()["miniature"]
DEFAULTS = {"num_frames": 81, "resolution": "480p"}


def text(html: str) -> str:
    return re.sub(r"<[^>]+>", " ", html).replace("  ", " ").strip()


def crop(html: str) -> list[float]:
    kept = re.search(r'data-crop="([^"]*)"', html)
    assert kept
    return [float(share) for share in kept.group(1).split(",") if share]


def test_it_says_size_frames_rate_and_seconds() -> None:
    line = text(outcome(a_request(**DEFAULTS), Size(1600, 900), A14B, HOST, "local"))
    assert line.startswith("832×480 · 81 → 161 frames · 32 fps · 5.03 s · about ")
    assert line.endswith(" here")


def test_without_added_frames_there_is_no_arrow() -> None:
    line = text(outcome(a_request(**DEFAULTS, interpolator_model="none"), Size(1600, 900), A14B, HOST, "local"))
    assert "· 81 frames · 16 fps · 5.06 s" in line


def test_a_job_for_fal_shows_its_price_before_the_click() -> None:
    request = a_request(num_frames=81, resolution="720p")
    assert "$0.41 on fal" in text(outcome(request, Size(1600, 900), A14B, HOST, "fal"))
    either = text(outcome(request, Size(1600, 900), A14B, HOST, "fal_when_needed"))
    assert "here, or $0.41 on fal" in either


def test_where_only_the_miniature_runs_a_job_that_may_go_to_fal_does_and_costs_the_same() -> None:
    request, host = a_request(num_frames=81, resolution="720p"), Estimator(Machine())
    for where in ("fal", "fal_when_needed"):
        line = text(outcome(request, Size(1600, 900), MINIATURE, host, where))  # type: ignore[arg-type]
        assert line.endswith("· $0.41 on fal")


def test_on_zerogpu_the_quota_is_said_before_the_click() -> None:
    """bf16 weights need a whole card, which counts twice."""
    request, size = a_request(**DEFAULTS, num_inference_steps=4, guidance_scale=1, guidance_scale_2=1), Size(1600, 900)
    estimator = Estimator(ZERO_GPU)
    declared = estimator.estimate(request, Size(832, 480), TURBO).zero_gpu_seconds
    quota = f" and about {2 * declared} s of your ZeroGPU quota (a whole card counts twice)"
    assert text(outcome(request, size, TURBO, estimator, "local")).endswith(f" here{quota}")
    either = text(outcome(request, size, TURBO, estimator, "fal_when_needed"))
    assert either.endswith(f" here{quota}, or $0.20 on fal")
    assert "quota" not in outcome(request, size, TURBO, estimator, "fal")
    assert "quota" not in outcome(request, size, TURBO, HOST, "local")


def test_the_miniature_says_how_small_it_draws_and_where_fine_detail_comes_from() -> None:
    request, host = a_request(**DEFAULTS), Estimator(Machine())
    line = text(outcome(request, Size(1600, 900), MINIATURE, host, "local"))
    assert "drawn at 208×128; fine detail is taken from your picture." in line
    plain = text(outcome(request, Size(1600, 900), MINIATURE, host, "local", picture_detail=False))
    assert "enlarged to 832×480" in plain and "from your picture" not in plain
    assert "208×128" not in outcome(request, Size(1600, 900), MINIATURE, host, "fal")


def test_without_a_picture_auto_follows_it_and_a_named_ratio_is_known() -> None:
    assert text(outcome(a_request(**DEFAULTS), None, A14B, HOST, "local")).startswith("size follows the picture")
    assert text(outcome(a_request(**DEFAULTS, aspect_ratio="1:1"), None, A14B, HOST, "local")).startswith("624×624")


def test_the_crop_is_central_and_only_where_something_is_lost() -> None:
    square = outcome(a_request(**DEFAULTS, aspect_ratio="1:1"), Size(1600, 800), A14B, HOST, "local")
    assert crop(square) == [25.0, 0.0, 75.0, 100.0]
    assert crop(outcome(a_request(**DEFAULTS, aspect_ratio="1:1"), Size(500, 500), A14B, HOST, "local")) == []


def test_a_rate_beyond_common_screens_is_said_before_the_click() -> None:
    def line(frames_per_second: int) -> str:
        request = a_request(**DEFAULTS, frames_per_second=frames_per_second)  # one new frame each doubles the rate
        return text(outcome(request, Size(1600, 900), A14B, HOST, "local"))

    assert "At 62 fps many players and screens drop frames" in line(31)
    assert "drop frames" not in line(30)


def test_the_line_and_the_budget_are_said_before_the_click_where_there_are_any() -> None:
    assert queue_line(0, 0.0) == "" and budget_line(None) == ""
    assert "1 job is ahead: at most 1 min 30 s before yours begins." in queue_line(1, 90.0)
    assert "3 jobs are ahead" in queue_line(3, 90.0)
    for wait_s, again_s in ((1.0, 5), (7.0, 7), (90.0, 10)):
        assert f'data-again-s="{again_s}"' in queue_line(1, wait_s)
    assert queue_line(3, 0.0) == "", "a worker is free"
    assert trouble_line("") == "" and "No machine is there." in trouble_line("No machine is there.")
    assert "$1.50 of this server's budget for fal are left today" in budget_line(1.5)


@pytest.mark.parametrize(("spent", "jobs", "left"), [(0.0, 0, 2.0), (1.5, 3, 0.5), (2.2, 3, 0.0), (0.1, 20, 0.0)])
def test_what_is_left_of_the_budget_is_what_the_key_may_still_pay(spent: float, jobs: int, left: float) -> None:
    store: Any = SimpleNamespace(spending=lambda client, within_s: SimpleNamespace(dollars=spent, jobs=jobs))
    settings = Settings(fal_key=SecretStr("key"), fal_daily_dollars=2.0, fal_daily_jobs=20)
    assert FalBudget(store, settings, per_client=False).dollars_left == pytest.approx(left)
    assert FalBudget(store, Settings(fal_key=None), per_client=False).dollars_left is None
