"""Trim, loop and boomerang: which of the kept frames a clip shows, and in which order. No diffusion, no files.

Frames are interpolated before they are arranged, so that the seams are smooth.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

import numpy as np
from pydantic import Field, TypeAdapter, ValidationError

from wan_core.errors import InputError
from wan_core.frames import Frame, Frames
from wan_core.schema import ImageToVideoInput
from wan_core.timing import frames_between, timing

Ending = Literal["stop", "loop", "boomerang"]
MOST_FADED = 8  # kept frames: half a second at 16 fps
FEWEST: dict[Ending, int] = {"stop": 2, "loop": 4, "boomerang": 3}


@dataclass(frozen=True)
class Cut:
    """The kept frames `first_frame` to `last_frame` (from 1; `None`: the last), and what follows.

    `loop`: the end is faded into the beginning. `boomerang`: back again.
    """

    first_frame: Annotated[int, Field(ge=1)] = 1
    last_frame: Annotated[int, Field(ge=1)] | None = None
    ending: Ending = "stop"


WHOLE = Cut()
FIELDS = ("first_frame", "last_frame", "ending")
CUT: TypeAdapter[Cut] = TypeAdapter(Cut)


def parse(values: Mapping[str, object], kept: int) -> Cut:
    """`None` stands for the last of `kept` frames, so that equal cuts are equal.

    Raises:
        InputError: a value cannot be used.
    """
    try:
        cut = CUT.validate_python({name: values[name] for name in FIELDS if name in values})
    except ValidationError as error:
        raise _fault(str(error.errors()[0]["loc"][0]), kept) from None
    last = kept if cut.last_frame is None else cut.last_frame
    if last > kept:
        raise _fault("last_frame", kept)
    if cut.first_frame > last:
        raise InputError(
            "first_frame", "value_error", f"first_frame is {cut.first_frame}, after last_frame, which is {last}."
        )
    count, fewest = last - cut.first_frame + 1, FEWEST[cut.ending]
    if count < fewest:
        what = "clip" if cut.ending == "stop" else cut.ending
        sentence = f"A {what} needs at least {fewest} frames; from {cut.first_frame} to {last} there are {count}."
        raise InputError("last_frame", "value_error", sentence)
    return Cut(cut.first_frame, None if last == kept else last, cut.ending)


def _fault(field: str, kept: int) -> InputError:
    wanted = f"one of {', '.join(get_args(Ending))}" if field == "ending" else f"a whole number from 1 to {kept}"
    return InputError(field, "value_error", f"{field} must be {wanted}.")


def trimmed(request: ImageToVideoInput, cut: Cut) -> ImageToVideoInput:
    """As if only the frames within the trim had been generated."""
    last = request.num_frames if cut.last_frame is None else cut.last_frame
    return request.model_copy(update={"num_frames": last - cut.first_frame + 1})


def arrange(frames: Frames, ending: Ending, between: int) -> Iterator[Frame]:
    """In the order of the clip. `between`: frames inserted between two kept ones."""
    count = len(frames)
    if ending != "loop":
        order = range(count) if ending == "stop" else [*range(count), *range(count - 2, 0, -1)]
        yield from (frames[at] for at in order)
        return
    faded = faded_frames(count, between)
    for at in range(faded, count):
        into = at - (count - faded)
        yield frames[at] if into < 0 else _blend(frames[at], frames[into], (into + 1) / (faded + 1))


def faded_frames(count: int, between: int) -> int:
    """A quarter, at most MOST_FADED kept ones. The clip is so much shorter."""
    return max(1, min(MOST_FADED * (between + 1), count // 4))


def shown_frames(count: int, ending: Ending, between: int) -> int:
    match ending:
        case "stop":
            return count
        case "boomerang":
            return 2 * count - 2
        case "loop":
            return count - faded_frames(count, between)


def kept_frame(request: ImageToVideoInput, cut: Cut, shown: int) -> tuple[int, bool]:
    """The kept frame (from 1) at or before frame `shown` (from 0), and whether it is that very one."""
    between, count = frames_between(request), delivered(request, cut)
    at, is_blend = shown, False
    if cut.ending == "boomerang" and shown >= count:
        at = 2 * count - 2 - shown
    elif cut.ending == "loop":
        at = min(shown + faded_frames(count, between), count - 1)
        is_blend = at >= count - faded_frames(count, between)
    place, rest = divmod(at, between + 1)
    return cut.first_frame + place, rest == 0 and not is_blend


def delivered(request: ImageToVideoInput, cut: Cut) -> int:
    """Frames within the trim, with those between them."""
    return timing(trimmed(request, cut)).delivered


def words(cut: Cut, kept: int) -> str:
    """`frames 9 to 40 of 81, as a loop`; empty for the whole clip."""
    if cut == WHOLE:
        return ""
    trim = f"frames {cut.first_frame} to {cut.last_frame or kept} of {kept}"
    return trim if cut.ending == "stop" else f"{trim}, as a {cut.ending}"


def to_plain(cut: Cut) -> dict[str, Any]:
    return {name: getattr(cut, name) for name in FIELDS}


def _blend(one: Frame, other: Frame, share: float) -> Frame:
    mixed = (1 - share) * one.astype(np.float32) + share * other.astype(np.float32)
    return np.asarray(np.rint(mixed), np.uint8)
