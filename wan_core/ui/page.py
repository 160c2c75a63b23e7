"""Lays the page out and connects its events."""

from functools import partial
from html import escape
from typing import Any

import gradio as gr
from gradio.components import Component

from wan_core import prompting
from wan_core.endpoints import IMAGE_TO_VIDEO
from wan_core.estimator import Estimator
from wan_core.jobs.service import JobService
from wan_core.jobs.sweeps import SweepService
from wan_core.presets import Preset, opening
from wan_core.profiles import Choice, EngineProfile, Machine
from wan_core.settings import Settings
from wan_core.ui import chips, examples, picker, saved, sections
from wan_core.ui.buttons import click_js
from wan_core.ui.cancelling import mend_cancelling
from wan_core.ui.controls import Form
from wan_core.ui.cut_tools import ON_SHOW
from wan_core.ui.end_picture import build_end_picture, connect_end_picture
from wan_core.ui.endpoint import add_endpoint
from wan_core.ui.event_faults import Page, print_no_input
from wan_core.ui.event_kinds import BROWSER, RUN, UNQUEUED
from wan_core.ui.explore.connecting import connect, varied
from wan_core.ui.explore.endpoint import add_explore_endpoint
from wan_core.ui.explore.events import CLIP_TAB, EXPLORE_TAB, ExploreEvents
from wan_core.ui.explore.tab import build_press, build_tab, sweep_state
from wan_core.ui.form_events import FormEvents
from wan_core.ui.history import History, build_history
from wan_core.ui.languages import translate
from wan_core.ui.loading_status import build_status_place, keep_status_at
from wan_core.ui.outcome import opening_line
from wan_core.ui.picture_check import PictureCheck
from wan_core.ui.pictures import leave_addresses_to_intake
from wan_core.ui.prompt_expansion import Expand, build_prompt_expansion, connect_prompt_expansion
from wan_core.ui.retuning import Notices, Retuning, RetuningParts, build_note
from wan_core.ui.run_events import RunEvents
from wan_core.ui.screen import Screen, build_screen
from wan_core.ui.summary import SettingsSummary, SummaryParts, build_outcome, build_snippets
from wan_core.ui.tuning import Tuned
from wan_core.ui.visit import FRESH, OPENING, visit_state

TITLE = "Wan 2.2 image to video"
SWEEP_S = (3600, 24 * 3600)  # Gradio's copies of uploads: looked at each hour, kept a day
NAMED_PRESS = "(press, visit, ...rest) => [wanPresses.name(), wanVisit.read(), ...rest]"


def build(
    jobs: JobService,
    settings: Settings,
    estimator: Estimator,
    choice: Choice,
    *,
    fal: sections.Fal = "closed",
    expand: Expand | None = None,
    sweeps: SweepService | None = None,
) -> gr.Blocks:
    """The app's page with its named endpoints. `expand` rewrites a prompt; `sweeps` over `jobs`."""
    machine = estimator.machine
    first = opening(settings, choice.profile, machine)
    print_no_input()
    mend_cancelling()
    page = Page(title=TITLE, delete_cache=SWEEP_S, analytics_enabled=False)
    notices = Notices(TITLE, is_own_machine=settings.listens_on_loopback)
    lay_out = partial(PageLayout, first, choice, machine, fal, notices, settings, estimator, expands=expand is not None)
    with page:
        laid = lay_out()
        page.speak(lay_out)
        left, screen, shelf, parts = laid.left, laid.screen, laid.shelf, laid.summary
        visit, tabs, explore_tab = laid.visit, laid.tabs, laid.explore
        paid = fal == "open"
        run_events = RunEvents(jobs, settings, left.form, screen, left.faults, estimator, fal_is_paid=paid)
        retuning = Retuning(
            left.form, RetuningParts(left.tuned, left.undo, left.retuned, laid.header, left.chips), notices
        )
        form_events = FormEvents(jobs, left.form, left.presets, screen, choice, machine, retuning.parts)
        _connect_run(left, screen, run_events)
        summary = SettingsSummary(left.form, parts, estimator, choice.profile, jobs)
        refresh = _connect_summary(left, summary)
        _connect_picture(left, PictureCheck(jobs, settings, left.seen_picture, left.picture_check), refresh)
        end_check = PictureCheck(jobs, settings, left.end.seen, left.end.box)
        connect_end_picture(left.end, left.form, end_check, left.seen_picture, **RUN)
        _connect_choices(left, screen, form_events)
        _connect_retuning(left, retuning)
        _connect_copies(left)
        sweeps = sweeps or SweepService(jobs, jobs.files)
        shelf.shelf.submit(History(jobs, sweeps).facts, None, [shelf.facts], **UNQUEUED)
        shown = shelf.shelf.click(form_events.clip, [screen.visit], form_events.outputs_with_screen, js=FRESH, **RUN)
        shown.success(lambda: gr.update(selected=CLIP_TAB), None, [tabs], **UNQUEUED)
        explore_events = ExploreEvents(sweeps, settings, estimator, left.form, explore_tab, visit, tabs)
        connect(
            explore_tab,
            explore_events,
            left.form,
            seen_picture=left.seen_picture,
            visit=visit,
            fal_key=left.fal_key,
            watch_clip=run_events.watch,
            clip_outputs=screen.outputs,
            shelf=shelf.shelf,
            saved=left.saved,
        )
        if expand is not None:
            connect_prompt_expansion(left.prompt_expansion, left.form, expand)
        stored = {"js": "() => [wanVisit.read(), wanForm.read()]", **UNQUEUED}
        opened = page.load(form_events.address, [visit, left.kept], form_events.outputs_with_screen, **stored)
        opened.then(**refresh).then(run_events.watch, [visit], screen.outputs, js=OPENING, **RUN)
        page.unload(page.forget_session)
        left.kept.change(inputs=[left.kept], js="form => { wanForm.keep(form); }", **BROWSER)
        add_endpoint(jobs, settings, choice.profile.name)
        add_explore_endpoint(sweeps, settings, choice.profile.name)
    keep_status_at(laid.status_place, page)
    for component in page.blocks.values():
        if isinstance(component, Component):
            leave_addresses_to_intake(component)
    return page


class PageLayout:
    """All components of the page, from top to bottom."""

    def __init__(
        self,
        first: Preset,
        choice: Choice,
        machine: Machine,
        fal: sections.Fal,
        notices: Notices,
        settings: Settings,
        estimator: Estimator,
        *,
        expands: bool,
    ) -> None:
        engine = first_engine(first, choice, machine)
        self.status_place = build_status_place()
        self.visit, explored = visit_state(), sweep_state()
        self.header = gr.HTML(notices.header(engine), elem_id="header", elem_classes="not-in-embed")
        gr.HTML(_embed_line(engine), elem_id="embed-line")
        with gr.Row(elem_id="columns"):
            with gr.Column(scale=5, min_width=320, elem_id="left"):
                self.left = left = FormColumn(first, choice, machine, fal, expands=expands)
            with gr.Column(scale=6, min_width=320, elem_id="right"):
                press = build_press(varied(left.form))
                with gr.Tabs(elem_id="views") as self.tabs:
                    with gr.Tab(translate("Clip"), id=CLIP_TAB):
                        self.screen = build_screen(self.visit, left.generate, left.cancel)
                    with gr.Tab(translate("Explore"), id=EXPLORE_TAB, render_children=True):
                        self.explore = build_tab(explored, press)
                self.shelf = build_history()
                self.summary = SummaryParts(left.presets, left.kept, *left.outcome_parts, *build_snippets())
        if settings.force_safety:
            sections.lock_safety(left.form)
        draft = IMAGE_TO_VIDEO.parse(first.complete | {"image_url": "any", "prompt": "any"})
        left.outcome.value = opening_line(draft, engine, estimator)


class FormColumn:
    """The components of the left column that events need."""

    def __init__(self, first: Preset, choice: Choice, machine: Machine, fal: sections.Fal, *, expands: bool) -> None:
        self.form = Form()
        engine = first_engine(first, choice, machine)
        self.tuned, self.undo = gr.State(Tuned(engine.name, first.name)), gr.State(None)
        self.picture_check = sections.picture_section(self.form)
        self.kept = gr.Textbox(label="Kept form", elem_id="kept-form", visible="hidden")
        self.settled_address = gr.Textbox(label="Settled address", elem_id="settled-address", visible="hidden")
        self.seen_picture = gr.State(None)
        sections.prompt_section(self.form)
        self.chips = gr.HTML(
            chips.chips(engine, "local"), elem_id="chips", elem_classes="not-in-embed", js_on_load=click_js("chip")
        )
        self.prompt_expansion = build_prompt_expansion(visible=expands)
        with gr.Row(elem_id="go"):
            self.press = gr.Textbox(label="Press", elem_id="press", visible="hidden")
            self.generate = gr.Button(translate("Generate"), variant="primary", size="lg", scale=3, elem_id="generate")
            self.cancel = gr.Button(
                translate("Cancel"), variant="stop", size="lg", scale=1, elem_id="cancel", visible=False
            )
        self.outcome_parts = build_outcome()
        self.outcome, self.outlook, self.faults, self.link, self.file = self.outcome_parts
        self.examples = gr.HTML(
            examples.gallery(), elem_id="examples", elem_classes="not-in-embed", js_on_load=click_js("example")
        )
        self.presets = gr.HTML(
            picker.picker(first.name, choice.profile, machine),
            elem_id="presets",
            elem_classes="not-in-embed",
            js_on_load=click_js("preset"),
        )
        self.retuned = build_note()
        self.end = build_end_picture(self.form, engine)
        sections.size_section(self.form, first)
        sections.sampling_section(self.form, first, engine)
        sections.frames_section(self.form, first)
        sections.encoding_section(self.form, first, engine)
        self.wan_negative = sections.checks_section(self.form, first)
        self.fal_key = sections.where_section(self.form, choice, machine, engine, fal)
        with gr.Row(elem_classes="not-in-embed"):
            self.copy_link = gr.Button(translate("Copy link"), size="sm", elem_id="copy-link")
            self.copy_embed = gr.Button(translate("Copy embed code"), size="sm", elem_id="copy-embed")
            self.saved = gr.HTML(saved.button(), elem_id="saved", js_on_load=saved.RESTORE_JS)
        gr.HTML('<p id="announcement" class="sr-only" role="status" aria-live="polite"></p>', elem_id="announcer")
        gr.HTML('<div id="to-copy" role="status"></div>', elem_id="copies", elem_classes="not-in-embed")


def _connect_run(left: FormColumn, screen: Screen, run_events: RunEvents) -> None:
    inputs = [left.press, screen.visit, left.fal_key, *left.form.inputs]
    press: dict[str, Any] = {"js": NAMED_PRESS, **RUN}
    visit, watch = [screen.visit], {"js": FRESH, "trigger_mode": "multiple", **RUN}
    sent = left.generate.click(run_events.press, inputs, [screen.visit, left.faults], **press)
    inputs = [left.press, screen.visit, *screen.cut.inputs, *left.form.inputs]
    finishing = [screen.again.click, screen.cut.make.click]
    again = gr.on(finishing, run_events.finish_again, inputs, [screen.visit], **press)
    sent.failure(js="() => { wanPresses.refused(); }", **BROWSER)
    sent.success(inputs=[left.faults], js="faults => { faults ? wanPresses.refused() : wan.leaveLink(); }", **BROWSER)
    for accepted in (sent, again):
        accepted.then(js="() => { wanPresses.answered(); }", **BROWSER)
        accepted.success(run_events.watch, visit, screen.outputs, **watch)
    screen.keep_seed.click(run_events.seed_of, visit, [left.form["seed"]], js=FRESH, **UNQUEUED)
    cut = screen.cut
    for button, frame in ((cut.start_here, cut.first_frame), (cut.end_here, cut.last_frame)):
        button.click(run_events.kept_frame, [screen.visit, cut.number], [frame], js=ON_SHOW, **UNQUEUED)
    left.cancel.click(run_events.cancel, visit, None, js=FRESH, **UNQUEUED)
    screen.visit.change(inputs=visit, js="visit => { wanVisit.merge(visit); }", **BROWSER)
    acted = screen.status.click(run_events.act, visit, visit, js=FRESH, **UNQUEUED)
    acted.then(run_events.watch, visit, screen.outputs, **watch)


def _connect_summary(left: FormColumn, summary: SettingsSummary) -> dict[str, Any]:
    """Refresh the summary whenever an input changes. Returns the arguments of that event."""
    refresh: dict[str, Any] = {
        "fn": summary.refresh,
        "inputs": [left.seen_picture, left.tuned, *left.form.inputs],
        "outputs": summary.parts.outputs,
        **UNQUEUED,
    }
    gr.on(left.form.changes, trigger_mode="always_last", **refresh)
    left.outlook.submit(summary.outlook, [left.form["engine"], left.form["where"]], [left.outlook], **UNQUEUED)
    return refresh


def _connect_picture(left: FormColumn, check: PictureCheck, refresh: dict[str, Any]) -> None:
    """Read a picture once it is chosen, an address once nobody types in it; show it again for another size."""
    picture, address, settled = left.form["picture"], left.form["image_url"], left.settled_address
    sizes = [left.form["resolution"], left.form["aspect_ratio"]]
    show: dict[str, Any] = {
        "fn": check.show,
        "inputs": [check.seen, picture, address, *sizes],
        "outputs": [check.box],
        **UNQUEUED,
    }
    address.change(inputs=[address], outputs=[settled], js="wan.settle", **BROWSER)
    inputs, outputs = [check.seen, picture, settled], [check.seen, check.box]
    read = gr.on(
        [picture.chosen.change, settled.change], check.read, inputs, outputs, trigger_mode="always_last", **RUN
    )
    read.then(**show).then(**refresh)
    gr.on([each.change for each in (address, *sizes)], trigger_mode="always_last", **show)


def _connect_choices(left: FormColumn, screen: Screen, form_events: FormEvents) -> None:
    picture, image_url = left.form["picture"], left.form["image_url"]
    form, where = [left.tuned, *left.form.inputs], [left.form["where"]]
    left.presets.click(form_events.preset, form, form_events.outputs, **RUN)
    left.examples.click(form_events.example, where, form_events.outputs, **RUN)
    again = screen.status.click(form_events.retry, [screen.visit], form_events.outputs, js=FRESH, **RUN)
    again.success(js="() => { wanPresses.again(); }", **BROWSER)
    used = [left.form["picture"], left.form["image_url"]]
    screen.use_frame.click(form_events.use_frame, [screen.visit, screen.cut.number], used, js=ON_SHOW, **RUN)
    left.saved.upload(form_events.restore_settings, where, form_events.outputs, **RUN)
    left.chips.click(form_events.chip, [left.form["prompt"]], [left.form["prompt"]], **UNQUEUED)
    runs = [left.form["engine"], left.form["where"]]
    detail = left.form["picture_detail"]
    gr.on([each.change for each in runs], form_events.detail_switch, runs, [detail], **UNQUEUED)
    gr.on([each.change for each in runs], form_events.end_ignored, runs, [left.end.ignored], **UNQUEUED)
    left.wan_negative.click(lambda: prompting.WAN_NEGATIVE_PROMPT, None, [left.form["negative_prompt"]], **UNQUEUED)
    picture.input(outputs=[image_url], js="() => ''", **BROWSER)
    image_url.input(outputs=[picture], js="() => null", **BROWSER)


def _connect_retuning(left: FormColumn, retuning: Retuning) -> None:
    runs = [left.form["engine"].change, left.form["where"].change]
    inputs = [left.tuned, *left.form.inputs]
    gr.on(runs, retuning.follow, inputs, retuning.outputs, trigger_mode="always_last", **UNQUEUED)
    left.retuned.click(retuning.take_back, [left.undo], retuning.outputs, **UNQUEUED)


def _connect_copies(left: FormColumn) -> None:
    left.copy_link.click(inputs=[left.link, left.file], js="wan.copyLink", **BROWSER)
    left.copy_embed.click(inputs=[left.link, left.file], js="wan.copyEmbed", **BROWSER)


def first_engine(first: Preset, choice: Choice, machine: Machine) -> EngineProfile:
    """The engine that the page opens with: the preset's, where it can run."""
    return first.profile(choice.profile) if first.why_not(choice.profile, machine) is None else choice.profile


def _embed_line(engine: EngineProfile) -> str:
    """In an embed: what runs, and the way to the full page."""
    link = f"<a target='_blank' rel='noopener' href='.'>{translate('open full page')}</a>"
    return f'<p class="small">{escape(translate(engine.title))} · {link}</p>'
