"""A job as fal's clients see it: three status words, cumulative logs, addresses, and the result.

Everything comes from memory. fal has no word for failed or cancelled: such a job is COMPLETED with `error`.
"""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

from starlette.responses import JSONResponse, Response

from wan_core.api.addressing import Links
from wan_core.api.refusals import fault_response, http_refusal, outcome_fault
from wan_core.endpoints import ENDPOINTS
from wan_core.events import Finished
from wan_core.jobs.record import JobRecord
from wan_core.jobs.rows import LogLine
from wan_core.schema import VideoFile


def status_word(record: JobRecord) -> str:
    if record.is_over:
        return "COMPLETED"
    return "IN_QUEUE" if record.status == "queued" else "IN_PROGRESS"


def status_response(record: JobRecord, links: Links, *, with_logs: bool) -> Response:
    """202 until the job is over, then 200: some clients look at nothing else."""
    code = 200 if record.is_over else 202
    text = status_text(record, links, record.logs if with_logs else None)
    return Response(text, code, {"x-fal-request-id": record.job.id}, "application/json")


def status_text(record: JobRecord, links: Links, logs: Sequence[LogLine] | None) -> str:
    """The status object as JSON on one line; `logs` is `null` where they were not asked for."""
    facts = json.dumps(_facts(record, links))
    lines = "null" if logs is None else f"[{', '.join(map(_log_text, logs))}]"
    return f'{facts[:-1]}, "logs": {lines}}}'


def submit_body(record: JobRecord, links: Links) -> dict[str, Any]:
    """The answer to a submission: found again later by any of its addresses."""
    addresses = links.of_job(record.job)
    return {"status": "IN_QUEUE", "request_id": record.job.id, **addresses, "queue_position": record.position}


def result_response(record: JobRecord, links: Links, clip: Path) -> JSONResponse:
    """The output with `clip` as its file, or the error the job ended with. Raises Refusal while it is not over."""
    if record.outcome is None:
        raise http_refusal(400, "Request is still in progress")
    fault = outcome_fault(record.outcome)
    response = fault_response(fault) if fault else JSONResponse(_output(record, links, clip))
    response.headers["x-fal-request-id"] = record.job.id
    return response


def _facts(record: JobRecord, links: Links) -> dict[str, Any]:
    word = status_word(record)
    facts = {"status": word, "request_id": record.job.id, **links.of_job(record.job)}
    if word == "IN_QUEUE":
        return facts | {"queue_position": record.position}
    return facts | _end(record) if word == "COMPLETED" else facts


def _end(record: JobRecord) -> dict[str, Any]:
    began, ended = record.started_at, record.finished_at
    took = round(ended - began, 3) if began is not None and ended is not None else 0.0
    facts: dict[str, Any] = {"metrics": {"inference_time": max(took, 0.0)}}
    fault = outcome_fault(record.outcome) if record.outcome else None
    return facts | ({"error": fault.message, "error_type": fault.word.type} if fault else {})


def _output(record: JobRecord, links: Links, clip: Path) -> dict[str, Any]:
    assert isinstance(record.outcome, Finished)
    result = record.outcome.result
    video = VideoFile(
        url=links.clip(record.job.id),
        content_type="video/mp4",
        file_name=f"{record.job.id}.mp4",
        file_size=_size(clip),
        width=result.size.width,
        height=result.size.height,
        fps=result.fps,
        duration=round(result.frames / result.fps, 3) if result.fps else None,
        num_frames=result.frames,
    )
    plain = {"video": video, "prompt": result.prompt, "seed": result.seed}
    output = ENDPOINTS[record.job.endpoint].output.model_validate(plain).model_dump()
    return output | ({"notes": list(result.notes)} if result.notes else {})


def _size(clip: Path) -> int | None:
    try:
        return clip.stat().st_size
    except OSError:
        return None  # tidied away, or never fetched


@lru_cache(maxsize=8192)
def _log_text(line: LogLine) -> str:
    """Cached, because every poll repeats all the lines there are."""
    timestamp = datetime.fromtimestamp(line.at, UTC).isoformat()
    return json.dumps({"message": line.message, "timestamp": timestamp, "level": line.level, "source": "USER"})
