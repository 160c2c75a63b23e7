"""Real clients against a real process. A tool that is missing fails in CI, and skips elsewhere."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
EXAMPLES = HERE / "examples"


@contextmanager
def twin_process(data: Path, *options: str, **environment: str) -> Iterator[tuple[str, "subprocess.Popen[str]"]]:
    """The address of a twin in a process of its own, and the process."""
    command = [sys.executable, "-m", "tests.clients.twin_server", "--data", str(data), *options]
    with subprocess.Popen(
        command, cwd=ROOT, env=os.environ | environment, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline().strip(), process
        finally:
            process.kill()


def tool(name: str) -> str:
    """The path of a program; its absence fails in CI and skips elsewhere."""
    path = shutil.which(name)
    if path is None and os.environ.get("CI") == "true":
        pytest.fail(f"{name} is missing")
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A twin for one file of tests."""
    with twin_process(tmp_path_factory.mktemp("twin")) as (address, _):
        yield address
