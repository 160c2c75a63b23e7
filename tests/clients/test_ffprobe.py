"""ffprobe, which we did not write, finds in each file what was asked for."""

import json
import subprocess
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from tests.support.jobs import NO_FLOOR, House, a_house
from wan_core.backends.local import LocalBackend
from wan_core.events import Finished
from wan_core.files import FileStore

pytestmark = [pytest.mark.client, pytest.mark.timeout(600)]

NAMES = ("resolution", "aspect_ratio", "num_frames", "frames_per_second", "num_interpolated_frames", "video_quality")
ASKED = [  # then the write mode, and what the file must hold: width, height, frames, frames per second
    (("480p", "16:9", 17, 16, 0, "low"), "fast", (832, 480, 17, 16)),
    (("480p", "9:16", 18, 4, 1, "medium"), "balanced", (480, 832, 35, 8)),
    (("480p", "1:1", 19, 24, 2, "high"), "small", (624, 624, 55, 72)),
    (("480p", "auto", 20, 30, 4, "maximum"), "fast", (832, 480, 96, 150)),
    (("580p", "16:9", 21, 60, 0, "high"), "balanced", (1024, 576, 21, 60)),
    (("580p", "9:16", 17, 16, 1, "low"), "small", (576, 1024, 33, 32)),
    (("580p", "1:1", 18, 12, 0, "medium"), "fast", (768, 768, 18, 12)),
    (("580p", "auto", 17, 25, 1, "high"), "fast", (1024, 576, 33, 50)),
    (("720p", "16:9", 17, 16, 1, "high"), "balanced", (1280, 720, 33, 32)),
    (("720p", "9:16", 17, 60, 4, "low"), "fast", (720, 1280, 81, 300)),
    (("720p", "1:1", 22, 8, 0, "maximum"), "fast", (960, 960, 22, 8)),
    (("720p", "auto", 17, 16, 0, "medium"), "balanced", (1280, 720, 17, 16)),
]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A desk with a real worker and the miniature; its pictures are 16:9."""
    data = FileStore(tmp_path_factory.mktemp("data"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WAN_DATA_DIR", str(data.root))
        patch.setenv("HF_HUB_OFFLINE", "1")
        with a_house(data, LocalBackend(NO_FLOOR, lambda job: 600)) as house:
            yield house


@pytest.mark.parametrize(("values", "mode", "held"), ASKED)
def test_ffprobe_agrees_with_the_request(
    house: House, values: tuple[Any, ...], mode: str, held: tuple[int, int, int, int]
) -> None:
    asked = dict(zip(NAMES, values, strict=True)) | {"video_write_mode": mode, "num_inference_steps": 2}
    record = house.submit(**asked)
    outcome = house.outcome(record)
    assert isinstance(outcome, Finished), outcome
    stream = probed(house.jobs.files.clip(record.job.id))
    found = stream["width"], stream["height"], int(stream["nb_read_frames"]), Fraction(stream["r_frame_rate"])
    assert found == held
    assert stream["codec_name"] == "h264" and stream["pix_fmt"] == "yuv420p"
    assert {stream[tag] for tag in ("color_space", "color_transfer", "color_primaries")} == {"bt709"}
    assert float(stream["duration"]) == pytest.approx(held[2] / held[3], rel=0.01)


def probed(clip: Path) -> dict[str, Any]:
    command = ["ffprobe", "-v", "error", "-count_frames", "-show_streams", "-of", "json", str(clip)]
    report = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    (stream,) = json.loads(report)["streams"]
    found: dict[str, Any] = stream
    return found
