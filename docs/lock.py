"""Write requirements.lock from requirements.txt: exact versions with hashes.

    pip install uv && python docs/lock.py

torch and the libraries that come with its CUDA build are left out: which build is right depends on the machine.
"""

import re
import subprocess
from hashlib import sha256
from pathlib import Path

ROOT = Path(__file__).parents[1]
RANGES, LOCK = ROOT / "requirements.txt", ROOT / "requirements.lock"
COMPILE = "uv pip compile requirements.txt --universal --python-version 3.11 --generate-hashes"
QUIETLY = "--no-annotate --no-header"
OF_TORCH = re.compile(r"(torch|triton|(nvidia|cuda)-[a-z0-9-]+)==")
HEADER = """\
# The packages of requirements.txt (sha256 {digest}),
# each in one version and with its hashes, for Python 3.11 and newer. Written by: pip install uv && python docs/lock.py
#
# torch has no hash here: which build is right depends on the machine (CPU, CUDA, ROCm, ZeroGPU), and the libraries of
# its CUDA build come with it. Install it first, then the rest exactly as it stands here:
#
#     pip install "{torch}"
#     pip install --require-hashes --no-deps -r requirements.lock
"""


def digest_of(ranges: Path) -> str:
    return sha256(ranges.read_bytes()).hexdigest()


def without_torch(lock: str) -> str:
    entries = re.split(r"(?m)^(?=[a-z0-9])", lock)
    return "".join(entry for entry in entries if not OF_TORCH.match(entry))


def main() -> None:
    done = subprocess.run([*COMPILE.split(), *QUIETLY.split()], cwd=ROOT, check=True, capture_output=True, text=True)
    torch = next(line for line in RANGES.read_text().splitlines() if line.startswith("torch"))
    LOCK.write_text(HEADER.format(digest=digest_of(RANGES), torch=torch) + without_torch(done.stdout))


if __name__ == "__main__":
    main()
