"""One correction to Gradio's MCP server: the outputs of a queued tool are parts of the answer, not one Python tuple.

Gradio 6.31 puts the printed tuple, with the server's own path in it, into a single text when a client asks for no
progress messages; with progress messages it does as is done here.
"""

from typing import Any

import anyio
from gradio.mcp import GradioMCPServer


def answer_in_parts() -> None:
    """Let every MCP answer of this process have one part for each output."""

    async def outputs(server: GradioMCPServer, job: Any) -> list[Any]:
        result = await anyio.to_thread.run_sync(job.result)
        return list(result) if isinstance(result, tuple) else [result]

    GradioMCPServer._execute_tool_without_progress = outputs  # type: ignore[method-assign, assignment]
