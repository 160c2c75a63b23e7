"""The fal keys that visitors lend for one job: in memory, until the job is over; never written, shown or logged."""

import threading

from pydantic import SecretStr

from wan_core.jobs.store import JobStore


class FalKeys:
    """Thread-safe. `owner_key` pays for the jobs that came without a key of their own."""

    def __init__(self, store: JobStore, owner_key: SecretStr | None) -> None:
        self._store = store
        self._owner_key = strip_key(owner_key) if owner_key else None
        self._lent: dict[str, SecretStr] = {}
        self._mutex = threading.Lock()

    def lend(self, job_id: str, key: SecretStr) -> None:
        """Keep a visitor's key until its job is over. Keys of jobs that ended without fal are dropped here as well."""
        unfinished = self._store.unfinished_ids()
        with self._mutex:
            self._lent = {known: lent for known, lent in self._lent.items() if known in unfinished}
            self._lent[job_id] = strip_key(key)

    def forget(self, job_id: str) -> None:
        with self._mutex:
            self._lent.pop(job_id, None)

    def key_for(self, job_id: str) -> SecretStr | None:
        """The key that pays for a job; `None` if there is none, or none any more: a lent key dies with the process."""
        return self._owner_key if self._store.owner_pays(job_id) else self._lent.get(job_id)


def strip_key(key: SecretStr) -> SecretStr:
    """`key` without the blanks and line ends that come along when it is pasted."""
    return SecretStr(key.get_secret_value().strip())
