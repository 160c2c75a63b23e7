"""The worker process's own start; what it does with jobs is in test_local.py."""

import os
from typing import IO

import pytest

from wan_core.backends import worker


def test_what_is_printed_while_the_models_load_is_not_among_the_answers(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    class Server:
        def __init__(self, clips: object, commands: IO[str], answers: IO[str]) -> None:
            self.answers = answers

        def serve(self) -> None:
            self.answers.write("an answer\n")
            self.answers.close()

    monkeypatch.setattr(worker.logs, "set_up", lambda level: None)
    monkeypatch.setattr(worker, "ClipWorker", lambda host: os.write(1, b"a library's banner\n"))
    monkeypatch.setattr(worker, "WorkerServer", Server)
    worker.main()
    assert capfd.readouterr() == ("an answer\n", "a library's banner\n")
