"""What must be true of a home whatever happened to it, checked row by row; every break is named.

The rules of runs are pure: they are given the rows of one run and the job as it was.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence, Set
from itertools import groupby

import msgspec

from wfengine.graph import Graph, build
from wfengine.jobs import Job
from wfengine.plan import TaskState, run_result
from wfengine.states import LifeCycle, Result
from wfengine.store import AttemptLine, Dossier, EventLine, Inspection

#: Results of a run that come from outside, whatever its tasks did.
_STOPPED = (Result.CANCELED.value, Result.TIMEDOUT.value)
_ENDED = frozenset(state.value for state in LifeCycle if state.ended)
_CLOSING = ("task_ended", "task_skipped", "task_retrying")


class Break(msgspec.Struct, frozen=True, kw_only=True):
    """A rule that does not hold."""

    #: ``attempts``, ``deliveries``, ``events``, ``folders``, ``ids``, ``order``, ``result``, ``states``, ``tables``,
    #: ``tasks`` or ``ticks``.
    rule: str
    #: What it is about: ``run 5``, ``run 5 task load``, ``tick 7``, ``table sales``.
    subject: str
    message: str

    def __str__(self) -> str:
        return f"{self.subject}: {self.message} ({self.rule})"


class Recipe(msgspec.Struct, frozen=True):
    """A job as it was, and its graph."""

    job: Job
    graph: Graph


#: Returns the job with a digest, None when it is not there.
Recipes = Callable[[bytes], Recipe | None]


def history(inspection: Inspection) -> Iterator[Break]:
    """Check all runs and what belongs to them."""
    known: dict[bytes, Recipe | None] = {}

    def recipe(snapshot: bytes) -> Recipe | None:
        if snapshot not in known:
            job = inspection.job(snapshot)
            known[snapshot] = Recipe(job, build(job.tasks)) if job else None
        return known[snapshot]

    for dossier in inspection.dossiers():
        yield from of_run(dossier, recipe)
    for oddity in inspection.oddities():
        yield Break(rule=oddity.rule, subject=oddity.subject, message=oddity.message)


def of_folders(inspection: Inspection, there: Set[int], bare: Callable[[int], bool]) -> Iterator[Break]:
    """Compare the runs with those that have a folder, which are ``there``.

    ``bare`` says whether a folder holds nothing but a lock: its process died before the run was stored. A run may begin
    or go between two looks; only what is found twice is broken.
    """
    for run_id in sorted(inspection.executed() - there):
        yield Break(rule="folders", subject=f"run {run_id}", message="it was executed, and its folder is gone")
    for run_id in sorted(there - inspection.run_ids() - inspection.leftovers()):
        if not bare(run_id):
            yield Break(rule="folders", subject=f"run {run_id}", message="it has a folder, and there is no such run")


def of_run(dossier: Dossier, recipes: Recipes) -> Iterator[Break]:
    """Check one run."""
    yield from _states(dossier)
    yield from _attempts(dossier)
    yield from _told(dossier)
    digests = [*(repair.snapshot for repair in dossier.repairs), dossier.run.snapshot]
    jobs = [recipes(digest) for digest in digests]
    if None in jobs:
        yield _break(dossier, "result", "the job as it was is not stored")
        return
    found = [job for job in jobs if job is not None]
    yield from _result(dossier, found[-1])
    yield from _order(dossier, found)


def _break(dossier: Dossier, rule: str, message: str, attempt: AttemptLine | None = None) -> Break:
    subject = f"run {dossier.run.run_id}"
    if attempt is not None:
        subject += f" task {_title(attempt.task_key, attempt.iteration)}"
    return Break(rule=rule, subject=subject, message=message)


def _title(task_key: str, iteration: int) -> str:
    return task_key if iteration < 0 else f"{task_key}[{iteration}]"


def _states(dossier: Dossier) -> Iterator[Break]:
    """What has ended has a result and an end, what has not has neither; a run that ended has no task that has not."""
    run = dossier.run
    over = run.state in _ENDED
    if over != (run.result is not None) or over != (run.end_time is not None):
        yield _break(dossier, "states", f"it is {run.state} with result {run.result} and end {run.end_time}")
    if run.repair_count != len(dossier.repairs):
        yield _break(dossier, "states", f"it counts {run.repair_count} repairs and has {len(dossier.repairs)}")
    for attempt in dossier.attempts:
        ended = attempt.state in _ENDED
        what = f"attempt {attempt.attempt_number} is {attempt.state}"
        if ended != (attempt.result is not None) or ended != (attempt.end_time is not None):
            message = f"{what} with result {attempt.result} and end {attempt.end_time}"
            yield _break(dossier, "states", message, attempt)
        if over and not ended:
            yield _break(dossier, "tasks", f"{what}, and the run has ended", attempt)


def _attempts(dossier: Dossier) -> Iterator[Break]:
    """Attempts are numbered from 0 without gaps, and only the last may go on."""
    for _, group in groupby(dossier.attempts, lambda attempt: (attempt.task_key, attempt.iteration)):
        attempts = list(group)
        numbers = [attempt.attempt_number for attempt in attempts]
        if numbers != list(range(len(numbers))):
            yield _break(dossier, "attempts", f"its attempts are numbered {numbers}", attempts[-1])
        for attempt in attempts[:-1]:
            if attempt.state not in _ENDED:
                message = f"attempt {attempt.attempt_number} is {attempt.state}, and another follows"
                yield _break(dossier, "attempts", message, attempt)


def _result(dossier: Dossier, recipe: Recipe) -> Iterator[Break]:
    """The result of a run follows from its tasks by the leaf rule, unless it was stopped, skipped or lost."""
    run = dossier.run
    if run.state == LifeCycle.SKIPPED.value:
        if run.result != Result.MAXIMUM_CONCURRENT_RUNS_REACHED.value:
            yield _break(dossier, "result", f"it was SKIPPED with result {run.result}")
        return
    latest = {attempt.task_key: attempt for attempt in dossier.attempts if attempt.iteration < 0}
    if missing := [task.task_key for task in recipe.job.tasks if task.task_key not in latest]:
        yield _break(dossier, "tasks", f"there is no attempt of {', '.join(missing[:5])}")
        return
    if run.state == LifeCycle.INTERNAL_ERROR.value and run.result != Result.FAILED.value:
        yield _break(dossier, "result", f"it was lost with its engine, and its result is {run.result}")
    if run.state != LifeCycle.TERMINATED.value or run.result in _STOPPED:
        return
    states = {key: _state_of(latest[key]) for key in recipe.graph.order}
    expected = run_result(recipe.job, recipe.graph, states)
    if expected is not None and run.result != expected[0].value:
        yield _break(dossier, "result", f"it is {run.result}, and by its tasks {expected[0]}: {expected[1]}")


def _state_of(attempt: AttemptLine) -> TaskState:
    result = Result(attempt.result) if attempt.result else None
    return TaskState(LifeCycle(attempt.state), result, attempt.outcome)


def _told(dossier: Dossier) -> Iterator[Break]:
    """Events say what the rows say: one start for what started, one end for what ended, one end of the run."""
    run, events = dossier.run, dossier.events
    numbers = [number for number, _ in events]
    if numbers != list(range(1, len(numbers) + 1)):
        yield _break(dossier, "events", "its events are not numbered from 1 without gaps")
    kinds = Counter(event.kind for _, event in events)
    if kinds["run_repaired"] != len(dossier.repairs):
        yield _break(dossier, "events", f"{kinds['run_repaired']} repairs were told, not {len(dossier.repairs)}")
    ends = len(dossier.repairs) + (run.state in _ENDED)
    if kinds["run_ended"] != ends:
        yield _break(dossier, "events", f"its end was told {kinds['run_ended']} times, not {ends}")
    elif run.state in _ENDED:
        last = next(event for _, event in reversed(events) if event.kind == "run_ended")
        if last.result != run.result:
            yield _break(dossier, "events", f"its end was told as {last.result}, and it is {run.result}")
    yield from _told_of_attempts(dossier)


def _told_of_attempts(dossier: Dossier) -> Iterator[Break]:
    starts: Counter[int] = Counter()
    ends: dict[int, list[EventLine]] = {}
    for _, event in dossier.events:
        if event.kind == "task_started":
            starts[event.task_run_id] += 1
        elif event.kind in _CLOSING:
            ends.setdefault(event.task_run_id, []).append(event)
    # What never began because its run was cancelled in the queue is told by the end of the run alone.
    quiet = dossier.run.start_time is None or any(repair.start_time is None for repair in dossier.repairs)
    for attempt in dossier.attempts:
        started, told = starts.pop(attempt.task_run_id, 0), ends.pop(attempt.task_run_id, [])
        what = f"attempt {attempt.attempt_number}"
        if started != (attempt.start_time is not None):
            yield _break(dossier, "events", f"the start of {what} was told {started} times", attempt)
        if quiet and not told and attempt.start_time is None and attempt.result == Result.CANCELED.value:
            continue
        if len(told) != (attempt.state in _ENDED):
            yield _break(dossier, "events", f"the end of {what}, {attempt.state}, was told {len(told)} times", attempt)
        elif told and told[0].result != attempt.result:
            message = f"the end of {what} was told as {told[0].result}, and it is {attempt.result}"
            yield _break(dossier, "events", message, attempt)
    for task_run_id in starts.keys() | ends.keys():
        yield _break(dossier, "events", f"an attempt {task_run_id} was told of, and there is none")


def _order(dossier: Dossier, recipes: Sequence[Recipe]) -> Iterator[Break]:
    """No task starts before its upstreams ended, or again after its own end; told by events, not by clocks."""
    era, over = 0, False
    ended: set[str] = set()
    for _, event in dossier.events:
        if over and event.kind != "run_repaired":
            yield _break(dossier, "order", f"{event.kind} was told after the end of the run")
        if event.kind == "run_ended":
            over = True
        elif event.kind == "run_repaired":
            era, over = min(era + 1, len(recipes) - 1), False
            ended = set(recipes[era].graph.order).difference(event.task_keys)
        elif event.task_key and event.iteration < 0:
            if event.kind == "task_started":
                yield from _start(dossier, event, recipes[era].graph, ended)
            elif event.kind in ("task_ended", "task_skipped"):
                ended.add(event.task_key)


def _start(dossier: Dossier, event: EventLine, graph: Graph, ended: set[str]) -> Iterator[Break]:
    subject = f"run {dossier.run.run_id} task {event.task_key}"
    if event.task_key in ended:
        yield Break(rule="order", subject=subject, message="it started after its end")
    early = [key for key in graph.upstream.get(event.task_key, ()) if key not in ended]
    if early:
        yield Break(rule="order", subject=subject, message=f"it started before the end of {', '.join(early[:5])}")
