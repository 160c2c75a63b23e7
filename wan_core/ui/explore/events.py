"""The events of the Explore tab: plan, start, follow, act on a cell, export."""

import asyncio
import json
import math
import re
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from html import escape
from typing import Any

import gradio as gr
from pydantic import SecretStr

from wan_core.errors import BackendError, InputError
from wan_core.estimator import Estimator
from wan_core.events import Finished, JobOptions
from wan_core.explore import definition as definitions
from wan_core.explore.axes import MAX_AXES, PROMPT_WORDS, knobs
from wan_core.explore.cells import Plan, plan
from wan_core.explore.cost import Cost, cost, fewer_cells, line, most_cells
from wan_core.explore.definition import AxisText, Definition
from wan_core.explore.prompt_words import alternatives
from wan_core.explore.scout import FEWEST_FRAMES
from wan_core.geometry import Size
from wan_core.jobs.limits import Client, client_of
from wan_core.jobs.record import JobRecord
from wan_core.jobs.sweeps import SWEEP_GONE, Sweep, SweepService
from wan_core.profiles import TURBO, Machine, profiles, why_not
from wan_core.schema import MAX_SEED
from wan_core.settings import Settings
from wan_core.ui import saved
from wan_core.ui.buttons import clicked
from wan_core.ui.controls import PICTURE_IS_UPLOADED, UPLOAD_BOXES, Form, fields_of, uploads_of
from wan_core.ui.errors import CLIP_GONE, as_gradio_error
from wan_core.ui.explore import exporting
from wan_core.ui.explore.axes_editor import chips, definition_of, show, suggested, takes_pictures, toggled
from wan_core.ui.explore.grid import grid, patch, settings_link
from wan_core.ui.explore.tab import CANCEL, EXPORTS, RETRY, ExploreTab
from wan_core.ui.languages import decimal, translate, translate_made
from wan_core.ui.picture_check import SeenPicture, size_of
from wan_core.ui.pictures import copy_to_uploads, keep_picture, picture_source
from wan_core.ui.progress import duration
from wan_core.ui.run_events import NO_PICTURE
from wan_core.ui.visit import Visit

SWEEP_ID = re.compile(r"[0-9a-f-]{36}")
EXPLORE_TAB, CLIP_TAB = "explore", "clip"
UNKNOWN_PICTURE = Size(832, 480)
AT_MOST = "This server makes at most {n} clips in one grid."
Shown = dict[Any, Any]


@dataclass(frozen=True)
class Asked:
    """What the form and the axes say."""

    given: dict[str, Any]
    base: dict[str, Any]
    definition: Definition

    @property
    def engine(self) -> str:
        return str(self.given["engine"])

    def plan(self) -> Plan:
        axes = self.definition.read_axes(first_seed=_whole(self.base["seed"]))
        return plan(self.base, self.engine, axes, scout=self.definition.scout)


class ExploreEvents:
    def __init__(
        self,
        sweeps: SweepService,
        settings: Settings,
        estimator: Estimator,
        form: Form,
        tab: ExploreTab,
        visit: gr.JSON,
        tabs: gr.Tabs,
    ) -> None:
        self._sweeps = sweeps
        self._jobs = sweeps.jobs
        self._settings = settings
        self._estimator = estimator
        self._form = form
        self._tab = tab
        self._visit = visit
        self._tabs = tabs

    @property
    def inputs(self) -> list[Any]:
        """Axes, Scout and the form."""
        return [*self._tab.axis_inputs, self._tab.scout, *self._form.inputs]

    @property
    def line_outputs(self) -> list[Any]:
        return [self._tab.line, self._tab.make, self._tab.confirm]

    @property
    def sweep_outputs(self) -> list[Any]:
        tab = self._tab
        return [tab.sweep, tab.grid, tab.patches, tab.cancel, tab.retry, *tab.exports.values()]

    @property
    def action_outputs(self) -> list[Any]:
        return [self._visit, self._tab.link, self._tabs, *self._form.inputs]

    def refresh(self, seen: SeenPicture | None, *values: Any) -> Shown:
        """The line before the click, with what would fit."""
        with as_gradio_error():
            asked = self._read(values)
            source = picture_source(asked.given["picture"], asked.given["image_url"])
            try:
                made = replace(asked, base=self._as_draft(asked.base)).plan()
            except InputError as error:
                return self._line(f'<p class="fault">{escape(translate_made(error.message))}</p>', can_make=False)
            picture, where = size_of(seen, source) or UNKNOWN_PICTURE, asked.given["where"]
            at_once = self._jobs.outlook(where, asked.engine).at_once
            spent = cost(made, picture, self._estimator, where, at_once)
            return self._priced(asked, made, spent)

    def pick(self, name: str) -> tuple[str, Any, str]:
        """The values that a knob suggests, whether it takes pictures, and the values' chips."""
        text = suggested(name)
        return text, gr.update(visible=takes_pictures(name)), chips(name, text) if text else ""

    def add_pictures(self, files: Sequence[str] | None, text: str) -> tuple[str, None]:
        """The values and, below them, these uploads."""
        with as_gradio_error():
            kept = [keep_picture(path, self._jobs.files) for path in files or []]
            return "\n".join([*(text or "").strip().splitlines(), *kept]), None

    def chips(self, name: str, text: str) -> str:
        return chips(name, text or "")

    def toggle(self, name: str, text: str, event: gr.EventData) -> str:
        with as_gradio_error():
            return toggled(name, text or "", event)

    def vary(self, event: gr.EventData, *values: Any) -> Shown:
        """Put a knob on the first free axis, and show the tab."""
        with as_gradio_error():
            name = clicked(event, "vary")
            asked = self._read(values)
            axes = [axis for axis in asked.definition.axes if axis.name != name]
            if name in knobs():
                text = suggested(name)
                words = alternatives(str(asked.base["prompt"])) if name == PROMPT_WORDS else []
                axes = [*axes[: MAX_AXES - 1], AxisText(name, ", ".join(words) or text)]
            chosen = replace(asked.definition, axes=tuple(axes))
            return show(self._tab.axes, chosen) | {self._tabs: gr.update(selected=EXPLORE_TAB)}

    def offer(self, event: gr.EventData, *values: Any) -> Shown:
        """Take one of the offers: fewer cells, or cheaper ones."""
        with as_gradio_error():
            asked, offer = self._read(values), clicked(event, "offer")
            if offer == "fewer":
                most = most_cells(self._settings, asked.given["where"], asked.engine)
                draft = replace(asked, base=self._as_draft(asked.base))
                return show(self._tab.axes, fewer_cells(asked.definition, draft.plan(), most))
            changes: dict[str, Mapping[str, Any]] = {
                "480p": {"resolution": "480p"},
                "frames": {"num_frames": FEWEST_FRAMES},
                "turbo": {"engine": TURBO},
            }
            return self._form.show(changes.get(offer, {})) or {self._tab.line: gr.skip()}

    async def start(self, request: gr.Request, fal_key: str, confirmed: bool, *values: Any) -> Shown:
        """Accept the grid as one group."""
        with as_gradio_error():
            asked = self._read(values)
            varied = {axis.name for axis in asked.definition.axes}
            if picture_source(asked.given["picture"], asked.given["image_url"]) is None and "image_url" not in varied:
                raise InputError("image_url", "missing", NO_PICTURE)
            base = asked.base | {"seed": asked.base["seed"] or secrets.randbelow(MAX_SEED - 1000)}
            asked = replace(asked, base=base)
            made = asked.plan()
            self._refuse(asked, made, confirmed)
            given = asked.given
            switches: dict[str, Any] = {
                name: bool(given[name]) for name in ("prompt_in_file", "picture_detail") if name in given
            }
            options = JobOptions(asked.engine, given["where"], **switches)
            sweep = await self._sweeps.start(
                made,
                asked.definition,
                base,
                options,
                self._client(request),
                uploads=uploads_of(given),
                fal_key=_key(fal_key),
            )
            return self._show(sweep)

    async def watch(self, stored: object) -> AsyncIterator[Shown]:
        """Fill the cells of the sweep on show until all are over."""
        with as_gradio_error():
            sweep = self._stored(stored)
            if sweep is None:
                return
            number = 0
            async for changed in self._sweeps.watch(sweep.id):
                patches = [patch(self._sweeps, sweep.cells[index]) for index in changed if sweep.cells[index].job]
                number += 1
                if number > 1 and patches:
                    yield {self._tab.patches: self._patches(patches, number)}
            final = [patch(self._sweeps, cell) for cell in sweep.cells if cell.job]
            yield {self._tab.patches: self._patches(final, -1), **self._buttons(sweep)}

    def load(self, request: gr.Request, stored: object) -> Shown:
        """The sweep or the axes that the address names, else the sweep that this browser saw last."""
        with as_gradio_error():
            query = dict(request.query_params)
            if query.get("embed") == "1" and not SWEEP_ID.fullmatch(query.get("show", "")):
                query.pop("show", None)  # there it names parts of the page
            shown = self._sweeps.get(query["show"]) if "show" in query else self._stored(stored)
            result: Shown = {self._tab.link: gr.skip()}
            if shown is not None:
                result |= self._show(shown) | show(self._tab.axes, shown.definition)
                result |= {self._tab.scout: shown.definition.scout}
            elif "show" in query:
                result |= {self._tab.grid: f'<p class="fault" role="alert">{escape(SWEEP_GONE)}</p>'}
            asked = definitions.from_text(query.get("explore", ""))
            if asked is not None:
                result |= show(self._tab.axes, asked) | {self._tab.scout: asked.scout}
            if asked is not None or "show" in query:
                result[self._tabs] = gr.update(selected=EXPLORE_TAB)
            return result

    @property
    def load_outputs(self) -> list[Any]:
        return [*self.sweep_outputs, *self._tab.axis_outputs, self._tab.scout, self._tab.link, self._tabs]

    def open(self, event: gr.EventData) -> Shown:
        """Show a grid of the history."""
        with as_gradio_error():
            sweep = self._sweeps.require(clicked(event, "sweep"))
            return self._show(sweep) | {self._tabs: gr.update(selected=EXPLORE_TAB)}

    def restore_axes(self, event: gr.EventData) -> Shown:
        """The axes in a file: of a clip of a grid, or of an exported grid, which shows the tab too."""
        asked = definitions.from_text(saved.axes_in(event))
        if asked is None:
            return {self._tab.scout: gr.skip()}
        tab = {self._tabs: gr.update(selected=EXPLORE_TAB)} if saved.is_grid(event) else {}
        return show(self._tab.axes, asked) | {self._tab.scout: asked.scout} | tab

    def cancel(self, stored: object) -> None:
        with as_gradio_error():
            sweep = self._stored(stored)
            if sweep is not None:
                self._sweeps.cancel(sweep)

    def retry(self, request: gr.Request, fal_key: str, stored: object) -> Shown:
        """Run failed and cancelled cells again."""
        with as_gradio_error():
            sweep = self._required(stored)
            again = self._sweeps.retry(sweep, self._client(request), _key(fal_key))
            pairs = zip(sweep.cells, again.cells, strict=True)
            patches = [patch(self._sweeps, new) | {"replaces": old.job} for old, new in pairs if new.job != old.job]
            return {self._tab.patches: self._patches(patches, 0), **self._buttons(again)}

    async def act(self, request: gr.Request, event: gr.EventData, fal_key: str, stored: object, visit: object) -> Shown:
        """A cell's button: settings, promote, use-frame or link."""
        with as_gradio_error():
            sweep, job_id = self._required(stored), clicked(event, "job")
            record = self._jobs.get(job_id) if job_id in sweep.job_ids else None
            if record is None:
                raise BackendError("frames_not_kept", CLIP_GONE)
            match clicked(event, "action"):
                case "settings":
                    return self._settings_of(record)
                case "promote":
                    full = self._sweeps.promote(sweep, job_id, self._client(request), _key(fal_key))
                    followed = Visit.of(visit).with_job(full.job.id).plain
                    return {self._visit: followed, self._tabs: gr.update(selected=CLIP_TAB)}
                case "use-frame":
                    frame = await asyncio.to_thread(exporting.frame_at, self._jobs, record, _seconds(event))
                    return self._form.show({"picture": frame, "image_url": ""})
                case "link":
                    return {self._tab.link: f"{settings_link(record)} {secrets.token_hex(4)}"}
            return {self._tab.link: gr.skip()}

    async def export(self, kind: str, stored: object) -> Shown:
        with as_gradio_error():
            sweep = self._required(stored)
            path = await asyncio.to_thread(exporting.export, self._sweeps, sweep, kind)
            return {self._tab.file: gr.update(value=str(path), visible=True)}

    def _read(self, values: Sequence[Any]) -> Asked:
        axes, scout, rest = values[: 2 * MAX_AXES], values[2 * MAX_AXES], values[2 * MAX_AXES + 1 :]
        given = self._form.read(rest)
        return Asked(given, fields_of(given), definition_of(axes, scout=bool(scout)))

    def _as_draft(self, base: Mapping[str, Any]) -> dict[str, Any]:
        """With stand-ins for picture and prompt, which may still be missing."""
        missing = {"image_url": base["image_url"] or PICTURE_IS_UPLOADED, "prompt": base.get("prompt") or "…"}
        return {**base, **missing}

    def _priced(self, asked: Asked, made: Plan, spent: Cost) -> Shown:
        most = most_cells(self._settings, asked.given["where"], asked.engine)
        words = [f'<p class="cost">{escape(line(made, spent, duration, translate))}</p>']
        faults = list(dict.fromkeys(cell.why for cell in made.cells if cell.state == "fault"))
        words += [f'<p class="fault">{escape(translate_made(fault))}</p>' for fault in faults[:3]]
        too_many = spent.cells > most
        if too_many:
            words.append(f'<p class="fault">{translate(AT_MOST, n=most)}</p>')
        offers = self._offers(asked, spent, too_many=too_many)
        buttons = "".join(f'<button type="button" data-offer="{key}">{escape(text)}</button>' for key, text in offers)
        words.append(
            f'<div class="offers" role="group" aria-label="{translate("What would fit")}">{buttons}</div>'
            if offers
            else ""
        )
        dollars = (
            translate("Yes, spend ${dollars} on fal", dollars=decimal(f"{spent.dollars:.2f}"))
            if spent.is_on_fal
            else ""
        )
        return self._line("".join(words), can_make=not too_many and spent.cells > 0, confirm=dollars)

    def _offers(self, asked: Asked, spent: Cost, *, too_many: bool) -> list[tuple[str, str]]:
        most = most_cells(self._settings, asked.given["where"], asked.engine)
        offers = [("fewer", translate("Keep {n} cells or fewer", n=most))] if too_many else []
        if not (too_many or spent.is_on_fal or spent.quota_s is not None):
            return offers
        axes = {axis.name for axis in asked.definition.axes}
        if not asked.definition.scout and asked.base["resolution"] != "480p" and "resolution" not in axes:
            offers.append(("480p", "480p"))
        if not asked.definition.scout and asked.base["num_frames"] != FEWEST_FRAMES and "num_frames" not in axes:
            offers.append(("frames", translate("{n} frames", n=FEWEST_FRAMES)))
        can_turbo = why_not(profiles()[TURBO], self._machine) is None
        if can_turbo and asked.engine != TURBO and not spent.is_on_fal:
            offers.append(("turbo", "Turbo"))
        return offers

    @property
    def _machine(self) -> Machine:
        return self._estimator.machine

    def _line(self, html: str, *, can_make: bool, confirm: str = "") -> Shown:
        tick = gr.update(visible=True, label=confirm) if confirm else gr.update(visible=False, value=False)
        return {self._tab.line: html, self._tab.make: gr.update(interactive=can_make), self._tab.confirm: tick}

    def _refuse(self, asked: Asked, made: Plan, confirmed: bool) -> None:
        """Raises InputError above the host's limit, or while the dollars are not confirmed."""
        most = most_cells(self._settings, asked.given["where"], asked.engine)
        spent = cost(made, UNKNOWN_PICTURE, self._estimator, asked.given["where"])
        if spent.cells > most:
            raise InputError("explore", "too_long", AT_MOST.format(n=most))
        if spent.is_on_fal and not confirmed:
            raise InputError("explore", "missing", f"Tick the box that spends ${spent.dollars:.2f} on fal first.")

    def _show(self, sweep: Sweep) -> Shown:
        return {
            self._tab.sweep: {"sweep": sweep.id},
            self._tab.grid: grid(self._sweeps, sweep),
            **self._buttons(sweep),
        }

    def _buttons(self, sweep: Sweep) -> Shown:
        records = [record for cell in sweep.cells if (record := self._sweeps.record(cell)) is not None]
        is_over = all(record.is_over for record in records)
        has_failed = any(record.is_over and not isinstance(record.outcome, Finished) for record in records)
        has_clip = any(isinstance(record.outcome, Finished) for record in records)
        exports = {
            button: gr.update(visible=is_over and has_clip, value=translate(EXPORTS[kind]))
            for kind, button in self._tab.exports.items()
        }
        return {
            self._tab.cancel: gr.update(visible=not is_over, value=translate(CANCEL)),
            self._tab.retry: gr.update(visible=is_over and has_failed, value=translate(RETRY)),
            **exports,
        }

    def _patches(self, patches: list[dict[str, Any]], number: int) -> str:
        text = json.dumps(patches, ensure_ascii=False)
        return f'<data data-number="{number}" data-patches="{escape(text, quote=True)}"></data>'

    def _settings_of(self, record: JobRecord) -> Shown:
        """Every input as it was for the cell, with its picture."""
        job = record.job
        boxes = {UPLOAD_BOXES[name]: self._picture(file_id) for name, file_id in job.files.items()}
        page = {"engine": job.options.engine, "where": job.options.where, "prompt_in_file": job.options.prompt_in_file}
        return self._form.show(job.inputs.model_dump() | boxes | page)

    def _picture(self, file_id: str) -> str | None:
        path = self._jobs.files.picture(file_id)
        return copy_to_uploads(path) if path.is_file() else None

    def _stored(self, stored: object) -> Sweep | None:
        sweep_id = stored.get("sweep") if isinstance(stored, dict) else None
        return self._sweeps.get(sweep_id) if isinstance(sweep_id, str) else None

    def _required(self, stored: object) -> Sweep:
        sweep = self._stored(stored)
        if sweep is None:
            raise BackendError("frames_not_kept", SWEEP_GONE)
        return sweep

    def _client(self, request: gr.Request) -> Client:
        peer = request.client.host if request.client else None
        return client_of(dict(request.headers), peer, self._settings, request.username)


def _key(typed: str | None) -> SecretStr | None:
    return SecretStr(typed.strip()) if typed and typed.strip() else None


def _seconds(event: gr.EventData) -> float:
    """0 for what is no time."""
    try:
        at_s = float(clicked(event, "time"))
    except ValueError:
        return 0
    return at_s if math.isfinite(at_s) else 0


def _whole(seed: object) -> int:
    """0 for what is no number: each cell then names the fault."""
    try:
        return int(str(seed or 0))
    except ValueError:
        return 0
