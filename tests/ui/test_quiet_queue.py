"""Gradio still reads what the page sets on its queue, and a page that waits keeps nobody else out."""

import ast
import importlib.util
import inspect
import sys
import threading
import time
import warnings

import gradio as gr
import pytest
from gradio.queueing import Queue
from gradio_client import Client

from wan_core.ui import quiet_queue
from wan_core.ui.quiet_queue import MOST_AT_ONCE, QUIET, quieten


@pytest.mark.parametrize("name", QUIET)
def test_gradio_still_has_what_is_set_on_its_queue(name: str) -> None:
    """If this fails, Gradio renamed it: look for its new name in `gradio/queueing.py` and change `QUIET`."""
    with gr.Blocks() as page:
        pass
    assert hasattr(page._queue, name)
    nodes = ast.walk(ast.parse(inspect.getsource(Queue)))
    reads = [node for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)]
    assert name in {node.attr for node in reads}, "it is set, but Gradio reads it no more"


def test_a_plotting_library_that_is_not_here_is_not_looked_for_at_each_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "matplotlib", raising=False)
    if importlib.util.find_spec("matplotlib") is not None:
        pytest.skip("it is installed")
    with gr.Blocks() as page:
        pass
    quieten(page._queue)
    monkeypatch.setattr(sys, "meta_path", [])  # an import that looks further finds nobody to ask, and warns
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module("matplotlib")


def test_the_queue_of_the_page_is_quiet_and_events_still_come_through_with_their_progress() -> None:
    is_shown = threading.Event()

    def work(progress: gr.Progress = gr.Progress()) -> str:  # noqa: B008
        while not is_shown.wait(0.1):
            progress(0.5, "half way")
        return "done"

    with gr.Blocks(analytics_enabled=False) as page:
        gr.Button().click(work, None, gr.Textbox(), api_name="work")
    quieten(page._queue)
    _, address, _ = page.launch(prevent_thread_lock=True, quiet=True, ssr_mode=False, max_threads=MOST_AT_ONCE)
    try:
        assert len(page._queue.active_jobs) == quiet_queue.MOST_AT_ONCE
        job = Client(address, verbose=False).submit(api_name="/work")
        while not job.done():
            units = job.status().progress_data
            if units and units[0].desc == "half way":
                is_shown.set()
            time.sleep(0.01)
        assert job.result() == "done"
    finally:
        is_shown.set()  # or a test that fails would never end
        page.close()
