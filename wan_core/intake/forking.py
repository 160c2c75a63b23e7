"""Child process: forks a child for each picture, which decodes it and ends.

It never looks at a picture itself, so each child begins as clean as a fresh interpreter, without the 60 ms that one
takes to start. `decoding.py` starts it and speaks with it. Imports only the standard library and `decoder`.
"""

import os
import socket
import sys
from typing import NoReturn

from wan_core.intake import decoder

PRELOADED = ("JPEG", "PNG", "WEBP")  # the others' libraries are large, and a child loads them when it needs them
REQUEST_BYTES = 4096


def serve(control: socket.socket) -> None:
    """Decode one picture after another until the other side hangs up.

    A request: the limits as JSON, a line break, Pillow's format name; with two files, the picture and the answer. The
    reply: the child's exit code and a line break, negative for a signal.
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
        _, status = os.waitpid(child, 0)
        control.sendall(b"%d\n" % os.waitstatus_to_exitcode(status))


def _decode(limits: str, format: str, picture: int, answer: int) -> NoReturn:
    """`decoder.main` on the two files, as its stdin and stdout."""
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
