"""Changes of single weights that a LoRA file may carry beside its low-rank parts: modulation, norms, patch embedding.

diffusers' converter drops them without a word (0.42). They are added to the weights, and taken off again to the last
bit, because both versions of these few weights are kept. Knows the file's names (Wan's own), no requests.
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

Differences = Mapping[str, torch.Tensor]
"""By diffusers' name of the parameter."""
KEPT = "both_versions"  # the expert's attribute with (name, plain, changed)
SUFFIXES = {".diff": ".weight", ".diff_b": ".bias"}
PARTS = (
    (r"blocks\.(\d+)\.diff_m", r"blocks.\1.scale_shift_table"),
    (r"head\.diff_m", "scale_shift_table"),
    (r"blocks\.(\d+)\.self_attn\.(norm_[qk])(\.diff(?:_b)?)", r"blocks.\1.attn1.\2\3"),
    (r"blocks\.(\d+)\.cross_attn\.(norm_[qk])(\.diff(?:_b)?)", r"blocks.\1.attn2.\2\3"),
    (r"blocks\.(\d+)\.norm3(\.diff(?:_b)?)", r"blocks.\1.norm2\2"),
    (r"patch_embedding(\.diff(?:_b)?)", r"patch_embedding\1"),
)
"""Names in the file and diffusers', as in its scripts/convert_wan_to_diffusers.py."""


def read(file: Path) -> tuple[Differences, list[str]]:
    """Return the differences that are not zero, and the names of those for which Wan 2.2 has no place known here."""
    found: dict[str, torch.Tensor] = {}
    unknown: list[str] = []
    with safe_open(file, framework="pt") as tensors:
        for name in filter(_is_dropped, tensors.keys()):
            difference = tensors.get_tensor(name)
            if not difference.any():
                continue
            if parameter := _parameter_name(name.removeprefix("diffusion_model.")):
                found[parameter] = difference
            else:
                unknown.append(name)
    return found, unknown


def fault_of(differences: Differences, expert: Any) -> str | None:
    """Return why `differences` do not fit `expert`, or `None`."""
    for name, difference in differences.items():
        parameter = _parameter(expert, name)
        if parameter is None:
            return f"the model has no {name}"
        if parameter.numel() != difference.numel():
            return f"its part for {name} has another shape"
    return None


def add(expert: Any, differences: Differences) -> None:
    """Keep both versions of the weights that change, switched off."""
    kept = [(name, plain, _changed(plain, differences[name])) for name, plain in _plain(expert, differences)]
    setattr(expert, KEPT, kept)


def switch(expert: Any, on: bool) -> None:
    """Write in place: offloading keeps the storages."""
    for name, plain, changed in getattr(expert, KEPT, ()):
        parameter = _parameter(expert, name)
        assert parameter is not None, "checked when it was added"
        parameter.data.copy_(changed if on else plain)


def _plain(expert: Any, differences: Differences) -> Iterator[tuple[str, torch.Tensor]]:
    for name in differences:
        parameter = _parameter(expert, name)
        assert parameter is not None, "checked before"
        yield name, parameter.data.detach().cpu().clone()


def _changed(plain: torch.Tensor, difference: torch.Tensor) -> torch.Tensor:
    return (plain.float() + difference.float().reshape(plain.shape)).to(plain.dtype)


def _is_dropped(name: str) -> bool:
    if "_img" in name or "img_emb" in name:  # Wan 2.1's, which Wan 2.2 lacks
        return False
    if name.endswith(".diff_m") or (name.endswith(".diff") and "head.head" not in name):
        return True
    return name.endswith(".diff_b") and ("norm" in name or "patch_embedding" in name)


def _parameter_name(name: str) -> str | None:
    for pattern, target in PARTS:
        if found := re.fullmatch(pattern, name):
            parameter = found.expand(target)
            for theirs, ours in SUFFIXES.items():
                if parameter.endswith(theirs):
                    return parameter.removesuffix(theirs) + ours
            return parameter
    return None


def _parameter(expert: Any, name: str) -> torch.nn.Parameter | None:
    """A LoRA on the same layer hides its weight one level down."""
    layer, _, kind = name.rpartition(".")
    try:
        module = expert.get_submodule(layer)
    except AttributeError:
        return None
    found = getattr(getattr(module, "base_layer", module), kind, None)
    return found if isinstance(found, torch.nn.Parameter) else None
