"""Fixes for Gradio's MCP server: an answer in parts, and no job for a caller who has left.

Traps of Gradio 6.31: without progress messages it answers with one text, the printed tuple, the server's path in it;
a call that is given up goes on, because the thread that waits for its result cannot be cancelled.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from gradio.mcp import GradioMCPServer

Execute = Callable[..., Awaitable[Any]]


def mend_tool_calls() -> None:
    """Patch the MCP server of this process."""

    async def outputs(server: GradioMCPServer, job: Any) -> list[Any]:
        result = await anyio.to_thread.run_sync(job.result, abandon_on_cancel=True)
        return list(result) if isinstance(result, tuple) else [result]

    with_progress = getattr(GradioMCPServer, "_with_progress", GradioMCPServer._execute_tool_with_progress)
    GradioMCPServer._with_progress = with_progress  # type: ignore[attr-defined]
    GradioMCPServer._execute_tool_without_progress = _cancels(outputs)  # type: ignore[method-assign, assignment]
    GradioMCPServer._execute_tool_with_progress = _cancels(with_progress)  # type: ignore[method-assign, assignment]


def _cancels(execute: Execute) -> Execute:
    async def execute_or_cancel(server: GradioMCPServer, job: Any, *more: Any) -> Any:
        try:
            return await execute(server, job, *more)
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(job.cancel)
            raise

    return execute_or_cancel
