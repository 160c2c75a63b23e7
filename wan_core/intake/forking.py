"""Child process: forks a child for each picture, which decodes it and ends.

Never looks at a picture itself, so that each child begins clean. Imports only the standard library and `decoder`.
"""

import json
import os
import signal
import socket
import sys
from typing import NoReturn

from wan_core.intake import decoder

PRELOADED = ("JPEG", "PNG", "WEBP")  # the others' libraries are large
REQUEST_BYTES = 4096


def serve(control: socket.socket) -> None:
    """Decode until the other side hangs up.

    Request: the limits as JSON, a line break, Pillow's format name; with two files, picture and answer. Reply, a line:
    the child's exit code, negative for a signal, or `late`.
    """
    for format in PRELOADED:
        decoder.opener(format)
    while True:
        request, files, *_ = socket.recv_fds(control, REQUEST_BYTES, 2)
        if not request:
            return
        limits, _, format = request.decode().partition("\n")
        child = os.fork()
        if child == 0:
            control.close()
            _decode(limits, format, *files)
        for file in files:
            os.close(file)
        control.sendall(_wait_for(child, json.loads(limits)["wall_s"]))


def _wait_for(child: int, wall_s: float) -> bytes:
    is_late = False

    def end_it(*_: object) -> None:
        nonlocal is_late
        is_late = True
        os.kill(child, signal.SIGKILL)  # exists as long as nobody has waited for it

    signal.signal(signal.SIGALRM, end_it)
    signal.setitimer(signal.ITIMER_REAL, wall_s)
    os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
    signal.setitimer(signal.ITIMER_REAL, 0)
    _, status = os.waitpid(child, 0)
    return b"late\n" if is_late else b"%d\n" % os.waitstatus_to_exitcode(status)


def _decode(limits: str, format: str, picture: int, answer: int) -> NoReturn:
    """`decoder.main` on two files as stdin and stdout."""
    code = 1
    try:
        for file, standard in ((picture, 0), (answer, 1)):
            os.dup2(file, standard)
            os.close(file)
        sys.argv[1:] = [limits, format]
        decoder.main()
        sys.stdout.flush()
        code = 0
    finally:
        os._exit(code)
