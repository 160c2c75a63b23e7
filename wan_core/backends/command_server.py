"""What processes that speak `messages.py` over stdin and stdout have in common. Exits when stdin ends.

Model code and libraries may print: `take_stdout` sets the real stdout aside first.
"""

import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO

from wan_core.backends.messages import Answer, Command, Raised, answer_line, read_command
from wan_core.errors import ENGINE_FAILED, BackendError, WanError, storage_error, to_plain

log = logging.getLogger(__name__)


def take_stdout() -> IO[str]:
    """Return the real stdout; whatever prints goes to stderr from here on."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    return answers


class CommandServer:
    """Answers may come from any thread."""

    def __init__(self, commands: IO[str], answers: IO[str]) -> None:
        self._commands = commands
        self._answers = answers
        self._mutex = threading.Lock()

    def listen(self, obey: Callable[[Command], None]) -> None:
        """Read commands until stdin ends, and then end this process."""
        for line in self._commands:
            try:
                obey(read_command(line))
            except ValueError:
                log.error("a command cannot be read")
        sys.stderr.flush()
        os._exit(0)

    def work_beside(self, question_id: str, work: Callable[[], None]) -> None:
        def reporting() -> None:
            with self.report_errors(question_id):
                work()

        threading.Thread(target=reporting, name=question_id, daemon=True).start()

    def answer_beside(self, question_id: str, answer: Callable[[], Answer]) -> None:
        self.work_beside(question_id, lambda: self.send(answer()))

    @contextmanager
    def report_errors(self, question_id: str) -> Iterator[None]:
        """Answer `Raised`, whatever is raised inside."""
        try:
            yield
        except WanError as error:
            self.send(Raised(question_id, to_plain(error)))
        except Exception as error:  # model code may raise anything; details go to the log only
            log.exception("%s failed", question_id)
            fault = storage_error(error) or BackendError("internal_server_error", ENGINE_FAILED)
            self.send(Raised(question_id, to_plain(fault)))

    def send(self, answer: Answer) -> None:
        with self._mutex:
            self._answers.write(answer_line(answer))
            self._answers.flush()
