"""A course in two parts: the high-noise steps that are asked for, then Lightning's own low-noise ones.

With 27 steps and shift 5: ten high-noise steps exactly as ever, then timesteps 833 and 625, which the low-noise LoRA
was trained at (Wan2.2-Lightning #3), in place of seventeen.
"""

from typing import Any

import numpy as np
import torch
from diffusers import UniPCMultistepScheduler

from wan_core.schedule import BOUNDARY, LIGHTNING_STEPS, with_lightning_end


class LightningEnd(UniPCMultistepScheduler):  # type: ignore[misc]
    """UniPC for flow sigmas. `boundary`: the first timestep that is the high-noise expert's."""

    boundary: float = BOUNDARY

    def set_timesteps(
        self, num_inference_steps: int, device: str | torch.device | None = None, **none_of_wan: Any
    ) -> None:
        """`num_inference_steps`: those of the whole course, of which only the high-noise ones are taken."""
        first, last = with_lightning_end(
            self._timesteps(num_inference_steps), self._timesteps(LIGHTNING_STEPS), self.boundary
        )
        asked, lightning = _sigmas(num_inference_steps), _sigmas(LIGHTNING_STEPS)
        sigmas = np.concatenate([asked[:first], lightning[LIGHTNING_STEPS - last :]])
        super().set_timesteps(device=device, sigmas=sigmas, **none_of_wan)

    def _timesteps(self, steps: int) -> list[int]:
        super().set_timesteps(steps)
        return list(self.timesteps.tolist())


def _sigmas(steps: int) -> Any:
    """Before the shift, as UniPC makes them for 1,000 training timesteps."""
    return np.linspace(1, 0.001, steps + 1)[:-1]
