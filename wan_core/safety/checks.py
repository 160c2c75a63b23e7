"""Check picture, prompt and finished frames, on the CPU. A refusal repeats none of the content.

Frames too, because a clip can drift from an innocent picture. Models and torch load on first use.

Sources: https://huggingface.co/Freepik/nsfw_image_detector (levels and cumulative probabilities),
https://huggingface.co/Falconsai/nsfw_image_detection, https://huggingface.co/Qwen/Qwen3Guard-Gen-0.6B.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from wan_core.errors import BackendError, InputError
from wan_core.hub import LoadedOnce, Pin, Unavailable
from wan_core.settings import Settings

Rate = Callable[[Image.Image], list[float]]
"""A picture → the probability of each level."""

Judge = Callable[[str], str]
"""A text → the guard model's two lines."""

REFUSAL = "content_policy_violation"
FRAMES_CHECKED = 5
VERDICT = re.compile(r"Safety:\s*(Safe|Controversial|Unsafe)\b")
REASONS = {
    "Violent": "violence",
    "Non-violent Illegal Acts": "illegal acts",
    "Sexual Content or Sexual Acts": "sexual content",
    "PII": "private details of a person",
    "Suicide & Self-Harm": "self-harm",
    "Unethical Acts": "hate, abuse or deception",
    "Politically Sensitive Topics": "false claims about politics or history",
    "Copyright Violation": "a copy of a protected work",
    "Jailbreak": "getting around the check",
}
"""Category → words after "it seems to ask for"."""


def _freepik(folder: Path) -> Rate:
    from wan_core.safety import models

    return models.freepik(folder)


def _falconsai(folder: Path) -> Rate:
    from wan_core.safety import models

    return models.falconsai(folder)


def _qwen3_guard(folder: Path) -> Judge:
    from wan_core.safety import models

    return models.qwen3_guard(folder)


@dataclass(frozen=True)
class PictureModel:
    """`levels`: from harmless to worst."""

    pin: Pin
    load: Callable[[Path], Rate]
    levels: tuple[str, ...]


FREEPIK = PictureModel(
    Pin(
        "Freepik/nsfw_image_detector",
        "15b85477e4fd2000db76ae9aae0f89a72f95e2e3",
        {"model.safetensors": "024a9d4818fae2656403bf626c9f8c9e7789c2da274749fbebb1060d8fdaa7ab"},
    ),
    _freepik,
    ("neutral", "low", "medium", "high"),
)
FALCONSAI = PictureModel(
    Pin(
        "Falconsai/nsfw_image_detection",
        "96cb0d0342c7afb80cab76ecc58b265fa44da256",
        {"model.safetensors": "97b2ce64ec146884b37f98ee7944ca4891aa72f6827dc0cb10684a1cbecd5830"},
    ),
    _falconsai,
    ("normal", "nsfw"),
)
PICTURE_MODELS = {"freepik": FREEPIK, "falconsai": FALCONSAI}
QWEN3_GUARD = Pin(
    "Qwen/Qwen3Guard-Gen-0.6B",
    "fada3b2f655b89601929198343c94cd2f64d93cc",
    {"model.safetensors": "4f3ce47ebd968cddb67de08d8764f8ede7c410a7d1fb9e08145a4c7a2f2e5c0f"},
)


@dataclass(frozen=True)
class Rules:
    """Pictures are refused from `picture_level` on, prompts from `prompt_level` on."""

    levels: tuple[str, ...]
    picture_level: str
    threshold: float
    prompt_level: Literal["controversial", "unsafe"]
    forced: bool


@dataclass(frozen=True)
class Verdict:
    """`level`: "safe", "controversial" or "unsafe"."""

    level: str
    categories: tuple[str, ...]


class Checks:
    """Each check returns `None`, or a sentence if it could not run. Make one a process: it holds the models.

    Raises:
        InputError: `content_policy_violation`.
        BackendError: it cannot run, and the host forces safety.
    """

    def __init__(self, rules: Rules, rate: LoadedOnce[Rate], judge: LoadedOnce[Judge]) -> None:
        self._rules, self._rate, self._judge = rules, rate, judge

    def picture(self, picture: Image.Image) -> str | None:
        return self._or_unavailable("picture", lambda: self._check_picture(picture))

    def prompt(self, text: str) -> str | None:
        """An empty prompt passes."""
        return self._or_unavailable("prompt", lambda: self._check_prompt(text)) if text.strip() else None

    def frames(self, frames: NDArray[np.uint8]) -> str | None:
        """Up to `FRAMES_CHECKED` of (T, H, W, 3) uint8, evenly spread."""
        return self._or_unavailable("finished clip", lambda: self._check_frames(frames))

    def _or_unavailable(self, what: str, check: Callable[[], None]) -> str | None:
        try:
            check()
        except Unavailable as fault:
            if self._rules.forced:
                message = f"The {what} cannot be checked: {fault}. This host makes no clip without the check."
                raise BackendError("engine_unavailable", message) from None
            return f"The {what} was not checked: {fault}."
        return None

    def _check_picture(self, picture: Image.Image) -> None:
        level = self._refused_level(picture)
        if level:
            found = f"The safety check found nudity or sexual content in the picture (level “{level}”)."
            raise InputError("image_url", REFUSAL, f"{found} Choose another picture.")

    def _check_frames(self, frames: NDArray[np.uint8]) -> None:
        for index in pick_evenly(len(frames), FRAMES_CHECKED):
            level = self._refused_level(Image.fromarray(frames[index]))
            if level:
                found = f"The safety check found nudity or sexual content in the finished clip (level “{level}”)."
                raise InputError("prompt", REFUSAL, f"{found} It is withheld; change the prompt or the picture.")

    def _check_prompt(self, text: str) -> None:
        verdict = read_verdict(self._judge.get()(text))
        refused = ("controversial", "unsafe") if self._rules.prompt_level == "controversial" else ("unsafe",)
        if verdict.level in refused:
            reasons = " and ".join(REASONS[category] for category in verdict.categories) or "unsafe content"
            message = f"The safety check refused the prompt: it seems to ask for {reasons}. Change it and try again."
            raise InputError("prompt", REFUSAL, message)

    def _refused_level(self, picture: Image.Image) -> str | None:
        level = reached_level(self._rate.get()(picture), self._rules.threshold)
        refused_from = self._rules.levels.index(self._rules.picture_level)
        return self._rules.levels[level] if level >= refused_from else None


def checks(settings: Settings, picture_model: PictureModel | None = None, guard: Pin = QWEN3_GUARD) -> Checks:
    model = picture_model or PICTURE_MODELS[settings.safety_model]
    worst = model.levels[-1]
    rules = Rules(
        levels=model.levels,
        picture_level=settings.safety_level if settings.safety_level in model.levels else worst,
        threshold=0.5 if settings.safety_threshold is None else settings.safety_threshold,
        prompt_level=settings.safety_prompt_level,
        forced=settings.force_safety,
    )
    return Checks(rules, LoadedOnce(model.pin, model.load), LoadedOnce(guard, _qwen3_guard))


def reached_level(probabilities: list[float], threshold: float) -> int:
    """The worst that, with all worse ones, reaches `threshold` (Freepik's model card)."""
    together = 0.0
    for level in reversed(range(1, len(probabilities))):
        together += probabilities[level]
        if together >= threshold:
            return level
    return 0


def read_verdict(answer: str) -> Verdict:
    """Raises Unavailable if the guard model gave no verdict."""
    found = VERDICT.search(answer)
    if not found:
        raise Unavailable("the check model gave no verdict")
    return Verdict(found[1].lower(), tuple(category for category in REASONS if category in answer))


def pick_evenly(count: int, wanted: int) -> list[int]:
    """Distinct indices, from first to last."""
    return sorted({round(place) for place in np.linspace(0, count - 1, min(count, wanted))})
