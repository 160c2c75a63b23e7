"""Qwen3-VL on the CPU, to leave GPU memory to the video model."""

import time
from collections.abc import Callable
from pathlib import Path
from threading import Lock

from PIL import Image

from wan_core.hub import LoadedOnce, Pin, Unavailable

ANSWER_TOKENS = 512  # Wan's own limit

Write = Callable[[str, Image.Image, str, float], str]


class LocalModel:
    """One prompt at a time; raises `Unavailable` if the deadline passes meanwhile."""

    def __init__(self, pin: Pin) -> None:
        self._model: LoadedOnce[Write] = LoadedOnce(pin, load)
        self._turn = Lock()

    def write(self, instruction: str, picture: Image.Image, text: str, deadline: float) -> str:
        with self._turn:
            if time.monotonic() > deadline:
                raise Unavailable("the language model was busy for too long")
            return self._model.get()(instruction, picture, text, deadline)


def load(folder: Path) -> Write:
    """Builds the chat here, because transformers' processor needs torchvision."""
    import torch
    from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    eyes = AutoImageProcessor.from_pretrained(folder, local_files_only=True, backend="pil")
    model = AutoModelForImageTextToText.from_pretrained(
        folder, local_files_only=True, use_safetensors=True, dtype="auto"
    ).eval()

    @torch.inference_mode()
    def write(instruction: str, picture: Image.Image, text: str, deadline: float) -> str:
        seen = eyes(images=[picture], return_tensors="pt")
        patches = int(seen["image_grid_thw"].prod()) // eyes.merge_size**2
        asked = tokenizer(chat(instruction, patches, text), return_tensors="pt")
        is_picture = (asked["input_ids"] == model.config.image_token_id).int()
        limits = {"max_new_tokens": ANSWER_TOKENS, "max_time": deadline - time.monotonic()}
        answer = model.generate(**asked, **seen, mm_token_type_ids=is_picture, do_sample=False, **limits)
        return str(tokenizer.decode(answer[0, asked["input_ids"].shape[1] :], skip_special_tokens=True))

    return write


def chat(instruction: str, patches: int, text: str) -> str:
    """Without `<` and `>`, `text` holds no control token."""
    harmless = text.replace("<", "‹").replace(">", "›")
    picture = f"<|vision_start|>{'<|image_pad|>' * patches}<|vision_end|>"
    return (
        f"<|im_start|>system\n{instruction}<|im_end|>\n"
        f"<|im_start|>user\n{picture}{harmless}<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
