"""Turns the figures of a home into metric families; every label is a loaded job, a plugin or a word of ours."""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version

from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
    SummaryMetricFamily,
)
from prometheus_client.registry import Collector

from wfengine.metrics.tally import DELAYS, Tally
from wfengine.pulse import Beat
from wfengine.states import LifeCycle
from wfengine.store import RUN_LOG, Store


class HomeCollector(Collector):
    """Reads a store of its own and what the daemon tells of itself; for one thread."""

    def __init__(self, store: Store, tally: Tally, beat: Callable[[], Beat], subscribers: Sequence[str]) -> None:
        self._store, self._tally, self._beat = store, tally, beat
        self._subscribers = (RUN_LOG, *subscribers)

    def collect(self) -> Iterator[Metric]:
        """Yield every family, one after the other so that few are in memory. Raises StateError as the store."""
        self._tally.follow()
        jobs = self._store.figures.jobs()
        yield from self._ticks(jobs)
        yield from self._runs(jobs)
        yield from self._events()
        yield from self._daemon()

    def _ticks(self, jobs: dict[int, str]) -> Iterator[Metric]:
        tally = self._tally
        ticks = CounterMetricFamily("wfengine_ticks", "Instants at which jobs were due.", labels=("job", "outcome"))
        for (job_id, outcome), count in tally.ticks.items():
            if job_id in jobs:
                ticks.add_metric((jobs[job_id], outcome), count)
        yield ticks
        buckets, total = [], 0
        for bound, count in zip((*map(str, DELAYS), "+Inf"), tally.delays, strict=True):
            total += count
            buckets.append((bound, total))
        yield HistogramMetricFamily(
            "wfengine_tick_start_delay_seconds",
            "From a tick's instant to the start of its run, of runs that did not have to queue.",
            buckets=buckets,
            sum_value=tally.delay_seconds,
        )

    def _runs(self, jobs: dict[int, str]) -> Iterator[Metric]:
        figures, tally = self._store.figures, self._tally
        now = GaugeMetricFamily("wfengine_runs", "Runs that have not ended.", labels=("state",))
        counts = figures.unfinished()
        for state in LifeCycle:
            if not state.ended:
                now.add_metric((str(state),), counts.get(state, 0))
        yield now
        ended = CounterMetricFamily("wfengine_runs", "Runs that have ended.", labels=("job", "result"))
        for (job_id, result), count in tally.ended.items():
            if job_id in jobs:
                ended.add_metric((jobs[job_id], result), count)
        yield ended
        took = SummaryMetricFamily("wfengine_run_duration_seconds", "From start to end of a run.", labels=("job",))
        for job_id, (number, seconds) in tally.durations.items():
            if job_id in jobs:
                took.add_metric((jobs[job_id],), count_value=number, sum_value=seconds)
        yield took
        waiting = {line.job_id: line.count for line in figures.queues()}
        queue = GaugeMetricFamily("wfengine_queue_length", "Runs that wait for a place in their job.", labels=("job",))
        for job_id, name in jobs.items():
            queue.add_metric((name,), waiting.get(job_id, 0))
        yield queue

    def _events(self) -> Iterator[Metric]:
        found = {backlog.subscriber: backlog for backlog in self._store.figures.backlogs()}
        waiting = GaugeMetricFamily("wfengine_event_backlog", "Events not delivered yet.", labels=("plugin",))
        dead = GaugeMetricFamily("wfengine_dead_letters", "Events that were given up.", labels=("plugin",))
        for name in self._subscribers:
            waiting.add_metric((name,), found[name].waiting if name in found else 0)
            dead.add_metric((name,), found[name].dead if name in found else 0)
        yield waiting
        yield dead

    def _daemon(self) -> Iterator[Metric]:
        beat = self._beat()
        help_text = "How late the daemon's loop was in the last five minutes; quantile 1 is the greatest."
        lag = GaugeMetricFamily("wfengine_loop_lag_seconds", help_text, labels=("quantile",))
        lag.add_metric(("0.99",), beat.lag_p99)
        lag.add_metric(("1",), beat.lag_max)
        yield lag
        size = self._store.figures.size()
        yield GaugeMetricFamily("wfengine_store_bytes", "Size of the state file and its log.", value=size)
        yield GaugeMetricFamily("wfengine_job_files_broken", "Job files with faults.", value=beat.broken)
        build = {"version": version("wfengine"), "python": platform.python_version()}
        yield InfoMetricFamily("wfengine_build", "What this daemon is.", value=build)
