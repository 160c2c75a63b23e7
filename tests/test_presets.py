"""Presets are parts of requests: each file is one, a mistake in one stops the start with its name."""

from pathlib import Path

import pytest

from tests.support.jobs import MOST_FRAMES
from wan_core import presets, prompting
from wan_core.endpoints import IMAGE_TO_VIDEO
from wan_core.presets import FOLDER, PLAIN, opening
from wan_core.profiles import GIB, Machine, profiles
from wan_core.settings import Settings
from wan_core.timing import timing

NO_CARD = Machine()
CARD = Machine("NVIDIA H200", 140 * GIB)
KNOWN = presets.presets()


@pytest.mark.parametrize("name", list(KNOWN))
def test_every_preset_is_a_complete_request_with_a_picture_and_a_prompt(name: str) -> None:
    request = IMAGE_TO_VIDEO.parse(
        KNOWN[name].complete | {"image_url": "https://example.com/a.png", "prompt": "a walk"}
    )
    for field, value in KNOWN[name].values.items():
        assert getattr(request, field) == value


def test_the_presets_of_the_page_are_there_and_fals_defaults_come_first() -> None:
    wanted = {"fal_defaults", "wan_official", "draft", "portrait", "smooth", "smallest", "miniature", "turbo"}
    wanted.add("turbo_motion")
    assert set(KNOWN) == wanted and next(iter(KNOWN)) == PLAIN
    assert {path.stem for path in FOLDER.iterdir()} == wanted


def test_fals_defaults_say_nothing() -> None:
    assert KNOWN[PLAIN].values == {}
    of_the_person = ("seed", "end_image_url")
    assert KNOWN[PLAIN].complete == {
        name: value for name, value in IMAGE_TO_VIDEO.defaults.items() if name not in of_the_person
    }


def test_smooth_gives_64_frames_a_second_at_the_same_speed() -> None:
    request = IMAGE_TO_VIDEO.parse(KNOWN["smooth"].complete | {"image_url": "x", "prompt": "x"})
    assert timing(request).fps == 64 and abs(timing(request).seconds - 81 / 16) < 0.1


def test_wans_own_settings_have_wans_own_negative_prompt() -> None:
    assert KNOWN["wan_official"].values["negative_prompt"] == prompting.WAN_NEGATIVE_PROMPT


def test_turbo_motion_keeps_what_decides_the_motion() -> None:
    """Steps, first scale and shift are fal's own: the same seed makes the same high-noise steps."""
    defaults, motion = KNOWN[PLAIN].complete, KNOWN["turbo_motion"].complete
    assert {name for name, value in motion.items() if value != defaults[name]} == {"guidance_scale_2"}


def test_a_preset_whose_engine_cannot_run_here_says_why() -> None:
    miniature = profiles()["miniature"]
    refusal = KNOWN["turbo"].why_not(miniature, NO_CARD)
    assert refusal and "CUDA card with at least 22 GiB" in refusal
    assert KNOWN["turbo"].why_not(profiles()["a14b"], CARD) is None
    assert KNOWN["draft"].why_not(miniature, NO_CARD) is None, "it runs on whatever engine there is"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("title: A\ndescription: B\nvalues: {num_frame: 49}", "num_frame is no field"),
        ("title: A\ndescription: B\nvalues: {seed: 1}", "seed is no field that a preset may set"),
        ("title: A\ndescription: B\nvalues: {image_url: x}", "image_url is no field that a preset may set"),
        ("title: A\ndescription: B\nvalues: {num_frames: 500}", f"from 17 to {MOST_FRAMES}"),
        ("title: A\ndescription: B\nvalues: {resolution: 1080p}", "must be one of 480p, 580p, 720p"),
        ("title: A\ndescription: B\nvalues: {}\nengine: a99b", "engine must be one of"),
        ("title: A\ndescription: B\nvalues: {}\ncolour: red", "colour"),
        ("title: A\nvalues: {}", "description"),
        ("- a\n- b", "must be a YAML mapping"),
        ("a: [", "must be a YAML mapping"),
        ("!!python/object/apply:os.getcwd []", "must be a YAML mapping"),
    ],
)
def test_a_mistake_in_a_file_is_named_at_the_start(tmp_path: Path, text: str, fault: str) -> None:
    (tmp_path / "broken.yaml").write_text(text, "utf-8")
    with pytest.raises(SystemExit, match=r"broken\.yaml is no preset") as caught:
        presets.presets(tmp_path)
    assert fault in str(caught.value)


@pytest.mark.parametrize(
    ("machine", "engine", "first"),
    [
        (NO_CARD, "miniature", "miniature"),
        (CARD, "a14b", PLAIN),
        (Machine(zero_gpu=True), "a14b", "turbo"),
    ],
)
def test_the_page_opens_with_what_suits_the_machine(machine: Machine, engine: str, first: str) -> None:
    assert opening(Settings(), profiles()[engine], machine).name == first


def test_the_host_may_choose_the_first_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WAN_PRESET", "draft")
    assert opening(Settings(), profiles()["miniature"], NO_CARD).name == "draft"
    monkeypatch.setenv("WAN_PRESET", "drafty")
    with pytest.raises(SystemExit, match="WAN_PRESET must be one of"):
        opening(Settings(), profiles()["miniature"], NO_CARD)
