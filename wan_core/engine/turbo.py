"""Load and switch the Lightning LoRAs: four steps without guidance on both experts, or on the low-noise one alone.

Never fused, so that `none` stays bit-identical (fusing and unfusing changes a third of the bf16 weights). Known cost:
calmer motion.

Source: https://huggingface.co/lightx2v/Wan2.2-Distill-Loras; sampling as in Wan2.2-Lightning #3 (guidance 1/1, shift 5,
UniPC's timesteps 999, 937, 833, 625 against the trained 1000, 937.5, 833.3, 625).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers import WanImageToVideoPipeline
from safetensors import SafetensorError

from wan_core.engine import lora_differences
from wan_core.engine.lora_differences import Differences
from wan_core.engine.model_folder import fetch
from wan_core.errors import BackendError
from wan_core.events import Event, Log, Stage
from wan_core.hub import Pin
from wan_core.profiles import Lightning
from wan_core.schema import ImageToVideoInput
from wan_core.settings import Settings

REPO = "lightx2v/Wan2.2-Distill-Loras"
HIGH_NOISE = "wan2.2_i2v_A14b_high_noise_lora_rank64_lightx2v_4step_1022.safetensors"
LOW_NOISE = "wan2.2_i2v_A14b_low_noise_lora_rank64_lightx2v_4step_1022.safetensors"
REVISION = "570044187a5219776ef30a5c60c6f76428a3a10a"
SHA256: dict[str, str | None] = {
    HIGH_NOISE: "887c3bdeb74e83859c920438e16ca31f39ab18ce189abc5f0e36f8348c5bbb19",
    LOW_NOISE: "8833bd4fd7c8eabebf0bc8ee5cfaf47f4f310ce116928a02c1adf8941dd4b0f1",
}
"""As two public projects pin them, one from the Hub's listing (31 July 2026). Not checked against the files."""
ABSENT = ("attn2.add_k_proj", "attn2.add_v_proj", "condition_embedder.image_embedder")
"""Layers Wan 2.2 lacks. The low-noise file is Wan 2.1's LoRA byte for byte and has parts for them."""
UNUSED = "{file} holds parts that are not used here, so clips may differ from those of other programs: {parts}."
ADAPTER = "lightning"
TITLE = "the Lightning LoRAs"
MISFIT = "The Lightning LoRAs are made to run without guidance (scale 1); above it they over-sharpen."
MISFIT_2 = "The Lightning LoRA is made to run without guidance (second scale 1); above it it over-sharpens."
MAX_STEPS = 8  # trained for 4; more than 8 only cost time


@dataclass(frozen=True)
class Lora:
    """`tensors` have diffusers' names; `file` is for messages. `unused`: parts of the file that change nothing here."""

    file: str
    tensors: Mapping[str, torch.Tensor]
    metadata: dict[str, Any] | None
    differences: Differences
    unused: Sequence[str] = ()


Loras = Mapping[str, Lora]
"""By the pipeline's name of the expert."""


def load(pipe: Any, settings: Settings, report: Callable[[Event], None]) -> None:
    """Load both LoRAs into `pipe`, switched off.

    Raises:
        BackendError: `engine_unavailable` (out of reach or unusable), `storage_full`.
    """
    loras = read(settings, report)
    for name, lora in loras.items():  # both, before any is loaded
        check(getattr(pipe, name), lora)
    for name, lora in loras.items():
        add(getattr(pipe, name), lora, pipe)
    report(Log("The Lightning LoRAs are loaded beside the weights."))


def read(settings: Settings, report: Callable[[Event], None]) -> Loras:
    """Read both files.

    Raises:
        BackendError: as `load`.
    """
    report(Stage("loading", "Reading the Lightning LoRAs."))
    folder = _folder(settings, report)
    loras = {name: _read(folder / file) for name, file in (("transformer", HIGH_NOISE), ("transformer_2", LOW_NOISE))}
    for lora in loras.values():
        if lora.unused:
            more = f" and {len(lora.unused) - 3} more" if len(lora.unused) > 3 else ""
            report(Log(UNUSED.format(file=lora.file, parts=", ".join(lora.unused[:3]) + more), "WARN"))
    return loras


def add(expert: Any, lora: Lora, pipe: Any = None) -> None:
    """Add `lora` to `expert`, switched off. `pipe`: the pipeline whose parts may be offloaded.

    Raises:
        BackendError: `engine_unavailable`: it is made for another model.
    """
    check(expert, lora)
    lora_differences.add(expert, lora.differences)
    tensors = dict(lora.tensors)
    expert.load_lora_adapter(
        tensors, adapter_name=ADAPTER, metadata=lora.metadata, _pipeline=pipe, low_cpu_mem_usage=True
    )
    expert.disable_lora()


def check(expert: Any, lora: Lora) -> None:
    if fault := fault_of(lora.tensors, expert) or lora_differences.fault_of(lora.differences, expert):
        raise _unusable(lora.file, fault)


def _read(file: Path) -> Lora:
    try:
        tensors, metadata = WanImageToVideoPipeline.lora_state_dict(
            file.parent, weight_name=file.name, use_safetensors=True, return_lora_metadata=True
        )
        differences, unused = lora_differences.read(file)
    except (OSError, SafetensorError, LookupError, ValueError, AttributeError) as error:  # the converter's many
        raise _unusable(file.name, "it cannot be read as a LoRA of Wan") from error
    kept = {name: tensor for name, tensor in tensors.items() if not any(layer in name for layer in ABSENT)}
    return Lora(file.name, kept, metadata, differences, unused)


def fault_of(tensors: Mapping[str, torch.Tensor], expert: Any) -> str | None:
    """Return why `tensors` (diffusers' names) are no LoRA of `expert`, or `None`.

    Each must fit a linear layer; every block must have some.
    """
    linear = {name: layer for name, layer in expert.named_modules() if isinstance(layer, torch.nn.Linear)}
    layers = {name.removeprefix("transformer.").partition(".lora_")[0] for name in tensors}
    if strange := sorted(layers - set(linear)):
        return f"the model has no layer {strange[0]}"
    shapes = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    for layer in sorted(layers):
        key, inputs, outputs = f"transformer.{layer}.lora_", linear[layer].in_features, linear[layer].out_features
        rank = shapes.get(f"{key}A.weight", (0,))[0]
        wanted = {f"{key}A.weight": (rank, inputs), f"{key}B.weight": (outputs, rank), f"{key}B.bias": (outputs,)}
        found = {name: shape for name, shape in shapes.items() if name.startswith(key)}
        if not found.keys() >= {f"{key}A.weight", f"{key}B.weight"} or not found.items() <= wanted.items():
            return f"its part for the layer {layer} has another shape"
    changed = {layer.split(".")[1] for layer in layers if layer.startswith("blocks.")}
    return None if len(changed) == len(expert.blocks) else f"it changes {len(changed)} of {len(expert.blocks)} blocks"


def _unusable(file: str, fault: str) -> BackendError:
    message = f"{file} is no Lightning LoRA of this model: {fault}. Check WAN_LIGHTNING."
    return BackendError("engine_unavailable", message)


def is_loaded(pipe: Any) -> bool:
    return all(getattr(expert, "peft_config", None) for expert in (pipe.transformer, pipe.transformer_2))


def switch(pipe: Any, lightning: Lightning | None) -> None:
    """Off is bit-identical to the plain model."""
    _switch_expert(pipe.transformer, on=lightning == "both experts")
    _switch_expert(pipe.transformer_2, on=lightning is not None)


def _switch_expert(expert: Any, on: bool) -> None:
    if on:
        expert.enable_lora()
    elif getattr(expert, "peft_config", None):
        expert.disable_lora()
    lora_differences.switch(expert, on)


def lora_misfit(request: ImageToVideoInput, lightning: Lightning) -> str | None:
    """Return a sentence if the LoRAs were not made for these values."""
    if lightning == "low-noise expert":
        return MISFIT_2 if request.guidance_scale_2 > 1 else None
    if max(request.guidance_scale, request.guidance_scale_2) > 1:
        return MISFIT
    if request.num_inference_steps > MAX_STEPS:
        return f"The Lightning LoRAs are made for 4 steps; more than {MAX_STEPS} only take longer."
    return None


def _folder(settings: Settings, report: Callable[[Event], None]) -> Path:
    pin = _pin(settings)
    folder = fetch(pin, settings, report)
    for file in pin.files:
        if not (folder / file).is_file():
            raise BackendError("engine_unavailable", f"{pin.repo} holds no {file}. Check WAN_LIGHTNING.")
    return folder


def _pin(settings: Settings) -> Pin:
    name, revision = settings.lightning or REPO, settings.lightning_revision
    if name == REPO and revision in (None, REVISION):
        return Pin(REPO, REVISION, SHA256, files=(HIGH_NOISE, LOW_NOISE), title=TITLE)
    return Pin(name, revision, files=(HIGH_NOISE, LOW_NOISE), title=TITLE)
