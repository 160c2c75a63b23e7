import time

import pytest

from wan_core import prompting
from wan_core.prompting import CAMERA, MOTION, Chip, Segment, add_chip, difference
from wan_core.schema import MAX_PROMPT_CHARS


@pytest.mark.parametrize(
    ("before", "after", "segments"),
    [
        ("", "", []),
        ("a cat", "a cat", [Segment("same", "a cat")]),
        ("", "a cat", [Segment("added", "a cat")]),
        ("a cat", "", [Segment("removed", "a cat")]),
        (
            "a red cat walks",
            "a cat slowly walks",
            [
                Segment("same", "a "),
                Segment("removed", "red "),
                Segment("same", "cat "),
                Segment("added", "slowly "),
                Segment("same", "walks"),
            ],
        ),
        ("猫が歩く", "猫が走る", [Segment("same", "猫が"), Segment("removed", "歩く"), Segment("added", "走る")]),
    ],
)
def test_the_difference_is_told_word_by_word(before: str, after: str, segments: list[Segment]) -> None:
    assert difference(before, after) == segments


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("  a cat\n\n walks ", "A dog\twalks  "),
        ("<b>x</b>", "x"),
        ("一只白龙站着 and stares", "一只白龙 slowly 站着"),
        ("🐉 flies", "🐉🔥 flies high"),
        (" ".join(map(str, range(400))), " ".join(map(str, range(0, 400, 2)))),
    ],
)
def test_the_segments_give_both_texts_back_unchanged(before: str, after: str) -> None:
    segments = difference(before, after)
    assert "".join(part.words for part in segments if part.change != "added") == before
    assert "".join(part.words for part in segments if part.change != "removed") == after


def test_the_longest_prompts_made_to_be_slow_are_compared_quickly() -> None:
    before, after = ("a b " * MAX_PROMPT_CHARS)[:MAX_PROMPT_CHARS], ("b a a " * MAX_PROMPT_CHARS)[:MAX_PROMPT_CHARS]
    start = time.perf_counter()
    difference(before, after)
    assert time.perf_counter() - start < 2


@pytest.mark.parametrize(
    ("prompt", "longer"),
    [
        ("", "The camera pans left."),
        ("a cat walks", "a cat walks. The camera pans left."),
        ("A cat walks. ", "A cat walks. The camera pans left."),
        ("猫が歩く。", "猫が歩く。 The camera pans left."),
    ],
)
def test_a_chip_adds_its_sentence_to_the_prompt(prompt: str, longer: str) -> None:
    assert add_chip(prompt, Chip("Pan left", "The camera pans left.")) == longer


def test_chips_have_their_own_short_labels_and_say_whole_sentences() -> None:
    chips = CAMERA + MOTION
    assert len({chip.label for chip in chips}) == len({chip.sentence for chip in chips}) == len(chips)
    assert all(len(chip.label) <= 16 and chip.sentence.endswith(".") and chip.sentence[0].isupper() for chip in chips)


def test_wans_negative_prompt_is_the_official_one() -> None:
    """All 28 parts of `sample_neg_prompt` in Wan2.2's shared_config.py, separated by fullwidth commas."""
    parts = prompting.WAN_NEGATIVE_PROMPT.split("，")
    assert len(parts) == len(set(parts)) == 28
    assert parts[0] == "色调艳丽" and parts[-1] == "倒着走" and "JPEG压缩残留" in parts
    assert "above 1" in prompting.NEGATIVE_PROMPT_NOTE
