"""The miniature: our own small Wan 2.2 image-to-video model, the engine of every machine without a GPU.

Same pipeline class and the same component classes as A14B, at a four-thousandth of its size. Importing this
package loads no torch; only `build()` brings the model into memory. What the page needs to know stands in `card.json`,
which `profiles.miniature_card` reads. Nothing is downloaded: weights lie beside this file as safetensors, and without
them the pipeline is seeded and random.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from diffusers import WanImageToVideoPipeline

FOLDER = Path(__file__).parent


def build() -> WanImageToVideoPipeline:
    """The whole pipeline in fp32 on the CPU, the same at every call. See `architecture.py` for the sizes."""
    from wan_core.engine.miniature import architecture

    return architecture.build(FOLDER)
