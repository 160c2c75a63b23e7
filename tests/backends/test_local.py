"""The worker process makes real clips, stops when asked, and its death costs one attempt and nothing else."""

import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.jobs import NO_FLOOR, job_with_picture
from wan_core import encoding, settings
from wan_core.backends import local
from wan_core.backends.local import LocalBackend
from wan_core.backends.messages import Check, Passed, answer_line
from wan_core.errors import BackendError, Cancelled
from wan_core.events import Event, Finished, Job, JobOptions, Log, Stage, Step
from wan_core.files import FileStore
from wan_core.geometry import Size


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> FileStore:
    return FileStore(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def backend(folder: FileStore) -> Iterator[LocalBackend]:
    """One real worker for the whole file: its start takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WAN_DATA_DIR", str(folder.root))
        backend = LocalBackend(NO_FLOOR, lambda job: 300)
        backend.start()
    yield backend
    backend.close()


def small_job(folder: FileStore, **values: Any) -> Job:
    return replace(job_with_picture(folder, **values), size=Size(256, 160))


@pytest.mark.slow
def test_a_job_becomes_an_mp4_of_the_promised_size_frames_and_rate(backend: LocalBackend, folder: FileStore) -> None:
    job = small_job(folder, num_frames=18)
    events = list(backend.run(job))
    finished = events[-1]
    assert isinstance(finished, Finished)
    clip = encoding.probe(folder.clip(job.id))
    assert (clip.size, clip.frames, clip.fps) == (job.size, 18, 16)
    assert [event.done for event in events if isinstance(event, Step) and event.stage == "sampling"] == [1, 2]
    stages = [event.name for event in events if isinstance(event, Stage)]
    assert stages == ["loading", "loading", "sampling", "decoding", "encoding"]
    kept = np.load(folder.frames(job.id), mmap_mode="r")
    assert kept.dtype == np.uint8 and kept.shape[0] == 18


@pytest.mark.slow
def test_a_running_job_stops_within_a_step_and_the_worker_takes_the_next(
    backend: LocalBackend, folder: FileStore
) -> None:
    job = small_job(folder, num_inference_steps=40)
    seen: list[Event] = []
    with pytest.raises(Cancelled):
        for event in backend.run(job):
            seen.append(event)
            if isinstance(event, Step):
                backend.cancel(job.id)
    assert sum(isinstance(event, Step) for event in seen) <= 3
    assert not folder.clip(job.id).exists()
    assert isinstance(list(backend.run(small_job(folder)))[-1], Finished)


@pytest.mark.slow
def test_an_engine_that_does_not_exist_is_an_error_and_not_a_crash(backend: LocalBackend, folder: FileStore) -> None:
    job = replace(small_job(folder), options=JobOptions("no-such-engine"))
    with pytest.raises(BackendError) as caught:
        list(backend.run(job))
    assert caught.value.type == "internal_server_error"
    assert isinstance(list(backend.run(small_job(folder)))[-1], Finished)


WORKER = """
import json, os, sys
for line in sys.stdin:
    command = json.loads(line)
    if command["message"] == "expand":
        if not os.path.exists({marker!r}):
            open({marker!r}, "w").close()
            continue  # busy: the answer never comes from this process
        answer = {{"message": "expanded", "id": command["id"], "prompt": str(os.getpid()), "note": ""}}
    elif os.path.exists({loaded!r}):
        size = {{"width": 16, "height": 16}}
        finished = {{"prompt": "a", "seed": 1, "size": size, "frames": 1, "fps": 16, "engine": "x"}}
        event = {{"event": "Finished", "result": finished}}
        answer = {{"message": "happened", "id": command["job"]["id"], "event": event}}
    else:
        open({loaded!r}, "w").close()
        answer = {{"message": "needs_fresh_process", "id": command["job"]["id"]}}
    print(json.dumps(answer), flush=True)
"""
"""The first process holds another engine and answers no question; the next ones do their work."""


@pytest.mark.slow
def test_a_job_for_another_engine_runs_in_a_fresh_process_and_questions_are_asked_again(
    folder: FileStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    start, started = subprocess.Popen, []
    code = WORKER.format(marker=str(tmp_path / "asked"), loaded=str(tmp_path / "loaded"))

    def worker(command: list[str], **options: Any) -> "subprocess.Popen[str]":
        started.append(start([sys.executable, "-c", code], **options))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", worker)
    backend = LocalBackend(NO_FLOOR, lambda job: 300)
    with ThreadPoolExecutor() as pool:
        question = pool.submit(backend.expand, "picture", "a cat")
        while not (tmp_path / "asked").exists():
            time.sleep(0.01)
        events = list(backend.run(job_with_picture(folder)))
        answered_by, _ = question.result(timeout=60)
    backend.close()
    assert isinstance(events[-1], Finished)
    assert [isinstance(event, Log) for event in events] == [False, True, False]
    assert len(started) == 2 and started[0].poll() is not None and answered_by == str(started[1].pid)


@pytest.mark.parametrize(
    ("variable", "ours", "the_hosts"),
    [
        ("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True", "max_split_size_mb:512"),
        ("OMP_WAIT_POLICY", "PASSIVE", "ACTIVE"),
    ],
)
def test_a_worker_gets_our_variables_unless_the_host_says_other(
    monkeypatch: pytest.MonkeyPatch, variable: str, ours: str, the_hosts: str
) -> None:
    monkeypatch.delenv(variable, raising=False)
    assert settings.with_variables({})[variable] == ours
    monkeypatch.setenv(variable, the_hosts)
    assert settings.with_variables({})[variable] == the_hosts


@pytest.mark.slow
def test_a_cancel_for_an_unknown_job_changes_nothing(backend: LocalBackend) -> None:
    backend.cancel("unknown")


def test_a_worker_that_falls_silent_is_given_up(folder: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAN_DATA_DIR", str(folder.root))
    backend = LocalBackend(replace(NO_FLOOR, heartbeat_timeout_s=0.2), lambda job: 300)
    with pytest.raises(BackendError) as caught:
        list(backend.run(job_with_picture(folder)))  # the process needs seconds to start
    backend.close()
    assert caught.value.type == "worker_lost"


def test_a_worker_that_dies_in_the_middle_of_a_line_is_missed_at_once(
    folder: FileStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    start, dying = subprocess.Popen, "import sys; sys.stdin.readline(); print('{', end='')"

    def worker(command: list[str], **options: Any) -> "subprocess.Popen[str]":
        return start([sys.executable, "-c", dying], **options)

    monkeypatch.setattr(subprocess, "Popen", worker)
    backend = LocalBackend(NO_FLOOR, lambda job: 300)
    with pytest.raises(BackendError, match="died"):
        list(backend.run(job_with_picture(folder)))
    backend.close()


def test_whatever_the_worker_prints_in_the_place_of_an_answer_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    answer = answer_line(Passed("question")).encode()
    noise = [b"no json\n", b"\xff\xfe\x00\n", b"[1]\n", b'{"message": "happened"}\n', b"null\n", "prompt é\n".encode()]
    program = f"import sys; sys.stdin.readline(); sys.stdout.buffer.write({b''.join(noise) + answer!r})"
    program += "; sys.stdout.flush(); sys.stdin.readline()"
    monkeypatch.setattr(local, "WORKER", ["-c", program])
    worker = local.Worker(local.WORKER, {})
    with worker.conversation("question", Check("question", "a", "b")) as answers:
        assert answers.get(timeout=60) == Passed("question")
    worker.kill()
    assert "prompt" not in caplog.text
