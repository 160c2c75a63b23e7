"""Daily limits on the owner's fal key. Spending survives a restart."""

import threading
from typing import Literal

from wan_core.errors import BackendError
from wan_core.events import Job
from wan_core.jobs.store import JobStore
from wan_core.pricing import dollars_of_job
from wan_core.settings import Settings

DAY_S = 24 * 3600.0
RETRY_AFTER_S = 3600
CENT = 0.01
OWN_KEY = "Try again later, or give your own fal key."
NO_KEY = "This app has no fal key. Give your own, or ask its owner to set FAL_KEY."


class FalBudget:
    """Thread-safe. `per_client`: apply `WAN_FAL_CLIENT_DAILY_JOBS` (0: no limit).

    A daily limit of 0 jobs or dollars turns the owner's key off.
    """

    def __init__(self, store: JobStore, settings: Settings, *, per_client: bool) -> None:
        self._store = store
        self._has_owner_key = settings.fal_key is not None
        self._jobs = settings.fal_daily_jobs
        self._dollars = settings.fal_daily_dollars
        self._client_jobs = settings.fal_client_daily_jobs if per_client else 0
        self._mutex = threading.Lock()

    @property
    def access(self) -> Literal["open", "own_key"]:
        return "open" if self._has_owner_key and self._jobs > 0 and self._dollars > 0 else "own_key"

    @property
    def dollars_left(self) -> float | None:
        """Of today; `None` without an owner's key."""
        if not self._has_owner_key:
            return None
        spent = self._store.spending("", DAY_S)
        return max(0.0, self._dollars - spent.dollars) if spent.jobs < self._jobs else 0.0

    def refuse_if_spent(self, dollars: float, client: str, *, without: str = "") -> None:
        """Raises BackendError if the key may not pay `dollars` more for `client` today."""
        if not self._has_owner_key:
            raise BackendError("engine_unavailable", NO_KEY)
        spent = self._store.spending(client, DAY_S, without=without)
        if self._client_jobs and spent.own_jobs >= self._client_jobs:
            raise _too_much(f"You have run {spent.own_jobs} jobs on fal with this app's key in the last 24 hours.")
        if spent.jobs >= self._jobs:
            raise _too_much(f"This app's key runs at most {self._jobs} jobs on fal in 24 hours; they are used up.")
        if spent.dollars + dollars > self._dollars + CENT / 100:
            left = max(0.0, self._dollars - spent.dollars)
            most = f"This app's key pays at most ${self._dollars:.2f} on fal in 24 hours"
            raise _too_much(f"{most}; ${left:.2f} are left and this clip costs ${dollars:.2f}.")

    def reserve(self, job: Job) -> None:
        """Record the cost once per job, or raise as `refuse_if_spent` does."""
        if not self._store.owner_pays(job.id):
            return
        client, dollars = self._store.client_of(job.id), dollars_of_job(job)
        with self._mutex:
            self.refuse_if_spent(dollars, client, without=job.id)
            self._store.note_spending(job.id, client, dollars)


def _too_much(sentence: str) -> BackendError:
    return BackendError("too_many_jobs", f"{sentence} {OWN_KEY}", retry_after_s=RETRY_AFTER_S)
