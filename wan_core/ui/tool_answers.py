"""A fix for Gradio's MCP server: each output of a queued tool is a part of the answer.

Trap: without progress messages, Gradio 6.31 answers with one text, the printed tuple with the server's path in it.
"""

from typing import Any

import anyio
from gradio.mcp import GradioMCPServer


def answer_in_parts() -> None:
    """Patch the MCP server of this process."""

    async def outputs(server: GradioMCPServer, job: Any) -> list[Any]:
        result = await anyio.to_thread.run_sync(job.result)
        return list(result) if isinstance(result, tuple) else [result]

    GradioMCPServer._execute_tool_without_progress = outputs  # type: ignore[method-assign, assignment]
