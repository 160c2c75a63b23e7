"""What is planned with a loopback hub that has the weights, and what without one."""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support import hub as loopback
from wan_core.hub import Hub, Pin
from wan_core.interpolation import expected_interpolator, film, iter_interpolated, plan_interpolation, rife

Frame = NDArray[np.uint8]
CONTENT = b"the published bytes " * 50


@pytest.fixture(autouse=True)
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Both published files are a kilobyte here; FILM's checksum is known, RIFE's is not, as in earnest."""
    sha = hashlib.sha256(CONTENT).hexdigest()
    for module, digest in ((film, sha), (rife, None)):
        small = replace(module.WEIGHTS, sha256={module.FILE: digest}, bytes={module.FILE: len(CONTENT)})
        monkeypatch.setattr(module, "WEIGHTS", small)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "interpolation"


@pytest.fixture
def server(tmp_path: Path, reachable_hub: None) -> Iterator[loopback.Hub]:
    for module in (film, rife):
        file = tmp_path / "published" / module.FILE
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(CONTENT)
    assert film.WEIGHTS.revision is not None
    with loopback.serving(tmp_path / "published", film.WEIGHTS.repo, film.WEIGHTS.revision) as server:
        yield server


@pytest.fixture
def hub(server: loopback.Hub, tmp_path: Path) -> Hub:
    return Hub(tmp_path / "cache", server.url)


@pytest.fixture
def dead_hub(reachable_hub: None, tmp_path: Path) -> Iterator[Hub]:
    with loopback.closed_port() as address:
        yield Hub(tmp_path / "cache", address)


@pytest.mark.parametrize("model", ["film", "rife"])
def test_with_weights_the_network_that_was_asked_for_runs_and_nothing_needs_saying(
    hub: Hub, server: loopback.Hub, folder: Path, model: str
) -> None:
    chosen = plan_interpolation(model, 2, folder, hub)
    assert (chosen.used, chosen.note, chosen.is_network, chosen.is_cpu_work) == (model, "", True, False)
    assert chosen.weights is not None and chosen.weights.read_bytes() == CONTENT
    assert plan_interpolation(model, 2, folder, hub) == chosen
    assert server.asked == [{"film": film.FILE, "rife": rife.FILE}[model]], "once, and no other file"


@pytest.mark.parametrize(("model", "count"), [("none", 3), ("film", 0), ("rife", 0)])
def test_nothing_is_downloaded_where_nothing_is_to_be_made(
    hub: Hub, server: loopback.Hub, folder: Path, model: str, count: int
) -> None:
    chosen = plan_interpolation(model, count, folder, hub)
    assert (chosen.used, chosen.note, server.questions) == ("none", "", 0)
    assert not chosen.is_network and not chosen.is_cpu_work


@pytest.mark.parametrize(("model", "title"), [("film", "FILM"), ("rife", "RIFE")])
def test_without_weights_the_fallback_delivers_the_clip_and_says_so_in_one_sentence(
    dead_hub: Hub, folder: Path, model: str, title: str, random_frames: Callable[..., list[Frame]]
) -> None:
    chosen = plan_interpolation(model, 3, folder, dead_hub)
    assert chosen.used == "fallback" and not chosen.is_network and chosen.is_cpu_work
    assert chosen.note == (
        f"{title}'s weights could not be downloaded (the hub cannot be reached): optical flow makes the frames between."
    )
    frames = random_frames(6)
    between = list(iter_interpolated(frames, 3, chosen))
    assert len(between) == 21
    assert all(ours is theirs for ours, theirs in zip(between[::4], frames, strict=True))


def test_without_a_card_rife_carries_film_out_and_the_note_says_why(hub: Hub, folder: Path) -> None:
    chosen = plan_interpolation("film", 1, folder, hub, any_runs=False)
    assert (chosen.used, chosen.is_network) == ("rife", True)
    assert chosen.note == "FILM takes seconds a frame without a CUDA card: RIFE makes the frames between."
    asked = plan_interpolation("rife", 1, folder, hub, any_runs=False)
    assert (asked.used, asked.note, asked.weights) == ("rife", "", chosen.weights)


def test_without_a_card_and_without_rifes_weights_optical_flow_carries_film_out(dead_hub: Hub, folder: Path) -> None:
    chosen = plan_interpolation("film", 1, folder, dead_hub, any_runs=False)
    assert chosen.used == "fallback"
    assert "without a CUDA card, and RIFE's weights could not be downloaded" in chosen.note


def test_what_is_expected_is_what_is_then_planned(hub: Hub, folder: Path) -> None:
    def expected(model: str, has_card: bool = False, any_runs: bool = False) -> str:
        return expected_interpolator(model, has_card=has_card, any_runs=any_runs, hub=hub)

    before_a_download = [expected(word) for word in ("film", "rife", "none")]
    assert before_a_download == ["fallback", "fallback", "none"]
    for any_runs in (False, True):
        for model in ("film", "rife"):
            used = plan_interpolation(model, 1, folder, hub, any_runs=any_runs).used
            assert expected(model, any_runs=any_runs) == used
    assert expected("film", has_card=True) == "film"


def test_a_swapped_file_is_never_run(hub: Hub, server: loopback.Hub, folder: Path) -> None:
    (server.folder / film.FILE).write_bytes(CONTENT[::-1])
    chosen = plan_interpolation("film", 1, folder, hub)
    assert chosen.used == "fallback" and "not the published one" in chosen.note


def test_a_failure_is_remembered_for_that_interpolator_alone(
    dead_hub: Hub, hub: Hub, server: loopback.Hub, folder: Path
) -> None:
    first = plan_interpolation("film", 1, folder, dead_hub)
    assert plan_interpolation("film", 1, folder, hub) == first and server.questions == 0
    assert plan_interpolation("rife", 1, folder, hub).used == "rife"


def test_a_folder_that_cannot_be_written_costs_the_notes_and_not_the_clip(dead_hub: Hub, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert plan_interpolation("film", 1, tmp_path / "file" / "folder", dead_hub).used == "fallback"


def test_both_networks_are_pinned_at_the_same_commit() -> None:
    pins: list[Pin] = [film.WEIGHTS, rife.WEIGHTS]
    assert len({(pin.repo, pin.revision) for pin in pins}) == 1
