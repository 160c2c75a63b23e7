"""Files of a job on their way between machines that share no disk."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from wan_core.errors import writing_to_disk
from wan_core.events import Job
from wan_core.files import FileStore, atomic_write

Kind = Literal["picture", "frames", "preview", "clip"]


@dataclass(frozen=True)
class Parcel:
    """A whole file of `FileStore`: uint8, one byte an element. Pickled as one buffer, so readers need no copy."""

    kind: Kind
    id: str
    content: NDArray[np.uint8]


def path_of(files: FileStore, kind: Kind, file_id: str) -> Path:
    paths = {"picture": files.picture, "frames": files.frames, "preview": files.preview, "clip": files.clip}
    return paths[kind](file_id)


def pack(files: FileStore, kind: Kind, file_id: str) -> Parcel | None:
    """`None` if there is no such file. The content is read when it is sent."""
    path = path_of(files, kind, file_id)
    if not path.is_file():
        return None
    return Parcel(kind, file_id, np.asarray(np.memmap(path, np.uint8, "r")))


def unpack(parcel: Parcel, files: FileStore) -> Path:
    """Write the file, whole or not at all. Raises BackendError `storage_full`."""
    target = path_of(files, parcel.kind, parcel.id)
    with writing_to_disk("A file of the job could not be stored"), atomic_write(target) as part:
        with part.open("wb") as file:
            file.write(parcel.content.data)
    return target


def pack_inputs(job: Job, files: FileStore) -> list[Parcel]:
    """The pictures of the job, and the frames that it reuses."""
    wanted: list[tuple[Kind, str]] = [("picture", file_id) for file_id in dict.fromkeys(job.files.values())]
    wanted += [("frames", job.frames_of)] if job.frames_of else []
    packed = [pack(files, kind, file_id) for kind, file_id in wanted]
    return [parcel for parcel in packed if parcel is not None]
