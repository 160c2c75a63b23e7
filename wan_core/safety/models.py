"""The check models, on the CPU. Needs torch: import only where a check runs."""

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
VERDICT_TOKENS = 64  # the longest category has 8


def freepik(folder: Path) -> Rate:
    """EVA-02 base; squashes to 448×448 (model card)."""
    model = eva02.from_weights(load_file(folder / "model.safetensors"))

    @torch.inference_mode()
    def rate(picture: Image.Image) -> list[float]:
        return probabilities(model(pixels(picture, model.side, Image.Resampling.BICUBIC, OPENAI_MEAN, OPENAI_STD)))

    return rate


def falconsai(folder: Path) -> Rate:
    """ViT base; squashes to 224×224, as its preprocessor does."""
    model = AutoModelForImageClassification.from_pretrained(
        folder, use_safetensors=True, local_files_only=True, dtype=torch.float32
    ).eval()

    @torch.inference_mode()
    def rate(picture: Image.Image) -> list[float]:
        side = model.config.image_size
        return probabilities(model(pixels(picture, side, Image.Resampling.BILINEAR, HALF, HALF)).logits)

    return rate


def qwen3_guard(folder: Path) -> Judge:
    """The policy is in the chat template. float32: bfloat16 is slow or no faster on CPUs (measured)."""
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
    """(1, 3, side, side) float32 RGB, normalised per channel."""
    values = np.asarray(picture.convert("RGB").resize((side, side), resample), dtype=np.float32) / 255
    normal = (values - np.array(mean, np.float32)) / np.array(std, np.float32)
    return torch.from_numpy(normal.transpose(2, 0, 1)[None].copy())


def probabilities(logits: Tensor) -> list[float]:
    """(1, levels) → one a level."""
    values: list[float] = logits.softmax(dim=-1)[0].tolist()
    return values


def as_one_turn(text: str) -> str:
    """One line, with look-alikes for `<`, `>` and the colon of a role.

    The template judges only the last turn: a line "USER: a cat walks" would hide the rest.
    """
    line = " ".join(text.replace("<", "‹").replace(">", "›").split())
    return re.sub(r"\b(user|assistant|system)\s*:", r"\1 -", line, flags=re.IGNORECASE)
