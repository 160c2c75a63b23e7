"""Makes the clips that the page shows before a visitor's first one: `python -m examples.make_clips`.

The app's own way of a clip: the miniature's preset, each example's picture and prompt, a fixed seed.
"""

import shutil
import tempfile
from pathlib import Path

from PIL import Image

from wan_core import geometry
from wan_core.clips import ClipWorker
from wan_core.endpoints import IMAGE_TO_VIDEO
from wan_core.events import Job, JobOptions
from wan_core.files import FileStore
from wan_core.presets import presets
from wan_core.settings import Settings
from wan_core.ui.examples import CLIP_PRESET, CLIPS, EXAMPLES, Example

SEED = 0
SMALL = {"video_quality": "medium", "video_write_mode": "small"}


def job_of(example: Example, files: FileStore) -> Job:
    assert example.path is not None
    picture = Image.open(example.path).convert("RGB")
    picture.save(files.picture(example.path.stem))
    values = {"image_url": "example", "prompt": example.prompt, "seed": SEED}
    inputs = IMAGE_TO_VIDEO.parse(presets()[CLIP_PRESET].complete | values | SMALL)
    size = geometry.frame_size(inputs.resolution, inputs.aspect_ratio, geometry.Size(*picture.size))
    options = JobOptions(presets()[CLIP_PRESET].engine or "miniature")
    return Job(example.path.stem, inputs, size, options, {"image_url": example.path.stem})


def main() -> None:
    CLIPS.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        host = Settings(data_dir=Path(folder))
        worker = ClipWorker(host)
        for example in EXAMPLES:
            if example.clip is not None:
                job = job_of(example, host.files)
                for _ in worker.run(job, lambda: False):
                    pass
                shutil.copy(host.files.clip(job.id), example.clip)


if __name__ == "__main__":
    main()
