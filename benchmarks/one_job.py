"""Make the job of a benchmark."""

from PIL import Image

from wan_core.events import Job, JobOptions
from wan_core.files import FileStore
from wan_core.geometry import Size
from wan_core.schema import ImageToVideoInput

JOB_ID = "benchmark"


def make_job(files: FileStore, picture: Image.Image, inputs: ImageToVideoInput, size: Size, engine: str) -> Job:
    """Store `picture` and return a job of `inputs`; its frames will be `files.frames(JOB_ID)`."""
    picture.save(files.picture(JOB_ID))
    return Job(JOB_ID, inputs, size, JobOptions(engine), {"image_url": JOB_ID})
