"""Processes that decode one picture at a time, and are kept: `forking.py` in an isolated Python."""

import atexit
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, Final

import PIL

from wan_core.intake.decoder import PictureLimits

_DECODER_FOLDER = Path(__file__).parent
_PILLOW_FOLDER = Path(PIL.__file__).parent.parent  # isolated mode would miss a user's own packages
_PROGRAM: Final = """
import socket
import sys
from types import ModuleType
_, control, folder, packages = sys.argv
sys.path.append(packages)
for name in ("wan_core", "wan_core.intake"):  # packages without their `__init__`, which would bring the whole app
    sys.modules[name] = ModuleType(name)
    sys.modules[name].__path__ = [folder]
from wan_core.intake.forking import serve
serve(socket.socket(fileno=int(control)))
"""
_ATTEMPTS: Final = 2  # one that was idle may have died
_PATIENCE_S: Final = 10.0  # beyond the deadline, which the process itself keeps


class LateError(Exception):
    """The process is ready for the next picture."""


class DecoderProcess:
    """`decode` raises OSError when the process has died."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-I", "-S", "-c", _PROGRAM, str(theirs.fileno())]
            self._process = subprocess.Popen(
                [*command, str(_DECODER_FOLDER), str(_PILLOW_FOLDER)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={},
                cwd="/",
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )

    def decode(self, file: IO[bytes], answer: IO[bytes], limits: PictureLimits, format: str) -> int:
        """Exit code of the child that read `file` and wrote `answer`. Raises LateError after `limits.wall_s`."""
        self._control.settimeout(limits.wall_s + _PATIENCE_S)
        request = f"{json.dumps(asdict(limits))}\n{format}".encode()
        socket.send_fds(self._control, [request], [file.fileno(), answer.fileno()])
        reply = self._control.recv(16)
        if not reply.endswith(b"\n"):
            raise ConnectionResetError("the process that decodes has ended")
        if reply == b"late\n":
            raise LateError
        return int(reply)

    def close(self) -> None:
        self._control.close()
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


_idle: list[DecoderProcess] = []
_mutex = threading.Lock()


def run_decoder(file: IO[bytes], answer: IO[bytes], limits: PictureLimits, format: str) -> int:
    """As `DecoderProcess.decode`. Raises LateError, OSError."""
    for attempt in range(1, _ATTEMPTS + 1):
        process = _take()
        try:
            code = process.decode(file, answer, limits, format)
        except LateError:
            _give_back(process)
            raise
        except OSError:
            process.close()
            if attempt == _ATTEMPTS or os.fstat(answer.fileno()).st_size > 0:
                raise
        else:
            _give_back(process)
            return code
    raise AssertionError("unreachable")


def _give_back(process: DecoderProcess) -> None:
    with _mutex:
        _idle.append(process)


def _take() -> DecoderProcess:
    with _mutex:
        if _idle:
            return _idle.pop()
    return DecoderProcess()


@atexit.register
def _close_idle() -> None:
    while _idle:
        _idle.pop().close()
