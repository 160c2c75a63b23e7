"""Each expert keeps its own guidance; the expert forwards are counted on a real pipeline of 3 + 5 steps."""

from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.engine.conftest import MakeJob, plain_call
from wan_core.engine.loading import Engine
from wan_core.engine.sampling import prepare_scheduler, sample
from wan_core.events import Job
from wan_core.files import FileStore
from wan_core.schedule import schedule_of

WORDS = ("none", "regular")


@pytest.mark.parametrize(
    "high_noise_scale, low_noise_scale, expected",
    [(3.5, 3.5, (6, 10)), (1.0, 3.5, (3, 10)), (3.5, 1.0, (6, 5)), (1.0, 1.0, (3, 5)), (1.0 + 1e-6, 3.5, (6, 10))],
)
def test_each_expert_runs_as_often_as_its_own_scale_says(
    engine: Engine,
    job: MakeJob,
    tmp_path: Path,
    forwards: Callable[[Any], list[str]],
    high_noise_scale: float,
    low_noise_scale: float,
    expected: tuple[int, int],
) -> None:
    calls = forwards(engine.pipe)
    make_clip(engine, job, tmp_path, high_noise_scale, low_noise_scale)
    assert (calls.count("high"), calls.count("low")) == expected


def test_an_unguided_first_expert_leaves_the_second_one_guided(engine: Engine, job: MakeJob, tmp_path: Path) -> None:
    """The oracle is diffusers with a scale just above 1, which guides both and changes nothing in the first expert."""
    ours = make_clip(engine, job, tmp_path, 1.0, 3.5).astype(int)
    oracle = make_clip(engine, job, tmp_path, 1.0 + 1e-6, 3.5).astype(int)
    unguided = make_clip(engine, job, tmp_path, 1.0, 1.0).astype(int)
    assert abs(ours - oracle).max() <= 1
    assert not np.array_equal(ours, unguided)


def test_an_unguided_second_expert_saves_its_passes_and_changes_no_bit(
    engine: Engine, job: MakeJob, tmp_path: Path
) -> None:
    """The oracle is diffusers, which runs the second expert twice and multiplies the difference by zero."""
    ours = make_clip(engine, job, tmp_path, 3.5, 1.0)
    assert np.array_equal(ours, plain_call(engine.pipe, eight_steps(job, 3.5, 1.0), tmp_path))


def eight_steps(job: MakeJob, high_noise: float, low_noise: float) -> Job:
    return job(num_inference_steps=8, guidance_scale=high_noise, guidance_scale_2=low_noise)


def make_clip(engine: Engine, job: MakeJob, folder: Path, high_noise: float, low_noise: float) -> np.ndarray:
    asked = eight_steps(job, high_noise, low_noise)
    list(sample(engine, asked, asked.inputs.prompt, FileStore(folder), lambda: False))
    return np.load(FileStore(folder).frames("job"))


def test_the_estimate_counts_the_schedule_that_will_run(engine: Engine, job: MakeJob) -> None:
    scales = ((3.5, 3.5), (1.0, 3.5), (3.5, 1.0))
    for steps, shift, acceleration, (high_noise, low_noise) in product((2, 8, 27), (1, 3, 5, 10), WORDS, scales):
        values = {"num_inference_steps": steps, "shift": shift, "acceleration": acceleration}
        request = job(**values, guidance_scale=high_noise, guidance_scale_2=low_noise).inputs
        schedule, _ = engine.acceleration.prepare(engine.pipe, request, prepare_scheduler(engine.pipe, request))
        assert schedule == schedule_of(request), request
