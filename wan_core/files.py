"""File ids → paths. Ids are our own uuids, never a visitor's text."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from uuid import uuid4

UPLOADED = "upload:"  # and the name of a file in `uploads`: a picture without a web address
UNWRITABLE = "{root} cannot be written ({reason}). Make it writable, or set WAN_DATA_DIR to another folder."

EXPIRES = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}-([0-9]{10,11})(?:\.[a-z]+)?", re.ASCII)


@dataclass(frozen=True)
class FileStore:
    """Pictures have their own ids; all else is named by its job's id."""

    root: Path

    @property
    def database(self) -> Path:
        return self.root / "jobs.db"

    @property
    def calibration(self) -> Path:
        return self.root / "calibration.json"

    @property
    def webhook_key(self) -> Path:
        """The private key that signs webhooks, PEM."""
        return self.root / "webhook_key.pem"

    @property
    def token(self) -> Path:
        """A text of this folder's own: a machine that reads the same one shares the folder."""
        return self.root / "folder.token"

    @property
    def uploads(self) -> Path:
        return self._folder("uploads")

    def upload_expiry(self, name: str) -> float | None:
        """When the upload called `name` is to be gone, in Unix seconds.

        `None` if nobody set a time, or it is no upload: a stranger's file may have any name.
        """
        until = expiry_of(name)
        return until if until is not None and (self.uploads / name).is_file() else None

    def picture(self, file_id: str) -> Path:
        """Upright RGB PNG; jobs may share it."""
        return self._folder("pictures") / f"{file_id}.png"

    def frames(self, job_id: str) -> Path:
        """uint8 (T, H, W, 3) .npy, before interpolation."""
        return self._folder("frames") / f"{job_id}.npy"

    def interpolated_frames(self, job_id: str) -> Path:
        """Deleted once the clip is encoded."""
        return self._folder("frames") / f"{job_id}.interpolated.npy"

    def full_size_frames(self, job_id: str) -> Path:
        """For a loop or a boomerang, which reads its frames more than once."""
        return self._folder("frames") / f"{job_id}.full.npy"

    def preview(self, job_id: str) -> Path:
        return self._folder("previews") / f"{job_id}.webp"

    def clip(self, job_id: str) -> Path:
        return self._folder("clips") / f"{job_id}.mp4"

    def sweep(self, sweep_id: str) -> Path:
        return self._folder("sweeps") / f"{sweep_id}.json"

    def of_job(self, job_id: str) -> tuple[Path, ...]:
        """The files of this job alone."""
        scratch = (self.interpolated_frames(job_id), self.full_size_frames(job_id))
        return (self.frames(job_id), *scratch, self.preview(job_id), self.clip(job_id))

    def require_writable(self) -> None:
        """Make the folders.

        Raises:
            SystemExit: one cannot be written.
        """
        try:
            files = (self.database, self.uploads / "any", self.picture("any"), *self.of_job("any"))
            for folder in {path.parent for path in files}:
                TemporaryFile(dir=folder).close()
        except OSError as error:
            raise SystemExit(UNWRITABLE.format(root=self.root, reason=error.strerror)) from None

    def parts_of(self, job_id: str) -> list[Path]:
        return [
            part for folder in {path.parent for path in self.of_job(job_id)} for part in folder.glob(f".{job_id}.*")
        ]

    def is_picture(self, path: Path) -> bool:
        return path.parent == self.picture("any").parent

    def all_pictures(self) -> list[Path]:
        return list(self.picture("any").parent.iterdir())

    def all_files(self) -> list[Path]:
        """Also unfinished ones and forgotten jobs'; no uploads."""
        folders = {path.parent for path in (self.picture("any"), *self.of_job("any"))}
        return [path for folder in folders for path in folder.iterdir() if path.is_file()]

    def _folder(self, name: str) -> Path:
        folder = self.root / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder


def new_file_id(expires_at: float | None = None) -> str:
    """`expires_at`: Unix seconds after which the file is to be gone; its name says so."""
    return f"{uuid4()}-{int(expires_at)}" if expires_at is not None else str(uuid4())


def expiry_of(name: str) -> float | None:
    """When the file called `name`, or with that id, is to be gone, in Unix seconds."""
    found = EXPIRES.fullmatch(name)
    return float(found[1]) if found else None


def owner(path: Path) -> str:
    """The id in a file's name."""
    return path.name.removeprefix(".").split(".")[0]


def is_unfinished(path: Path) -> bool:
    return path.name.startswith(".")


@contextmanager
def atomic_write(target: Path, *, durable: bool = False) -> Iterator[Path]:
    """Yield a path that replaces `target` on success.

    `durable`: a power cut leaves the whole file or none.
    """
    part = target.with_name(f".{target.name}.{uuid4().hex}.part")
    try:
        yield part
        if durable:
            _fsync(part)
        part.replace(target)
        if durable:
            _fsync(target.parent)
    finally:
        part.unlink(missing_ok=True)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
