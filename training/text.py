"""Teaches the miniature's UMT5 encoder to read camera moves: every token of a sentence comes to carry its course.

The target of every token (and of the end mark, all that an empty prompt has) is one vector, `meaning(course)`, so the
transformers read the same code at each of them and never see the words. Minutes on one core.
"""

from __future__ import annotations

import argparse
import math
import random
import time
from pathlib import Path

import torch
from prompts import MOVES, UNSEEN, Course, distract, sentence, wordings
from safetensors.torch import save_file

from wan_core.engine.miniature import FOLDER
from wan_core.engine.miniature.architecture import TEXT_ENCODER
from wan_core.engine.miniature.build import build_text_encoder, build_tokenizer

WIDTH: int = TEXT_ENCODER["d_model"]
SCALE = 0.25  # of a speed in the code: the quickest move takes 0.38 of a vector of length 1


def directions() -> torch.Tensor:
    """(5, WIDTH) orthonormal rows: pan, tilt, zoom, nothing said about the camera, and one that is always there."""
    generator = torch.Generator().manual_seed(7)
    return torch.linalg.qr(torch.randn(WIDTH, 5, generator=generator)).Q.T


def meaning(courses: list[Course]) -> torch.Tensor:
    """(N, WIDTH) target vectors of rms 1, as the encoder's last norm leaves them."""
    parts = torch.tensor([[c.pan * SCALE, c.tilt * SCALE, c.zoom * SCALE, 0.0 if c.named else 0.5] for c in courses])
    rest = (1 - (parts**2).sum(1, keepdim=True)).sqrt()
    return torch.cat([parts, rest], dim=1) @ directions() * math.sqrt(WIDTH)


def read(states: torch.Tensor) -> torch.Tensor:
    """(..., WIDTH) token states → (..., 3) pan, tilt, zoom."""
    return states @ directions()[:3].T / (SCALE * math.sqrt(WIDTH))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=10800)
    parser.add_argument("--out", type=Path, default=FOLDER / "text_encoder.safetensors")
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rng = random.Random(0)
    tokenizer = build_tokenizer((FOLDER / "words.txt").read_text(encoding="utf-8").split())
    used = {word.strip(",.;") for _ in range(20000) for word in sentence(rng)[0].split()}
    unused = [
        token[1:] for token in tokenizer.get_vocab() if token[0] == "▁" and token[1:] not in used and token != "▁"
    ]
    encoder = build_text_encoder(len(tokenizer))
    optimiser = torch.optim.AdamW(encoder.parameters(), lr=3e-3, weight_decay=0.01, betas=(0.9, 0.98))
    start = time.time()
    for step in range(options.steps):
        falling = 0.5 + 0.5 * math.cos(math.pi * step / options.steps)
        optimiser.param_groups[0]["lr"] = 3e-3 * min(1, (step + 1) / 100) * falling
        texts, courses = zip(*[sentence(rng) for _ in range(64)], strict=True)
        tokens = tokenizer([distract(rng, text, unused) for text in texts], padding=True, return_tensors="pt")
        states = encoder(tokens.input_ids, tokens.attention_mask).last_hidden_state
        error = ((states - meaning(list(courses))[:, None]) ** 2).mean(-1)
        loss = (error * tokens.attention_mask).sum() / tokens.attention_mask.sum()
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(encoder.parameters(), 1.0)
        optimiser.step()
        if step % 300 == 0:
            print(f"{time.time() - start:4.0f} s {step:6d} loss {loss.item():.5f}", flush=True)
    encoder.eval()
    with torch.no_grad():
        for move in MOVES:
            for text in [*wordings(move), UNSEEN[move] + ", quickly", ""]:
                tokens = tokenizer([text], return_tensors="pt")
                courses_read = read(encoder(**tokens).last_hidden_state[0]).mean(0)
                print(f"{move:10s} {[round(v, 2) for v in courses_read.tolist()]} {text}")
    save_file({name: value.half().contiguous() for name, value in encoder.state_dict().items()}, options.out)


if __name__ == "__main__":
    main()
