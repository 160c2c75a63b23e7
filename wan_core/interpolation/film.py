"""FILM "Style": made for large motion, and slow."""

from pathlib import Path

from wan_core.hub import Pin
from wan_core.interpolation._pairs import Interpolator

TITLE = "FILM"
FILE = "frame_interpolation/film_net_fp16.safetensors"
WEIGHTS = Pin(
    "Comfy-Org/frame_interpolation",
    "219da3c9d8c357ceaf457fc1d5932c6e861b8dee",
    {FILE: "f226e51375dc839d4b40e5c3d63da560dd1ea1c962364ec78f5adf2d05db05c0"},
    {FILE: 68_882_302},
    (FILE,),
    TITLE,
)
SECONDS_PER_PIXEL = {"cpu": 80e-6, "cuda": 70e-9}
"""CPU: measured on two cores; CUDA: counted."""


def load(weights: Path, device: str | None = None) -> Interpolator:
    """Read once per process and device."""
    from wan_core.interpolation import _film_network

    return _film_network.load(weights, device)
