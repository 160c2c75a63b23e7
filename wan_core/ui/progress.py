"""The panel above the video: a job's events → HTML. Pure."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

from wan_core.events import Event, Failed, Finished, Log, Note, Queued, Stage, Step, Stopped
from wan_core.jobs.record import STAGE_SENTENCES, JobRecord
from wan_core.pricing import dollars_of_job
from wan_core.profiles import FULL_MODEL
from wan_core.ui.languages import decimal, translate, translate_made

IDLE = ""
AFTER_FRAMES = ("interpolating", "encoding")
"""The stages that an engine's own "seconds left" leaves out."""


@dataclass
class Progress:
    headline: str = "Waiting to begin."
    done: int = 0
    total: int = 0
    seconds_left: float | None = None
    notes: list[str] = field(default_factory=list)
    failed: bool = False
    expected: Mapping[str, float] = field(default_factory=dict)
    """Seconds of each stage, by the estimator; empty where it knows none."""

    def update(self, event: Event) -> None:
        match event:
            case Queued(position, trouble):
                self.headline = trouble or _place_in_line(position)
            case Stage(name, detail):
                self._start_stage(detail or STAGE_SENTENCES[name])
                self.seconds_left = self._left(name)
            case Step(stage, done, total, seconds_left):
                self.done, self.total = done, total
                self.seconds_left = self._left(stage, done / total if total else 0.0, seconds_left)
            case Note(message) | Log(message, "WARN"):
                self.notes.append(message)
            case Finished(_):
                self._start_stage("Done.")
            case Stopped():
                self._start_stage("Cancelled. Nothing was kept.")
            case Failed(_, message):
                self._start_stage(message)
                self.failed = True

    def _left(self, stage: str, share: float = 0.0, said: float | None = None) -> float | None:
        """Seconds to the clip. `share` of the stage is done; `said` by the engine: for its own stages alone."""
        if said is not None:
            return said + sum(self.expected.get(name, 0.0) for name in AFTER_FRAMES)
        if stage not in self.expected or stage not in AFTER_FRAMES:
            return None
        later = AFTER_FRAMES[AFTER_FRAMES.index(stage) + 1 :]
        return (1 - share) * self.expected[stage] + sum(self.expected.get(name, 0.0) for name in later)

    def _start_stage(self, headline: str) -> None:
        self.headline, self.done, self.total, self.seconds_left = headline, 0, 0, None


def panels(progress: Mapping[str, Progress], records: Sequence[JobRecord], *, fal_is_paid: bool = False) -> str:
    """The panels of all followed jobs; each has a button of its own where there are several.

    `fal_is_paid`: this server pays for jobs on fal, so that one which failed here may go there.
    """
    several = sum(not record.is_over for record in records) > 1
    known = [(progress[record.job.id], record) for record in records]
    return "".join(panel(*each, several=several, fal_is_paid=fal_is_paid) for each in known)


def panel(progress: Progress, record: JobRecord, *, several: bool = False, fal_is_paid: bool = False) -> str:
    """The panel of a job; empty once its clip is there."""
    if isinstance(record.outcome, Finished):
        return IDLE
    kind = "failed" if progress.failed else "over" if record.is_over else "running"
    parts = [f'<p class="headline">{escape(translate_made(progress.headline))}</p>']
    if not record.is_over:
        parts += [_bar(progress), f'<p class="small">{_figures(progress, record)}</p>']
    if progress.failed:
        parts.append(f'<p class="small">{translate("Job")} <code>{record.job.id}</code></p>')
    parts += [f'<p class="small note">{escape(translate_made(note))}</p>' for note in dict.fromkeys(progress.notes)]
    parts.append(_buttons(progress, record, several=several, fal_is_paid=fal_is_paid))
    facts = f'data-job="{record.job.id}" data-title="{_title(progress, record)}" data-announce="{_announced(progress)}"'
    return f'<div class="panel {kind}" {facts}>{"".join(parts)}</div>'


def _buttons(progress: Progress, record: JobRecord, *, several: bool, fal_is_paid: bool) -> str:
    job_id = record.job.id
    if progress.failed:
        again = [("retry", "Retry"), *smaller(record), *(_on_fal(record) if fal_is_paid else [])]
        buttons = [*([] if record.job.frames_of else again), ("dismiss", "Put away")]  # else it would sample anew
    elif several and not record.is_over:
        buttons = [("cancel", "Cancel")]
    else:
        return ""
    return (
        '<p class="row">'
        + "".join(
            f'<button type="button" class="button" data-act="{verb}:{job_id}">{translate(words)}</button>'
            for verb, words in buttons
        )
        + "</p>"
    )


def smaller(record: JobRecord) -> list[tuple[str, str]]:
    """Ways to ask for less: verb and words."""
    inputs, options = record.job.inputs, record.job.options
    ways = [("480p", "Retry in 480p")] if inputs.resolution != "480p" else []
    ways += [("49", "Retry with 49 frames")] if inputs.num_frames > 49 else []
    has_turbo = options.engine == FULL_MODEL and options.where == "local"  # its LoRAs run where the model does
    return ways + ([("turbo", "Retry with Turbo")] if has_turbo else [])


def _on_fal(record: JobRecord) -> list[tuple[str, str]]:
    """The same model at fal, with its price. Another engine's values would mean another clip there."""
    job = record.job
    if job.options.engine != FULL_MODEL or record.pool == "fal":
        return []
    return [("fal", translate("Run on fal (${dollars})", dollars=decimal(f"{dollars_of_job(job):.2f}")))]


def _title(progress: Progress, record: JobRecord) -> str:
    """For the tab: the place in line, or how far it is."""
    if progress.failed:
        return translate("Failed")
    if record.is_over:
        return translate("Cancelled")
    if record.status == "queued":
        return translate("{n} ahead", n=record.position) if record.position else translate("Next")
    return f"{100 * progress.done // progress.total} %" if progress.total else translate("Running")


def _announced(progress: Progress) -> str:
    """What a screen reader is told: it changes at each stage and each quarter of its steps."""
    quarter = 25 * (4 * progress.done // progress.total) if progress.total else 0
    headline = translate_made(progress.headline)
    return escape(f"{headline} {quarter} %" if quarter else headline, quote=True)


def _bar(progress: Progress) -> str:
    name = translate("Progress")
    if not progress.total:
        return f'<progress aria-label="{name}"></progress>'
    return f'<progress aria-label="{name}" value="{progress.done}" max="{progress.total}"></progress>'


def _figures(progress: Progress, record: JobRecord) -> str:
    """`Step 3 of 8 · 0:12 so far · about 20 s left`."""
    words = [translate("Step {done} of {total}", done=progress.done, total=progress.total)] if progress.total else []
    if record.started_at is not None and record.status == "running":
        so_far = round(time.time() - record.started_at)
        clock = translate("{clock} so far", clock=f"{so_far // 60}:{so_far % 60:02}")
        words.append(f'<span data-elapsed="{so_far}">{clock}</span>')
    if progress.seconds_left is not None:
        words.append(translate("about {time} left", time=duration(progress.seconds_left)))
    return " · ".join(words)


def _place_in_line(position: int) -> str:
    if position == 0:
        return "Next in line."
    return f"Waiting: {position} job{'s are' if position > 1 else ' is'} ahead of yours."


def duration(seconds: float) -> str:
    """`8 s`, `1 min 20 s`, `2 h 5 min`."""
    whole = max(1, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s" if whole % 60 else f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
