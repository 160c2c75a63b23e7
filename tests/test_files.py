"""A file is there whole or not at all."""

from pathlib import Path

import pytest

from wan_core.files import FileStore, atomic_write, is_unfinished, owner


def test_a_file_appears_when_it_is_whole(tmp_path: Path) -> None:
    target = tmp_path / "clip.mp4"
    with atomic_write(target) as part:
        part.write_bytes(b"half")
        assert not target.exists()
    assert target.read_bytes() == b"half" and list(tmp_path.iterdir()) == [target]


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "clip.mp4"
    target.write_bytes(b"old")
    with pytest.raises(RuntimeError), atomic_write(target) as part:
        part.write_bytes(b"half")
        raise RuntimeError
    assert target.read_bytes() == b"old" and list(tmp_path.iterdir()) == [target]


def test_every_kind_of_file_tells_whose_it_is_also_while_it_is_written(tmp_path: Path) -> None:
    files = FileStore(tmp_path)
    paths = (files.picture("a"), *files.of_job("a"))
    for path in paths:
        path.write_bytes(b"x")
        with atomic_write(path) as part:
            part.write_bytes(b"y")
            found = files.all_files()
    assert len(found) == len(paths) + 1 and {owner(path) for path in found} == {"a"}
    assert [is_unfinished(path) for path in found].count(True) == 1
