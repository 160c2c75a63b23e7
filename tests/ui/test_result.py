"""What is said of a finished clip."""

from dataclasses import replace
from pathlib import Path

from tests.support.jobs import a_job
from wan_core.events import Finished, Result
from wan_core.geometry import Size
from wan_core.jobs.record import JobRecord
from wan_core.ui.result import facts


def a_record(clip: Path, pool: str, **more: str) -> JobRecord:
    """A finished job that was sent with the miniature chosen."""
    clip.write_bytes(b"mp4")
    result = Result(clip, "a walk", 7, Size(832, 480), 17, 16, "miniature")
    return JobRecord(a_job(), "a", pool, 0.0, outcome=Finished(replace(result, **more)))  # type: ignore[arg-type]


def test_a_clip_made_here_names_its_engine_and_no_other_place(tmp_path: Path) -> None:
    html = facts(a_record(tmp_path / "clip.mp4", "local"))
    assert "Miniature, on this machine</dd>" in html and "fal-copy" not in html


def test_a_clip_made_on_fal_names_the_model_that_made_it_and_links_the_copy_there(tmp_path: Path) -> None:
    html = facts(a_record(tmp_path / "clip.mp4", "fal", engine="a14b", fal_url='https://v3.fal.media/a.mp4?"&x'))
    assert "Wan 2.2 A14B, on fal" in html and "Miniature" not in html
    assert 'href="https://v3.fal.media/a.mp4?&quot;&amp;x"' in html
