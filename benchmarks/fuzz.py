"""What is too long for CI: many more requests against the OpenAPI document, and many more damaged pictures.

    python -m benchmarks.fuzz [--requests 5000] [--pictures 10000]

Any answer that the document does not allow, any exception and any child that stays ends the run with an error. Printed:
requests by operation, pictures read and refused, and how long they took.
"""

import argparse
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from PIL import Image
from schemathesis import GenerationMode

from tests.intake.mutations import damaged_pictures
from tests.security.test_intake_pictures import children, outcome
from tests.security.test_openapi import OPERATIONS, check_operation, documented_twin
from wan_core.files import FileStore


def fuzz_requests(count: int, folder: Path) -> None:
    with documented_twin(FileStore(folder / "data")) as (_, schema):
        for method, path in OPERATIONS:
            for mode in GenerationMode:
                began = time.monotonic()
                check_operation(schema, method, path, mode, count // len(GenerationMode))
                print(f"{method} {path}, {mode.value}: {count // 2} requests in {time.monotonic() - began:.0f} s")


def fuzz_pictures(count: int) -> None:
    before = children()
    with ThreadPoolExecutor(max_workers=2) as pool:
        results = list(pool.map(outcome, damaged_pictures(count, seed=int(time.time()))))
    kinds = Counter("read" if isinstance(result, Image.Image) else "refused" for result, _ in results)
    seconds = sorted(seconds for _, seconds in results)
    assert children() == before, "a child was left"
    p99 = seconds[int(0.99 * len(seconds))]
    print(f"{count} pictures: {dict(kinds)} · p99 {p99:.2f} s · longest {seconds[-1]:.2f} s")


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=5_000, help="by operation")
    parser.add_argument("--pictures", type=int, default=10_000)
    return parser.parse_args()


if __name__ == "__main__":
    asked = parsed()
    with tempfile.TemporaryDirectory() as name:
        if asked.requests:
            fuzz_requests(asked.requests, Path(name))
    if asked.pictures:
        fuzz_pictures(asked.pictures)
