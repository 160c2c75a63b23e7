"""The log says what happened and where; nothing that a visitor sent stands in it, whoever writes the line."""

import logging
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from wan_core.logs import MAX_CHARS, describe, harmless_record

ROOT = Path(__file__).parents[1]
CANARY = "canary-prompt"


def record(name: str, message: str, *args: object, error: BaseException | None = None) -> str:
    exc_info = (type(error), error, error.__traceback__) if error else None
    return harmless_record(name, logging.ERROR, __file__, 7, message, args, exc_info).getMessage()


def raised(error: Exception) -> Exception:
    try:
        raise error
    except type(error) as found:
        return found


def test_our_own_words_are_written_as_they_are() -> None:
    assert record("wan_core.jobs", "job %s failed", "1") == "job 1 failed"


@pytest.mark.parametrize("name", ["mcp.server", "gradio", "uvicorn.error", "asyncio", "httpx", "sse_starlette.sse"])
def test_a_library_that_sees_requests_is_named_by_its_place_alone(name: str) -> None:
    for line in (record(name, f"got {CANARY}"), record(name, "got %s", CANARY)):
        assert CANARY not in line and "tests/test_logs.py:7" in line


def test_a_library_that_speaks_in_the_name_of_the_root_is_known_by_its_file() -> None:
    import mcp

    assert mcp.__file__
    entry = harmless_record("root", logging.WARNING, mcp.__file__, 7, f"got {CANARY}", (), None)
    assert entry.getMessage().startswith("a message from mcp/__init__.py:7")


@pytest.mark.parametrize("name", ["wan_core.ui", "mcp.server", "elsewhere"])
def test_an_exception_is_its_type_and_place_without_its_text(name: str) -> None:
    line = record(name, "it failed", error=raised(ValueError(CANARY)))
    assert CANARY not in line and "ValueError at tests/test_logs.py" in line and "raised" in line


def test_texts_that_quote_no_values_are_kept() -> None:
    assert "database is locked" in describe(raised(sqlite3.OperationalError("database is locked")))
    told = describe(raised(FileNotFoundError(2, "No such file or directory", CANARY)))
    assert "No such file" in told and CANARY not in told


def test_an_entry_is_one_line_of_bounded_length() -> None:
    line = record("wan_core", "a\nERROR forged: %s", "x" * 10_000)
    assert "\n" not in line and line.startswith("a\\nERROR") and len(line) == MAX_CHARS + 1


def test_a_python_warning_keeps_its_place_and_category() -> None:
    line = record("py.warnings", "%s", f"/a/b.py:7: UserWarning: {CANARY}\n  warn({CANARY})")
    assert line == "/a/b.py:7: UserWarning"


SCRIPT = """
import logging, threading, warnings
from wan_core import logs
logs.set_up("DEBUG")
logging.getLogger("wan_core.x").debug("ours")
logging.getLogger("mcp").info("theirs")
logging.getLogger("mcp").warning("canary")
logging.getLogger("wan_core.x").info("%d", "canary")
warnings.warn("canary")
try:
    int("canary")
except ValueError:
    logging.getLogger("wan_core.x").exception("it failed")
thread = threading.Thread(target=int, args=["canary"])
thread.start()
thread.join()
"""


def test_a_process_that_is_set_up_writes_no_text_of_others() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "canary" not in done.stderr + done.stdout and "theirs" not in done.stderr
    assert "DEBUG wan_core.x: ours" in done.stderr and "it failed: ValueError" in done.stderr
    assert "UserWarning" in done.stderr and "ended: ValueError" in done.stderr
    assert len(done.stderr.splitlines()) == 6
