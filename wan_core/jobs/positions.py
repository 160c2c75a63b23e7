"""Tell waiting jobs how many are ahead: at most once a second each, because each event goes to every page that watches.

What keeps all of them from beginning is told with it. `record.position` is always right.
"""

from collections.abc import Iterable

from wan_core.events import Queued
from wan_core.jobs.record import JobRecord

EVERY_S = 1.0


class Positions:
    """`now`: seconds of a monotonic clock."""

    def __init__(self) -> None:
        self._told: dict[str, tuple[Queued, float]] = {}
        self._late: dict[str, tuple[JobRecord, str]] = {}

    def settle(self, order: Iterable[JobRecord], now: float, trouble: str = "") -> None:
        """Note the places in `order`; tell those that may be told now."""
        for position, record in enumerate(order):
            record.position = position
            self._tell(record, now, trouble)

    def tell_late(self, now: float) -> float | None:
        """Tell those whose second has passed; return the seconds until the next, `None` if nobody is left."""
        for record, trouble in list(self._late.values()):
            self._tell(record, now, trouble)
        return min((self._told[job_id][1] + EVERY_S - now for job_id in self._late), default=None)

    def forget(self, record: JobRecord) -> None:
        self._told.pop(record.job.id, None)
        self._late.pop(record.job.id, None)

    def _tell(self, record: JobRecord, now: float, trouble: str) -> None:
        told, at = self._told.get(record.job.id, (None, float("-inf")))
        event = Queued(record.position, trouble)
        self._late.pop(record.job.id, None)
        if record.status != "queued" or event == told:
            return
        if now - at < EVERY_S:
            self._late[record.job.id] = record, trouble
            return
        self._told[record.job.id] = event, now
        record.publish(event)
