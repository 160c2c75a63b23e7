"""The sentences of the page's own JavaScript in one language, at the beginning of its scripts.

The scripts ask `wanWord(sentence, values)`, which `words.js` defines.
"""

import json
import re
from functools import cache
from pathlib import Path

from wan_core.ui.languages import ENGLISH, sentences

UI = Path(__file__).parents[1]
ASKED = re.compile(r"wanWord\(\s*'((?:[^'\\]|\\.)*)'")
BEGINNING = "<script>"


@cache
def asked() -> tuple[str, ...]:
    """The English sentences in the scripts."""
    scripts = (file.read_text("utf-8") for file in sorted(UI.rglob("*.js")))
    return tuple(dict.fromkeys(found.replace("\\'", "'") for script in scripts for found in ASKED.findall(script)))


@cache
def words(language: str) -> str:
    """A statement of JavaScript; empty for English."""
    if language == ENGLISH:
        return ""
    known = sentences(language)
    told = {english: known[english] for english in asked() if english in known}
    text = json.dumps(told, ensure_ascii=False, separators=(",", ":")).replace("</", "<\\/")
    return f"window.wanWords = {text};\n"


def with_words(head: str, language: str) -> str:
    """The page's head with the words before its first script."""
    return head.replace(BEGINNING, BEGINNING + words(language), 1)
