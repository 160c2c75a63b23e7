"""Move a loaded engine's parts, before a clip that needs it and after memory ran out.

`memory` computes what fits. Knows sizes of clips, nothing of requests.
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
    if engine.plan is not None:
        _apply(engine, engine.plan, _plans(engine, engine.plan, size, frames)[0], emit)


def shrink(engine: Engine, size: Size, frames: int, emit: Emit) -> Plan | None:
    """After memory ran out, apply and return the next smaller plan, or `None`.

    From then on the card counts as smaller than the present plan's estimated need.
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
    """Those that fit with the present weights, fastest first. A lent card keeps its placement."""
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
    """Group offloading excludes compiled and cached forwards, so it ends compiling for good."""
    engine.acceleration.compiles &= wanted.placement != "group_offload"
    for expert in (engine.pipe.transformer, engine.pipe.transformer_2):
        disable_cache(expert)
        compile_blocks(expert, on=False)
    memory.arrange(engine.pipe, wanted, engine.card.device)
