"""A worker process that sleeps instead of making frames: `python tests/support/sleeping_worker.py STEP_SECONDS`.

Its files tell where they come from: the clip begins like an mp4 and ends with a digest of the picture, or of the frames
that are reused; the raw frames hold the seed in every byte. `boom` as prompt fails after the frames were written.
"""

import hashlib
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

SHAPE = (17, 128, 208, 3)
DATA = Path(os.environ.get("WAN_DATA_DIR", "data"))
stops: dict[str, threading.Event] = {}
mutex = threading.Lock()


def main() -> None:
    step_s = float(sys.argv[1])
    for line in sys.stdin:
        command = json.loads(line)
        match command["message"]:
            case "run":
                stops[command["job"]["id"]] = threading.Event()
                threading.Thread(target=run, args=(command["job"], step_s), daemon=True).start()
            case "cancel":
                stops[command["job_id"]].set()
            case "check":
                answer(message="passed", id=command["id"])
            case "expand":
                answer(message="expanded", id=command["id"], prompt=digest("pictures", command["picture"]), note="")
    os._exit(0)


def run(job: dict[str, Any], step_s: float) -> None:
    inputs, source = job["inputs"], job["frames_of"]
    steps = inputs["num_inference_steps"]
    happened(job, event="Stage", name="sampling", detail="")
    for step in range(0 if source else steps):
        time.sleep(step_s)
        if stops[job["id"]].is_set():
            answer(message="raised", id=job["id"], error={"kind": "Cancelled", "message": "The job was cancelled."})
            return
        if step == 0:
            write("previews", f"{job['id']}.webp", b"preview of " + job["id"].encode())
            happened(job, event="Preview")
        happened(job, event="Step", stage="sampling", done=step + 1, total=steps, seconds_left=None)
    if not source:
        write("frames", f"{job['id']}.npy", frames(inputs["seed"]))
    happened(job, event="Stage", name="encoding", detail="")
    if inputs["prompt"] == "boom":
        error = {"kind": "BackendError", "type": "storage_full", "message": "No room.", "retry_after_s": None}
        answer(message="raised", id=job["id"], error=error)
        return
    seen = digest("frames", source) if source else digest("pictures", job["files"]["image_url"])
    write("clips", f"{job['id']}.mp4", b"\0\0\0\x18ftypmp42" + seen.encode())
    result = {"prompt": inputs["prompt"], "seed": inputs["seed"], "size": job["size"], "frames": 17, "fps": 16}
    happened(job, event="Finished", result=result | {"engine": "miniature"})


def frames(seed: int) -> bytes:
    """A .npy file of `SHAPE`, filled with the seed."""
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {SHAPE}, }}"
    header += " " * (-(10 + len(header) + 1) % 64) + "\n"
    count = SHAPE[0] * SHAPE[1] * SHAPE[2] * SHAPE[3]
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + bytes([seed % 256]) * count


def digest(folder: str, name: str) -> str:
    (path,) = (DATA / folder).glob(f"{name}.*")
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write(folder: str, name: str, content: bytes) -> None:
    (DATA / folder).mkdir(parents=True, exist_ok=True)
    (DATA / folder / name).write_bytes(content)


def happened(job: dict[str, Any], **event: Any) -> None:
    answer(message="happened", id=job["id"], event=event)


def answer(**values: Any) -> None:
    with mutex:
        sys.stdout.write(json.dumps(values) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
