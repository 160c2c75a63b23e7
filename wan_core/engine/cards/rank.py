"""One rank's part in a forward that several share. Knows no processes, pipelines or requests.

`ulysses`: each rank has a part of the tokens; around self-attention they exchange tokens for heads (diffusers' context
parallelism; DeepSpeed Ulysses, https://arxiv.org/abs/2309.14509). `guidance`: each half of the ranks takes one of a
guided step's two passes, and within a half tokens are shared as before.
"""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain
from typing import Any

import torch
from diffusers import WanTransformer3DModel
from diffusers.hooks.context_parallel import apply_context_parallel
from diffusers.models._modeling_parallel import ContextParallelConfig, ParallelConfig
from torch import distributed
from torch.distributed import distributed_c10d
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.distributed_c10d import ProcessGroup, Store
from torch.nn import functional

from wan_core.settings import ClipSplit

BACKENDS = {"cpu": "gloo", "cuda": "cpu:gloo,cuda:nccl"}  # sizes of uneven parts travel beside the card


@dataclass(frozen=True)
class Split:
    """How `cards` share a clip."""

    cards: int
    kind: ClipSplit

    @property
    def halves(self) -> int:
        return 2 if self.kind == "guidance" else 1

    @property
    def degree(self) -> int:
        """Ranks that share the tokens of one pass."""
        return self.cards // self.halves

    @property
    def words(self) -> str:
        shared = f"{self.degree} share the tokens of a pass (Ulysses)" if self.degree > 1 else ""
        halves = "each half takes one pass of a guided step" if self.halves > 1 else ""
        return f"{self.cards} cards make each clip: {' and '.join(filter(None, (halves, shared)))}."


class Rank:
    """Joins the others when it is made. `patience`: until one that does not answer is given up."""

    def __init__(self, split: Split, number: int, device: torch.device, store: Store, patience: timedelta) -> None:
        self.split, self.device = split, device
        self._half = number // split.degree
        distributed.init_process_group(
            BACKENDS[device.type], store=store, rank=number, world_size=split.cards, timeout=patience
        )
        self._context = _context(split, number, device) if split.degree > 1 else None
        self._tokens = 0
        self.give_up_after(patience)

    def give_up_after(self, patience: timedelta) -> None:
        """Groups within a mesh begin with a patience of their own: ten minutes, or thirty."""
        distributed_c10d._set_pg_timeout(patience)
        if self._context is not None:
            distributed_c10d._set_pg_timeout(patience, self._sharers)

    @property
    def _sharers(self) -> ProcessGroup:
        """The ranks that share the tokens of this one's pass."""
        assert self._context is not None and self._context._flattened_mesh is not None
        sharers: ProcessGroup = self._context._flattened_mesh.get_group()
        return sharers

    def put_on(self, expert: Any) -> None:
        """Let `expert` run on this rank's part of the tokens, and return all of them.

        As `expert.enable_parallelism`, which divides by the number of CUDA cards even where there is none (diffusers
        0.42), with a gathering of uneven parts that gloo can do too, and without a time of each token, which Wan 2.2
        A14B has not.
        """
        if self._context is None:
            return
        for block in expert.blocks:
            block.attn1.processor._parallel_config = ParallelConfig(self._context)
        plan = {name: part for name, part in expert._cp_plan.items() if name in ("rope", "blocks.0")}
        apply_context_parallel(expert, self._context, plan)
        expert.proj_out.register_forward_hook(lambda module, inputs, part: self._gather(part))

    @torch.no_grad()
    def forward(
        self, expert: Any, run: Any, latents: torch.Tensor, timestep: torch.Tensor, texts: Sequence[torch.Tensor]
    ) -> list[torch.Tensor]:
        """Return the result for each of one or two texts. `run`: the forward of `expert` on this rank."""
        self._prepare_for(math.prod(latents.shape[2:]) // math.prod(expert.config.patch_size))
        mine = self._half if len(texts) > 1 else 0
        results = [latents.new_empty(latents.shape[0], expert.config.out_channels, *latents.shape[2:]) for _ in texts]
        if len(texts) > 1 or self._half == 0:
            results[mine] = run(
                hidden_states=latents, timestep=timestep, encoder_hidden_states=texts[mine], return_dict=False
            )[0].contiguous()
        if len(texts) > 1:
            distributed.broadcast(results[1], src=self.split.degree)
        return results

    def _prepare_for(self, tokens: int) -> None:
        """Uneven parts cost one more exchange each, so only where the tokens cannot be divided."""
        self._tokens = tokens
        if self._context is not None:
            self._context.ulysses_anything = tokens % self.split.degree != 0

    def _gather(self, part: torch.Tensor) -> torch.Tensor:
        """(1, some tokens, width) of each rank → (1, all tokens, width)."""
        lengths = [len(each) for each in torch.empty(self._tokens).tensor_split(self.split.degree)]
        padded = functional.pad(part, (0, 0, 0, max(lengths) - part.shape[1])).contiguous()
        parts = [torch.empty_like(padded) for _ in lengths]
        distributed.all_gather(parts, padded, group=self._sharers)
        return torch.cat([each[:, :length] for each, length in zip(parts, lengths, strict=True)], dim=1)

    def close(self) -> None:
        distributed.destroy_process_group()


def _context(split: Split, number: int, device: torch.device) -> ContextParallelConfig:
    names = ("guidance", "ring", "ulysses")
    mesh = init_device_mesh(device.type, (split.halves, 1, split.degree), mesh_dim_names=names)["ring", "ulysses"]
    context = ContextParallelConfig(ulysses_degree=split.degree, mesh=mesh)
    context.setup(number, split.cards, device, mesh)
    return context


def describe(expert: Any) -> dict[str, Any]:
    """All that `bare` needs, as JSON."""
    dtypes = {name: dtype_name(tensor) for name, tensor in _tensors(expert)}
    return {"config": json.loads(expert.to_json_string()), "dtypes": dtypes}


def bare(described: dict[str, Any], device: torch.device) -> Any:
    """An expert of the same shapes and dtypes, whose numbers mean nothing yet. Never takes room for fp32 ones."""
    with torch.device("meta"):
        expert = WanTransformer3DModel.from_config(described["config"])
    for name, tensor in _tensors(expert):
        tensor.data = tensor.data.to(getattr(torch, described["dtypes"][name]))
    expert.to_empty(device=device)
    return expert.requires_grad_(False).eval()


def share_weights(expert: Any) -> None:
    """Give the first rank's numbers to all."""
    for _, tensor in _tensors(expert):
        distributed.broadcast(tensor.data, src=0)


def _tensors(expert: Any) -> Iterator[tuple[str, torch.Tensor]]:
    return chain(expert.named_parameters(), expert.named_buffers())


def dtype_name(tensor: torch.Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
