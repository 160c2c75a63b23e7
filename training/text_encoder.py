"""Teaches the miniature's UMT5 encoder to read camera moves: every token of a sentence comes to carry its course.

The target of every token (and of the end mark, all that an empty prompt has) is one vector, `meaning(course)`, so the
transformers read the same code at each of them and never see the words. Minutes on one core.
"""

from __future__ import annotations

import argparse
import math
import random
import time
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import T5TokenizerFast, UMT5EncoderModel

from training.prompts import MOVES, UNSEEN, Course, distract, sentence, wordings
from wan_core.engine.miniature import FOLDER, architecture, build

WIDTH: int = architecture.TEXT_ENCODER["d_model"]
SCALE = 0.25  # of a speed in the code: the quickest move takes 0.38 of a vector of length 1
CODE_LENGTH = 5
PAN, TILT, ZOOM, SILENT, ALWAYS = range(CODE_LENGTH)
SILENCE = 0.5  # of the code, where nothing is said about the camera
RATE, BATCH, REPORT_EVERY = 3e-3, 64, 300


def directions() -> torch.Tensor:
    """(CODE_LENGTH, WIDTH) orthonormal: pan, tilt, zoom, nothing said of the camera, and one that is always there."""
    generator = torch.Generator().manual_seed(7)
    rows: torch.Tensor = torch.linalg.qr(torch.randn(WIDTH, CODE_LENGTH, generator=generator)).Q.T
    return rows


def meaning(courses: list[Course]) -> torch.Tensor:
    """(N, WIDTH) target vectors of rms 1, as the encoder's last norm leaves them."""
    parts = torch.tensor(
        [[c.pan * SCALE, c.tilt * SCALE, c.zoom * SCALE, 0.0 if c.named else SILENCE] for c in courses]
    )
    rest = (1 - (parts**2).sum(1, keepdim=True)).sqrt()
    return torch.cat([parts, rest], dim=1) @ directions() * math.sqrt(WIDTH)


def read_course(states: torch.Tensor) -> torch.Tensor:
    """(..., WIDTH) token states → (..., 3) pan, tilt, zoom."""
    return states @ directions()[:SILENT].T / (SCALE * math.sqrt(WIDTH))


def build_tokenizer() -> T5TokenizerFast:
    return build.build_tokenizer((FOLDER / "words.txt").read_text(encoding="utf-8").split())


def find_unused_words(tokenizer: T5TokenizerFast, rng: random.Random) -> list[str]:
    """Words of the vocabulary that no training sentence has, sorted: `get_vocab` has another order in every process."""
    used = {word.strip(",.;") for _ in range(20000) for word in sentence(rng)[0].split()}
    words = sorted(token[1:] for token in tokenizer.get_vocab() if token[0] == "▁" and token != "▁")
    return [word for word in words if word not in used]


def encoding_error(
    encoder: UMT5EncoderModel, tokenizer: T5TokenizerFast, texts: list[str], courses: list[Course]
) -> torch.Tensor:
    """Mean squared error of the tokens' states, padding left out."""
    tokens = tokenizer(texts, padding=True, return_tensors="pt")
    states: torch.Tensor = encoder(tokens.input_ids, tokens.attention_mask).last_hidden_state
    mask: torch.Tensor = tokens.attention_mask
    error = ((states - meaning(courses)[:, None]) ** 2).mean(-1)
    return (error * mask).sum() / mask.sum()


def train(tokenizer: T5TokenizerFast, steps: int) -> UMT5EncoderModel:
    """A trained encoder, from nothing; takes torch's global seed."""
    rng = random.Random(0)
    unused = find_unused_words(tokenizer, rng)
    encoder = build.build_text_encoder(len(tokenizer))
    optimiser = torch.optim.AdamW(encoder.parameters(), lr=RATE, weight_decay=0.01, betas=(0.9, 0.98))
    start = time.time()
    for step in range(steps):
        falling = 0.5 + 0.5 * math.cos(math.pi * step / steps)
        optimiser.param_groups[0]["lr"] = RATE * min(1, (step + 1) / 100) * falling
        texts, courses = zip(*[sentence(rng) for _ in range(BATCH)], strict=True)
        loss = encoding_error(encoder, tokenizer, [distract(rng, text, unused) for text in texts], list(courses))
        optimiser.zero_grad()
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
        optimiser.step()
        if step % REPORT_EVERY == 0:
            print(f"{time.time() - start:4.0f} s {step:6d} loss {loss.item():.5f}", flush=True)
    return encoder.eval()


@torch.no_grad()
def print_readings(encoder: UMT5EncoderModel, tokenizer: T5TokenizerFast) -> None:
    """What is read from the benchmark's wordings, those that training never had among them."""
    for move in MOVES:
        for text in [*wordings(move), UNSEEN[move] + ", quickly", ""]:
            states = encoder(**tokenizer([text], return_tensors="pt")).last_hidden_state[0]
            print(f"{move:10s} {[round(v, 2) for v in read_course(states).mean(0).tolist()]} {text}")


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=10800)
    parser.add_argument("--out", type=Path, required=True, help="write safetensors (fp16) here")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    tokenizer = build_tokenizer()
    encoder = train(tokenizer, options.steps)
    print_readings(encoder, tokenizer)
    save_file({name: value.half().contiguous() for name, value in encoder.state_dict().items()}, options.out)


if __name__ == "__main__":
    main()
