"""Triggers that ask nothing but the time: intervals, and jobs that run all the time."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from wfengine.runs import JobRun
from wfengine.schedule import Due, every
from wfengine.states import LifeCycle, Result

#: Milliseconds between two runs of a continuous job: at first, doubled by each failure, and at most.
FIRST_PAUSE_MS, LONGEST_PAUSE_MS = 1_000, 600_000
#: Milliseconds that a run must last so that its failure is the first of a row, whatever was before it.
HEALTHY_MS = LONGEST_PAUSE_MS


class Interval(msgspec.Struct, frozen=True, kw_only=True):
    """``trigger.periodic``: due at every interval since the trigger was first seen."""

    interval: int
    #: MINUTES, HOURS, DAYS or WEEKS of real time; a day has 24 hours.
    unit: str
    pause_status: str = "UNPAUSED"

    @property
    def paused(self) -> bool:
        """Whether the job file pauses it."""
        return self.pause_status == "PAUSED"

    def due(self, anchor: int) -> Due:
        """Return the ticks, counted from ``anchor`` (epoch milliseconds); the first is one interval after it."""
        return every(self.interval, self.unit, anchor)


class Continuous(msgspec.Struct, frozen=True, kw_only=True):
    """``continuous``: due again when the last run has ended; runs that fail in a row are started ever more slowly.

    Nothing is to be remembered: the runs of the job tell everything.
    """

    pause_status: str = "UNPAUSED"

    @property
    def paused(self) -> bool:
        """Whether the job file pauses it."""
        return self.pause_status == "PAUSED"

    def next_start(self, runs: Iterable[JobRun], now: int) -> int | None:
        """Return when the next run is due, in epoch milliseconds; None while one is active.

        ``runs`` are the newest runs of the job, newest first; more than a dozen change nothing.
        """
        failures = 0
        ended: int | None = None
        for run in runs:
            if not run.state.ended:
                return None
            if run.state is LifeCycle.SKIPPED or run.end_time is None:
                continue
            ended = run.end_time if ended is None else ended
            if run.succeeded or run.result is Result.CANCELED:
                break
            failures += 1
            if run.end_time - (run.start_time or run.end_time) >= HEALTHY_MS:
                break
        if ended is None or ended > now:  # the first run, or a clock that was set back: nothing to wait for
            return now
        return ended + min(FIRST_PAUSE_MS << min(failures, 30), LONGEST_PAUSE_MS)
