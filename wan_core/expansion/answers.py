"""A language model's answer, untrusted → one line of plain text."""

import re
import unicodedata

from wan_core.schema import MAX_PROMPT_CHARS

MAX_ANSWER_CHARS = 200_000  # enough for a long chain of thought
JOINERS = "\u200c\u200d"  # format characters of Persian, Hindi and emoji
QUOTES = {'"': '"', "'": "'", "“": "”", "„": "“", "«": "»", "「": "」", "‘": "’"}
TOKENS = re.compile(r"<\|[^<>|]{1,40}\|>")
WRAPPERS = re.compile(r"</?(?:answer|output|prompt|response|result|text)>", re.IGNORECASE)
MARKUP = re.compile(r"<[!/?a-zA-Z]|&(?:#\d+|[a-zA-Z]+);")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
FENCES = re.compile(r"```[a-zA-Z]*|[`*#]+|^\s*>", re.MULTILINE)
LABEL = re.compile(r"^(?:the |final |expanded |rewritten |revised |video )*prompt\s*[:：]\s*", re.IGNORECASE)
SENTENCE_ENDS = ".!?。！？"


class NotAPrompt(Exception):
    """The answer holds no usable text."""


def prompt_in(answer: str) -> str:
    """Without thoughts, control tokens, tags, Markdown, label and outer quotes.

    Raises:
        NotAPrompt: nothing is left, or it is HTML or JSON.
    """
    text = TOKENS.sub(" ", WRAPPERS.sub(" ", without_thoughts(answer[:MAX_ANSWER_CHARS])))
    if MARKUP.search(text):
        raise NotAPrompt
    line = " ".join(strip_unprintable(FENCES.sub(" ", text)).split())
    line = shorten(unquote(LABEL.sub("", unquote(line))))
    if line.startswith("{") or not any(character.isalnum() for character in line):
        raise NotAPrompt
    return line


def without_thoughts(answer: str) -> str:
    """A thought that never ends leaves nothing."""
    rest = answer.rpartition("</think>")[2]
    return rest.partition("<think>")[0]


def strip_unprintable(text: str) -> str:
    """Control characters become blanks."""
    return "".join(character for character in CONTROL.sub(" ", text) if is_printable(character))


def is_printable(character: str) -> bool:
    return character in JOINERS or not unicodedata.category(character).startswith("C")


def unquote(line: str) -> str:
    line = line.strip()
    if len(line) > 1 and QUOTES.get(line[0]) == line[-1] and line[0] not in line[1:-1] and line[-1] not in line[1:-1]:
        return line[1:-1].strip()
    return line


def shorten(line: str) -> str:
    """After a sentence, else a word."""
    if len(line) <= MAX_PROMPT_CHARS:
        return line
    head = line[:MAX_PROMPT_CHARS]
    sentence_end = max(head.rfind(mark) for mark in SENTENCE_ENDS) + 1
    end = sentence_end if sentence_end > MAX_PROMPT_CHARS // 2 else head.rfind(" ")
    return head[:end].rstrip() if end > 0 else head
