"""What a second click need not pay for: the encoded prompt and the encoded first frame, kept by content.

Changing the seed, the steps or the shift leaves both as they were. Entries live in main memory, a prompt is 8 MB, a
first frame up to 19 MB; a hit gives exactly the tensors of the first time.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from diffusers.models.modeling_outputs import AutoencoderKLOutput

MAX_SEQUENCE_LENGTH = 512
ENTRIES = 8


class Recent:
    """The tensors of the last `entries` keys that were asked for."""

    def __init__(self, entries: int = ENTRIES) -> None:
        self._entries = entries
        self._values: OrderedDict[Hashable, torch.Tensor] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], torch.Tensor]) -> torch.Tensor:
        """The tensor of `key`, in main memory, made by `make()` if it is not among the recent ones."""
        if key not in self._values:
            self._values[key] = make().cpu()
        self._values.move_to_end(key)
        while len(self._values) > self._entries:
            self._values.popitem(last=False)
        return self._values[key]


def prompt_embeds(pipe: Any, recent: Recent, prompt: str) -> torch.Tensor:
    """(1, 512, text_dim): the prompt as the transformer reads it, on the device where the pipeline runs."""

    def encode() -> torch.Tensor:
        with torch.no_grad():
            embeds, _ = pipe.encode_prompt(
                prompt, do_classifier_free_guidance=False, max_sequence_length=MAX_SEQUENCE_LENGTH
            )
        return torch.as_tensor(embeds)

    return recent.get(prompt, encode).to(pipe._execution_device)


def cache_first_frames(vae: Any) -> None:
    """Let `vae.encode` answer from memory when the same video comes again: known frames, and empty ones (zeros)."""
    recent = Recent()
    encode = vae.encode

    def encode_cached(video: torch.Tensor) -> AutoencoderKLOutput:
        known = video.abs().amax(dim=(0, 1, 3, 4)).nonzero().flatten()
        key = (tuple(video.shape), vae.use_tiling, tuple(known.tolist()), _digest(video[:, :, known]))
        moments = recent.get(key, lambda: encode(video).latent_dist.parameters)
        return AutoencoderKLOutput(latent_dist=DiagonalGaussianDistribution(moments.to(video.device)))

    vae.encode = encode_cached


def _digest(tensor: torch.Tensor) -> bytes:
    return hashlib.blake2b(tensor.cpu().contiguous().numpy().tobytes()).digest()
