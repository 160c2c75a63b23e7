"""Raw frames are on disk whole or not at all, and come back one by one as they went in."""

from pathlib import Path

import numpy as np
import pytest

from wan_core import frames
from wan_core.errors import BackendError

CLIP = np.random.default_rng(0).integers(0, 255, (9, 16, 32, 3), np.uint8)


def test_pieces_of_any_length_become_one_file_that_numpy_reads(tmp_path: Path) -> None:
    target = tmp_path / "a.npy"
    frames.write(target, [CLIP[:1], CLIP[1:5], CLIP[5:]], 9)
    np.testing.assert_array_equal(np.load(target), CLIP)
    np.testing.assert_array_equal(np.stack(list(frames.read(target))), CLIP)


def test_only_the_first_frames_are_kept(tmp_path: Path) -> None:
    frames.write(tmp_path / "a.npy", [CLIP[:1], CLIP[1:5], CLIP[5:]], 7)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), CLIP[:7])


def test_too_few_frames_are_an_error_and_leave_no_file(tmp_path: Path) -> None:
    with pytest.raises(BackendError, match="Only 5 of 9"):
        frames.write(tmp_path / "a.npy", [CLIP[:5]], 9)
    assert list(tmp_path.iterdir()) == []


def test_what_the_source_raises_leaves_no_file(tmp_path: Path) -> None:
    def broken():  # type: ignore[no-untyped-def]
        yield CLIP[:1]
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        frames.write(tmp_path / "a.npy", broken(), 9)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(BackendError) as caught:
        frames.write(tmp_path / "missing" / "a.npy", [CLIP], 9)
    assert caught.value.type == "storage_full"
