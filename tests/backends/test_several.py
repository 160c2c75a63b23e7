"""Several workers as one: jobs run beside each other, and each is cancelled where it runs."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.jobs import a_job
from wan_core import profiles
from wan_core.backends.several import SeveralBackends
from wan_core.errors import Cancelled
from wan_core.events import Event, Job, Stage
from wan_core.profiles import GIB, Machine, detect
from wan_core.settings import Settings, load


class OneAtATime:
    """Runs until told to go on; fails if a second job comes meanwhile."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.jobs: list[str] = []
        self.questions = 0
        self.busy = threading.Lock()
        self.proceed = threading.Event()
        self.cancelled: set[str] = set()

    def start(self) -> None: ...

    def run(self, job: Job) -> Iterator[Event]:
        assert self.busy.acquire(blocking=False), "two jobs at once"
        try:
            self.jobs.append(job.id)
            yield Stage("sampling", self.name)
            assert self.proceed.wait(10)
            if job.id in self.cancelled:
                raise Cancelled()
            yield Stage("encoding", self.name)
        finally:
            self.busy.release()

    def cancel(self, job_id: str) -> None:
        if self.jobs and self.jobs[-1] == job_id:
            self.cancelled.add(job_id)
            self.proceed.set()

    def check(self, picture: str, prompt: str) -> None:
        self.questions += 1

    def expand(self, picture: str, prompt: str) -> tuple[str, str]:
        self.questions += 1
        return prompt, ""

    def close(self) -> None: ...


def test_two_jobs_run_on_two_workers_and_a_third_waits_for_the_first_that_is_free() -> None:
    one, two = OneAtATime("one"), OneAtATime("two")
    pool = SeveralBackends([one, two])
    runs = [pool.run(a_job()) for _ in range(2)]
    assert {next(run).detail for run in runs} == {"one", "two"}  # type: ignore[union-attr]
    started = threading.Event()
    third = threading.Thread(target=lambda: [started.set() for _ in pool.run(a_job())])
    third.start()
    assert not started.wait(0.1)
    two.proceed.set()
    list(runs[1])
    assert started.wait(10)
    third.join()
    assert (len(one.jobs), len(two.jobs)) == (1, 2)
    one.proceed.set()
    list(runs[0])


def test_the_worker_that_ended_last_is_taken_first_because_its_model_is_loaded() -> None:
    one, two = OneAtATime("one"), OneAtATime("two")
    pool = SeveralBackends([one, two])
    for backend in (one, two):
        backend.proceed.set()
    for _ in range(3):
        list(pool.run(a_job()))
    assert sorted([len(one.jobs), len(two.jobs)]) == [0, 3]


def test_a_cancel_reaches_the_job_where_it_runs_and_leaves_the_other_alone() -> None:
    one, two = OneAtATime("one"), OneAtATime("two")
    pool = SeveralBackends([one, two])
    jobs = [a_job(), a_job()]
    runs = [pool.run(job) for job in jobs]
    for run in runs:
        next(run)
    pool.cancel(jobs[1].id)
    with pytest.raises(Cancelled):
        list(runs[1])
    one.proceed.set()
    two.proceed.set()
    assert len(list(runs[0])) == 1


def test_a_worker_that_fails_is_free_again() -> None:
    one = OneAtATime("one")
    pool = SeveralBackends([one])
    job = a_job()
    run = pool.run(job)
    next(run)
    pool.cancel(job.id)
    with pytest.raises(Cancelled):
        list(run)
    assert next(pool.run(a_job()))


def test_questions_go_to_a_worker_that_is_idle() -> None:
    one, two = OneAtATime("one"), OneAtATime("two")
    pool = SeveralBackends([one, two])
    run = pool.run(a_job())
    next(run)
    busy, idle = (one, two) if one.jobs else (two, one)
    pool.check("picture", "prompt")
    pool.expand("picture", "prompt")
    assert (busy.questions, idle.questions) == (0, 2)


SMI = """#!/bin/sh
for word in "$@"; do case "$word" in --id=1) only=yes;; --id=*) exit 6;; esac; done
[ -z "$only" ] && echo "GPU-aaaa, NVIDIA L40S, 46068"
echo "GPU-bbbb, NVIDIA A10, 23028"
"""


def show_cards(script: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`script` is the nvidia-smi of this machine."""
    (folder / "nvidia-smi").write_text(script)
    (folder / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)


@pytest.fixture
def two_cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    show_cards(SMI, tmp_path, monkeypatch)


def test_each_card_gets_a_worker_and_the_smallest_decides_what_can_run(two_cards: None) -> None:
    machine = detect(Settings())
    assert (machine.card, machine.vram_bytes, machine.workers) == ("NVIDIA A10", 23028 * 2**20, 2)
    assert machine.worker_environments() == [{"CUDA_VISIBLE_DEVICES": id} for id in ("GPU-aaaa", "GPU-bbbb")]
    assert machine.title == "2 × NVIDIA A10, 22 GiB"


@pytest.mark.parametrize(("visible", "cards"), [("1", ("GPU-bbbb",)), ("", ()), ("7", ())])
def test_only_cards_that_the_host_shows_are_used(
    two_cards: None, monkeypatch: pytest.MonkeyPatch, visible: str, cards: tuple[str, ...]
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert detect(Settings()).cards == cards


def test_the_number_of_workers_limits_the_cards_and_without_cards_divides_the_cores(
    two_cards: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert detect(Settings(workers=1)).cards == ("GPU-aaaa",)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(profiles, "cores", lambda: 8)
    environments = detect(Settings(workers=3)).worker_environments()
    assert [each["OMP_NUM_THREADS"] for each in environments] == ["2", "2", "2"]
    assert detect(Settings()).worker_environments() == [{}]
    assert Machine("card", 24 * GIB).title == "card, 24 GiB"


EIGHT = """#!/bin/sh
for card in 0 1 2 3 4 5 6 7; do echo "GPU-$card, NVIDIA H100 80GB HBM3, 81559"; done
"""


@pytest.fixture
def eight_cards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    show_cards(EIGHT, tmp_path, monkeypatch)


def test_eight_cards_with_four_a_clip_are_two_workers(eight_cards: None) -> None:
    machine = detect(Settings(cards_per_clip=4))
    assert machine.workers == 2 and machine.title == "8 × NVIDIA H100 80GB HBM3, 80 GiB, 4 a clip (ulysses)"
    assert [each["CUDA_VISIBLE_DEVICES"] for each in machine.worker_environments()] == [
        "GPU-0,GPU-1,GPU-2,GPU-3",
        "GPU-4,GPU-5,GPU-6,GPU-7",
    ]
    assert detect(Settings(cards_per_clip=2, workers=3)).cards == tuple(f"GPU-{number}" for number in range(6))


@pytest.mark.parametrize(
    ("asked", "cards", "card_gib", "engine", "sentence"),
    [
        ({}, 3, 24, "miniature", None),
        ({"cards_per_clip": 2}, 4, 80, "a14b-turbo", None),
        ({"cards_per_clip": 4}, 6, 80, "a14b", "groups of 4, and this machine shows 6 cards"),
        ({"cards_per_clip": 2}, 0, 0, "a14b", "this machine shows no CUDA card"),
        ({"cards_per_clip": 2}, 2, 48, "a14b", "needs cards of 70 GiB"),
        ({"cards_per_clip": 2}, 2, 80, "miniature", "is for the full model"),
        ({"cards_per_clip": 2, "ray_address": "127.0.0.1:1"}, 2, 80, "a14b", "over Ray"),
        ({"cards_per_clip": 2, "zero_gpu": True}, 0, 0, "a14b", "ZeroGPU lends one card"),
    ],
)
def test_several_cards_a_clip_are_refused_in_a_sentence_where_they_cannot_be(
    asked: dict[str, Any], cards: int, card_gib: int, engine: str, sentence: str | None
) -> None:
    names = tuple(str(number) for number in range(cards))
    machine = Machine("card" if cards else "", card_gib * GIB, names)
    refusal = profiles.why_not_together(Settings.model_construct(**asked), machine, profiles.profiles()[engine])
    assert refusal is None if sentence is None else sentence in str(refusal)


def test_a_number_of_cards_that_is_no_power_of_two_is_refused_at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAN_CARDS_PER_CLIP", "3")
    with pytest.raises(SystemExit, match=r"WAN_CARDS_PER_CLIP: .*must be 1, 2, 4 or 8"):
        load()
