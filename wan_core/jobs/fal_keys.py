"""Visitors' fal keys: in memory until the job is over; never written, shown or logged."""

import threading

from pydantic import SecretStr

from wan_core.jobs.store import JobStore


class FalKeys:
    """Thread-safe."""

    def __init__(self, store: JobStore, owner_key: SecretStr | None) -> None:
        self._store = store
        self._owner_key = strip_key(owner_key) if owner_key else None
        self._lent: dict[str, SecretStr] = {}
        self._mutex = threading.Lock()

    def lend(self, job_id: str, key: SecretStr) -> None:
        """Also drops keys of jobs that ended without fal."""
        unfinished = self._store.unfinished_ids()
        with self._mutex:
            self._lent = {known: lent for known, lent in self._lent.items() if known in unfinished}
            self._lent[job_id] = strip_key(key)

    def forget(self, job_id: str) -> None:
        with self._mutex:
            self._lent.pop(job_id, None)

    def key_for(self, job_id: str) -> SecretStr | None:
        """A lent key does not survive a restart."""
        return self._owner_key if self._store.owner_pays(job_id) else self._lent.get(job_id)


def strip_key(key: SecretStr) -> SecretStr:
    return SecretStr(key.get_secret_value().strip())
