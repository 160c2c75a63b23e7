"""What is said of a finished clip."""

from dataclasses import replace

from tests.support.jobs import House, a_job
from wan_core.events import Finished, Result
from wan_core.geometry import Size
from wan_core.jobs.record import JobRecord
from wan_core.ui.result import facts


def facts_of(house: House, pool: str, **more: str) -> str:
    """What is said of a job that was sent with the miniature chosen."""
    result = Result("a walk", 7, Size(832, 480), 17, 16, "miniature")
    record = JobRecord(a_job(), "a", pool, 0.0, outcome=Finished(replace(result, **more)))  # type: ignore[arg-type]
    house.jobs.files.clip(record.job.id).write_bytes(b"mp4")
    return facts(house.jobs, record)


def test_a_clip_made_here_names_its_engine_and_no_other_place(house: House) -> None:
    html = facts_of(house, "local")
    assert "Miniature, on this machine; drawn at 208×128; fine detail is taken from your picture</dd>" in html
    assert "fal-copy" not in html


def test_a_clip_made_on_fal_names_the_model_that_made_it_and_links_the_copy_there(house: House) -> None:
    html = facts_of(house, "fal", engine="a14b", fal_url='https://v3.fal.media/a.mp4?"&x')
    assert "Wan 2.2 A14B, on fal" in html and "Miniature" not in html
    assert 'href="https://v3.fal.media/a.mp4?&quot;&amp;x"' in html
