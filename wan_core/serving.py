"""How this machine serves an endpoint: by its own engine, else by the machine's, with a note."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from wan_core.endpoints import Endpoint
from wan_core.presets import presets
from wan_core.profiles import Choice, Machine, profiles, why_not

SAMPLER = ("num_inference_steps", "guidance_scale", "guidance_scale_2", "shift")
INSTEAD = "Made by the {engine} in its own few steps: {reason}"
SET_SO = "this server is set to it (WAN_ENGINE)."


@dataclass(frozen=True)
class Serving:
    """`values` replace what the endpoint fixes; `notes` go with every result."""

    engine: str
    values: Mapping[str, object] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def serve(endpoint: Endpoint, choice: Choice, machine: Machine) -> Serving:
    if endpoint.engine is None:
        return Serving(choice.profile.name)
    wanted, own = profiles()[endpoint.engine], choice.profile
    if own.is_full_model and why_not(wanted, machine) is None:
        return Serving(wanted.name)
    few_steps = presets()[own.opening_preset].complete
    values = {name: few_steps[name] for name in SAMPLER if name not in endpoint.fields}
    note = INSTEAD.format(engine=own.title.lower(), reason=why_not(wanted, machine) or SET_SO)
    return Serving(own.name, values, (note,))
