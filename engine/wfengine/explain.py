"""What would happen: a run in thought, with the results of its tasks given beforehand."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from wfengine import plan
from wfengine.errors import UsageError, did_you_mean, shown
from wfengine.graph import build
from wfengine.jobs import Job, Task
from wfengine.nesting import wanted
from wfengine.plan import RULES, TaskState
from wfengine.states import LifeCycle, Result

#: How a task that was executed can end.
_RESULTS = (Result.SUCCESS, Result.FAILED, Result.TIMEDOUT, Result.CANCELED)
_OUTCOMES = ("true", "false")


class Explained(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of one task."""

    task_key: str
    result: Result
    #: Whether it is executed.
    runs: bool
    #: The rule that decided, in words.
    rule: str


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of a run."""

    #: In the order in which the tasks are decided.
    tasks: tuple[Explained, ...]
    result: Result
    message: str


def explain(job: Job, forced: Mapping[str, str]) -> Explanation:
    """Say what each task of the job does when those that are executed end as ``forced`` says.

    ``forced`` maps task keys to ``SUCCESS``, ``FAILED``, ``TIMEDOUT`` or ``CANCELED``, of conditions also to ``true``
    or ``false``. Without it a task succeeds and a condition is true. A result is the last attempt's, so there are no
    retries. Raises UsageError for a task or result that does not exist.
    """
    ends = {task.task_key: _end(task, forced.get(task.task_key)) for task in job.tasks}
    for key in forced:
        if key not in ends:
            raise UsageError(f"the job has no task {shown(key)!r}{_hint(key, ends)}")
    graph = build(job.tasks)
    states = {key: TaskState(LifeCycle.BLOCKED) for key in graph.order}
    explained: list[Explained] = []
    among: Iterable[str] = graph.order
    while (ended := plan.run_result(job, graph, states)) is None:
        decisions = plan.decide(job, graph, states, among)
        for decision in decisions:
            key = decision.task_key
            if isinstance(decision, plan.Start):
                runs, state, rule = True, ends[key], _rule(job.tasks[graph.position[key]])
            else:
                runs, state, rule = False, TaskState(LifeCycle.TERMINATED, decision.result), decision.message
            states[key] = state
            result = state.result or Result.FAILED
            explained.append(Explained(task_key=key, result=result, runs=runs, rule=rule))
        among = [below for decision in decisions for below in graph.downstream[decision.task_key]]
    return Explanation(tasks=tuple(explained), result=ended[0], message=ended[1])


def _end(task: Task, forced: str | None) -> TaskState:
    """Return the state in which the task ends when it is executed."""
    condition = task.kind == "condition"
    if condition and forced in (None, *_OUTCOMES):
        return TaskState(LifeCycle.TERMINATED, Result.SUCCESS, forced or "true")
    known = [result.value for result in _RESULTS] + list(_OUTCOMES if condition else ())
    if forced is not None and forced not in known:
        hint = _hint(forced.upper(), known) or f" (it can be {', '.join(known)})"
        raise UsageError(f"task {task.task_key} cannot end as {shown(forced)!r}{hint}")
    result = Result(forced or Result.SUCCESS)
    return TaskState(LifeCycle.TERMINATED, result, "true" if condition and result is Result.SUCCESS else None)


def _hint(word: str, known: Iterable[str]) -> str:
    hint = did_you_mean(word, known)
    return f" ({hint})" if hint else ""


def _rule(task: Task) -> str:
    does = _does(task)
    if not task.depends_on:
        return "depends on no task" + does
    arms = [f"condition {d.task_key} came out {d.outcome}" for d in task.depends_on if d.outcome is not None]
    return ", ".join([*arms, f"{RULES[task.run_if].words} (run_if {task.run_if})"]) + does


def _does(task: Task) -> str:
    """Say what a control task does once it runs; nothing of the others."""
    config, inner = task.config, task.nested
    if task.kind == "condition":
        told = f"compares {config.get('left', '')!r} {config.get('op', '')} {config.get('right', '')!r}"
    elif task.kind == "run_job":
        told = f"runs job {wanted(config)}"
    elif task.kind == "for_each" and inner:
        given = config.get("inputs", "")
        inputs = f"{len(given)} inputs" if isinstance(given, list) else f"the inputs {given}"
        told = f"runs {inner.task_key} ({inner.kind}) for {inputs}, {config.get('concurrency', 1)} at a time"
    else:
        return ""
    return f"; {shown(told, 200)}"
