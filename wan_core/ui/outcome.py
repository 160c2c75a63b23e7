"""The line below Generate: size, frames, rate, seconds, crop, and the expected time or price. Pure."""

from html import escape

from wan_core import geometry
from wan_core.estimator import Estimate, Estimator
from wan_core.events import Where
from wan_core.geometry import Size
from wan_core.profiles import EngineProfile, draws_small, pool_of
from wan_core.schema import ImageToVideoInput
from wan_core.timing import timing
from wan_core.ui.languages import decimal, translate, translate_made
from wan_core.ui.names import in_a_sentence
from wan_core.ui.progress import duration

DETAIL_WORDS = "drawn at {small}; fine detail is taken from your picture"
ENLARGED = "drawn at {small}; it is enlarged to {size} without more detail"
ONE_AHEAD = "1 job is ahead: at most {time} before yours begins."
SEVERAL_AHEAD = "{n} jobs are ahead: at most {time} before yours begins."
BUDGET_LEFT = "${dollars} of this server's budget for fal are left today."
DRAWN_SMALL = "The {engine}'s video is {drawn}."
QUOTA = "{here} and about {seconds} s of your ZeroGPU quota"
WHOLE_CARD = "{here} and about {seconds} s of your ZeroGPU quota (a whole card counts twice)"
TOO_SMOOTH = "At {fps} fps many players and screens drop frames; {most} fps plays everywhere."
ASK_AGAIN_S = (5.0, 10.0)  # at least, at most
SMOOTHEST_FPS = 60  # what screens and players commonly show


def outcome(
    request: ImageToVideoInput,
    picture: Size | None,
    profile: EngineProfile,
    estimator: Estimator,
    where: Where,
    *,
    picture_detail: bool = True,
) -> str:
    """The line; its `data-crop` is the part of the picture that will be kept (per cent)."""
    size = _size(request, picture)
    times = timing(request)
    added = times.delivered > times.generated
    count = f"{times.generated} → {times.delivered}" if added else times.delivered
    frames = translate("{n} frames", n=count)
    seconds = f"{decimal(f'{times.seconds:.2f}')} s"
    words = [str(size) if size else translate("size follows the picture"), frames, f"{times.fps} fps", seconds]
    if size:
        expected = estimator.estimate(request, size, profile, picture_detail=picture_detail)
        words.append(_effort(expected, profile, where))
    notes = [_drawn_small(size, profile, picture_detail)] if size and draws_small(profile, where) else []
    if times.fps > SMOOTHEST_FPS:
        notes.append(translate(TOO_SMOOTH, fps=times.fps, most=SMOOTHEST_FPS))
    crop = _crop(picture, size) if picture and size else ""
    line = f'<p class="outcome" data-crop="{crop}"><b>{escape(words[0])}</b> · {escape(" · ".join(words[1:]))}</p>'
    return line + "".join(f'<p class="small">{escape(note)}</p>' for note in notes)


def queue_line(ahead: int, seconds: float) -> str:
    """The jobs before one that is sent now, and until when they keep all workers busy; empty if one is free.

    The browser asks again after `data-again-s` seconds.
    """
    if ahead == 0 or seconds == 0:
        return ""
    words = translate(ONE_AHEAD if ahead == 1 else SEVERAL_AHEAD, n=ahead, time=duration(seconds))
    soonest, latest = ASK_AGAIN_S
    again_s = min(max(seconds, soonest), latest)
    return f'<p class="small" id="queue-ahead" data-again-s="{again_s:.0f}">{words}</p>'


def trouble_line(trouble: str) -> str:
    """Why nothing can begin here now; asked again as `queue_line`."""
    if not trouble:
        return ""
    return f'<p class="small" id="trouble" data-again-s="{ASK_AGAIN_S[1]:.0f}">{escape(translate_made(trouble))}</p>'


def budget_line(dollars: float | None) -> str:
    """What the host's key may still pay on fal today; empty where it pays nothing at all."""
    if dollars is None:
        return ""
    left = translate(BUDGET_LEFT, dollars=decimal(f"{dollars:.2f}"))
    return f'<p class="small" id="fal-budget">{left}</p>'


def opening_line(request: ImageToVideoInput, profile: EngineProfile, estimator: Estimator) -> str:
    """The line that the page is built with, so that nothing moves once it is open."""
    line = outcome(request, None, profile, estimator, "local")
    return line.replace('class="outcome"', 'class="outcome" data-opening', 1)


def drawn_at(size: Size, profile: EngineProfile, picture_detail: bool) -> str:
    """What becomes of an engine's small frames, after "it is"."""
    small = geometry.rendered_size(size, profile.render_divisor)
    return translate(DETAIL_WORDS if picture_detail else ENLARGED, small=small, size=size)


def _effort(expected: Estimate, profile: EngineProfile, where: Where) -> str:
    """The time here with its quota, the price on fal, or both where either may happen."""
    dollars = decimal(f"{expected.dollars_on_fal:.2f}")
    here, there = _effort_here(expected), translate("${dollars} on fal", dollars=dollars)
    if pool_of(where, profile.name) == "fal":
        return there
    return here if where == "local" else translate("{here}, or {there}", here=here, there=there)


def _effort_here(expected: Estimate) -> str:
    """The time, and on ZeroGPU the quota it needs (assumptions: `pricing.lent_card`)."""
    here = translate("about {time} here", time=duration(expected.seconds))
    quota_s = expected.zero_gpu_quota_s
    if quota_s is None:
        return here
    sentence = WHOLE_CARD if expected.lent_card == "whole" else QUOTA
    return translate(sentence, here=here, seconds=f"{quota_s:.0f}")


def _size(request: ImageToVideoInput, picture: Size | None) -> Size | None:
    if picture is None and request.aspect_ratio == "auto":
        return None
    return geometry.frame_size(request.resolution, request.aspect_ratio, picture or Size(1, 1))


def _crop(picture: Size, size: Size) -> str:
    """Left, top, right and bottom of the kept part in per cent; empty if all is kept."""
    box = geometry.crop_box(picture, size)
    shares = (
        box.left / picture.width,
        box.top / picture.height,
        box.right / picture.width,
        box.bottom / picture.height,
    )
    if shares[0] < 0.002 and shares[1] < 0.002:
        return ""
    return ",".join(f"{100 * share:.2f}" for share in shares)


def _drawn_small(size: Size, profile: EngineProfile, picture_detail: bool) -> str:
    return translate(DRAWN_SMALL, engine=in_a_sentence(profile), drawn=drawn_at(size, profile, picture_detail))
