"""The player and the facts of a finished clip, as HTML."""

import json
from html import escape
from pathlib import Path
from urllib.parse import quote

from wan_core import cutting, recipe
from wan_core.events import Result
from wan_core.jobs.record import JobRecord
from wan_core.jobs.service import JobService
from wan_core.profiles import profiles
from wan_core.recipe import Recipe
from wan_core.ui.languages import decimal, translate, translate_made
from wan_core.ui.links import link_query
from wan_core.ui.outcome import drawn_at
from wan_core.ui.progress import duration
from wan_core.ui.saved import FILE_NAME, settings_file

PLAYER_JS = """
watch('value', () => wan.play(element));
wan.play(element);
"""


FACTS_JS = "watch('value', () => wanFacts.fold(element)); wanFacts.fold(element);"


def empty_player() -> str:
    return f'<div class="stage empty"><p>{translate("Your clip appears here.")}</p></div>'


def clip_url(job_id: str) -> str:
    """Relative to the page."""
    return f"files/{job_id}.mp4"


def player(jobs: JobService, record: JobRecord | None) -> str:
    result = jobs.result(record)
    if record is None or result is None:
        return empty_player()
    size, url = result.size, clip_url(record.job.id)
    return (
        f'<div class="stage"><video id="clip" data-src="{url}" width="{size.width}" height="{size.height}" controls '
        f'loop muted playsinline preload="auto" title="{translate("The generated clip")}" data-job="{record.job.id}" '
        f'data-fps="{result.fps}"></video></div>'
        f'<p class="row"><a class="button" id="download" data-href="{url}" download="wan-{record.job.id[:8]}.mp4">'
        f"{translate('Download mp4')} ({_megabytes(jobs.files.clip(record.job.id))})</a></p>"
    )


def facts(jobs: JobService, record: JobRecord | None) -> str:
    result = jobs.result(record)
    if record is None or result is None:
        return ""
    notes = "".join(f"<li>{escape(translate_made(note))}</li>" for note in result.notes)
    empty = f"<i>{translate('empty')}</i>"
    rows = {
        "Seed": f'<code id="seed-used">{result.seed}</code>',
        "Prompt used": f'<span id="prompt-used">{escape(result.prompt) or empty}</span>',
        "Clip": escape(_clip_line(record, result)),
        "Engine": _engine_line(record, result),
        "Time": _times(result),
    }
    listed = "".join(f"<dt>{translate(name)}</dt><dd>{value}</dd>" for name, value in rows.items())
    folded = f'<dl class="facts" id="facts-list">{listed}</dl>{_recipe(record)}'
    return (
        f'<ul class="notes" id="notes">{notes}</ul>' if notes else ""
    ) + f'<details class="fold" open><summary>{translate("About this clip")}</summary>{folded}</details>'


def _clip_line(record: JobRecord, result: Result) -> str:
    seconds = decimal(f"{result.frames / result.fps:.2f}")
    length = f"{translate('{n} frames', n=result.frames)} · {result.fps} fps · {seconds} s"
    shown = cutting.words(record.job.options.cut, record.job.inputs.num_frames)
    return f"{result.size} · {length}" + (f" · {translate_made(shown)}" if shown else "")


def _engine_line(record: JobRecord, result: Result) -> str:
    """Engine and place; for a clip made on fal, a link to the copy there."""
    title = translate(profiles()[result.engine].title) if result.engine in profiles() else result.engine
    place = "{engine}, on fal" if record.pool == "fal" else "{engine}, on this machine"
    line = escape(f"{translate(place, engine=title)}{_drawn_small(record, result)}")
    if result.fal_url is None:
        return line
    href, copy = escape(result.fal_url, quote=True), translate("the copy at fal")
    return f'{line} · <a id="fal-copy" href="{href}" target="_blank" rel="noopener noreferrer">{copy}</a>'


def _drawn_small(record: JobRecord, result: Result) -> str:
    profile = profiles().get(result.engine)
    if profile is None or record.pool == "fal" or profile.render_divisor == 1:
        return ""
    return f"; {drawn_at(record.job.size, profile, record.job.options.picture_detail)}"


def _times(result: Result) -> str:
    seconds = {stage: took for stage, took in result.stage_seconds.items() if took >= 0.05}
    if not seconds:
        return "—"
    whole = sum(seconds.values())
    bar = "".join(f'<i class="{stage}" style="flex:{took / whole:.4f}"></i>' for stage, took in seconds.items())
    words = " · ".join(
        f'<span class="stage-{stage}">{translate(stage)} {decimal(f"{took:.1f}")} s</span>'
        for stage, took in seconds.items()
    )
    return f'{duration(whole)} <span class="times" aria-hidden="true">{bar}</span> <span class="small">{words}</span>'


def _recipe(record: JobRecord) -> str:
    kept = recipe.from_job(record.job)
    plain = {"engine": kept.engine, "where": kept.where, "picture_detail": kept.picture_detail, **kept.values}
    if kept.cut != cutting.WHOLE:
        plain |= cutting.to_plain(kept.cut)
    summary = translate("Recipe (also inside the mp4)")
    text = escape(json.dumps(plain, ensure_ascii=False, indent=2))
    return (
        f'<p class="small">{_link(kept)}</p>'
        f'<details id="recipe"><summary>{summary}</summary><pre>{text}</pre></details>'
    )


def _link(kept: Recipe) -> str:
    """A link to the settings, or a settings file where the link would be too long."""
    query = link_query(kept)
    if query is not None:
        words = translate("A link to this clip's settings")
        return f'<a id="clip-link" href="{escape(f"?{query}", quote=True)}">{words}</a>'
    words = translate("This clip's settings as a file")
    data = f"data:application/json,{quote(settings_file(kept))}"
    return f'<a id="clip-link" href="{data}" download="{FILE_NAME}">{words}</a>'


def _megabytes(clip: Path) -> str:
    size = clip.stat().st_size
    return decimal(f"{size / 1e6:.1f} MB") if size >= 1e5 else f"{max(1, round(size / 1e3))} kB"
