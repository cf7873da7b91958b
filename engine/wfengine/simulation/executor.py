"""Time and processes in thought: a clock that stands still until it is moved, and attempts that only take time."""

from __future__ import annotations

import heapq
import signal

from wfengine.executor import Launch, Report
from wfengine.simulation.script import Ending, Script


class VirtualClock:
    """Stands still until it is moved; its wall time and its monotonic time go together."""

    def __init__(self, start: int) -> None:
        """``start`` is the wall time in epoch milliseconds."""
        self._start = self._now = start

    def now_ms(self) -> int:
        """Wall time in milliseconds since 1970-01-01 UTC."""
        return self._now

    def monotonic(self) -> float:
        """Seconds since the clock was made."""
        return (self._now - self._start) / 1000

    def move(self, to: int) -> None:
        """Let it be ``to`` (epoch milliseconds); an instant that has passed changes nothing."""
        self._now = max(self._now, to)


class SimulatedExecutor:
    """An `Executor` without processes: an attempt takes the time that the script says, and ends as it says."""

    def __init__(self, clock: VirtualClock, script: Script) -> None:
        self._clock, self._script = clock, script
        self._alive: dict[int, Ending] = {}
        self._ends: list[tuple[int, int]] = []
        self._reports: list[Report] = []

    def start(self, launch: Launch) -> None:
        """Begin an attempt."""
        who = launch.payload["identity"]
        ending = self._script.ending(who["job_name"], who["task_key"], who["attempt_number"], who["trigger_time"])
        self._alive[launch.id] = ending
        heapq.heappush(self._ends, (self._clock.now_ms() + ending.duration_ms, launch.id))

    def stop(self, id: int, grace: float) -> None:  # noqa: A002
        """End an attempt at once, as a process that heeds the polite signal."""
        self._end_by(id, signal.SIGTERM)

    def kill(self, id: int) -> None:  # noqa: A002
        """End an attempt at once."""
        self._end_by(id, signal.SIGKILL)

    def poll(self, timeout: float | None) -> list[Report]:
        """Return what has ended by now; never waits, since time passes only when the clock is moved."""
        reports, self._reports = self._reports, []
        while (at := self.next_end()) is not None and at <= self._clock.now_ms():
            _, attempt = heapq.heappop(self._ends)
            record = dict(self._alive.pop(attempt).record)
            reports.append(Report(id=attempt, kind="ended", exit_code=0, record=record))
        return reports

    def next_end(self) -> int | None:
        """Return when the next attempt ends, in epoch milliseconds; None when none is alive."""
        if self._reports:
            return self._clock.now_ms()
        while self._ends and self._ends[0][1] not in self._alive:
            heapq.heappop(self._ends)
        return self._ends[0][0] if self._ends else None

    def wake(self) -> None:
        """Nothing ever waits here."""

    def close(self) -> None:
        """Forget everything."""
        self._alive.clear()

    def _end_by(self, attempt: int, number: signal.Signals) -> None:
        if self._alive.pop(attempt, None) is not None:
            self._reports.append(Report(id=attempt, kind="ended", signal=number, cause="stopped"))
