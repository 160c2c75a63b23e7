"""Words of a prompt that an axis replaces: `a {left|right|in} turn`, or A1111's "search and replace"."""

import re

from wan_core.errors import InputError

GROUP = re.compile(r"\{([^{}]*\|[^{}]*)\}")


def alternatives(prompt: str) -> list[str]:
    """Of the first `{…|…}`; empty without one."""
    found = GROUP.search(prompt)
    return [word.strip() for word in found[1].split("|")] if found else []


def put_in(prompt: str, words: list[str], word: str) -> str:
    """`word` in place of the first `{…|…}`, or else of the first of `words`. Raises InputError without either."""
    if GROUP.search(prompt):
        return GROUP.sub(lambda _: word, prompt, count=1)
    if words and words[0] and words[0] in prompt:
        return prompt.replace(words[0], word)
    sentence = (
        f"prompt must hold {{left|right}} or the first value, {ascii(words[0] if words else '')[:40]}, to replace."
    )
    raise InputError("prompt", "missing", sentence)
