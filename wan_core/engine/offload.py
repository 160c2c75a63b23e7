"""Move a loaded engine's parts, before a clip that needs it and after memory ran out.

`memory` computes what fits. Knows sizes of clips, nothing of requests.
"""

from dataclasses import replace

from wan_core.engine import memory, step_cache
from wan_core.engine.acceleration import compile_blocks
from wan_core.engine.loading import Engine, release_memory
from wan_core.engine.memory import GIB, Clip, Plan
from wan_core.events import Log
from wan_core.run_in_thread import Emit


def arrange_for(engine: Engine, clip: Clip, emit: Emit) -> None:
    if engine.plan is not None:
        _apply(engine, engine.plan, _next_plan(engine, engine.plan, clip), emit)


def shrink(engine: Engine, clip: Clip, emit: Emit) -> Plan | None:
    """After memory ran out, apply and return the next smaller plan, or `None`.

    From then on the card counts as smaller than the present plan's estimated need.
    """
    present = engine.plan
    if present is None:
        return None
    needed = memory.peak_of(present, clip)
    engine.card = replace(engine.card, free_bytes=min(engine.card.free_bytes, int(needed * GIB)) - 1)
    wanted = _next_plan(engine, present, clip)
    if wanted == present:
        return None
    release_memory(engine.card)
    _apply(engine, present, wanted, emit)
    return wanted


def fits(engine: Engine, clip: Clip) -> bool:
    """Whether `clip` fits the card in the way its engine lies on it, or in another one that it may take."""
    if engine.plan is None:
        return True
    plan = _next_plan(engine, engine.plan, clip)
    return memory.peak_of(plan, clip) * GIB <= engine.card.free_bytes


def _next_plan(engine: Engine, present: Plan, clip: Clip) -> Plan:
    """The fastest that fits with the present weights, else the smallest. A fixed card keeps its placement."""
    card = engine.card
    plans = memory.plans(card.free_bytes, clip, [present.weights], card.main_bytes, loaded=True)
    if card.is_fixed:
        plans = [plan for plan in plans if plan.placement == present.placement]
    return plans[0] if plans else replace(present, tiled=True, cached=False)


def _apply(engine: Engine, present: Plan, wanted: Plan, emit: Emit) -> None:
    if wanted == present:
        return
    emit(Log(wanted.sentence))
    if wanted.placement == present.placement:
        memory.tile(engine.pipe, wanted.tiled)
    else:
        move_to(engine, wanted)
    engine.plan = wanted


def move_to(engine: Engine, wanted: Plan) -> None:
    """Group offloading excludes compiled and cached forwards, so it ends compiling for good."""
    engine.acceleration.compiles &= wanted.placement != "group_offload"
    for expert in (engine.pipe.transformer, engine.pipe.transformer_2):
        step_cache.take_off(expert)
        compile_blocks(expert, on=False)
    memory.arrange(engine.pipe, wanted, engine.card.device)
