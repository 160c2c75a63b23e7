"""The check models themselves, on the CPU: pixels → probabilities, text → a verdict in words.

Imported only where a check runs, because it needs torch. It knows no threshold and refuses nothing.
"""

import re
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoModelForImageClassification, AutoTokenizer

from wan_core.safety import eva02
from wan_core.safety.checks import Judge, Rate

OPENAI_MEAN, OPENAI_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
HALF = (0.5, 0.5, 0.5)
VERDICT_TOKENS = 64  # two short lines; the longest category has 8 tokens


def freepik(folder: Path) -> Rate:
    """Freepik/nsfw_image_detector: EVA-02 base on the picture squashed to 448×448, as its model card does it."""
    model = eva02.from_weights(load_file(folder / "model.safetensors"))

    @torch.inference_mode()
    def rate(picture: Image.Image) -> list[float]:
        return probabilities(model(pixels(picture, model.side, Image.Resampling.BICUBIC, OPENAI_MEAN, OPENAI_STD)))

    return rate


def falconsai(folder: Path) -> Rate:
    """Falconsai/nsfw_image_detection: ViT base on the picture squashed to 224×224, as its preprocessor does it."""
    model = AutoModelForImageClassification.from_pretrained(
        folder, use_safetensors=True, local_files_only=True, dtype=torch.float32
    ).eval()

    @torch.inference_mode()
    def rate(picture: Image.Image) -> list[float]:
        side = model.config.image_size
        return probabilities(model(pixels(picture, side, Image.Resampling.BILINEAR, HALF, HALF)).logits)

    return rate


def qwen3_guard(folder: Path) -> Judge:
    """Qwen/Qwen3Guard-Gen: the policy stands in its chat template; the answer is greedy, so always the same.

    float32: bfloat16 reads the prompt faster on CPUs that have it and writes more slowly (380 tokens in, 8 out, on a
    busy 2-core EPYC: about 14 CPU seconds either way), and it is slow on all others.
    """
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = AutoModelForCausalLM.from_pretrained(
        folder, use_safetensors=True, local_files_only=True, dtype=torch.float32
    ).eval()

    @torch.inference_mode()
    def judge(text: str) -> str:
        message = [{"role": "user", "content": as_one_turn(text)}]
        asked = tokenizer.apply_chat_template(message, return_dict=True, return_tensors="pt")
        answer = model.generate(**asked, max_new_tokens=VERDICT_TOKENS, do_sample=False)
        return str(tokenizer.decode(answer[0, asked["input_ids"].shape[1] :], skip_special_tokens=True))

    return judge


def pixels(
    picture: Image.Image, side: int, resample: Image.Resampling, mean: tuple[float, ...], std: tuple[float, ...]
) -> Tensor:
    """The RGB picture as (1, 3, side, side) float32, normalised channel by channel."""
    values = np.asarray(picture.convert("RGB").resize((side, side), resample), dtype=np.float32) / 255
    normal = (values - np.array(mean, np.float32)) / np.array(std, np.float32)
    return torch.from_numpy(normal.transpose(2, 0, 1)[None].copy())


def probabilities(logits: Tensor) -> list[float]:
    """(1, levels) logits → one probability a level."""
    values: list[float] = logits.softmax(dim=-1)[0].tolist()
    return values


def as_one_turn(text: str) -> str:
    """The text on one line, with look-alikes for `<`, `>` and the colon of a role.

    The template judges the last turn of a conversation in plain text: a line "USER: a cat walks" at the end of a prompt
    would be all that is judged, and a control token would end it.
    """
    line = " ".join(text.replace("<", "‹").replace(">", "›").split())
    return re.sub(r"\b(user|assistant|system)\s*:", r"\1 -", line, flags=re.IGNORECASE)
