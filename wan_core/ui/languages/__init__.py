"""The page in the language of its visitor: `translations.json` has each English sentence in the other languages.

English sentences stand where they are made; `schema.py`, presets and engines are the source of theirs. A visitor's
language is the first of `Accept-Language` that is known, which is what Gradio's own words follow too.
HTTP API, logs, recipes and exported files are English.
"""

import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache, lru_cache
from pathlib import Path

from wan_core.endpoints import IMAGE_TO_VIDEO

TRANSLATIONS = Path(__file__).with_name("translations.json")
ENGLISH = "en"
TRANSLATED = ("de", "fr", "es", "ja", "zh")
SIMPLIFIED = ("zh-cn", "zh-sg", "zh-my", "zh-hans")
COMMA = ("de", "fr", "es")
"""Languages whose decimal sign is a comma."""
PLACE = re.compile(r"\{(\w+)\}")
LONGEST_SENTENCE = 1_000
FEWEST_LETTERS = 8  # of a pattern: less would fit to sentences that it was not made for

_spoken: ContextVar[str] = ContextVar("spoken", default=ENGLISH)


def spoken() -> str:
    """The language of who is being answered."""
    return _spoken.get()


@contextmanager
def speaking(language: str) -> Iterator[None]:
    before = _spoken.set(language)
    try:
        yield
    finally:
        _spoken.reset(before)


def preferred(accept_language: str) -> str:
    """The first known language of the header, by its weights; English without one."""
    ranked = sorted((_weighed(part) for part in accept_language[:400].split(",")), key=lambda pair: -pair[1])
    for tag, weight in ranked:
        language = tag.partition("-")[0]
        if weight > 0 and language == ENGLISH:
            return ENGLISH
        if weight > 0 and language in TRANSLATED and (language != "zh" or tag.startswith(SIMPLIFIED) or tag == "zh"):
            return language
    return ENGLISH


def _weighed(part: str) -> tuple[str, float]:
    tag, _, quality = part.partition(";")
    try:
        return tag.strip().lower(), float(quality.strip().removeprefix("q=") or 1)
    except ValueError:
        return tag.strip().lower(), 0.0


@cache
def sentences(language: str) -> Mapping[str, str]:
    """By the English sentence; empty for English."""
    if language not in TRANSLATED:
        return {}
    table: dict[str, dict[str, str]] = json.loads(TRANSLATIONS.read_text("utf-8"))
    return {english: said[language] for english, said in table.items() if language in said}


def translate(english: str, **values: object) -> str:
    """`english` in the visitor's language, with `values` in its `{places}`; itself where there is no translation."""
    words = sentences(spoken()).get(english, english)
    return PLACE.sub(lambda place: str(values.get(place[1], place[0])), words) if values else words


def translate_made(sentence: str) -> str:
    """A sentence that was put together elsewhere, such as an error's: by the sentence with places that it came from."""
    known = sentences(spoken())
    if not known or sentence in known or len(sentence) > LONGEST_SENTENCE:
        return known.get(sentence, sentence)
    return _translate_made(spoken(), sentence)


@lru_cache(maxsize=500)
def _translate_made(language: str, sentence: str) -> str:
    known = sentences(language)
    for pattern, english in _patterns():
        found = pattern.fullmatch(sentence)
        if found:
            values = {name: _value(known, value) for name, value in found.groupdict().items()}
            return PLACE.sub(lambda place: values.get(place[1], place[0]), known.get(english, english))  # noqa: B023
    return sentence


def _value(known: Mapping[str, str], value: str) -> str:
    """A field of the request by its title; a sentence in a sentence as itself."""
    if value in IMAGE_TO_VIDEO.fields:
        title = IMAGE_TO_VIDEO.fields[value].title or value
        return known.get(title, title)
    return translate_made(value)


@cache
def _patterns() -> list[tuple[re.Pattern[str], str]]:
    """The sentences with places, those with the most text of their own first."""
    made = [english for english in sentences(TRANSLATED[0]) if PLACE.search(english)]
    own = {english: sum(map(str.isalpha, PLACE.sub("", english))) for english in made}
    chosen = sorted((english for english in made if own[english] >= FEWEST_LETTERS), key=lambda each: -own[each])
    return [(re.compile(_pattern(english), re.DOTALL), english) for english in chosen]


def _pattern(english: str) -> str:
    """A regular expression; a place that comes twice holds the same text."""
    seen: set[str] = set()
    parts = PLACE.split(english)
    for at in range(1, len(parts), 2):
        name = parts[at]
        parts[at] = f"(?P={name})" if name in seen else f"(?P<{name}>.+?)"
        seen.add(name)
    return "".join(part if at % 2 else re.escape(part) for at, part in enumerate(parts))


def decimal(number: str) -> str:
    """`3.06` with the decimal sign of the visitor's language."""
    return number.replace(".", ",") if spoken() in COMMA else number
