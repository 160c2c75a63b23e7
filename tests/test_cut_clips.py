"""Trimmed, looped and boomeranged clips against the frames that were kept: what the mp4 shows, decoded."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support.jobs import job_with_picture
from tests.support.mp4 import comment_in, decoded
from wan_core import encoding, frames, recipe
from wan_core.clips import ClipMaker, IsCancelled, encode, insert_frames
from wan_core.cutting import Cut
from wan_core.events import Event, Finished, FramesMade, Job, Stage, Step
from wan_core.files import FileStore
from wan_core.geometry import Size
from wan_core.interpolation import InterpolationPlan

KEPT = 17
GREYS = [20 + 12 * number for number in range(KEPT)]
CLOSE = 2  # grey levels that the encoder may be off


class Keeper:
    """The last stage alone: frames are there, and an interpolator of blends fills in."""

    def __init__(self, files: FileStore) -> None:
        self.files = files

    def make_frames(self, job: Job, prompt: str, plan: InterpolationPlan, cancelled: IsCancelled) -> Iterator[Event]:
        assert job.frames_of is not None, "nothing is sampled"
        yield FramesMade()

    def finish(self, job: Job) -> Finished:
        maker = ClipMaker(self.make_frames, None, None, self.files, False)  # type: ignore[arg-type]
        events = list(maker.run(job, lambda: False))
        assert isinstance(events[-1], Finished) and Stage("sampling") not in events
        return events[-1]


@pytest.fixture
def keeper(data: FileStore) -> Keeper:
    return Keeper(data)


def cut_job(keeper: Keeper, cut: Cut, **values: Any) -> Job:
    """A job that finishes frames of rising grey again."""
    job = replace(job_with_picture(keeper.files, video_quality="maximum", **values), size=Size(128, 80))
    pieces = [np.full((1, job.size.height // 4, job.size.width // 4, 3), grey, np.uint8) for grey in GREYS]
    frames.write(keeper.files.frames("drawn"), pieces, KEPT)
    return replace(job, frames_of="drawn", options=replace(job.options, cut=cut, picture_detail=False))


def greys(keeper: Keeper, job: Job) -> list[int]:
    keeper.finish(job)
    return shown_greys(keeper, job)


def shown_greys(keeper: Keeper, job: Job) -> list[int]:
    return [round(float(frame.mean())) for frame in decoded(keeper.files.clip(job.id))]


def assert_close(found: list[int], wanted: list[float]) -> None:
    assert len(found) == len(wanted)
    assert np.abs(np.array(found) - np.array(wanted)).max() <= CLOSE


def test_a_trim_shows_the_kept_frames_within_it_and_no_other(keeper: Keeper) -> None:
    assert_close(greys(keeper, cut_job(keeper, Cut(5, 12))), GREYS[4:12])


def test_a_boomerang_shows_them_there_and_back(keeper: Keeper) -> None:
    assert_close(greys(keeper, cut_job(keeper, Cut(5, 12, "boomerang"))), [*GREYS[4:12], *GREYS[10:4:-1]])


def test_a_loop_joins_its_end_to_its_beginning(keeper: Keeper) -> None:
    shown = greys(keeper, cut_job(keeper, Cut(ending="loop")))
    assert_close(shown[:9], GREYS[4:13])
    jumps = [abs(after - before) for before, after in pairwise([*shown, shown[0]])]
    assert max(jumps) < (GREYS[-1] - GREYS[0]) / 4, "no step is as large as the jump from the end to the beginning"


def test_only_the_pairs_within_the_trim_are_interpolated(keeper: Keeper) -> None:
    job = cut_job(keeper, Cut(5, 12, "boomerang"), interpolator_model="film", num_interpolated_frames=1)
    making, pairs = insert_frames(job, InterpolationPlan("fallback"), keeper.files, lambda: False), 0
    while True:
        try:
            pairs += isinstance(next(making), Step)
        except StopIteration as end:
            made: FramesMade = end.value
            break
    assert pairs == 7
    encode(job, "", made, keeper.files, lambda: False)
    there = [GREYS[4] + 6 * step for step in range(15)]
    assert_close(shown_greys(keeper, job), [*there, *there[-2:0:-1]])


def test_nothing_but_the_clip_is_left_on_the_disk(keeper: Keeper) -> None:
    job = cut_job(keeper, Cut(ending="boomerang"))
    keeper.finish(job)
    assert [path.name for path in keeper.files.of_job(job.id) if path.exists()] == [f"{job.id}.mp4"]


def test_the_file_carries_its_cut(keeper: Keeper) -> None:
    job = cut_job(keeper, Cut(2, 9, "boomerang"))
    keeper.finish(job)
    assert recipe.from_comment(comment_in(keeper.files.clip(job.id))).cut == Cut(2, 9, "boomerang")
    assert encoding.probe(keeper.files.clip(job.id)).frames == 14
    plain = cut_job(keeper, Cut())
    keeper.finish(plain)
    assert '"cut"' not in comment_in(keeper.files.clip(plain.id))


def test_a_trim_of_small_frames_takes_its_detail_from_the_picture_all_the_same(keeper: Keeper) -> None:
    """Small frames are registered on the first one that was kept, also where the clip does not show it."""
    job = cut_job(keeper, Cut(9, 17))
    noise = np.random.default_rng(1).integers(0, 255, (job.size.height, job.size.width, 3), np.uint8)
    Image.fromarray(noise).resize((job.size.width // 2, job.size.height // 2)).save(keeper.files.picture(job.picture))
    whole = [replace(job, options=replace(job.options, cut=cut, picture_detail=True)) for cut in (Cut(), Cut(9, 17))]
    whole[0] = replace(whole[0], id="whole")
    clips = []
    for each in whole:
        keeper.finish(each)
        clips.append(np.stack(list(decoded(keeper.files.clip(each.id)))))
    assert np.abs(clips[0][8:].astype(int) - clips[1].astype(int)).mean() < CLOSE
