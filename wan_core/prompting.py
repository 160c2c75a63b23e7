"""Prompt help without a model.

Sources: the prompt guide of Alibaba Model Studio (image-to-video: prompt = motion + camera movement) and
`wan/configs/shared_config.py` of Wan-Video/Wan2.2.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

Change = Literal["same", "removed", "added"]

WAN_NEGATIVE_PROMPT = (
    "色调艳丽，过曝，静态，细节模糊不清，字幕，风格，作品，画作，画面，静止，整体发灰，最差质量，低质量，JPEG压缩残留，"
    "丑陋的，残缺的，多余的手指，画得不好的手部，画得不好的脸部，畸形的，毁容的，形态畸形的肢体，手指融合，"
    "静止不动的画面，杂乱的背景，三条腿，背景人很多，倒着走"
)
"""For an empty one; this endpoint, like fal's, uses none."""

NEGATIVE_PROMPT_NOTE = "A negative prompt counts only where guidance is above 1; the turbo engine ignores it."


@dataclass(frozen=True)
class Chip:
    label: str
    sentence: str


CAMERA = (
    Chip("Fixed camera", "The camera is fixed."),
    Chip("Push in", "The camera pushes in."),
    Chip("Pull back", "The camera pulls back."),
    Chip("Pan left", "The camera pans left."),
    Chip("Pan right", "The camera pans right."),
    Chip("Tilt up", "The camera tilts up."),
    Chip("Tilt down", "The camera tilts down."),
    Chip("Tracking shot", "Tracking shot: the camera follows the subject."),
    Chip("Orbit", "The camera moves in an arc around the subject."),
    Chip("Crane up", "Crane shot: the camera rises."),
    Chip("Crane down", "Crane shot: the camera sinks."),
    Chip("Handheld", "Handheld camera with a slight shake."),
)
MOTION = (
    Chip("Slowly", "Everything moves slowly."),
    Chip("Gently", "The motion is gentle and smooth."),
    Chip("Quickly", "The motion is quick and lively."),
    Chip("Slightly", "The subject moves only slightly."),
    Chip("Violently", "The motion is violent and sudden."),
    Chip("Turns the head", "The subject turns the head and looks into the camera."),
    Chip("Walks forward", "The subject walks forward."),
    Chip("Hair flutters", "Hair and clothes flutter in the wind."),
    Chip("Leaves sway", "Leaves sway in the breeze."),
    Chip("Waves roll in", "Waves roll in and break."),
    Chip("Smoke drifts", "Smoke drifts past."),
    Chip("Glass breaks", "The glass breaks into pieces."),
)
MOTION_NOTE = "One or two actions are enough for five seconds; the picture already says what things look like."


@dataclass(frozen=True)
class Segment:
    """With the blanks behind the words."""

    change: Change
    words: str


def add_chip(prompt: str, chip: Chip) -> str:
    start = prompt.rstrip()
    return f"{start}{'' if start.endswith(tuple('.!?。！？')) else '.'} {chip.sentence}" if start else chip.sentence


def difference(before: str, after: str) -> list[Segment]:
    """Word by word (Chinese and Japanese: by character).

    difflib's `autojunk` stays: without it, two prompts of a thousand times "a b" take a minute.
    """
    return list(_segments(_words(before), _words(after)))


def _segments(old: list[str], new: list[str]) -> Iterator[Segment]:
    for kind, start, end, new_start, new_end in SequenceMatcher(None, old, new).get_opcodes():
        if kind == "equal":
            yield Segment("same", "".join(old[start:end]))
            continue
        if end > start:
            yield Segment("removed", "".join(old[start:end]))
        if new_end > new_start:
            yield Segment("added", "".join(new[new_start:new_end]))


def _words(text: str) -> list[str]:
    """Blanks stay with the word before them."""
    return re.findall(r"\s+|[\u3040-\u30ff\u3400-\u9fff]\s*|[^\s\u3040-\u30ff\u3400-\u9fff]+\s*", text)
