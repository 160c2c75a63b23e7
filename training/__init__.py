"""How the miniature's weights are made: `vae`, `text_encoder` and `dit` are the commands, `make.sh` runs them all.

Nothing of the app imports this package; it writes the safetensors that `wan_core.engine.miniature` reads.
"""

from pathlib import Path

RUNS = Path(__file__).parent / "runs"  # checkpoints
