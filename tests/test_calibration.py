"""What finished clips taught, kept over restarts and over versions of the app."""

import json
import logging
from pathlib import Path
from threading import Thread

import pytest

from wan_core.calibration import LATEST, VERSION, Calibration


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "calibration.json"


def teach(calibration: Calibration, ratio: float, variant: str = "none") -> None:
    calibration.record("engine", {"sampling": variant}, {"sampling": 10.0, "decoding": 0.0}, {"sampling": 10 * ratio})


def test_the_median_of_the_last_clips_counts() -> None:
    calibration = Calibration()
    for ratio in (50.0, *[2.0] * LATEST):
        teach(calibration, ratio)
    teach(calibration, 100.0)
    assert calibration.factor("engine", "sampling", "none") == 2.0


def test_another_variant_serves_until_its_own_ran_and_another_machine_never() -> None:
    calibration = Calibration()
    teach(calibration, 3.0, "regular")
    assert calibration.factor("engine", "sampling", "none") == 3.0
    teach(calibration, 2.0, "none")
    assert calibration.factor("engine", "sampling", "none") == 2.0
    assert calibration.factor("other", "sampling", "none") == 1.0


def test_what_was_learned_is_there_after_a_restart_under_a_version(path: Path) -> None:
    teach(Calibration(path), 3.0)
    assert Calibration(path).factor("engine", "sampling", "none") == 3.0
    assert json.loads(path.read_text("utf-8"))["version"] == VERSION


def test_a_file_from_before_there_were_versions_opens_and_is_carried_on(path: Path) -> None:
    path.write_text(json.dumps({"engine|sampling|none": [4.0]}), "utf-8")
    calibration = Calibration(path)
    assert calibration.factor("engine", "sampling", "none") == 4.0
    teach(calibration, 2.0)
    assert Calibration(path).factor("engine", "sampling", "none") == 3.0


def test_a_newer_file_is_left_alone_and_said_in_one_line(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    newer = json.dumps({"version": VERSION + 1, "ratios": {"engine|sampling|none": [4.0]}, "more": []})
    path.write_text(newer, "utf-8")
    with caplog.at_level(logging.INFO):
        calibration = Calibration(path)
        teach(calibration, 2.0)
    assert path.read_text("utf-8") == newer
    assert calibration.factor("engine", "sampling", "none") == 2.0, "what is learned now holds for this run"
    (line,) = caplog.messages
    assert str(path) in line and "newer version" in line


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[1]",
        '{"a": 1}',
        '{"a": ["x"]}',
        "\x00",
        '{"version": 1}',
        '{"version": "x"}',
        '{"version": 1, "ratios": 3}',
    ],
)
def test_a_broken_file_is_forgotten_and_not_fatal(path: Path, text: str) -> None:
    path.write_text(text)
    calibration = Calibration(path)
    assert calibration.factor("engine", "sampling", "none") == 1.0
    teach(calibration, 2.0)
    assert Calibration(path).factor("engine", "sampling", "none") == 2.0


def test_clips_that_finish_at_once_all_count(path: Path) -> None:
    calibration = Calibration(path)
    threads = [Thread(target=teach, args=(calibration, 2.0, str(number))) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(json.loads(path.read_text("utf-8"))["ratios"]) == 20
