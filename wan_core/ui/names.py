"""What things of the schema and of engines are called on the page."""

from wan_core.endpoints import IMAGE_TO_VIDEO
from wan_core.presets import Preset
from wan_core.profiles import EngineProfile
from wan_core.ui.languages import ENGLISH, spoken, translate


def title_of(field: str) -> str:
    """Of a field of the request, as its label says."""
    return translate(IMAGE_TO_VIDEO.fields[field].title or field) if field in IMAGE_TO_VIDEO.fields else field


def in_a_sentence(named: EngineProfile | Preset) -> str:
    """The title of an engine or a preset; English writes it small there."""
    return named.title.lower() if spoken() == ENGLISH else translate(named.title)
