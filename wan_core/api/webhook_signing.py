"""Sign webhooks as fal does: ED25519 over a message of four lines, with a key of this server.

Source: https://docs.fal.ai/model-endpoints/webhooks
"""

import base64
import hashlib
import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from wan_core.files import atomic_write

log = logging.getLogger(__name__)


class Signer:
    """Its key lies in `path`, and is made when it is first needed. Thread-safe. `now`: Unix seconds.

    Each method may raise OSError.
    """

    def __init__(self, path: Path, now: Callable[[], float] = time.time) -> None:
        self._path = path
        self._now = now
        self._mutex = threading.Lock()
        self._known: Ed25519PrivateKey | None = None

    def headers(self, request_id: str, user_id: str, body: bytes) -> dict[str, str]:
        """What proves that `body` comes from here."""
        timestamp = str(int(self._now()))
        message = "\n".join([request_id, user_id, timestamp, hashlib.sha256(body).hexdigest()])
        return {
            "X-Fal-Webhook-Request-Id": request_id,
            "X-Fal-Webhook-User-Id": user_id,
            "X-Fal-Webhook-Timestamp": timestamp,
            "X-Fal-Webhook-Signature": self._key.sign(message.encode()).hex(),
        }

    def jwks(self) -> dict[str, Any]:
        """The public key. `x` is padded: the verifier in fal's documentation decodes it as it is."""
        public = self._key.public_key().public_bytes_raw()
        x = base64.urlsafe_b64encode(public).decode()
        kid = hashlib.sha256(public).hexdigest()[:16]
        return {"keys": [{"kty": "OKP", "crv": "Ed25519", "use": "sig", "alg": "EdDSA", "kid": kid, "x": x}]}

    @property
    def _key(self) -> Ed25519PrivateKey:
        with self._mutex:  # two threads that need the first one must not make two
            self._known = self._known or self._stored() or self._create()
            return self._known

    def _stored(self) -> Ed25519PrivateKey | None:
        try:
            key = serialization.load_pem_private_key(self._path.read_bytes(), None)
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, UnsupportedAlgorithm):
            key = None
        if not isinstance(key, Ed25519PrivateKey):
            log.warning("%s is no ED25519 key and is replaced", self._path)
            return None
        return key

    def _create(self) -> Ed25519PrivateKey:
        key = Ed25519PrivateKey.generate()
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        with atomic_write(self._path, durable=True) as part:
            part.touch(mode=0o600)
            part.write_bytes(pem)
        return key
