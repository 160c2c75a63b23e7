"""The log of this process: one line an entry, with nothing that a visitor sent.

Exceptions and libraries quote requests: the former are logged as type and place, the latter as place alone.
"""

import logging
import sqlite3
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
MAX_CHARS = 1_000
FRAMES = 8
PLAIN_TEXTS = (sqlite3.Error, ImportError, MemoryError)  # their texts name no values
SEE_REQUESTS = {"PIL", "anyio", "asyncio", "fal_client", "fastapi", "gradio", "gradio_client", "httpcore", "httpx"}
SEE_REQUESTS |= {
    "mcp",
    "multipart",
    "openai",
    "python_multipart",
    "sse_starlette",
    "starlette",
    "uvicorn",
    "httpcore2",
    "httpx2",
}
WARNINGS = "py.warnings"
ACCESS = "uvicorn.access"  # its formatter wants the arguments; Gradio keeps it silent
HERE = Path(__file__).parents[1]

_new_record = logging.LogRecord


def set_up(level: str) -> None:
    """Our entries from `level` on, those of libraries from WARNING on, to stderr."""
    logging.basicConfig(level=logging.WARNING, format=FORMAT)
    logging.getLogger("wan_core").setLevel(level)
    logging.setLogRecordFactory(harmless_record)
    logging.captureWarnings(True)
    logging.raiseExceptions = False  # a record that cannot be formatted would be printed with its arguments
    threading.excepthook = log_thread_fault


def adopt(library: str, level: int) -> None:
    """Let a library whose logger has a handler of its own write from `level` on, to stderr as all others."""
    for handler in logging.getLogger(library).handlers:
        handler.setLevel(level)
        if type(handler) is logging.StreamHandler:  # files are the host's wish
            handler.setFormatter(logging.Formatter(FORMAT))
            handler.setStream(sys.stderr)


def harmless_record(*args: Any, **options: Any) -> logging.LogRecord:
    """On one line, without text of exceptions and of libraries that see requests."""
    record = _new_record(*args, **options)
    if record.name == ACCESS:
        return record
    text = _text(record)
    if isinstance(record.exc_info, tuple) and record.exc_info[1] is not None:
        text = f"{text}: {describe(record.exc_info[1])}"
    record.msg, record.args, record.exc_info, record.stack_info = _one_line(text), (), None, None
    return record


def describe(error: BaseException) -> str:
    """Type and place; the text only if it cannot hold what a visitor sent."""
    text = ""
    if isinstance(error, OSError):
        text = f" ({error.strerror})" if error.strerror else ""
    elif isinstance(error, PLAIN_TEXTS):
        text = f" ({error})"
    places = [f"{_short(frame.filename)}:{frame.lineno} {frame.name}" for frame in _frames(error)]
    return f"{type(error).__name__}{text} at {' < '.join(reversed(places[-FRAMES:])) or 'an unknown place'}"


def log_thread_fault(fault: threading.ExceptHookArgs) -> None:
    """For `threading.excepthook`, which prints."""
    if fault.exc_value is not None:
        name = fault.thread.name if fault.thread else "?"
        logging.getLogger(__name__).error("thread %s ended: %s", name, describe(fault.exc_value))


def _text(record: logging.LogRecord) -> str:
    if record.name == WARNINGS:  # `path:line: Category: warning`
        return ": ".join(record.getMessage().split(": ")[:2])
    place = _short(record.pathname)
    if {record.name.split(".")[0], place.split("/")[0]} & SEE_REQUESTS:  # some speak in the name of the root
        return f"a message from {place}:{record.lineno}, which may quote a visitor and is left out"
    try:
        return record.getMessage()
    except (TypeError, ValueError, KeyError):
        return f"{record.msg} (with values that do not fit)"


def _frames(error: BaseException) -> traceback.StackSummary:
    return traceback.extract_tb(error.__traceback__)


def _short(path: str) -> str:
    """`path` from the nearest import folder: an environment may lie within this one."""
    above = [folder for folder in (str(HERE), *sys.path) if folder and path.startswith(f"{folder}/")]
    return path[len(max(above, key=len)) + 1 :] if above else path


def _one_line(text: str) -> str:
    shown = text.replace("\r", "\\r").replace("\n", "\\n")
    return shown if len(shown) <= MAX_CHARS else f"{shown[:MAX_CHARS]}…"
