"""Card memory of A14B's experts at full width, counted from the storages of a forward without numbers.

Three layers of forty: without gradients, more layers use the same memory again.
"""

import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers import FirstBlockCacheConfig, WanTransformer3DModel
from diffusers.hooks.first_block_cache import FBCHeadBlockHook
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode, is_traceable_wrapper_subclass
from torch.utils._pytree import tree_leaves

from wan_core.engine import quantizing
from wan_core.engine.memory import GIB, Clip, transformer_activations
from wan_core.geometry import Size

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def inner(weight: torch.Tensor) -> list[torch.Tensor]:
    """The plain tensors that a quantized one consists of."""
    if not is_traceable_wrapper_subclass(weight):
        return [weight]
    names, _ = weight.__tensor_flatten__()
    return [part for name in names for part in inner(getattr(weight, name))]


class Storages(TorchDispatchMode):
    """Counts bytes of storages that operations make, without those of `known`."""

    def __init__(self, known: torch.nn.Module) -> None:
        super().__init__()
        self.known = {part.untyped_storage()._cdata for weight in known.parameters() for part in inner(weight)}
        self.alive: dict[int, int] = {}
        self.peak = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        output = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(output):
            if isinstance(tensor, torch.Tensor) and not is_traceable_wrapper_subclass(tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in self.alive and storage._cdata not in self.known:
                    self.alive[storage._cdata] = storage.nbytes()
                    weakref.finalize(storage, self.alive.pop, storage._cdata)
        self.peak = max(self.peak, sum(self.alive.values()))
        return output


def expert() -> WanTransformer3DModel:
    """bf16 with fp32 islands, as `from_pretrained` leaves it."""
    torch.set_default_dtype(torch.bfloat16)
    try:
        model = WanTransformer3DModel(in_channels=36, out_channels=16, num_layers=3).requires_grad_(False).eval()
    finally:
        torch.set_default_dtype(torch.float32)
    for name, weight in model.named_parameters():
        if any(island in name for island in model._keep_in_fp32_modules):
            weight.data = weight.data.float()
    return model


def counted(clip: Clip, prepare: Callable[[Any], None] = lambda expert: None) -> float:
    """GiB of two guided steps."""
    latent_frames = (clip.frames - 1) // 4 + 1
    with FakeTensorMode(allow_non_fake_inputs=True):
        model = expert()
        prepare(model)
        if clip.cached:
            model.enable_cache(FirstBlockCacheConfig(threshold=0.05))
        latents = torch.empty(1, 36, latent_frames, clip.size.height // 8, clip.size.width // 8, dtype=torch.bfloat16)
        text, timestep = torch.empty(1, 512, 4096, dtype=torch.bfloat16), torch.empty(1)
        with torch.no_grad(), Storages(model) as storages:
            for _ in range(2):
                for name in ("cond", "uncond"):
                    with model.cache_context(name):
                        model(latents, timestep, text, return_dict=False)
    return storages.peak / GIB


@pytest.fixture(autouse=True)
def every_step_is_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without numbers the cache cannot decide; a computed step takes the most."""
    monkeypatch.setattr(FBCHeadBlockHook, "_should_compute_remaining_blocks", lambda *_: True)


P480, P720 = Size(832, 480), Size(1280, 720)


@pytest.mark.parametrize("clip", [Clip(P480, 81), Clip(P720, 81, True), Clip(P720, 121, True)], ids=str)
def test_a_forward_takes_what_the_planner_thinks(clip: Clip) -> None:
    assert 0.93 <= counted(clip) / transformer_activations(clip, "bf16") <= 1


@pytest.mark.parametrize("cached", [False, True], ids=["plain", "cached"])
def test_a_forward_in_fp8_takes_what_the_planner_thinks(cached: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchao.quantization import quant_api, quantize_

    monkeypatch.setattr(quant_api, "_check_hardware_support", lambda *_: None)  # it asks for a card
    clip = Clip(P720, 81, cached)
    config, wanted = quantizing.expert_config(89), quantizing.is_block_linear
    found = counted(clip, lambda model: quantize_(model, config, filter_fn=wanted))
    assert 0.9 <= found / transformer_activations(clip, "fp8") <= 1
