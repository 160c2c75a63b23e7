"""How a loaded engine lies in memory, clip by clip: moved before one that needs it, moved again when memory ran out.

What fits is `memory`'s arithmetic; here the engine follows it. Knows sizes of clips, nothing of requests.
"""

from dataclasses import replace

import torch

from wan_core.engine import memory
from wan_core.engine.acceleration import compile_blocks, disable_cache
from wan_core.engine.loading import Engine
from wan_core.engine.memory import GIB, Plan
from wan_core.events import Log
from wan_core.geometry import Size
from wan_core.run_in_thread import Emit


def arrange_for(engine: Engine, size: Size, frames: int, emit: Emit) -> None:
    """Moves the parts so that a clip of `frames` of `size` fits, if they do not lie so already."""
    if engine.plan is not None:
        _apply(engine, engine.plan, _plans(engine, engine.plan, size, frames)[0], emit)


def shrink(engine: Engine, size: Size, frames: int, emit: Emit) -> Plan | None:
    """After memory ran out: what the present plan needs is evidently more than there is, a lesson that is kept. The
    next plan, in force; `None` if there is no smaller one.
    """
    present = engine.plan
    if present is None:
        return None
    needed = memory.peak(present.weights, present.placement, present.tiled, size, frames)
    engine.card = replace(engine.card, free_bytes=min(engine.card.free_bytes, int(needed * GIB)) - 1)
    wanted = _plans(engine, present, size, frames)[0]
    if (wanted.placement, wanted.tiled) == (present.placement, present.tiled):
        return None
    if engine.card.is_cuda:
        torch.cuda.empty_cache()
    _apply(engine, present, wanted, emit)
    return wanted


def _plans(engine: Engine, present: Plan, size: Size, frames: int) -> list[Plan]:
    """The arrangements that fit with the weights as they are, the fastest first."""
    plans = memory.plans(engine.card.free_bytes, size, frames, [present.weights])
    if engine.card.lent:
        return [plan for plan in plans if plan.placement == present.placement] or [replace(present, tiled=True)]
    return plans


def _apply(engine: Engine, present: Plan, wanted: Plan, emit: Emit) -> None:
    if wanted == present:
        return
    emit(Log(wanted.sentence))
    if wanted.placement == present.placement:
        memory.tile(engine.pipe, wanted.tiled)
    else:
        _move(engine, wanted)
    engine.plan = wanted


def _move(engine: Engine, wanted: Plan) -> None:
    """Rearranges the bare experts: the hooks of group offloading and what compiling and caching put on exclude each
    other on the blocks' forward, so group offloading ends compiling for good.
    """
    engine.acceleration.compiles &= wanted.placement != "group_offload"
    for expert in (engine.pipe.transformer, engine.pipe.transformer_2):
        disable_cache(expert)
        compile_blocks(expert, on=False)
    memory.arrange(engine.pipe, wanted, engine.card.device)
