"""One endpoint with huggingface_hub, which asks fal directly: ENDPOINT PICTURE."""

import sys

from huggingface_hub import InferenceClient
from huggingface_hub.hf_api import InferenceProviderMapping
from huggingface_hub.inference._providers import _common

endpoint, picture = sys.argv[1:]
MODEL = "Wan-AI/Wan2.2-I2V-A14B"
_common.HARDCODED_MODEL_INFERENCE_MAPPING["fal-ai"][MODEL] = InferenceProviderMapping(
    provider="fal-ai", hf_model_id=MODEL, providerId=endpoint, status="live", task="image-to-video"
)
client = InferenceClient(provider="fal-ai", api_key="id:secret")
clip = client.image_to_video(picture, model=MODEL, prompt="a walk", seed=7)
print(clip[4:8].decode(), len(clip))  # noqa: T201
