"""Tiny models of the real architectures in the real file formats, saved to a folder: what the loading code meets.

The two language models are trained for a second on a handful of sentences, so that they answer them and a test can tell
whether picture and text arrive.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from safetensors.torch import save_file
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch.nn.functional import cross_entropy, pad
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

from wan_core.expansion.local import chat
from wan_core.safety import eva02

VISION = ["<|vision_start|>", "<|vision_end|>", "<|image_pad|>", "<|video_pad|>"]
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *VISION]
GUARD_TEMPLATE = (  # Qwen3Guard's, without its policy
    "<|im_start|>user\nUSER: {{ messages[0].content }}\n\n<END CONVERSATION><|im_end|>\n"
    "<|im_start|>assistant\n<think>\n\n</think>\n\n"
)


def save_eva02(folder: Path, probabilities: Sequence[float]) -> Path:
    """Two layers of EVA-02 on 4×4 patches that give these probabilities to every picture."""
    torch.manual_seed(0)
    model = eva02.Eva02(dim=64, depth=2, hidden=48, grid=4, patch=14, classes=len(probabilities))
    always(model.head, probabilities)
    save_file(model.state_dict(), folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"architecture": "eva02_base_patch14_448"}), "utf-8")
    return folder


def save_vit(folder: Path, probabilities: Sequence[float]) -> Path:
    """Two layers of ViT on 32×32 pixels that give these probabilities to every picture."""
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2}
    config = ViTConfig(**sizes, num_attention_heads=2, image_size=32, patch_size=16, num_labels=len(probabilities))
    model = ViTForImageClassification(config)
    always(model.classifier, probabilities)
    model.save_pretrained(folder)
    return folder


def save_guard(folder: Path, answers: dict[str, str]) -> Path:
    """Two layers of Qwen3 that give these answers to these prompts."""
    texts = {prompt: GUARD_TEMPLATE.replace("{{ messages[0].content }}", prompt) for prompt in answers}
    tokenizer = tokenizer_for([*texts.values(), *answers.values()])
    tokenizer.chat_template = GUARD_TEMPLATE
    torch.manual_seed(0)
    model = Qwen3ForCausalLM(Qwen3Config(**language_sizes(tokenizer), max_position_embeddings=1024))
    ends(model, tokenizer)
    train(model, [lesson(tokenizer, texts[prompt], answer) for prompt, answer in answers.items()])
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def save_qwen3_vl(folder: Path, answers: Sequence[tuple[str, Image.Image, str, str]]) -> Path:
    """Two layers of Qwen3-VL that give `answer` to each (instruction, picture, text, answer)."""
    tokenizer = tokenizer_for(
        [part for instruction, _, text, answer in answers for part in (instruction, text, answer)]
    )
    eyes = Qwen2VLImageProcessorPil(patch_size=16, size={"shortest_edge": 32 * 32, "longest_edge": 64 * 64})
    torch.manual_seed(0)
    model = Qwen3VLForConditionalGeneration(vision_language_config(tokenizer))
    ends(model, tokenizer)
    lessons = []
    for instruction, picture, text, answer in answers:
        seen = eyes(images=[picture], return_tensors="pt")
        words = lesson(tokenizer, chat(instruction, int(seen["image_grid_thw"].prod()) // 4, text), answer)
        kinds = (words["input_ids"] == model.config.image_token_id).int()
        lessons.append({**words, **seen, "mm_token_type_ids": kinds})
    train(model, lessons)
    for part in (model, tokenizer, eyes):
        part.save_pretrained(folder)
    return folder


def always(head: torch.nn.Linear, probabilities: Sequence[float]) -> None:
    """Makes a classifier's last layer blind, so that only its bias speaks."""
    head.weight.data.zero_()
    head.bias.data.copy_(torch.tensor(probabilities).clamp_min(1e-9).log())


def tokenizer_for(texts: Sequence[str]) -> PreTrainedTokenizerFast:
    """Byte-level BPE as Qwen's, learnt from these texts; it can spell any other."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=2000, initial_alphabet=alphabet, special_tokens=SPECIAL, show_progress=False, min_frequency=1
    )
    tokenizer.train_from_iterator(texts, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",
        pad_token="<|endoftext|>",
        additional_special_tokens=["<|im_start|>", *VISION],
    )


def language_sizes(tokenizer: PreTrainedTokenizerFast) -> dict[str, Any]:
    return {
        "vocab_size": len(tokenizer),
        "hidden_size": 64,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 32,
    }


def vision_language_config(tokenizer: PreTrainedTokenizerFast) -> Qwen3VLConfig:
    ids = {name: tokenizer.convert_tokens_to_ids(f"<|{name}|>") for name in ("image_pad", "video_pad")}
    rope = {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [8, 4, 4], "mrope_interleaved": True}
    eyes = {"depth": 2, "hidden_size": 32, "intermediate_size": 32, "num_heads": 2, "out_hidden_size": 64}
    return Qwen3VLConfig(
        text_config={**language_sizes(tokenizer), "rope_parameters": rope, "max_position_embeddings": 4096},
        vision_config={**eyes, "patch_size": 16, "num_position_embeddings": 16, "deepstack_visual_indexes": [0]},
        image_token_id=ids["image_pad"],
        video_token_id=ids["video_pad"],
    )


def ends(model: Any, tokenizer: PreTrainedTokenizerFast) -> None:
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    model.generation_config.pad_token_id = tokenizer.pad_token_id


def lesson(tokenizer: PreTrainedTokenizerFast, question: str, answer: str) -> dict[str, torch.Tensor]:
    """Question and answer as tokens; only the answer is to be learnt."""
    asked = len(tokenizer(question)["input_ids"])
    words = tokenizer(question + answer + "<|im_end|>", return_tensors="pt")
    labels = words["input_ids"].clone()
    labels[:, :asked] = -100
    return {"input_ids": words["input_ids"], "attention_mask": words["attention_mask"], "labels": labels}


def train(model: torch.nn.Module, lessons: list[dict[str, torch.Tensor]], most_steps: int = 200) -> None:
    """Teaches the answers by heart, all at once."""
    words = together(lessons)
    labels = words.pop("labels")[:, 1:]
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-3, fused=True)
    for _ in range(most_steps):
        optimizer.zero_grad()
        said = model(**words).logits[:, :-1].transpose(1, 2)
        losses = cross_entropy(said, labels, reduction="none").sum(1) / (labels != -100).sum(1)
        if losses.max() < 0.05:
            return
        losses.sum().backward()
        optimizer.step()
    raise AssertionError("the tiny model did not learn its answers")


def together(lessons: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """Lessons as one batch; the shorter ones are filled up with what counts for nothing."""
    longest = max(words["input_ids"].shape[1] for words in lessons)
    fillings = {"input_ids": 0, "attention_mask": 0, "labels": -100, "mm_token_type_ids": 0}

    def filled(name: str, tensor: torch.Tensor) -> torch.Tensor:
        missing = longest - tensor.shape[1] if name in fillings else 0
        return pad(tensor, (0, missing), value=fillings[name]) if missing else tensor

    return {name: torch.cat([filled(name, words[name]) for words in lessons]) for name in lessons[0]}
