"""Print the README's table of parameters from the schema: `python docs/parameters.py --write` puts it into place."""

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from wan_core.endpoints import ENDPOINTS, IMAGE_TO_VIDEO, Endpoint  # noqa: E402  (the path must be set first)
from wan_core.schema import MAX_SEED  # noqa: E402

BEGIN, END = "<!-- parameters: begin -->\n", "<!-- parameters: end -->\n"


def table() -> str:
    """One row a field: name, type with bounds or words, default, help text; then what the other endpoints take."""
    rows = ["| parameter | values | default | what it does |", "|---|---|---|---|"]
    others = [_other(endpoint) for endpoint in ENDPOINTS.values() if endpoint is not IMAGE_TO_VIDEO]
    return "\n".join(rows + [_row(name) for name in IMAGE_TO_VIDEO.fields] + others) + "\n"


def with_table(readme: str) -> str:
    """`readme` with the table between its two marks renewed."""
    before, rest = readme.split(BEGIN)
    _, after = rest.split(END)
    return before + BEGIN + table() + END + after


def _row(name: str) -> str:
    default = (
        f"`{IMAGE_TO_VIDEO.defaults[name]!r}`".replace("'", '"') if name in IMAGE_TO_VIDEO.defaults else "required"
    )
    default = {"`None`": "random" if name == "seed" else "none", "`True`": "on", "`False`": "off"}.get(default, default)
    return f"| `{name}` | {_values(name)} | {default} | {IMAGE_TO_VIDEO.fields[name].description} |"


def _other(endpoint: Endpoint) -> str:
    names = ", ".join(f"`{name}`" for name in endpoint.fields)
    fixed = ", ".join(f"`{name}` {value}" for name, value in endpoint.fixed.items())
    return f"\n`{endpoint.id}` takes {names}. The rest is fixed: {fixed}."


def _values(name: str) -> str:
    bounds, words = IMAGE_TO_VIDEO.bounds(name), IMAGE_TO_VIDEO.choices(name)
    if bounds:
        largest = "2⁵³ − 1" if bounds[1] == MAX_SEED else f"{bounds[1]:g}"
        return f"{bounds[0]:g} … {largest}"
    if words:
        return ", ".join(f"`{word}`" for word in words)
    return "on, off" if IMAGE_TO_VIDEO.fields[name].annotation is bool else "text"


if __name__ == "__main__":
    readme = ROOT / "README.md"
    if "--write" in sys.argv:
        readme.write_text(with_table(readme.read_text("utf-8")), "utf-8")
    else:
        sys.stdout.write(table())
