"""What goes wrong inside Gradio is told in a sentence; and the places where Gradio prints are those we know."""

import asyncio
import inspect
import logging
import re
import threading
from pathlib import Path
from typing import Any

import gradio as gr
import pytest
from gradio import queueing, routes
from gradio.state_holder import SessionState
from PIL import Image

from wan_core.errors import UNEXPECTED, BackendError
from wan_core.ui.errors import as_gradio_error
from wan_core.ui.event_faults import UNREADABLE, NoTracebacks, Page, print_no_input

CANARY = "canary-prompt"


def page(fault: Exception | None = None) -> Page:
    """A page with one event: a choice and a number in, a text out."""

    def answer(choice: str, number: float) -> str:
        if fault:
            raise fault
        return f"{choice} {number}"

    with Page(analytics_enabled=False) as built:
        inputs = [gr.Radio(["a", "b"]), gr.Slider(0, 10)]
        gr.Button().click(answer, inputs, gr.Textbox())
    return built


def event(built: Page, values: list[Any]) -> Any:
    return asyncio.run(built.process_api(0, values))["data"]


def test_values_that_fit_are_answered() -> None:
    assert event(page(), ["a", 5]) == ["a 5"]


@pytest.mark.parametrize("values", [[], ["a"], [CANARY, 5], [{CANARY: 1}, 5], ["a", 99], [[CANARY], 5]])
def test_values_that_do_not_fit_get_a_sentence(values: list[Any], caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG), pytest.raises(gr.Error) as told:
        event(page(), values)
    assert told.value.message == UNREADABLE and not told.value.print_exception
    assert CANARY not in caplog.text and "Traceback" not in caplog.text


class ThreadBox(gr.Textbox):
    def preprocess(self, payload: str | None) -> str | None:
        return f"{payload} in {threading.current_thread().name}"


def test_a_function_gets_the_inputs_that_it_would_get_from_gradio(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRADIO_TEMP_DIR", str(tmp_path))
    Image.new("RGB", (8, 8), "red").save(tmp_path / "a.png")
    file = {"path": str(tmp_path / "a.png"), "meta": {"_type": "gradio.FileData"}}
    sent = ["a", 5, "b", ["a"], True, {"k": [1]}, file, [{"image": file, "caption": None}], None, None]

    def got(kind: type[gr.Blocks]) -> str:
        with kind(analytics_enabled=False) as built:
            inputs = [gr.Textbox(), gr.Slider(0, 10), gr.Radio(["a", "b"], type="index"), gr.CheckboxGroup(["a", "b"])]
            inputs += [gr.Checkbox(), gr.JSON(), gr.File(), gr.Gallery(type="filepath")]
            inputs += [gr.Image(), gr.State(["kept"])]
            gr.Button().click(lambda *values: repr(values), inputs, gr.Textbox())
        return str(asyncio.run(built.process_api(0, sent))["data"][0])

    assert got(Page) == got(gr.Blocks)


def test_inputs_are_read_beside_the_loop_in_the_state_of_their_session() -> None:
    with Page(analytics_enabled=False) as built:
        box, choice = ThreadBox(), gr.Radio(["a"])
        gr.Button().click(lambda *values: " ".join(values), [box, choice], gr.Textbox())
    session = SessionState(built)
    session[choice._id] = gr.Radio(["b"], render=False)
    (said,) = asyncio.run(built.process_api(0, ["x", "b"], state=session))["data"]
    assert said.startswith("x in ") and said.endswith(" b") and threading.current_thread().name not in said


class CountedBox(gr.Textbox):
    built = 0

    def __init__(self, **options: Any) -> None:
        type(self).built += 1
        super().__init__(**options)


@pytest.mark.parametrize(
    ("told", "builds"),
    [({}, 0), ({0: "a"}, 0), ({1: gr.skip(), 2: "c"}, 0), ({0: gr.update(visible=False), 2: ""}, 1)],
)
def test_outputs_that_an_event_leaves_alone_are_told_as_gradio_tells_them(told: dict[int, Any], builds: int) -> None:
    def answers(kind: type[gr.Blocks]) -> tuple[Any, int]:
        with kind(analytics_enabled=False) as built:
            boxes = [CountedBox() for _ in range(3)]
            answer = {boxes[number]: value for number, value in told.items()} or gr.skip()
            gr.Button().click(lambda: answer, None, boxes)
        CountedBox.built = 0
        data = asyncio.run(built.process_api(0, []))["data"]
        return data, CountedBox.built

    theirs, _ = answers(gr.Blocks)
    ours, built = answers(Page)
    assert ours == theirs
    assert built == builds


def test_an_output_that_an_event_does_not_have_is_still_a_fault() -> None:
    with Page(analytics_enabled=False) as built:
        box, other = gr.Textbox(), gr.Textbox()
        gr.Button().click(lambda: {other: "a"}, None, [box])
    with pytest.raises(gr.Error):
        event(built, [])


@pytest.mark.parametrize("data", [None, CANARY, [CANARY], 5])
def test_an_event_without_facts_has_none(data: Any) -> None:
    def answer(event: gr.EventData) -> str:
        return str(getattr(event, "chip", "no chip"))

    with Page(analytics_enabled=False) as built:
        gr.Button().click(answer, None, gr.Textbox())
    told = asyncio.run(built.process_api(0, [], event_data=gr.EventData(None, data)))
    assert told["data"] == ["no chip"]


def test_an_event_of_the_browser_alone_cannot_be_asked_for() -> None:
    with Page(analytics_enabled=False) as built:
        gr.Button().click(None, None, gr.Textbox(), js="() => 1")
    with pytest.raises(gr.Error) as told:
        event(built, [])
    assert told.value.message == UNREADABLE


def test_a_sentence_of_ours_is_passed_on_and_not_printed() -> None:
    with pytest.raises(gr.Error, match="Not today") as told:
        event(page(gr.Error("Not today.")), ["a", 5])
    assert not told.value.print_exception


def test_whatever_else_fails_is_logged_and_told_in_a_fixed_sentence(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(gr.Error) as told:
        event(page(KeyError("this server broke")), ["a", 5])
    assert told.value.message == UNEXPECTED and "an event of the page failed" in caplog.text


def test_a_sentence_is_html_on_the_page_and_plain_for_programs() -> None:
    for options, text in (({}, "&lt;b&gt; it's"), ({"written": str}, "<b> it's")):
        with pytest.raises(gr.Error) as told, as_gradio_error(**options):
            raise BackendError("downstream_service_error", "<b> it's")
        assert told.value.message == text


@pytest.mark.parametrize("module", [queueing, routes])
def test_gradio_prints_faults_in_the_one_way_that_is_replaced(module: Any) -> None:
    """If this fails, Gradio has changed: look at what it prints now, and at `event_faults`."""
    uses = set(re.findall(r"\btraceback\.(\w+)", inspect.getsource(module)))
    assert uses == {"print_exc"}


def test_gradios_queue_prints_in_one_place() -> None:
    """If this fails, Gradio has changed: it may print visitors' values, or not any more."""
    assert re.findall(r"(?<![\w.])print\(.*\)", inspect.getsource(queueing)) == ["print(str(e))"]


def test_nothing_is_printed_once_it_is_replaced(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    for module in (queueing, routes):
        monkeypatch.setattr(module, "traceback", module.traceback)
    monkeypatch.setattr(queueing, "print", print, raising=False)
    print_no_input()
    assert isinstance(queueing.traceback, NoTracebacks) and isinstance(routes.traceback, NoTracebacks)
    try:
        raise ValueError
    except ValueError:
        queueing.traceback.print_exc()
    queueing.print(CANARY)  # type: ignore[attr-defined]
    assert capsys.readouterr() == ("", "") and "could not carry out" in caplog.text
