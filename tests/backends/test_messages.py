"""Commands and answers cross the pipe as one line each and come back equal."""

import pytest

from tests.support.jobs import a_job
from wan_core.backends.messages import (
    Answer,
    Cancel,
    Check,
    Command,
    Expand,
    Expanded,
    Happened,
    Passed,
    Raised,
    Run,
    answer_line,
    command_line,
    read_answer,
    read_command,
)
from wan_core.errors import BackendError, to_plain
from wan_core.events import Failed, Step


@pytest.mark.parametrize("command", [Run(a_job()), Cancel("a"), Check("a", "file", "…\n"), Expand("a", "file", "")])
def test_a_command_is_one_line_and_comes_back_equal(command: Command) -> None:
    line = command_line(command)
    assert line.count("\n") == 1 and line.endswith("\n") and read_command(line) == command


@pytest.mark.parametrize(
    "answer",
    [
        Happened("a", Step("sampling", 1, 2)),
        Happened("a", Failed("out_of_memory", "Full.", None)),
        Raised("a", to_plain(BackendError("out_of_memory", "Full."))),
        Passed("a"),
        Expanded("a", "a walk", ""),
    ],
)
def test_an_answer_is_one_line_and_comes_back_equal(answer: Answer) -> None:
    line = answer_line(answer)
    assert line.count("\n") == 1 and read_answer(line) == answer


@pytest.mark.parametrize("line", ["", "Downloading…\n", "[]\n", '{"message": "sung"}\n'])
def test_what_is_no_message_is_a_value_error(line: str) -> None:
    with pytest.raises(ValueError, match="validation error"):
        read_answer(line)
