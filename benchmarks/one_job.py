"""The job of a benchmark: its picture is stored where a job's picture lies."""

from PIL import Image

from wan_core.events import Job, JobOptions
from wan_core.files import FileStore
from wan_core.geometry import Size
from wan_core.schema import ImageToVideoInput

JOB_ID = "benchmark"


def make_job(files: FileStore, picture: Image.Image, inputs: ImageToVideoInput, size: Size, engine: str) -> Job:
    """A job of `inputs` for a clip of `size`; its frames will be `files.frames(JOB_ID)`."""
    picture.save(files.picture(JOB_ID))
    return Job(JOB_ID, inputs, size, JobOptions(engine), {"image_url": JOB_ID})
