"""An OpenAI-compatible server, or a provider behind Hugging Face's router."""

import base64
import time
from io import BytesIO
from typing import Any

from PIL import Image
from pydantic import SecretStr

ANSWER_TOKENS = 512  # Wan's own limit
SERVED_MODEL = "Qwen/Qwen3-VL-8B-Instruct"  # at Hugging Face's providers
NO_KEY = "none"  # else the client would send this machine's Hugging Face token


class Server:
    """`url`: `http://host:port/v1`; with `None`, Hugging Face picks a provider."""

    def __init__(self, url: str | None, model: str | None, key: SecretStr | None) -> None:
        self._url, self._model, self._key = url, model, key

    def write(self, instruction: str, picture: Image.Image, text: str, deadline: float) -> str:
        from huggingface_hub import InferenceClient

        client = InferenceClient(
            base_url=self._url,
            api_key=self._key.get_secret_value() if self._key else NO_KEY if self._url else None,
            timeout=max(0.1, deadline - time.monotonic()),
        )
        messages: list[Any] = [
            {"role": "system", "content": instruction},
            {"role": "user", "content": [picture_part(picture), {"type": "text", "text": text}]},
        ]
        model = self._model or (None if self._url else SERVED_MODEL)
        completion = client.chat_completion(messages, model=model, max_tokens=ANSWER_TOKENS)
        content = completion.choices[0].message.content
        return content if isinstance(content, str) else ""


def picture_part(picture: Image.Image) -> dict[str, object]:
    file = BytesIO()
    picture.save(file, "JPEG", quality=90)
    data = base64.b64encode(file.getvalue()).decode("ascii")
    return {"type": "image_url", "image_url": {"url": f"data:image/jpeg;base64,{data}"}}
