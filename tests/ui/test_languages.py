"""The page in six languages: whose it is, that no sentence lacks, and that none is outside the files."""

import ast
import re
from collections.abc import Iterator, Mapping
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.jobs import House
from tests.ui.conftest import CHOICE, MACHINE, Desk
from wan_core import cutting, prompting, ui
from wan_core.endpoints import IMAGE_TO_VIDEO
from wan_core.errors import InputError
from wan_core.estimator import Estimator
from wan_core.explore.axes import knobs
from wan_core.explore.numbers import MEASURES
from wan_core.jobs.record import STAGE_SENTENCES
from wan_core.presets import presets
from wan_core.profiles import profiles
from wan_core.settings import Settings
from wan_core.ui import examples, languages
from wan_core.ui.event_faults import Page
from wan_core.ui.languages import TRANSLATED, preferred, sentences, speaking, translate, translate_made
from wan_core.ui.languages.browser import asked, words

UI = Path(ui.__file__).parent
PLACE = re.compile(r"\{\w+\}")


@pytest.fixture
def page(house: House) -> Any:
    return ui.build(house.jobs, Settings(), Estimator(MACHINE), CHOICE, fal="own_key")


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "en"),
        ("de-DE,de;q=0.9,en;q=0.8", "de"),
        ("en-GB,en;q=0.9,de;q=0.8", "en"),
        ("nl,fr;q=0.7,en;q=0.3", "fr"),
        ("fr;q=0.2,ja;q=0.9", "ja"),
        ("zh-CN,zh;q=0.9", "zh"),
        ("zh-TW,en;q=0.9", "en"),
        ("es;q=0", "en"),
        ("de;q=x,*;q=0.5", "en"),
        (";;;,,,=", "en"),
    ],
)
def test_the_first_known_language_of_the_browser_is_spoken(header: str, language: str) -> None:
    assert preferred(header) == language


def test_every_language_has_every_sentence() -> None:
    known = set(sentences("de"))
    for language in TRANSLATED:
        assert set(sentences(language)) ^ known == set(), language


@pytest.mark.parametrize("language", TRANSLATED)
def test_a_translation_has_the_places_of_its_sentence(language: str) -> None:
    said = sentences(language)
    assert {each for each in said if set(PLACE.findall(each)) != set(PLACE.findall(said[each]))} == set()
    assert all(translation.strip() for translation in said.values())


def test_what_the_schema_and_the_engines_say_is_translated() -> None:
    fields = IMAGE_TO_VIDEO.fields.values()
    choices = {word for name in IMAGE_TO_VIDEO.fields for word in IMAGE_TO_VIDEO.choices(name)}
    asked_for = {
        *(field.title for field in fields),
        *(field.description for field in fields),
        *(word for word in choices if word.isalpha() and word not in {"film", "rife"}),
        *(text for preset in presets().values() for text in (preset.title, preset.description)),
        *(text for engine in profiles().values() for text in (engine.description, engine.notice) if text),
        *(chip.label for chip in (*prompting.CAMERA, *prompting.MOTION)),
        *(knob.title for knob in knobs().values()),
        *(text for measure in MEASURES for text in (measure.title, measure.help)),
        *STAGE_SENTENCES.values(),
    }
    assert asked_for - set(sentences("de")) == set()


def test_a_sentence_with_values_is_found_again() -> None:
    with speaking("de"):
        assert translate_made("Waiting: 3 jobs are ahead of yours.") == "Wartet: 3 Aufträge sind davor."
        assert translate_made("frames 9 to 40 of 81, as a loop") == "Frames 9 bis 40 von 81, als Schleife"
        told = translate_made("Ran on fal, because this machine could not: The worker process died.")
        assert told == "Lief auf fal, weil dieser Rechner es nicht konnte: Der Worker-Prozess ist abgestürzt."
        assert translate_made("Nobody has written this.") == "Nobody has written this."
        assert translate("{n} frames", n=81) == "81 Frames"
    assert translate_made("Waiting: 3 jobs are ahead of yours.") == "Waiting: 3 jobs are ahead of yours."


def test_the_page_comes_in_its_readers_language_alone(page: Any) -> None:
    english = page.config
    with speaking("de"):
        german = page.config
    labels = [_by_id(config)["generate"]["value"] for config in (english, german)]
    assert labels == ["Generate", "Erzeugen"]
    assert [each["id"] for each in german["components"]] == [each["id"] for each in english["components"]]
    assert german["dependencies"] is english["dependencies"]
    choices = _by_id(german)["video_quality"]["choices"]
    assert choices[0] == ("niedrig", "low")
    assert "Generate" not in str(_by_id(german)["generate"])
    assert page.config is english


def test_an_event_answers_in_the_language_of_who_asks() -> None:
    german = SimpleNamespace(headers={"accept-language": "de-DE,de;q=0.9"})
    private, public = SimpleNamespace(api_visibility="private"), SimpleNamespace(api_visibility="public")
    page: Any = SimpleNamespace(fns={3: private})
    assert Page._language_of(page, private, [], request=german) == "de"
    assert Page._language_of(page, 3, request=[german]) == "de"
    assert Page._language_of(page, private, [], request=None) == "en"
    assert Page._language_of(page, public, [], request=german) == "en"  # programs read English


def test_outcome_and_faults_are_said_in_the_visitors_language(desk: Desk) -> None:
    with speaking("fr"):
        shown = desk.summary.refresh(None, desk.left.tuned.value, *desk.values(num_frames=81, resolution="480p"))
        assert "taille selon l’image" in shown[desk.left.outcome]
        assert "5,03 s" in shown[desk.left.outcome]
        wrong = desk.summary.refresh(None, desk.left.tuned.value, *desk.values(num_frames=500))
    assert "Nombre d’images" in wrong[desk.left.faults]


# ---- no sentence outside of the files


class Marked(dict[str, str]):
    """A language in which every sentence is itself between marks."""

    def __contains__(self, english: object) -> bool:
        return True

    def get(self, english: str, _: object = None) -> str:  # type: ignore[override]
        return f"⟦{english}⟧"

    def __getitem__(self, english: str) -> str:
        return self.get(english)


@pytest.fixture
def marked(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(languages, "sentences", lambda language: Marked() if language == "de" else {})
    with speaking("de"):
        yield


NAMES = {
    "fal",
    "Wan",
    "Python",
    "JavaScript",
    "cURL",
    "mp4",
    "fps",
    "kB",
    "MB",
    "https",
    "film",
    "rife",
    "A14B",
    "turbo",
}
ENGLISH_PARTS = {"knobs"}  # the measured account of the miniature's knobs, with its tables
TEXT_ATTRIBUTES = ("title", "aria-label", "alt", "placeholder")


class Texts(HTMLParser):
    """What one reads or hears of HTML."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.text = ""
        self.feed(html)
        self.found.append(self.text)

    def handle_data(self, data: str) -> None:
        self.text += data

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        self.found += [value or "" for name, value in attributes if name in TEXT_ATTRIBUTES]


def unmarked(text: str) -> list[str]:
    """The words outside of all marks."""
    before = ""
    while before != text:
        before, text = text, re.sub(r"⟦[^⟦⟧]*⟧", " ", text)
    return [word for word in re.findall(r"[^\W\d_]{3,}\w*", text) if word not in NAMES]


def test_no_text_of_the_page_is_outside_the_files(page: Any, marked: None) -> None:
    config = page.config
    inside = {id for part in ENGLISH_PARTS for id in _within(config["layout"], _ids(config)[part])}
    prompts = {chip.sentence for chip in (*prompting.CAMERA, *prompting.MOTION)} | {e.prompt for e in examples.EXAMPLES}
    found = {}
    for component in config["components"]:
        props = component["props"]
        if props.get("visible") == "hidden" or component["type"] == "state" or component["id"] in inside:
            continue
        said = [props.get(name) or "" for name in ("label", "info", "placeholder")]
        said += [str(choice[0]) for choice in props.get("choices") or []]
        if component["type"] in ("button", "uploadbutton", "html", "markdown"):
            said += Texts(str(props.get("value") or "")).found
        shown = isinstance(props.get("show_label"), bool) and not props["show_label"]
        left = [word for text in said[1 if shown else 0 :] if text not in prompts for word in unmarked(str(text))]
        if left:
            found[props.get("elem_id") or component["id"]] = left
    assert found == {}


PROSE = re.compile(r"[A-Za-z]{2,}[,:;…]? [A-Za-z]{2,}")
CODE = ("endpoint.py", "snippets.py", "theme.py", "cancelling.py", "tool_answers.py")  # for programs; English by nature
NO_SENTENCES = {
    "Kept form",  # labels of boxes that nobody sees
    "Settled address",
    "Frame on show",
    "Link to these settings",
    "These settings as a file",
    "Link of a cell",
    "There is no such example.",  # answers to requests that no page makes
    "One clip",  # in an exported file
    "ids of jobs",
    "none yet",
    "not-in-embed explore-more",
    "controls loop muted playsinline",  # attributes, and a header
    "muted loop playsinline",
    "public, max-age=3600",
}


def literals(path: Path) -> Iterator[str]:
    """The texts in a module, without docstrings, logs, scripts and markup."""
    tree = ast.parse(path.read_text("utf-8"))
    skipped: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            skipped.add(id(node.value))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and _name(node.func.value) == "log":
            skipped |= {id(part) for part in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in skipped:
            yield node.value


def _name(node: ast.expr) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def prose(text: str) -> str:
    """`text` without markup; nothing of what is a script or a style."""
    if re.search(r"=>|addEventListener|watch\(|trigger\(", text):
        return ""
    bare = re.sub(r"<[^>]*>?|^[^<>]*>|[\w-]+=\"[^\"]*\"?|\"", " ", text)
    return " ".join(bare.split())


def test_every_sentence_in_the_pages_code_is_in_the_files() -> None:
    known = "\n".join(set(sentences("de")) | NO_SENTENCES)
    prompts = {example.prompt for example in examples.EXAMPLES}
    texts = [(path.name, text) for path in UI.rglob("*.py") if path.name not in CODE for text in literals(path)]
    found = {
        f"{name}: {text}"
        for name, text in texts
        if text not in prompts and PROSE.search(prose(text)) and prose(text) not in known
    }
    assert found == set()


SHOWN_BY_SCRIPTS = re.compile(
    r"(?:textContent|title|label|placeholder)\s*[:=]\s*['`]([^'`$]*[a-z]{2}[^'`]*)['`]"
    r"|aria-label'?[,:]\s*['`]([^'`]*[a-z]{2}[^'`]*)['`]|(?:aria-label|title|placeholder)=\"([^\"$]*[a-z]{2}[^\"]*)\""
    r"|(?:confirm|prompt|alert|sentence|setStatus)\([^'`()]*['`]([^'`]*[a-z]{2}[^'`]*)['`]"
    r"|>([^<>`'${}=;]*[a-z]{2}[^<>`'${}=;]*)</(?:button|label|h3|p|summary|span|option)"
)


def test_every_sentence_of_the_scripts_is_in_the_files() -> None:
    assert set(asked()) - set(sentences("de")) == set()
    assert len(asked()) > 80
    for script in UI.rglob("*.js"):
        shown = ["".join(found) for found in SHOWN_BY_SCRIPTS.findall(script.read_text("utf-8"))]
        left = [text for text in shown if "wanWord" not in text and text != "Wan 2.2 image to video"]  # the app's name
        assert left == [], script.name


def test_the_scripts_get_the_words_of_one_language() -> None:
    assert words("en") == ""
    assert '"Copied":"Kopiert"' in words("de") and "Copié" not in words("de")
    assert "</" not in words("ja")


BAD: Mapping[str, object] = {
    "num_frames": 500,
    "guidance_scale": 99.5,
    "resolution": "4k",
    "adjust_fps_for_interpolation": "perhaps",
    "prompt": "",
    "seed": "x",
    "image_url": "h" * 3_000,
    "negative_prompt": "x" * 5_000,
}


@pytest.mark.parametrize("language", TRANSLATED)
def test_every_fault_of_a_value_is_told_in_the_visitors_language(language: str) -> None:
    fine = {"image_url": "https://example.com/a.png", "prompt": "a walk"}
    faults = [fault for name, value in BAD.items() for fault in _faults(fine | {name: value})] + _faults({})
    faults += [
        _fault_of_a_cut({"first_frame": 9, "last_frame": 3}),
        _fault_of_a_cut({"last_frame": 3, "ending": "loop"}),
    ]
    assert len(faults) == len(BAD) + 4
    with speaking(language):
        told = [translate_made(fault.message) for fault in faults]
    assert [fault.message for fault, text in zip(faults, told, strict=True) if text == fault.message] == []
    assert not any(re.search(r"you sent|must be|may have| needs ", text) for text in told)


def _faults(values: Mapping[str, object]) -> list[InputError]:
    with pytest.raises(InputError) as fault:
        IMAGE_TO_VIDEO.parse(values)
    return [fault.value, *fault.value.others]


def _fault_of_a_cut(values: Mapping[str, object]) -> InputError:
    with pytest.raises(InputError) as fault:
        cutting.parse(values, 81)
    return fault.value


def _by_id(config: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["props"]["elem_id"]: each["props"] for each in config["components"] if each["props"].get("elem_id")}


def _ids(config: Mapping[str, Any]) -> dict[str, int]:
    return {each["props"]["elem_id"]: each["id"] for each in config["components"] if each["props"].get("elem_id")}


def _within(layout: Mapping[str, Any], wanted: int, *, inside: bool = False) -> Iterator[int]:
    inside = inside or layout.get("id") == wanted
    if inside and "id" in layout:
        yield layout["id"]
    for child in layout.get("children") or []:
        yield from _within(child, wanted, inside=inside)
