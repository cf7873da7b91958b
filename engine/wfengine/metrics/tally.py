"""Counts what has happened since a daemon started, by following the store as it grows."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator

from wfengine.states import LifeCycle, TickOutcome, Trigger
from wfengine.store import RunMark, Store

#: Upper bounds in seconds of the classes that the delay of a tick is counted in.
DELAYS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0)
#: What starts a run whose trigger's time is a tick.
_BY_TICK = frozenset(
    str(trigger) for trigger in (Trigger.PERIODIC, Trigger.FILE_ARRIVAL, Trigger.TABLE, Trigger.CONTINUOUS)
)


class Tally:
    """Counters that only grow; each ``follow`` reads what is new in the store, and nothing twice."""

    def __init__(self, store: Store) -> None:
        """Count from now on: what is in ``store`` already has been counted by whoever was there then."""
        self._figures = store.figures
        self._open: set[int] = set()
        #: Runs that began late because they had to queue, which is what their job wants; and those that have begun.
        self._queued: set[int] = set()
        self._started: set[int] = set()
        with self._figures.moment():
            self._tick_id, self._run_id = self._figures.marks()
            for run in self._known(store.unfinished()):
                self._open.add(run.run_id)
                if run.start_time is not None:
                    self._started.add(run.run_id)
                elif run.state == LifeCycle.QUEUED:
                    self._queued.add(run.run_id)
        #: Instants by job and outcome, ended runs by job and result, and their number and seconds by job.
        self.ticks: Counter[tuple[int, str]] = Counter()
        self.ended: Counter[tuple[int, str]] = Counter()
        self.durations: dict[int, tuple[int, float]] = {}
        #: Ticks by the class of their delay, the last for those beyond all; and the sum of the delays in seconds.
        self.delays = [0] * (len(DELAYS) + 1)
        self.delay_seconds = 0.0

    def follow(self) -> None:
        """Count what has happened since the last call. Raises StateError as the store."""
        with self._figures.moment():
            for tick in self._figures.ticks_after(self._tick_id):
                self.ticks[tick.job_id, tick.outcome] += tick.count
                self._tick_id = tick.tick_id
                if tick.run_id is not None and tick.outcome != TickOutcome.RUN:
                    self._queued.add(tick.run_id)
            self._count(self._known(sorted(self._open)))
            self._count(self._figures.runs_after(self._run_id))

    def _known(self, ids: Iterable[int]) -> Iterator[RunMark]:
        return (run for run_id in ids if (run := self._figures.run(run_id)) is not None)

    def _count(self, runs: Iterable[RunMark]) -> None:
        for run in runs:
            self._run_id = max(self._run_id, run.run_id)
            if run.start_time is not None and run.run_id not in self._started:
                self._started.add(run.run_id)
                self._count_delay(run, run.start_time)
            if run.result is None:
                self._open.add(run.run_id)
                continue
            self._open.discard(run.run_id)
            self._started.discard(run.run_id)
            self._queued.discard(run.run_id)
            self.ended[run.job_id, run.result] += 1
            if run.start_time is not None and run.end_time is not None:
                number, seconds = self.durations.get(run.job_id, (0, 0.0))
                self.durations[run.job_id] = (number + 1, seconds + (run.end_time - run.start_time) / 1000)

    def _count_delay(self, run: RunMark, started: int) -> None:
        if run.trigger_type not in _BY_TICK or run.run_id in self._queued:
            return
        seconds = max(0, started - run.trigger_time) / 1000
        self.delays[bisect_left(DELAYS, seconds)] += 1
        self.delay_seconds += seconds
