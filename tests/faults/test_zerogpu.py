"""Jobs on a simulated ZeroGPU: lent, cancelled, refused and taken away, each with a plain sentence."""

import hashlib
import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.engine.conftest import tiny_pipeline
from tests.engine.loras import publish
from wan_core.engine import quantizing
from wan_core.engine.loading import TOO_SMALL_TO_LEND, load
from wan_core.engine.sampling import sample
from wan_core.events import JOB
from wan_core.files import FileStore
from wan_core.profiles import profiles
from wan_core.settings import Settings

pytestmark = [pytest.mark.fault, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
SCENARIO = "tests.support.zerogpu.scenario"


def play(folder: Path, mode: str, visitors: int = 1, clips: int = 0, **variables: str) -> dict[str, Any]:
    """The report of a scenario."""
    log = log_of(folder, mode, visitors, clips, **variables)
    reports = [line for line in log.splitlines() if line.startswith('{"outcomes"')]
    assert reports, log[-3000:]
    report: dict[str, Any] = json.loads(reports[-1])
    return report


def log_of(folder: Path, mode: str, visitors: int = 1, clips: int = 0, **variables: str) -> str:
    """What a scenario writes. It goes to a file: forked workers would hold a pipe open."""
    log = folder / "log.txt"
    with log.open("w") as sink:
        command = [sys.executable, "-m", SCENARIO, str(folder / "data"), mode, str(visitors), str(clips)]
        streams: dict[str, Any] = {"stdout": sink, "stderr": subprocess.STDOUT, "start_new_session": True}
        with subprocess.Popen(command, cwd=ROOT, env=os.environ | variables, **streams) as process:
            try:
                process.wait(timeout=280)
            finally:
                with suppress(ProcessLookupError):  # the workers it forked belong to its group and outlive it
                    os.killpg(process.pid, signal.SIGKILL)
    return log.read_text()


def asked(report: dict[str, Any], path: str) -> list[dict[str, str]]:
    return [call["query"] for call in report["asked"] if call["path"] == path]


def test_a_clip_is_made_on_the_visitors_own_quota_and_the_card_given_back(tmp_path: Path) -> None:
    report = play(tmp_path, "ok")
    assert report["outcomes"] == ["Finished"]
    assert report["stages"] == [["sampling", "decoding", "encoding"]]
    (schedule,) = asked(report, "/schedule")
    assert schedule["token"] == "header.payload0.signature" and int(schedule["durationSeconds"]) >= 15
    assert [call["fail"] for call in asked(report, "/release")] == ["false"]


def test_a_cancelled_clip_gives_the_card_back_at_once(tmp_path: Path) -> None:
    report = play(tmp_path, "cancel")
    assert report["outcomes"] == ["Stopped"]
    assert len(asked(report, "/release")) == 1


def test_an_exceeded_quota_is_told_with_what_is_left_and_what_would_fit(tmp_path: Path) -> None:
    report = play(tmp_path, "quota-exceeded")
    assert report["types"] == ["quota_exceeded"]
    (message,) = report["messages"]
    assert "you have 30 s left; more in 0:10:00" in message and "or run it on fal" in message


def test_a_clip_too_long_for_zerogpu_is_refused_with_advice(tmp_path: Path) -> None:
    report = play(tmp_path, "illegal-duration")
    assert report["types"] == ["quota_exceeded"] and "longer than ZeroGPU lends" in report["messages"][0]


def test_a_queue_without_a_free_card_is_told(tmp_path: Path) -> None:
    report = play(tmp_path, "queue-fail")
    assert report["messages"] == ["No ZeroGPU card was free within a minute. Try again in a minute, or run it on fal."]


def test_a_worker_that_is_killed_costs_one_attempt(tmp_path: Path) -> None:
    report = play(tmp_path, "kill")
    assert report["outcomes"] == ["Finished"] and report["attempts"] == [2]


def test_three_visitors_at_once_all_get_their_clip_on_their_own_quota(tmp_path: Path) -> None:
    report = play(tmp_path, "queue-ok", visitors=3)
    assert report["outcomes"] == ["Finished"] * 3
    assert {call["token"] for call in asked(report, "/schedule")} == {
        f"header.payload{number}.signature" for number in range(3)
    }


def test_the_clips_of_a_grid_are_made_in_one_lent_call_on_their_visitors_quota(tmp_path: Path) -> None:
    report = play(tmp_path, "ok", visitors=2, clips=3)
    assert report["outcomes"] == ["Finished"] * 6
    assert sorted(call["token"] for call in asked(report, "/schedule")) == [
        f"header.payload{number}.signature" for number in range(2)
    ]
    assert len(asked(report, "/release")) == 2
    assert report["frames"][:3] == report["frames"][3:] and len(set(report["frames"])) == 3


def test_a_grid_beyond_the_quota_makes_what_fits_and_says_how_much(tmp_path: Path) -> None:
    report = play(tmp_path, "quota", clips=9)
    made = report["outcomes"].count("Finished")
    assert 0 < made < 9
    assert report["outcomes"] == ["Finished"] * made + ["Failed"] * (9 - made)
    assert f"{made} of these 9 clips fit" in report["messages"][-1] and "more in 0:10:00" in report["messages"][-1]
    assert report["types"][made:] == ["quota_exceeded"] * (9 - made)
    assert len(asked(report, "/schedule")) == 2 and len(asked(report, "/release")) == 1


def published(folder: Path) -> dict[str, str]:
    """Variables that name a small model of A14B's layout and both LoRAs."""
    tiny_pipeline().save_pretrained(folder / "wan", max_shard_size="30KB")
    return {"WAN_MODEL": str(folder / "wan"), "WAN_LIGHTNING": str(publish(folder / "loras"))}


@pytest.mark.usefixtures("one_thread")
def test_a14b_is_packed_when_the_page_starts_and_makes_the_clip_that_it_makes_on_the_own_machine(
    tmp_path: Path,
) -> None:
    """A folder of A14B's layout with both LoRAs: bf16 experts, a fp32 VAE, all on "cuda" before the first visitor."""
    sources = published(tmp_path)
    off = {"WAN_ACCELERATE_ATTENTION": "0"}  # it needs a real card
    report = play(tmp_path, "ok", WAN_ENGINE="a14b", OMP_NUM_THREADS="1", **sources, **off)
    assert report["outcomes"] == ["Finished"], report["messages"]
    assert report["packed_bytes"] > 200_000
    assert len(asked(report, "/schedule")) == len(asked(report, "/release")) == 1
    job, files = JOB.validate_json(report["jobs"][0]), FileStore(tmp_path / "data")
    engine = load(profiles()["a14b"], Settings(model=sources["WAN_MODEL"]), lambda event: None)
    list(sample(engine, job, job.inputs.prompt, files, lambda: False))
    assert report["frames"] == [hashlib.sha256(files.frames(job.id).read_bytes()).hexdigest()]


def test_a_card_too_small_for_bf16_is_refused_at_the_start_though_torchao_could_make_fp8_of_it(tmp_path: Path) -> None:
    """fp8 weights could not be packed: the page would never come up."""
    assert quantizing.is_available(), "pip install -r tests/requirements.txt"
    log = log_of(tmp_path, "ok", WAN_ENGINE="a14b", SIMULATED_CARD="NVIDIA H200", **published(tmp_path))
    said = TOO_SMALL_TO_LEND.format(free=69)
    assert f"BackendError: {said}" in log, log[-3000:]
