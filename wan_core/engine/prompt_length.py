"""How much of a prompt the text encoder reads: 512 tokens, the rest is cut."""

from typing import Any

from diffusers.pipelines.wan.pipeline_wan_i2v import prompt_clean

from wan_core.workload import TEXT_TOKENS

SHOWN = 60  # characters of what was cut


def note_on_cut(pipe: Any, title: str, prompt: str) -> str | None:
    """Return a sentence if the end of `prompt` was not read, with the words it begins with.

    `title`: how the sentence calls the prompt.
    """
    tokens = pipe.tokenizer(prompt_clean(prompt)).input_ids
    if len(tokens) <= TEXT_TOKENS:
        return None
    cut = pipe.tokenizer.decode(tokens[TEXT_TOKENS - 1 :], skip_special_tokens=True).strip()  # one is the end mark
    start = cut if len(cut) <= SHOWN else cut[:SHOWN].rsplit(" ", 1)[0] + " …"
    return f"{title} has {len(tokens)} tokens and the model reads {TEXT_TOKENS}: it was cut before \u201c{start}\u201d."
