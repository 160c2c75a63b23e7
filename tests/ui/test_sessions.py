"""What Gradio remembers of a visitor's page is bounded, and forgotten when the page is closed."""

import gradio as gr
from gradio.state_holder import SessionState, StateHolder

from wan_core.settings import Limits
from wan_core.ui import launch_options
from wan_core.ui.event_faults import Page


def test_a_closed_page_is_forgotten_and_the_others_are_not() -> None:
    with Page(analytics_enabled=False) as page:
        gr.State(1)
        page.unload(page.forget_session)
    holder = StateHolder()
    holder.set_blocks(page)
    assert all(isinstance(holder[session], SessionState) for session in ("closed", "open"))
    (unload,) = [event for event in page.fns.values() if ("unload" in [name for _, name in event.targets])]
    assert callable(unload.fn)
    page.forget_session(gr.Request(session_hash="closed"))
    page.forget_session(gr.Request(session_hash="never seen"))
    assert list(holder.session_data) == ["open"] == list(holder.time_last_used)


def test_no_more_pages_are_remembered_than_this_host_can_hold() -> None:
    with Page(analytics_enabled=False) as page:
        gr.State(1)
    page.state_session_capacity = launch_options()["state_session_capacity"]
    holder = StateHolder()
    holder.set_blocks(page)
    for number in range(Limits().page_sessions + 50):
        holder[str(number)]
    assert len(holder.session_data) == Limits().page_sessions == len(holder.time_last_used)


def test_a_session_copies_no_settings_of_components_and_the_page_still_has_them() -> None:
    with Page(analytics_enabled=False) as page:
        shown, button = gr.HTML("before"), gr.Button("Go")
        button.click(lambda: "after", None, shown)
    holder = StateHolder()
    holder.set_blocks(page)
    session = holder["one"]
    session._update_value_in_config(shown._id, "after")
    session[button._id] = gr.Button("Gone", render=False)
    assert not list(session.components) and session[button._id].value == "Gone" != page.blocks[button._id].value
    written = {part["id"]: part["props"] for part in page.get_config_file()["components"]}
    assert written[shown._id]["value"] == "before" and written[button._id]["value"] == "Go"
