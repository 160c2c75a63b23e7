"""The miniature: a small Wan 2.2 image-to-video model for machines without a GPU.

Same pipeline and component classes as A14B, at a four-thousandth of its size. Only `build` imports torch.
"""

from pathlib import Path

FOLDER = Path(__file__).parent
