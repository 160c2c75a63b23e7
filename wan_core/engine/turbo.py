"""The Lightning LoRAs: four steps without guidance, on both experts.

They are loaded beside the weights and switched, never fused: `none` on the same process stays what it is to the last
bit (fusing and unfusing bf16 weights changes a third of them). Calmer motion is their known price.

Source: https://huggingface.co/lightx2v/Wan2.2-Distill-Loras; sampling as in Wan2.2-Lightning #3 (guidance 1/1, shift 5,
UniPC's timesteps 999, 937, 833, 625 against the trained 1000, 937.5, 833.3, 625).
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from wan_core.engine.weights import fetched
from wan_core.errors import BackendError
from wan_core.events import Event, Log, Stage
from wan_core.schema import ImageToVideoInput
from wan_core.settings import Settings

REPO = "lightx2v/Wan2.2-Distill-Loras"
HIGH_NOISE = "wan2.2_i2v_A14b_high_noise_lora_rank64_lightx2v_4step_1022.safetensors"
LOW_NOISE = "wan2.2_i2v_A14b_low_noise_lora_rank64_lightx2v_4step_1022.safetensors"
TITLE = "the Lightning LoRAs"
MAX_STEPS = 8  # trained for 4; more than 8 only cost time


def load(pipe: Any, settings: Settings, report: Callable[[Event], None]) -> None:
    """Loads both LoRAs into `pipe`, switched off. `settings.lightning` may name another repository or a folder.

    Raises:
        BackendError: `engine_unavailable`, `storage_full`.
    """
    report(Stage("loading", "Reading the Lightning LoRAs."))
    folder = _folder(settings, report)
    for name, is_low_noise in ((HIGH_NOISE, False), (LOW_NOISE, True)):
        pipe.load_lora_weights(
            folder,
            weight_name=name,
            adapter_name="lightning",
            load_into_transformer_2=is_low_noise,
            use_safetensors=True,
        )
    switch(pipe, on=False)
    report(Log("The Lightning LoRAs are loaded beside the weights."))


def is_loaded(pipe: Any) -> bool:
    return bool(getattr(pipe.transformer, "peft_config", None))


def switch(pipe: Any, on: bool) -> None:
    """Switches the LoRAs of both experts; off is the plain model to the last bit."""
    for expert in (pipe.transformer, pipe.transformer_2):
        if on:
            expert.enable_lora()
        elif getattr(expert, "peft_config", None):
            expert.disable_lora()


def misfits(request: ImageToVideoInput) -> str | None:
    """What of `request` the LoRAs were not made for, in a sentence."""
    if max(request.guidance_scale, request.guidance_scale_2) > 1:
        return "The Lightning LoRAs are made to run without guidance (scale 1); above it they over-sharpen."
    if request.num_inference_steps > MAX_STEPS:
        return f"The Lightning LoRAs are made for 4 steps; more than {MAX_STEPS} only take longer."
    return None


def _folder(settings: Settings, report: Callable[[Event], None]) -> Path:
    name = settings.lightning or REPO
    folder = Path(name)
    if not folder.is_dir():
        folder = fetched(name, settings.lightning_revision, [HIGH_NOISE, LOW_NOISE], TITLE, settings, report)
    for file in (HIGH_NOISE, LOW_NOISE):
        if not (folder / file).is_file():
            raise BackendError("engine_unavailable", f"{name} holds no {file}. Check WAN_LIGHTNING.")
    return folder
