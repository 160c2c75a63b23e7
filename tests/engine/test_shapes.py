"""Requests of every shape against diffusers' own call: 52 of them, to the last bit."""

from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diffusers import WanImageToVideoPipeline

from tests.engine.conftest import TINY, MakeJob, plain_call, tiny_pipeline
from wan_core.engine.embedding_cache import cache_first_frames
from wan_core.engine.loading import Engine
from wan_core.engine.sampling import sample
from wan_core.events import Job
from wan_core.files import FileStore

pytestmark = pytest.mark.slow

GUIDANCE = [(3.5, 3.5), (1.0, 1.0), (5.0, 1.0), (1.0, 3.5)]
SHAPES: list[dict[str, Any]] = [
    {"guidance_scale": high, "guidance_scale_2": low, "shift": shift, "num_inference_steps": steps, "num_frames": 1}
    for (high, low), shift, steps in product(GUIDANCE, (1.0, 5.0, 10.0), (2, 4, 27, 40))
]
SHAPES += [{"num_frames": frames, "num_inference_steps": 2} for frames in (82, 121)]
SHAPES += [{"negative_prompt": words, "num_frames": 5} for words in ("blurry", "a cat turns left, blurry")]


def name(shape: dict[str, Any]) -> str:
    return " ".join(str(value) for value in shape.values())


@pytest.fixture(scope="module")
def engine() -> Engine:
    """One for all shapes, as in a worker: what an earlier request left must not be seen in a later one."""
    pipe = tiny_pipeline(layers=1)
    cache_first_frames(pipe.vae)
    return Engine(TINY, pipe)


@pytest.fixture(scope="module")
def plain() -> WanImageToVideoPipeline:
    """The same weights, apart from the engine; reads each prompt once."""
    pipe = tiny_pipeline(layers=1)
    pipe.encode_prompt = cache(pipe.encode_prompt)
    return pipe


def oracle(pipe: WanImageToVideoPipeline, job: Job, folder: Path) -> np.ndarray:
    """diffusers guides both experts or none, by the first scale; a scale of almost 1 guides the second alone."""
    if job.inputs.guidance_scale > 1 or job.inputs.guidance_scale_2 <= 1:
        return plain_call(pipe, job, folder)
    both = job.inputs.model_copy(update={"guidance_scale": 1 + 1e-6})
    return plain_call(pipe, type(job)(job.id, both, job.size, job.options, job.files), folder)


@pytest.mark.parametrize("shape", SHAPES, ids=name)
def test_the_frames_are_those_of_a_plain_diffusers_call(
    engine: Engine, plain: WanImageToVideoPipeline, job: MakeJob, tmp_path: Path, shape: dict[str, Any]
) -> None:
    asked = job(**shape)
    list(sample(engine, asked, asked.inputs.prompt, FileStore(tmp_path), lambda: False))
    ours = np.load(FileStore(tmp_path).frames("job")).astype(int)
    alone = asked.inputs.guidance_scale <= 1 < asked.inputs.guidance_scale_2
    assert abs(ours - oracle(plain, asked, tmp_path)).max() <= (1 if alone else 0)


def test_there_are_52_shapes() -> None:
    assert len(SHAPES) == 52 and len({name(shape) for shape in SHAPES}) == 52
