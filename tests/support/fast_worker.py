"""A worker process without any model: it starts in milliseconds, and dies or hangs when the prompt says so.

While there is a file `hold` beside its clips, it makes only as many as that says.
"""

import json
from pathlib import Path

from wan_core.backends.messages import Happened, answer_line
from wan_core.events import Finished, Result
from wan_core.files import FileStore
from wan_core.geometry import Size

PROGRAM = """
import json, os, signal, sys, time
from pathlib import Path
answer, clips = sys.argv[1], Path(sys.argv[2])
for line in sys.stdin:
    command = json.loads(line)
    if command["message"] != "run":
        continue
    job = command["job"]
    match job["inputs"]["prompt"]:
        case "segfault":
            os.kill(os.getpid(), signal.SIGSEGV)
        case "exit":
            os._exit(1)
        case "hang":
            time.sleep(600)
    hold = clips / "hold"
    while hold.exists() and len(list(clips.glob("*.mp4"))) >= int(hold.read_text() or 0):
        time.sleep(0.01)
    time.sleep(0.01)
    with (clips / f"{job['id']}.mp4").open("ab") as clip:  # a job that is made twice would have two lines
        clip.write(b"made\\n")
    sys.stdout.write(answer.replace("THE-ID", job["id"]) + "\\n")
    sys.stdout.flush()
"""


def fast_worker(data: FileStore) -> list[str]:
    """The arguments of Python for `backends.local.WORKER`."""
    result = Result("a walk", 1, Size(832, 480), 17, 16, "miniature")
    answer = answer_line(Happened("THE-ID", Finished(result))).strip()
    assert json.loads(answer)["id"] == "THE-ID"
    clips: Path = data.clip("any").parent
    return ["-S", "-c", PROGRAM, answer, str(clips)]
