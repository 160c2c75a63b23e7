"""What the miniature's prompts mean: sentences made of camera words, with the course they ask for.

A course is (pan, tilt, zoom) in units of the normal speed: pan > 0 is "pan left" (content moves right), tilt > 0 is
"tilt up" (content moves down), zoom > 0 is "push in" (content grows). Slowly is 0.5, quickly 1.5.
`UNSEEN` wordings never occur in training; the benchmark uses them.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

SLOW, NORMAL, FAST = 0.5, 1.0, 1.5


@dataclass(frozen=True)
class Course:
    """Signed speeds of the camera, as above; `named` is false where the sentence says nothing about the camera."""

    pan: float = 0.0
    tilt: float = 0.0
    zoom: float = 0.0
    named: bool = True


MOVES = {
    "pan left": Course(pan=1),
    "pan right": Course(pan=-1),
    "tilt up": Course(tilt=1),
    "tilt down": Course(tilt=-1),
    "push in": Course(zoom=1),
    "pull back": Course(zoom=-1),
    "static": Course(),
}

UNSEEN = {
    "pan left": "the lens sweeps gently sideways to the left",
    "pan right": "the lens sweeps sideways to the right",
    "tilt up": "our view swings upward",
    "tilt down": "our view swings downward",
    "push in": "the lens travels further in",
    "pull back": "the lens travels further out",
    "static": "a motionless camera on a tripod",
}

_FORMS = {
    "pan": ("pan", "pans", "panning"), "turn": ("turn", "turns", "turning"), "slide": ("slide", "slides", "sliding"),
    "move": ("move", "moves", "moving"), "glide": ("glide", "glides", "gliding"), "drift": ("drift", "drifts",
    "drifting"),
    "track": ("track", "tracks", "tracking"), "truck": ("truck", "trucks", "trucking"),
    "travel": ("travel", "travels", "traveling"), "swing": ("swing", "swings", "swinging"),
    "shift": ("shift", "shifts", "shifting"), "look": ("look", "looks", "looking"), "tilt": ("tilt", "tilts",
    "tilting"),
    "push": ("push", "pushes", "pushing"), "pull": ("pull", "pulls", "pulling"), "zoom": ("zoom", "zooms", "zooming"),
    "dolly": ("dolly", "dollies", "dollying"),
}  # fmt: skip
_SIDEWAYS = ("pan", "pan", "pan", "turn", "slide", "move", "glide", "drift", "track", "truck", "shift", "look", "swing")
_UPRIGHT = ("tilt", "tilt", "tilt", "move", "look", "glide", "drift", "shift", "turn", "slide")
_LEFT = ("{} left", "{} to the left", "{} leftwards", "{} leftward", "{} towards the left", "{} from right to left")
_UP = ("{} up", "{} upwards", "{} upward", "{} up towards the sky")
_DOWN = ("{} down", "{} downwards", "{} downward", "{} down to the ground")
_IN = (
    ("push", "{} in"), ("push", "{} in on the {s}"), ("zoom", "{} in"), ("dolly", "{} in"), ("dolly", "{} forward"),
    ("move", "{} closer"), ("move", "{} forward"), ("move", "{} in"), ("push", "{} forward"), ("travel", "{} forwards"),
    ("glide", "{} closer to the {s}"), ("move", "{} nearer"), ("track", "{} in"), ("drift", "{} towards the {s}"),
    ("zoom", "{} into the picture"), ("push", "{} further in"),
)  # fmt: skip
_OUT = (
    ("pull", "{} back"), ("pull", "{} out"), ("zoom", "{} out"), ("dolly", "{} out"), ("dolly", "{} back"),
    ("move", "{} back"), ("move", "{} away"), ("move", "{} backwards"), ("pull", "{} away from the {s}"),
    ("glide", "{} away"), ("track", "{} out"), ("drift", "{} backward"), ("move", "{} further away"), ("move",
    "{} out"),
)  # fmt: skip
_STATIC = (
    "static", "static shot", "the camera is static", "static camera", "still camera", "the camera stays still",
    "fixed camera",
    "the camera is fixed", "locked off shot", "the camera does not move", "no camera movement", "no movement",
    "the camera holds still", "a steady tripod shot", "the camera stands still", "stationary camera", "motionless shot",
    "the camera is perfectly still", "frozen frame", "the view is fixed", "the camera is not moving", "a still frame",
)  # fmt: skip
_STILL = ("static", "still", "fixed", "steady", "stationary", "motionless", "frozen")
_STANDS = ("shot", "camera", "view", "frame", "lens", "picture")
_SLOWLY = ("slowly", "gently", "softly", "gradually", "calmly", "very slowly")
_QUICKLY = ("quickly", "fast", "rapidly", "swiftly", "very fast", "with speed")
_SMOOTHLY = ("smoothly", "steadily")
_WHO = ("the camera", "camera", "the view", "the shot", "the lens", "our view", "the frame", "a camera")
_SUBJECTS = (
    "cat", "dog", "bird", "horse", "lion", "flower", "tree", "forest", "field", "mountain", "river", "lake",
    "city", "street",
    "house", "tower", "temple", "bridge", "man", "woman", "child", "astronaut", "rocket", "motorcycle", "car", "train",
    "boat", "cup", "coffee", "book", "garden", "beach", "cheetah", "zzk", "qqv", "person", "subject", "animal", "scene",
)  # fmt: skip
_WHAT = ("sitting", "standing", "lying", "waiting", "resting", "shining", "in the sun", "at night", "in the rain",
    "by the sea",
    "on a table", "near the window", "with warm light", "in the garden", "under a blue sky", "on the left",
    "on the right",
    "looking up", "looking at the camera", "in front of a wall", "zzk qqv", "in the evening", "of old stone",
    "drinking coffee", "walking", "running fast", "with its eyes open", "walking down the street",
    "running up the hill", "walks down a street", "walks up the hill", "runs down to the river", "looking down",
    "turns left", "turns right", "walks to the left", "runs to the right", "jumps up and down", "in warm light",
    "in the morning", "in a small room")  # fmt: skip
_STYLE = ("cinematic", "realistic", "dramatic light", "golden sunset", "detailed", "beautiful", "soft morning light",
    "a photograph",
    "a beautiful picture", "an old picture", "a picture of old friends", "zzk", "warm colours",
    "quiet scene")  # fmt: skip


def _mirror(phrase: str) -> str:
    return phrase.replace("left", "\0").replace("right", "left").replace("\0", "right")


def _camera(rng: random.Random, move: str) -> str:
    """One wording of a move without its speed; the adverb's place is marked {a}."""
    if move == "static":
        if rng.random() < 0.7:
            return rng.choice(_STATIC)
        wording = f"{rng.choice(('', 'a ', 'the '))}{rng.choice(_STILL)} {rng.choice(_STANDS)}"
        wording += rng.choice(("", "", " on a tripod"))
        return "motionless shot" if "motionless camera" in wording else wording
    if move in ("pan left", "pan right"):
        verb, phrase = rng.choice(_SIDEWAYS), rng.choice(_LEFT)
        phrase = phrase if move == "pan left" else _mirror(phrase)
    elif move in ("tilt up", "tilt down"):
        verb, phrase = rng.choice(_UPRIGHT), rng.choice(_UP if move == "tilt up" else _DOWN)
    else:
        verb, phrase = rng.choice(_IN if move == "push in" else _OUT)
    base, third, running = _FORMS[verb]
    draw = rng.random()
    if draw < 0.3:
        return "{a}" + phrase.format(base, s=rng.choice(_SUBJECTS))
    if draw < 0.75:
        return f"{rng.choice(_WHO)} " + "{a}" + phrase.format(third, s=rng.choice(_SUBJECTS))
    who = rng.choice(("", "camera ", "the camera is ", "a shot "))
    return who + "{a}" + phrase.format(running, s=rng.choice(_SUBJECTS))


def _subject(rng: random.Random) -> str:
    article = rng.choice(("a", "the", "one", "an old", "a small", "a young", "a big"))
    return f"{article} {rng.choice(_SUBJECTS)} {rng.choice(_WHAT)}"


def distract(rng: random.Random, text: str, words: list[str]) -> str:
    """Words that no wording uses, dropped in at random, so that the encoder learns to pass over them."""
    parts = text.split()
    for _ in range(rng.choice((0, 0, 1, 2, 3)) if parts else 0):
        parts.insert(rng.randrange(len(parts) + 1), rng.choice(words))
    return " ".join(parts)


def sentence(rng: random.Random) -> tuple[str, Course]:
    """Return a training prompt and its course; one in ten is empty, one in ten names no camera move."""
    draw = rng.random()
    if draw < 0.1:
        return "", Course(named=False)
    if draw < 0.2:
        parts = [_subject(rng)] + ([rng.choice(_STYLE)] if rng.random() < 0.5 else [])
        return ", ".join(parts), Course(named=False)
    move = rng.choice([*MOVES, "static"])
    course, words = MOVES[move], _camera(rng, move)
    speed, adverb = NORMAL, ""
    if move != "static":
        speed, choices = rng.choice(
            ((NORMAL, ("",)), (NORMAL, _SMOOTHLY), (NORMAL, ("",)), (SLOW, _SLOWLY), (FAST, _QUICKLY))
        )
        adverb = rng.choice(choices)
    if "{a}" in words and adverb and rng.random() < 0.5:
        words = words.replace("{a}", adverb + " ")
    else:
        words = words.replace("{a}", "") + (f"{rng.choice((' ', ', '))}{adverb}" if adverb else "")
    course = Course(pan=course.pan * speed, tilt=course.tilt * speed, zoom=course.zoom * speed)
    parts = [words]
    if rng.random() < 0.6:
        parts.insert(rng.choice((0, 1)), _subject(rng))
    if rng.random() < 0.3:
        parts.append(rng.choice(_STYLE))
    joined = rng.choice((", ", ". ", ", ", " while " if len(parts) == 2 else ", ", "; ")).join(parts)
    return joined + rng.choice(("", "", ".")), course


def wordings(move: str) -> list[str]:
    """Benchmark prompts of a move: short, long, and one wording absent from training, alone and in a sentence."""
    plain = {"push in": "slow push in", "pull back": "pull back", "static": "static shot"}.get(move, move)
    verb = {
        "pan left": "pans to the left", "pan right": "pans to the right", "tilt up": "tilts up",
        "tilt down": "tilts down", "push in": "pushes in", "pull back": "pulls back", "static": "is static",
    }[move]  # fmt: skip
    unseen = UNSEEN[move]
    return [
        plain.replace("slow ", ""),
        f"A quiet scene in warm light, the camera {verb}.",
        unseen,
        f"A beautiful picture of an old friend waiting near the window; {unseen}",
    ]
