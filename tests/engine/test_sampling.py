"""Sampling against diffusers' own call, and what a visitor notices: events, cancel, seeds, exact frames."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.engine.conftest import SIZE, MakeJob, plain_call
from wan_core.engine.eta import EtaEstimator
from wan_core.engine.loading import Engine
from wan_core.engine.sampling import sample
from wan_core.errors import BackendError, Cancelled
from wan_core.events import Event, Job, Note, Stage, Step
from wan_core.files import FileStore
from wan_core.geometry import Size
from wan_core.schedule import StepSchedule


def never() -> bool:
    return False


def run(engine: Engine, job: Job, folder: Path) -> list[Event]:
    return list(sample(engine, job, job.inputs.prompt, FileStore(folder), never))


def frames_of(engine: Engine, job: Job, folder: Path) -> np.ndarray:
    run(engine, job, folder)
    return np.load(FileStore(folder).frames("job"))


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"negative_prompt": "blurry", "shift": 8.0, "num_inference_steps": 6},
        {"num_frames": 22, "seed": 2**53 - 1},
    ],
    ids=["defaults", "negative prompt, shift and steps", "frames between 4k+1"],
)
def test_without_acceleration_the_frames_are_those_of_a_plain_diffusers_call(
    engine: Engine, job: MakeJob, tmp_path: Path, values: dict[str, Any]
) -> None:
    asked = job(**values)
    ours = frames_of(engine, asked, tmp_path)
    assert np.array_equal(ours, plain_call(engine.pipe, asked, tmp_path))


@pytest.fixture
def end_picture(tmp_path: Path) -> dict[str, str]:
    """The files of a job that ends on a picture of another shape."""
    noise = np.random.default_rng(1).integers(0, 255, (50, 70, 3), np.uint8)
    Image.fromarray(noise).save(FileStore(tmp_path).picture("end"))
    return {"image_url": "picture", "end_image_url": "end"}


def test_with_an_end_picture_the_frames_are_those_of_diffusers_with_a_last_image(
    engine: Engine, job: MakeJob, tmp_path: Path, end_picture: dict[str, str]
) -> None:
    asked = job(files=end_picture)
    ours = frames_of(engine, asked, tmp_path)
    assert np.array_equal(ours, plain_call(engine.pipe, asked, tmp_path))
    assert not np.array_equal(ours, frames_of(engine, job(), tmp_path))


@pytest.mark.slow
def test_a_count_between_4k_and_1_still_ends_on_the_end_picture(
    engine: Engine, job: MakeJob, tmp_path: Path, end_picture: dict[str, str]
) -> None:
    fewer = frames_of(engine, job(files=end_picture, num_frames=22), tmp_path)
    whole = frames_of(engine, job(files=end_picture, num_frames=25), tmp_path)
    assert len(fewer) == 22
    assert np.array_equal(fewer[[0, -1]], whole[[0, -1]])
    assert [frame.tobytes() for frame in fewer] == [f.tobytes() for i, f in enumerate(whole) if i not in (4, 12, 20)]


def test_an_engine_that_knows_no_end_picture_says_so_and_makes_the_clip_without_it(
    engine: Engine, job: MakeJob, tmp_path: Path, end_picture: dict[str, str]
) -> None:
    engine.profile = replace(engine.profile, takes_end_picture=False)
    events = run(engine, job(files=end_picture), tmp_path)
    assert next(e.message for e in events if isinstance(e, Note)).startswith("The tiny only knows camera moves")
    ours = np.load(FileStore(tmp_path).frames("job"))
    assert np.array_equal(ours, frames_of(engine, job(), tmp_path))


@pytest.mark.slow
def test_82_frames_are_the_first_82_of_85(engine: Engine, job: MakeJob, tmp_path: Path) -> None:
    fewer = frames_of(engine, job(num_frames=82, num_inference_steps=2), tmp_path)
    all_85 = frames_of(engine, job(num_frames=85, num_inference_steps=2), tmp_path)
    assert fewer.shape == (82, SIZE.height, SIZE.width, 3)
    assert np.array_equal(fewer, all_85[:82])


def test_the_same_seed_gives_the_same_frames_and_another_seed_others(
    engine: Engine, job: MakeJob, tmp_path: Path
) -> None:
    first, again, other = (frames_of(engine, job(seed=seed), tmp_path) for seed in (7, 7, 8))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_every_step_is_told_with_the_time_that_is_left(engine: Engine, job: MakeJob, tmp_path: Path) -> None:
    events = run(engine, job(), tmp_path)
    steps = [event for event in events if isinstance(event, Step)]
    assert [event.name for event in events if isinstance(event, Stage)] == ["sampling", "decoding"]
    assert [(step.done, step.total) for step in steps if step.stage == "sampling"] == [(n, 4) for n in range(1, 5)]
    assert [(step.done, step.total) for step in steps if step.stage == "decoding"] == [(n, 3) for n in range(1, 4)]
    assert all(step.seconds_left is not None and step.seconds_left >= 0 for step in steps)
    assert steps[-1].seconds_left == 0


def test_the_time_left_follows_the_forwards_that_remain() -> None:
    times: Iterator[float] = iter([0.0, 10.0, 14.0, 18.0, 20.0])
    eta = EtaEstimator(StepSchedule((True,) * 4, (True, True, True, False)), decode_s=5, clock=lambda: next(times))
    eta.start()
    left = [eta.seconds_left() for _ in range(4)]
    assert left == [5 * 5 + 5, 2 * 3 + 5, 2 * 1 + 5, 5]


def test_a_cancelled_clip_stops_within_one_step_and_leaves_no_file(
    engine: Engine, job: MakeJob, tmp_path: Path
) -> None:
    clip = sample(engine, job(num_inference_steps=40), "a cat", FileStore(tmp_path), lambda: len(seen) >= 2)
    seen: list[Event] = []
    with pytest.raises(Cancelled):
        seen.extend(event for event in clip if isinstance(event, Step))
    assert len(seen) <= 4  # the thread may be one step ahead of the reader
    assert list((tmp_path / "frames").iterdir()) == []


def test_closing_the_generator_ends_the_thread_and_the_next_clip_is_untouched(
    engine: Engine, job: MakeJob, tmp_path: Path, forwards: Callable[[Any], list[str]]
) -> None:
    before = frames_of(engine, job(), tmp_path)
    calls = forwards(engine.pipe)
    clip = sample(engine, job(num_inference_steps=40), "a cat", FileStore(tmp_path), never)
    next(event for event in clip if isinstance(event, Step))
    clip.close()
    made = len(calls)
    assert made < 80 and [path.name for path in (tmp_path / "frames").iterdir()] == ["job.npy"]
    assert np.array_equal(frames_of(engine, job(), tmp_path), before)


def test_two_steps_with_a_large_shift_say_that_the_low_noise_expert_never_runs(
    engine: Engine, job: MakeJob, tmp_path: Path
) -> None:
    def notes(shift: float) -> list[str]:
        events = run(engine, job(num_inference_steps=2, shift=shift), tmp_path)
        return [event.message for event in events if isinstance(event, Note)]

    assert notes(8) == []
    assert "low-noise one never runs" in notes(9)[0]


@pytest.mark.slow
def test_more_frames_than_wan_was_trained_on_are_made_and_said(engine: Engine, job: MakeJob, tmp_path: Path) -> None:
    def notes(frames: int) -> list[str]:
        events = run(engine, job(num_inference_steps=2, num_frames=frames), tmp_path)
        return [event.message for event in events if isinstance(event, Note)]

    assert notes(81) == []
    assert ["trained on 81 frames: in a clip of 82" in note for note in notes(82)] == [True]
    engine.profile = replace(engine.profile, is_full_model=False)
    assert notes(82) == []


@pytest.mark.parametrize("field, title", [("prompt", "The prompt"), ("negative_prompt", "The negative prompt")])
def test_what_a_long_prompt_loses_is_said_and_what_fits_loses_nothing(
    engine: Engine, job: MakeJob, tmp_path: Path, field: str, title: str
) -> None:
    def notes(words: int) -> list[str]:
        text = " ".join(["a"] * (words - 2) + ["cat", "turns"])
        events = run(engine, job(num_inference_steps=2, **{field: text}), tmp_path)
        return [event.message for event in events if isinstance(event, Note)]

    assert notes(512) == []  # this tokenizer puts no mark at the end
    (note,) = notes(514)
    assert note.startswith(f"{title} has 514 tokens and the model reads 512") and "cat turns\u201d" in note


def test_numbers_that_overflow_are_an_error_and_no_black_clip(engine: Engine, job: MakeJob, tmp_path: Path) -> None:
    torch.nn.init.constant_(engine.pipe.transformer.proj_out.bias, float("nan"))
    with pytest.raises(BackendError) as error:
        run(engine, job(), tmp_path)
    assert error.value.type == "no_media_generated"
    assert list((tmp_path / "frames").iterdir()) == []


def test_a_decoder_that_overflows_is_noticed_too(engine: Engine, job: MakeJob, tmp_path: Path) -> None:
    torch.nn.init.constant_(engine.pipe.vae.post_quant_conv.bias, float("inf"))
    with pytest.raises(BackendError):
        run(engine, job(), tmp_path)


def test_too_little_memory_is_said_in_a_sentence(engine: Engine, job: MakeJob, tmp_path: Path) -> None:
    def exhausted(*_: object) -> None:
        raise torch.OutOfMemoryError

    engine.pipe.transformer_2.register_forward_pre_hook(exhausted)
    with pytest.raises(BackendError) as error:
        run(engine, job(), tmp_path)
    assert error.value.type == "out_of_memory"
    assert str(SIZE) in error.value.message


def test_another_seed_reads_neither_prompt_nor_picture_again(engine: Engine, job: MakeJob, tmp_path: Path) -> None:
    reads: list[str] = []
    engine.pipe.text_encoder.register_forward_pre_hook(lambda *_: reads.append("prompt"))
    engine.pipe.vae.encoder.register_forward_pre_hook(lambda *_: reads.append("picture"))
    run(engine, job(), tmp_path)
    first = len(reads)
    run(engine, job(seed=8, num_inference_steps=6, shift=3.0), tmp_path)
    assert first == 2 + 3  # both prompts, one picture of 9 frames
    assert len(reads) == first
    run(engine, job(negative_prompt="blurry"), tmp_path)
    assert len(reads) == first + 1


def test_an_engine_that_renders_smaller_writes_the_rendered_size(engine: Engine, job: MakeJob, tmp_path: Path) -> None:
    engine.profile = type(engine.profile)("tiny", "Tiny", "", repo=None, revision=None, render_divisor=4)
    frames = frames_of(engine, job(Size(96, 144), num_inference_steps=2), tmp_path)
    assert frames.shape == (9, 48, 32, 3)
