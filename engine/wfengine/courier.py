"""Delivers events to one subscriber on a thread that may hang without harm to anything else."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from queue import SimpleQueue

import msgspec

from wfengine.store import Pending

#: Seconds one delivery may take.
DELIVERY_SECONDS = 10.0


def backoff_ms(tries: int, jitter: float) -> int:
    """Return the milliseconds to wait after ``tries`` failures before the one just seen.

    1 s, 2 s, 4 s up to one hour, lengthened by a tenth of itself times ``jitter`` (0 to 1).
    """
    wait = min(1000 << min(tries, 12), 3_600_000)
    return wait + int(wait * 0.1 * jitter)


class Outcome(msgspec.Struct, frozen=True):
    """What became of one delivery; ``work`` tells the thread that made it from one given up before."""

    subscriber: str
    work: SimpleQueue[Pending | None]
    pending: Pending
    error: str | None


class Courier:
    """Delivers to one subscriber, one event after the other, on a thread that may hang without harm."""

    def __init__(self, name: str, deliver: Callable[[Pending], None], report: Callable[[Outcome], None]) -> None:
        self.name = name
        self._deliver = deliver
        self._report = report
        self.waiting: deque[Pending] = deque()
        self.current: Pending | None = None
        #: Monotonic seconds by which the current delivery must be over.
        self.deadline = 0.0
        self.timeouts = 0
        #: Whether the store may hold something for it.
        self.look = True
        self.work: SimpleQueue[Pending | None] | None = None

    @property
    def idle(self) -> bool:
        """Whether nothing is under way or at hand."""
        return self.current is None and not self.waiting

    def start_next(self, now: float) -> None:
        """Hand the next event at hand to the thread unless one is under way."""
        if self.current is not None or not self.waiting:
            return
        self.current = self.waiting.popleft()
        self.deadline = now + DELIVERY_SECONDS
        if self.work is None:
            self.work = SimpleQueue()
            thread = threading.Thread(target=self._serve, args=(self.work,), name=f"wfengine-{self.name}", daemon=True)
            thread.start()
        self.work.put(self.current)

    def abandon(self) -> None:
        """Leave the thread to itself; it ends should its delivery ever come back."""
        if self.work is not None:
            self.work.put(None)
        self.work = None
        self.current = None

    def skip(self, run_id: int) -> None:
        """Forget what is at hand of a run, because an earlier event of it was not delivered."""
        self.waiting = deque(pending for pending in self.waiting if pending.run_id != run_id)

    def _serve(self, work: SimpleQueue[Pending | None]) -> None:
        while (pending := work.get()) is not None:
            error = None
            try:
                self._deliver(pending)
            except BaseException as raised:  # noqa: BLE001 - SystemExit from a plugin must not end its thread either
                error = f"{type(raised).__name__}: {raised}"
            self._report(Outcome(self.name, work, pending, error))
