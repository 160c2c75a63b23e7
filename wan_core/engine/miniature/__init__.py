"""The miniature: our own small Wan 2.2 image-to-video model, the engine of every machine without a GPU.

Same pipeline class and the same component classes as A14B, at a four-thousandth of its size. `architecture` holds its
sizes, `build` brings it into memory (and torch with it), `card.json` says what it can do.
"""

from pathlib import Path

FOLDER = Path(__file__).parent
