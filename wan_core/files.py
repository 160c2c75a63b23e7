"""A file id → its path on this machine: the only place where a job's files get a path.

Ids are uuids of ours, never a visitor's words, so a job can be carried out on another machine and the folder can move.
"""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4


@dataclass(frozen=True)
class FileStore:
    """The folder with everything that is kept. Pictures have ids of their own; all else is named by its job's id."""

    root: Path

    @property
    def database(self) -> Path:
        return self.root / "jobs.db"

    @property
    def calibration(self) -> Path:
        return self.root / "calibration.json"

    @property
    def uploads(self) -> Path:
        return self._folder("uploads")

    def picture(self, file_id: str) -> Path:
        """An upright RGB PNG; jobs may share it."""
        return self._folder("pictures") / f"{file_id}.png"

    def frames(self, job_id: str) -> Path:
        """The raw frames, uint8 (T, H, W, 3) .npy, before interpolation."""
        return self._folder("frames") / f"{job_id}.npy"

    def interpolated_frames(self, job_id: str) -> Path:
        """The frames with the new ones between them; lives until the clip is encoded."""
        return self._folder("frames") / f"{job_id}.interpolated.npy"

    def preview(self, job_id: str) -> Path:
        return self._folder("previews") / f"{job_id}.webp"

    def clip(self, job_id: str) -> Path:
        return self._folder("clips") / f"{job_id}.mp4"

    def of_job(self, job_id: str) -> tuple[Path, ...]:
        """Every file that belongs to one job alone."""
        return (self.frames(job_id), self.interpolated_frames(job_id), self.preview(job_id), self.clip(job_id))

    def all_files(self) -> list[Path]:
        """The pictures and the files of all jobs, those of forgotten jobs included; uploads belong to no job."""
        folders = {path.parent for path in (self.picture("any"), *self.of_job("any"))}
        return [path for folder in folders for path in folder.iterdir() if path.is_file()]

    def unowned_files(self, ids: Collection[str]) -> list[Path]:
        """The files whose id is not among `ids`."""
        return [path for path in self.all_files() if path.name.split(".")[0] not in ids]

    def _folder(self, name: str) -> Path:
        folder = self.root / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder


@contextmanager
def atomic_write(target: Path) -> Iterator[Path]:
    """A path beside `target` to write to. It becomes `target` when the block ends well; else nothing is left."""
    part = target.with_name(f".{target.name}.{uuid4().hex}.part")
    try:
        yield part
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
