"""The miniature: our own small Wan 2.2 image-to-video model, the engine of every machine without a GPU.

Same pipeline class and the same component classes as A14B, at a hundredth of a thousandth of its size. Importing this
package loads no torch: what the page needs to know stands in `card.json`; only `build()` brings the model into memory.
Nothing is downloaded: weights lie beside this file as safetensors, and without them the pipeline is seeded and random.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from diffusers import WanImageToVideoPipeline

FOLDER = Path(__file__).parent
CARD = FOLDER / "card.json"


@dataclass(frozen=True, slots=True)
class Card:
    """What `card.json` says: are the weights trained, one true sentence for the page, the words on its chips."""

    trained: bool
    sentence: str
    moves: tuple[str, ...]


def read_card(path: Path = CARD) -> Card:
    """The card beside the weights; plain JSON, no torch."""
    data = json.loads(path.read_text(encoding="utf-8"))
    return Card(trained=data["trained"], sentence=data["sentence"], moves=tuple(data["moves"]))


def is_trained() -> bool:
    """True where the committed weights follow camera moves; false for the random pipeline and for an honest failure."""
    return read_card().trained


def build() -> WanImageToVideoPipeline:
    """The whole pipeline in fp32 on the CPU, the same at every call. See `architecture.py` for the sizes."""
    from wan_core.engine.miniature import architecture

    return architecture.build(FOLDER)
