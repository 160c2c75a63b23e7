"""Measure milliseconds of each safety check on the CPU, and seconds of a local prompt expansion.

    python -m benchmarks.checks                       the two picture models and the guard
    python -m benchmarks.checks --only freepik,guard
    python -m benchmarks.checks --only expansion      Qwen3-VL-2B: 4.3 GB of disk and memory

Weights come from the hub's cache. A missing model gets random weights of the same sizes, loaded by the same code
(marked "random"): time does not depend on the values. A random guard is held to the 8 tokens of a real answer, a random
writer to 150. CPU seconds (all threads) are steadier than wall time on a shared machine.
"""

import argparse
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors.torch import save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import (
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
    Qwen3VLConfig,
    Qwen3VLForConditionalGeneration,
    ViTConfig,
    ViTForImageClassification,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from wan_core.expansion import local
from wan_core.expansion.expander import QWEN3_VL, small
from wan_core.expansion.instructions import REWRITE
from wan_core.hub import find_cached
from wan_core.safety import eva02, models
from wan_core.safety.checks import FALCONSAI, FREEPIK, QWEN3_GUARD
from wan_core.schema import EXAMPLE_PROMPT

PICTURE = Image.effect_noise((1280, 720), 80).convert("RGB")
GUARD_POLICY_TOKENS = 330  # of the chat template of Qwen3Guard-Gen
QWEN3_SIZES: dict[str, Any] = {
    "vocab_size": 151_936,
    "num_hidden_layers": 28,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 128,
    "tie_word_embeddings": True,
}
MARKS = ["<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="freepik,falconsai,guard", help="with commas; also: expansion")
    parser.add_argument("--times", type=int, default=5, help="measurements of each; the median counts")
    options = parser.parse_args()
    print(f"{date.today()}  {processor()}, {torch.get_num_threads()} threads, torch {torch.__version__}")
    for name in options.only.split(","):
        report(name, options.times)


def report(name: str, times: int) -> None:
    pin, load, save_random, answer_tokens = MODELS[name]
    with tempfile.TemporaryDirectory() as spare:
        folder, weights = find_cached(pin), "real"
        if folder is None:
            save_random(Path(spare))
            folder, weights = Path(spare), "random"
            models.VERDICT_TOKENS = local.ANSWER_TOKENS = answer_tokens
        start = time.perf_counter()
        ask = load(folder)
        loaded_s = time.perf_counter() - start
        wall, cpu = measured(ask, times)
        print(f"{name:10} {weights:6}  {wall * 1000:8.0f} ms  {cpu:7.2f} CPU s  loaded in {loaded_s:.1f} s")


def measured(ask: Callable[[], object], times: int) -> tuple[float, float]:
    """Median wall and CPU seconds after one warm-up call."""
    ask()
    walls, cpus = [], []
    for _ in range(times):
        wall, cpu = time.perf_counter(), time.process_time()
        ask()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return statistics.median(walls), statistics.median(cpus)


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def ask_freepik(folder: Path) -> Callable[[], object]:
    rate = models.freepik(folder)
    return lambda: rate(PICTURE)


def ask_falconsai(folder: Path) -> Callable[[], object]:
    rate = models.falconsai(folder)
    return lambda: rate(PICTURE)


def ask_guard(folder: Path) -> Callable[[], object]:
    judge = models.qwen3_guard(folder)
    return lambda: judge(EXAMPLE_PROMPT)


def ask_writer(folder: Path) -> Callable[[], object]:
    write = local.load(folder)
    return lambda: write(REWRITE, small(PICTURE), EXAMPLE_PROMPT, time.monotonic() + 600)


def save_freepik(folder: Path) -> None:
    model = eva02.Eva02(dim=768, depth=12, hidden=2048, grid=32, patch=14, classes=4)
    weights = {name: value.to(torch.bfloat16) for name, value in model.state_dict().items()}
    save_file(weights, folder / "model.safetensors")


def save_falconsai(folder: Path) -> None:
    ViTForImageClassification(ViTConfig(num_labels=2)).save_pretrained(folder)


def save_guard(folder: Path) -> None:
    tokenizer = word_tokenizer()
    tokenizer.chat_template = "word " * GUARD_POLICY_TOKENS + "{{ messages[0].content }}"
    tokenizer.save_pretrained(folder)
    torch.set_default_dtype(torch.bfloat16)
    Qwen3ForCausalLM(Qwen3Config(**QWEN3_SIZES, hidden_size=1024, intermediate_size=3072)).save_pretrained(folder)
    torch.set_default_dtype(torch.float32)


def save_writer(folder: Path) -> None:
    tokenizer = word_tokenizer()
    tokenizer.save_pretrained(folder)
    Qwen2VLImageProcessorPil(patch_size=16, size={"shortest_edge": 65_536, "longest_edge": 16_777_216}).save_pretrained(
        folder
    )
    rope = {"rope_type": "default", "rope_theta": 5e6, "mrope_section": [24, 20, 20], "mrope_interleaved": True}
    eyes = {"depth": 24, "hidden_size": 1024, "intermediate_size": 4096, "num_heads": 16, "out_hidden_size": 2048}
    config = Qwen3VLConfig(
        text_config={**QWEN3_SIZES, "hidden_size": 2048, "intermediate_size": 6144, "rope_parameters": rope},
        vision_config={
            **eyes,
            "patch_size": 16,
            "num_position_embeddings": 2304,
            "deepstack_visual_indexes": [5, 11, 17],
        },
        image_token_id=tokenizer.convert_tokens_to_ids("<|image_pad|>"),
        video_token_id=tokenizer.convert_tokens_to_ids("<|video_pad|>"),
        tie_word_embeddings=True,
    )
    torch.set_default_dtype(torch.bfloat16)
    Qwen3VLForConditionalGeneration(config).save_pretrained(folder, max_shard_size="10GB")
    torch.set_default_dtype(torch.float32)


def word_tokenizer() -> PreTrainedTokenizerFast:
    """One token a word, all the same: only their number matters."""
    tokenizer = Tokenizer(WordLevel({"<unk>": 0}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="<unk>", additional_special_tokens=MARKS)


MODELS = {
    "freepik": (FREEPIK.pin, ask_freepik, save_freepik, 0),
    "falconsai": (FALCONSAI.pin, ask_falconsai, save_falconsai, 0),
    "guard": (QWEN3_GUARD, ask_guard, save_guard, 8),
    "expansion": (QWEN3_VL, ask_writer, save_writer, 150),
}

if __name__ == "__main__":
    main()
