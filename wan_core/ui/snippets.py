"""The current settings as a request to fal in Python, JavaScript and cURL. Pure.

They follow the examples of fal's documentation. Python and JavaScript upload a local picture; cURL has a placeholder.
"""

import json
from dataclasses import dataclass
from typing import Any

from wan_core.endpoints import IMAGE_TO_VIDEO
from wan_core.schema import ImageToVideoInput
from wan_core.ui.controls import PICTURE_IS_UPLOADED

FILE = "picture.jpg"
ADDRESS = "https://example.com/picture.jpg"


@dataclass(frozen=True)
class Snippets:
    """The same request in three languages."""

    python: str
    javascript: str
    curl: str


def snippets(request: ImageToVideoInput) -> Snippets:
    """The request as code, with every field: fal's defaults may change."""
    arguments = request.model_dump(exclude_none=True)
    return Snippets(_python(arguments), _javascript(arguments), _curl(arguments))


def _python(arguments: dict[str, Any]) -> str:
    lines = [f'        "{name}": {_python_word(name, value)},' for name, value in arguments.items()]
    return "\n".join(
        [
            "import fal_client",
            "",
            "result = fal_client.subscribe(",
            f'    "{IMAGE_TO_VIDEO.id}",',
            "    arguments={",
            *lines,
            "    },",
            ")",
            'print(result["video"]["url"])',
        ]
    )


def _python_word(name: str, value: object) -> str:
    if name in IMAGE_TO_VIDEO.picture_fields and value == PICTURE_IS_UPLOADED:
        return f'fal_client.upload_file("{FILE}")'
    return _json(value) if isinstance(value, str) else repr(value)


def _javascript(arguments: dict[str, Any]) -> str:
    uploaded = _uploaded(arguments)
    words = {name: _json(value) for name, value in arguments.items()}
    words |= {name: "await fal.storage.upload(picture)" for name in uploaded}
    lines = [f"    {name}: {word}," for name, word in words.items()]
    return "\n".join(
        [
            'import { fal } from "@fal-ai/client";',
            *(["", "// picture: a File or Blob, for example from an <input type=file>"] if uploaded else []),
            "",
            f'const result = await fal.subscribe("{IMAGE_TO_VIDEO.id}", {{',
            "  input: {",
            *lines,
            "  },",
            "});",
            "console.log(result.data.video.url);",
        ]
    )


def _curl(arguments: dict[str, Any]) -> str:
    arguments = arguments | {name: ADDRESS for name in _uploaded(arguments)}
    body = json.dumps(arguments, ensure_ascii=False, indent=2).replace("'", "'\\''")
    return "\n".join(
        [
            "curl --request POST \\",
            f"  --url https://fal.run/{IMAGE_TO_VIDEO.id} \\",
            '  --header "Authorization: Key $FAL_KEY" \\',
            '  --header "Content-Type: application/json" \\',
            f"  --data '{body}'",
        ]
    )


def _uploaded(arguments: dict[str, Any]) -> list[str]:
    return [name for name in IMAGE_TO_VIDEO.picture_fields if arguments.get(name) == PICTURE_IS_UPLOADED]


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
