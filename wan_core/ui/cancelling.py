"""Cancel one event of Gradio's queue, and no other.

Trap of Gradio 6.31: its `/cancel` ends every event of the same session and function, and tells only the caller of one:
two calls of one `gradio_client`, and the second hangs for ever when the first is cancelled.
"""

import asyncio

from gradio import queueing
from gradio.queueing import Queue

PREFIX = "gradio-event "


def mend_cancelling() -> None:
    """Patch the queue of this process."""
    remove = getattr(Queue, "_remove_alone", Queue.remove_from_queue)

    async def cancel_and_remove(queue: Queue, event_id: str) -> None:
        await cancel_event(event_id)
        await remove(queue, event_id)

    Queue._remove_alone = remove  # type: ignore[attr-defined]
    Queue.remove_from_queue = cancel_and_remove  # type: ignore[method-assign, assignment]
    setattr(queueing, "set_task_name", name_by_event)  # noqa: B010


def name_by_event(task: asyncio.Task[object], session_hash: str, fn_index: int, event_id: str, batch: bool) -> None:
    """In the place of Gradio's name, by which it would find the task of every event of the session and function."""
    if not batch:
        task.set_name(PREFIX + event_id)


async def cancel_event(event_id: str) -> None:
    """Cancel the task of an event that runs, and wait for its end."""
    tasks = [task for task in asyncio.all_tasks() if task.get_name() == PREFIX + event_id]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
