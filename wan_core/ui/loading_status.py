"""Where Gradio's front end keeps the status of events that show none.

By default each output of an event has its own, and all of them are written again at every message of any event: the
tree is searched and the component's value cloned, about 20 ms of the browser's main thread on this page.
"""

import gradio as gr


def build_status_place() -> gr.HTML:
    """A component that is never mounted, so that writing its status costs nothing."""
    return gr.HTML(visible=False)


def keep_status_at(place: gr.HTML, page: gr.Blocks) -> None:
    """Call it once all events are connected. Events that show their progress keep it where it is seen."""
    for event in page.fns.values():
        if event.show_progress == "hidden":
            event.show_progress_on = [place]
