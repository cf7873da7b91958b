"""What happens next in a run: pure decisions from states (``docs/semantics.md``, sections 2 to 4).

Nothing here asks the time, reads a file or starts a process. The rules about ``run_if`` and results live here alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from wfengine.errors import listed
from wfengine.graph import Graph
from wfengine.jobs import Job, Task
from wfengine.states import LifeCycle, Result, RunIf


class TaskState(NamedTuple):
    """Where a task stands: its last attempt."""

    state: LifeCycle
    result: Result | None = None
    #: ``"true"`` or ``"false"`` once a condition has ended.
    outcome: str | None = None


class Start(NamedTuple):
    """The task may start now."""

    task_key: str


class Finish(NamedTuple):
    """The task ends without being executed."""

    task_key: str
    result: Result
    #: Names the rule and the upstream tasks that decided.
    message: str


class Tally(NamedTuple):
    """How many upstreams of a task ended how; a disabled one is in ``total`` only."""

    total: int
    #: Succeeded or excluded.
    succeeded: int
    #: Failed, timed out or cancelled, by themselves or through their own upstreams.
    failed: int
    #: Succeeded or failed, which leaves out the excluded.
    executed: int


class Rule(NamedTuple):
    """One row of the table of ``run_if``."""

    met: Callable[[Tally], bool]
    #: Result of the task when the rule is not met; None when it always is.
    otherwise: Result | None
    #: Completes the sentence "runs when ...".
    words: str


#: The table of ``docs/semantics.md``, section 2, asked once every upstream has ended.
RULES: dict[RunIf, Rule] = {
    RunIf.ALL_SUCCESS: Rule(
        lambda of: of.succeeded == of.total, Result.UPSTREAM_FAILED, "all upstream tasks succeeded"
    ),
    RunIf.AT_LEAST_ONE_SUCCESS: Rule(
        lambda of: of.succeeded >= 1, Result.UPSTREAM_FAILED, "at least one upstream task succeeded"
    ),
    RunIf.NONE_FAILED: Rule(
        lambda of: of.failed == 0 and of.executed >= 1,
        Result.UPSTREAM_FAILED,
        "no upstream task failed and at least one was executed",
    ),
    RunIf.ALL_DONE: Rule(lambda of: True, None, "all upstream tasks ended"),
    RunIf.AT_LEAST_ONE_FAILED: Rule(lambda of: of.failed >= 1, Result.EXCLUDED, "at least one upstream task failed"),
    RunIf.ALL_FAILED: Rule(lambda of: of.failed == of.total, Result.EXCLUDED, "all upstream tasks failed"),
}

#: What counts as success, failure and cancellation; in the order in which messages name them.
SUCCEEDED = (Result.SUCCESS, Result.SUCCESS_WITH_FAILURES, Result.EXCLUDED)
FAILED = (Result.FAILED, Result.TIMEDOUT, Result.UPSTREAM_FAILED, Result.MAXIMUM_CONCURRENT_RUNS_REACHED)
CANCELED = (Result.CANCELED, Result.UPSTREAM_CANCELED)

_NOT_STARTED = (LifeCycle.BLOCKED, LifeCycle.PENDING)
_VERBS = {Result.SUCCESS: "succeeded", Result.FAILED: "failed", Result.TIMEDOUT: "timed out"}

#: Task keys by how the tasks ended.
_ByResult = Mapping[Result, Sequence[str]]


class _Upstreams(NamedTuple):
    by_result: _ByResult
    #: What is to be said about arms of conditions that were not taken.
    arms: Sequence[str]


def decide(
    job: Job, graph: Graph, states: Mapping[str, TaskState], among: Iterable[str], *, cancelled: bool = False
) -> list[Start | Finish]:
    """Say which tasks of ``among`` start or end now, and whatever follows from those that end.

    ``graph`` is that of ``job``; ``states`` holds every task of it. Only tasks that are BLOCKED or PENDING there are
    returned, each at most once. When a task has ended it is enough to ask about its direct downstreams. In a
    ``cancelled`` run only tasks that handle failure still start.
    """
    decisions: list[Start | Finish] = []
    decided: set[str] = set()
    ended: dict[str, TaskState] = {}
    waiting = deque(sorted(set(among), key=graph.position.__getitem__))
    while waiting:
        key = waiting.popleft()
        if key in decided or states[key].state not in _NOT_STARTED:
            continue
        task = job.tasks[graph.position[key]]
        upstreams = _upstreams(task, lambda other: ended.get(other) or states[other])
        if upstreams is None:
            continue
        decision = _judge(task, upstreams, cancelled)
        decided.add(key)
        decisions.append(decision)
        if isinstance(decision, Finish):
            ended[key] = TaskState(LifeCycle.TERMINATED, decision.result)
            waiting.extend(graph.downstream[key])
    return decisions


def _upstreams(task: Task, state_of: Callable[[str], TaskState]) -> _Upstreams | None:
    """Sort the upstreams of a task by how they ended; None while one of them has not."""
    # Backwards, because what started last is likely to end last: a join of many is asked about each time one ends.
    if not all(state_of(dependency.task_key).state.ended for dependency in reversed(task.depends_on)):
        return None
    by_result: dict[Result, list[str]] = {}
    arms: list[str] = []
    for dependency in task.depends_on:
        _, result, outcome = state_of(dependency.task_key)
        if result is Result.SUCCESS and dependency.outcome not in (None, outcome):
            arms.append(f"condition {dependency.task_key} came out {outcome}, not {dependency.outcome}")
            result = Result.EXCLUDED
        by_result.setdefault(result or Result.FAILED, []).append(dependency.task_key)
    return _Upstreams(by_result, arms)


def _judge(task: Task, upstreams: _Upstreams, cancelled: bool) -> Start | Finish:
    """Apply the rules to a task whose upstreams have all ended."""
    by_result, arms = upstreams
    if task.disabled:
        return Finish(task.task_key, Result.DISABLED, "disabled in the job file")
    if set(by_result) == {Result.EXCLUDED}:
        why = listed(arms) or f"every upstream task ended EXCLUDED: {listed(by_result[Result.EXCLUDED])}"
        return Finish(task.task_key, Result.EXCLUDED, why)
    if by_result and not RULES[task.run_if].met(_tally(by_result)):
        result, culprits = _unmet(RULES[task.run_if], by_result)
        why = f"{_told('upstream task', by_result, culprits)} (run_if {task.run_if})"
        return Finish(task.task_key, result, why)
    if arms:
        return Finish(task.task_key, Result.EXCLUDED, listed(arms))
    if cancelled and not (by_result and handles_failure(task)):
        return Finish(task.task_key, Result.CANCELED, "the run was cancelled before this task started")
    return Start(task.task_key)


def _tally(by_result: _ByResult) -> Tally:
    def count(*results: Result) -> int:
        return sum(len(by_result.get(result, ())) for result in results)

    succeeded, failed = count(*SUCCEEDED), count(*FAILED, *CANCELED)
    return Tally(
        total=succeeded + failed + count(Result.DISABLED),
        succeeded=succeeded,
        failed=failed,
        executed=succeeded + failed - count(Result.EXCLUDED),
    )


def _unmet(rule: Rule, by_result: _ByResult) -> tuple[Result, Sequence[Result]]:
    """Return the result of a task whose rule is not met, and which results of its upstreams are to blame."""
    if rule.otherwise is Result.UPSTREAM_FAILED:
        for result, culprits in ((Result.UPSTREAM_FAILED, FAILED), (Result.UPSTREAM_CANCELED, CANCELED)):
            if not by_result.keys().isdisjoint(culprits):
                return result, culprits
    if Result.DISABLED in by_result:
        return Result.DISABLED, (Result.DISABLED,)
    return Result.EXCLUDED, SUCCEEDED


def _told(noun: str, by_result: _ByResult, results: Iterable[Result]) -> str:
    """Say which tasks ended with the first of ``results`` that occurs: ``upstream tasks a, b failed``."""
    for result in results:
        if names := by_result.get(result):
            return f"{noun}{'s' * (len(names) > 1)} {listed(names)} {_VERBS.get(result, f'ended {result}')}"
    return ""


def handles_failure(task: Task) -> bool:
    """Whether the task runs although, or because, upstreams failed; such a task cleans up behind a cancelled run."""
    return task.run_if in (RunIf.ALL_DONE, RunIf.AT_LEAST_ONE_FAILED, RunIf.ALL_FAILED)


def retry_at(task: Task, attempt_number: int, result: Result, started: int, now: int) -> int | None:
    """Return when the next attempt may start, in epoch milliseconds; None when there is none.

    ``attempt_number``, ``result`` and ``started`` are those of the attempt that has just ended.
    """
    retriable = result is Result.FAILED or (result is Result.TIMEDOUT and task.retry_on_timeout)
    left = task.max_retries == -1 or attempt_number < task.max_retries
    return max(now, started + task.min_retry_interval_millis) if retriable and left else None


def run_result(job: Job, graph: Graph, states: Mapping[str, TaskState]) -> tuple[Result, str] | None:
    """Return the result of the run by the leaf rule, and why; None while a task has not ended."""
    # Backwards for the same reason as above.
    if not all(states[key].state.ended for key in reversed(graph.order)):
        return None
    tasks = _by_result((task.task_key for task in job.tasks), states)
    leaves = _by_result(graph.leaves, states)
    failed, stopped = _told("task", tasks, FAILED), _told("task", tasks, CANCELED)
    for result, culprits, told in ((Result.FAILED, FAILED, failed), (Result.CANCELED, CANCELED, stopped)):
        if leaf := _told("leaf task", leaves, culprits):
            return result, told if leaf == f"leaf {told}" else f"{told}; {leaf}"
    if failed or stopped:
        return Result.SUCCESS_WITH_FAILURES, f"{failed or stopped}, but every leaf task succeeded"
    return Result.SUCCESS, "no task failed"


def _by_result(keys: Iterable[str], states: Mapping[str, TaskState]) -> _ByResult:
    by_result: dict[Result, list[str]] = {}
    for key in keys:
        by_result.setdefault(states[key].result or Result.FAILED, []).append(key)
    return by_result


def warnings(job: Job, graph: Graph) -> list[str]:
    """Say what is allowed in the job but probably not meant."""
    found = [
        f"task {task.task_key}: run_if {task.run_if} has no effect because it depends on no task"
        for task in job.tasks
        if task.run_if is not RunIf.ALL_SUCCESS and not task.depends_on
    ]
    heard = set(graph.leaves)
    for key in reversed(graph.order):
        if any(below in heard and _passes_failure_on(job, graph, below) for below in graph.downstream[key]):
            heard.add(key)
    if hidden := [task.task_key for task in job.tasks if task.task_key not in heard]:
        found.append(
            f"by the leaf rule a failure of {listed(hidden)} can never fail the run, because every task behind it runs"
            " all the same; to change that, let a task with run_if ALL_SUCCESS depend on it"
        )
    return found


def _passes_failure_on(job: Job, graph: Graph, key: str) -> bool:
    """Whether the task ends UPSTREAM_FAILED when just one of its upstreams fails."""
    task = job.tasks[graph.position[key]]
    alone = task.run_if is RunIf.AT_LEAST_ONE_SUCCESS and len(graph.upstream[key]) == 1
    return not task.disabled and (alone or task.run_if in (RunIf.ALL_SUCCESS, RunIf.NONE_FAILED))
