"""What came of a simulation, job by job."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec

from wfengine import schedule
from wfengine.jobs import Job
from wfengine.runs import JobRun, Tick
from wfengine.schedule import Due, Zone
from wfengine.simulation.script import zone_of
from wfengine.simulation.world import Simulation
from wfengine.states import LifeCycle, TickOutcome


class TickReport(msgspec.Struct, frozen=True, kw_only=True):
    """What became of an instant at which a job was due, or of a range of them."""

    #: Epoch milliseconds of the (first) instant, and the same on the clocks of the job's zone.
    due: int
    local: str
    count: int = 1
    outcome: TickOutcome
    reason: str = ""
    #: Number of the run among those of its job; None when there is none.
    run: int | None = None
    #: What a change of the clocks does to it.
    note: str = ""


class RunReport(msgspec.Struct, frozen=True, kw_only=True):
    """One run; times in epoch milliseconds."""

    number: int
    due: int
    start: int | None
    end: int | None
    state: LifeCycle
    #: None while it has not ended.
    result: str | None
    message: str = ""
    #: Result, or state while there is none, of each task's last attempt.
    tasks: dict[str, str] = {}
    #: How often tasks were tried that were tried more than once.
    attempts: dict[str, int] = {}


class ClockChange(msgspec.Struct, frozen=True, kw_only=True):
    """A day on which the clocks of a job's zone change, and what was due on it."""

    day: str
    zone: str
    ticks: int
    #: What it does to the ticks that it does something to, each with its local time.
    notes: tuple[str, ...] = ()


class JobReport(msgspec.Struct, frozen=True, kw_only=True):
    """All that came of one job."""

    job: str
    #: Instants at which it was due, and what became of them.
    due: int = 0
    skipped: int = 0
    queued: int = 0
    missed: int = 0
    #: Runs that were started, and how many of each result; those that go on at the end have none.
    started: int = 0
    results: dict[str, int] = {}
    #: Most runs that waited for a place at the same time, and the longest such wait in milliseconds.
    longest_queue: int = 0
    longest_wait_ms: int = 0
    #: Runs that were started while another run of the job was going on.
    overlaps: int = 0
    clock_changes: tuple[ClockChange, ...] = ()
    #: Why nothing is due, when something keeps the job from being scheduled.
    remark: str = ""
    ticks: tuple[TickReport, ...] = ()
    runs: tuple[RunReport, ...] = ()


def report(simulation: Simulation) -> list[JobReport]:
    """Say what came of each job of a simulation so far, in the order of the names."""
    errors = simulation.errors()
    return [_job(simulation, job, errors.get(name, "")) for name, job in sorted(simulation.scene.jobs.items())]


def _job(simulation: Simulation, job: Job, error: str) -> JobReport:
    ticks, runs = simulation.ticks(job.name), simulation.runs(job.name)
    outcomes: Counter[TickOutcome] = Counter()
    for tick in ticks:
        outcomes[tick.outcome] += tick.count
    waits = _waits(ticks, {run.run_id: run for run in runs}, simulation.now)
    going = [
        (run.start_time, simulation.now if run.end_time is None else run.end_time)
        for run in runs
        if run.start_time is not None and run.state is not LifeCycle.SKIPPED
    ]
    zone, due = zone_of(job), None if error or not job.schedule else schedule.compile(job.schedule)
    numbers = {run.run_id: run.number_in_job for run in runs}
    listed = tuple(_tick(tick, zone, due, numbers) for tick in ticks)
    return JobReport(
        job=job.name,
        due=sum(outcomes.values()),
        skipped=outcomes[TickOutcome.SKIPPED],
        queued=outcomes[TickOutcome.QUEUED],
        missed=outcomes[TickOutcome.MISSED],
        started=len(going),
        results=dict(Counter(str(run.result) for run in runs if run.result)),
        longest_queue=_most_at_once(waits),
        longest_wait_ms=max((end - start for start, end in waits), default=0),
        overlaps=_overlaps(going),
        clock_changes=_changes(zone, listed, simulation.scene.start, simulation.now),
        remark=error or _remark(job),
        ticks=listed,
        runs=tuple(map(_run, runs)),
    )


def _tick(tick: Tick, zone: Zone, due: Due | None, numbers: Mapping[int, int]) -> TickReport:
    return TickReport(
        due=tick.due,
        local=zone.local(tick.due // 1000).isoformat(),
        count=tick.count,
        outcome=tick.outcome,
        reason=tick.reason,
        run=numbers.get(tick.run_id) if tick.run_id is not None else None,
        note=due.note(tick.due) if due else "",
    )


def _run(run: JobRun) -> RunReport:
    latest = run.latest()
    return RunReport(
        number=run.number_in_job,
        due=run.trigger_time,
        start=run.start_time,
        end=run.end_time,
        state=run.state,
        result=str(run.result) if run.result else None,
        message=run.message,
        tasks={key: str(attempt.result or attempt.state) for key, attempt in latest.items()},
        attempts={key: a.attempt_number + 1 for key, a in latest.items() if a.attempt_number},
    )


def _waits(ticks: Iterable[Tick], runs: Mapping[int, JobRun], now: int) -> list[tuple[int, int]]:
    """Return from when to when each queued run has waited for a place; one that waited too long until its end."""
    queued = [(tick, runs[tick.run_id]) for tick in ticks if tick.outcome is TickOutcome.QUEUED and tick.run_id]
    return [(tick.recorded_at, run.start_time or run.end_time or now) for tick, run in queued]


def _most_at_once(spans: Iterable[tuple[int, int]]) -> int:
    # An end sorts before a start of the same instant.
    steps = sorted(step for start, end in spans for step in ((start, 1), (end, -1)))
    most = now = 0
    for _, step in steps:
        now += step
        most = max(most, now)
    return most


def _overlaps(spans: Iterable[tuple[int, int]]) -> int:
    overlaps, latest = 0, 0
    for start, end in sorted(spans):
        overlaps += start < latest
        latest = max(latest, end)
    return overlaps


def _changes(zone: Zone, ticks: Iterable[TickReport], start: int, end: int) -> tuple[ClockChange, ...]:
    days = [zone.local(second).date().isoformat() for second in zone.changes(start // 1000, end // 1000)]
    on_day: dict[str, list[TickReport]] = {day: [] for day in days}
    for tick in ticks:
        if tick.local[:10] in on_day:
            on_day[tick.local[:10]].append(tick)
    return tuple(
        ClockChange(
            day=day,
            zone=zone.name,
            ticks=sum(tick.count for tick in found),
            notes=tuple(f"{tick.local[11:16]} {tick.note}" for tick in found if tick.note),
        )
        for day, found in on_day.items()
    )


def _remark(job: Job) -> str:
    timing = job.schedule.pause_status if job.schedule else (job.trigger or job.continuous).get("pause_status")
    if timing == "PAUSED":
        return "its file pauses it"
    if {"file_arrival", "table_update"} & job.trigger.keys():
        return "it waits for what arrives, and nothing arrives in a simulation"
    return "" if job.schedule or job.trigger or job.continuous else "it is started by hand or by other jobs alone"
